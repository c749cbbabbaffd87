#!/usr/bin/python3
"""`mayfly dev`: a private stack comes up, runs tasks, and goes without a trace; also when its worker was killed."""
import glob
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import unittest

from case import wait_until  # first: it says where the next two are
import stack
from cli import environment, MAYFLY
from ports import claim_ports
import processes


class PrivateStack(unittest.TestCase):
    """A state folder, ports, and what `mayfly dev` says of the stack there."""
    program = MAYFLY
    built = {"images", "kernel", "jail", "blank", "kafka"}  # what stays when the stack goes, and maybe:
    MARKS = {"accel", ".build.lock"}
    host = None  # until note_host()

    def setUp(self):
        self.state = tempfile.mkdtemp(prefix="mayfly-dev.")
        os.chmod(self.state, 0o755)
        self.addCleanup(shutil.rmtree, self.state, ignore_errors=True)
        os.makedirs(os.path.join(self.state, "kafka"))
        self.base = claim_ports(3)
        self.addCleanup(self.dev, "stop")

    def environment(self):
        return environment(MAYFLY_STATE=self.state, MAYFLY_BROKERS=f"127.0.0.1:{self.base}", MAYFLY_REDIS=f"127.0.0.1:{self.base + 2}")

    def mayfly(self, *args, seconds=240):
        return subprocess.run([self.program, *args], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds,
                              check=False, env=self.environment())

    def dev(self, *args):
        return self.mayfly("dev", *args)

    def pids(self):
        """{part: pid} of what runs, from `dev status`."""
        words = [line.split() for line in self.dev("status").stdout.splitlines()]
        return {w[0]: int(w[3].rstrip(",")) for w in words if len(w) > 3 and w[1] == "running"}

    def note_host(self):
        """The name that this stack has given its host; it goes with the stack."""
        with open(os.path.join(self.state, "worker.conf"), encoding="ascii") as conf:
            self.host = re.search(r"^host = (\S+)$", conf.read(), re.M)[1]

    def assert_no_trace(self, pids):
        self.assertEqual(set(os.listdir(self.state)) - self.MARKS, self.built)
        self.assertEqual(os.listdir(os.path.join(self.state, "kafka")), ["libs"])
        wait_until("init has collected them", lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids.values()), 30)
        self.assertEqual(self.strays(), [])
        self.assertEqual(self.cgroups(), [])
        for i in range(3):
            self.assertFalse(stack.is_listening(self.base + i))

    def strays(self):
        """Processes that have the state folder on their command line."""
        return processes.find(self.state.encode())

    def cgroups(self):
        roots = ("/sys/fs/cgroup", "/sys/fs/cgroup/memory", "/sys/fs/cgroup/pids", "/sys/fs/cgroup/cpu")
        return [path for path in (os.path.join(root, f"mayfly.{self.host}") for root in roots) if os.path.isdir(path)]


class Dev(PrivateStack):
    def setUp(self):
        super().setUp()
        for part in (*(self.built - {"kafka"}), "kafka/libs"):
            os.symlink(os.path.join(stack.ARTIFACTS, part), os.path.join(self.state, part))

    def start(self):
        done = self.dev("start", "--port-base", str(self.base))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.note_host()
        return done

    def assert_the_doctor_is_right(self, said):
        """The worker took of this host what the doctor says that one takes; disk space moves meanwhile."""
        slots, memory = re.search(r"a worker takes .*: slots = (\d+), memory_mib = (\d+), disk_mib = \d+,", said).groups()
        with open(os.path.join(self.state, "log", "worker.log"), encoding="utf-8") as f:
            self.assertIn(f" slots={slots} memory_mib={memory} ", f.read())

    def test_it_comes_runs_and_goes(self):
        self.assertEqual(self.dev("status").returncode, 1)
        self.start()
        self.assertEqual(self.dev("status").returncode, 0)
        pids = self.pids()
        self.assertEqual(set(pids), {"kafka", "redis", "worker", "reaper", "keeper"})
        done = self.mayfly("run", "--", "echo", "hello")
        self.assertEqual((done.returncode, done.stdout), (0, "hello\n"), done.stderr)
        self.assertNotEqual(self.cgroups(), [])
        self.assertIn("running already", self.start().stderr)
        self.assertEqual(self.pids(), pids)
        doctor = self.mayfly("doctor")
        self.assertEqual(doctor.returncode, 0, doctor.stdout)
        self.assertIn("a worker takes tasks", doctor.stdout)
        self.assert_the_doctor_is_right(doctor.stdout)
        done = self.dev("stop")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assert_no_trace(pids)
        self.assertEqual(self.dev("stop").returncode, 0)  # nothing to do is fine

    def test_a_worker_that_was_killed_leaves_nothing_either(self):
        self.start()
        pids = self.pids()
        self.mayfly("submit", "--", "sleep", "600")
        wait_until("its disk is there", lambda: glob.glob(os.path.join(self.state, "scratch", "*.luks")), 60)
        os.killpg(pids["worker"], signal.SIGKILL)
        done = self.dev("stop")
        self.assertEqual(done.returncode, 1, done.stderr)  # its lease has not run out: the disk was there for this to remove
        self.assertRegex(done.stderr, r"something of workspace [0-9a-f-]{36} was left; removed")
        self.assertIn("the end was not clean", done.stderr)
        self.assertEqual(self.dev("stop").returncode, 0)
        self.assert_no_trace(pids)

    def test_what_is_killed_is_started_again(self):
        self.start()
        first = self.pids()
        submit = subprocess.Popen([self.program, "submit", "--wait", "--json", "--", "sh", "-c", "sleep 2"], stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, text=True, env=self.environment())
        wait_until("its VM runs", lambda: '"state":"running"' in self.mayfly("ps", "--json").stdout, 60)
        engine = next(pid for pid in processes.children(first["worker"]) if processes.uid(pid) != 0)
        os.kill(engine, signal.SIGKILL)
        result = json.loads(submit.communicate(timeout=120)[0])
        self.assertEqual((result["outcome"], result["attempt"]), ("succeeded", 2))
        for part in ("redis", "kafka", "reaper"):
            os.kill(first[part], signal.SIGKILL)
        wait_until("all parts run", lambda: len(self.pids()) == 5, 60)
        again = self.pids()
        self.assertEqual({part for part in again if again[part] == first[part]}, {"keeper"})
        wait_until("the worker takes tasks", lambda: self.mayfly("doctor").returncode == 0, 120, step=0.5)
        done = self.mayfly("run", "--", "echo", "hello")
        self.assertEqual((done.returncode, done.stdout), (0, "hello\n"), done.stderr)
        self.assertEqual(self.dev("stop").returncode, 0)
        self.assert_no_trace({**first, **again})

    def test_other_ports_than_it_runs_on_are_refused(self):
        self.start()
        done = self.dev("start", "--port-base", "1024")
        self.assertEqual(done.returncode, 1)
        self.assertIn(f"runs here already, on ports {self.base}, {self.base + 1} and {self.base + 2}", done.stderr)

    def test_a_port_that_is_taken(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", self.base))
            taken.listen()
            done = self.dev("start", "--port-base", str(self.base))
        self.assertEqual(done.returncode, 1)
        self.assertIn(f"port {self.base} for Kafka is taken", done.stderr)
        self.assertIn("--port-base", done.stderr)
        self.assertEqual(self.pids(), {})
        self.assertIn("Kafka 127.0.0.1:29092, Redis 127.0.0.1:26379", self.dev("status").stdout)  # it is not remembered

    def test_a_missing_part_says_how_to_get_it(self):
        os.unlink(os.path.join(self.state, "kafka", "libs"))
        done = self.dev("start", "--port-base", str(self.base))
        self.assertEqual(done.returncode, 1)
        self.assertIn("tools/kafka/fetch", done.stderr)


if __name__ == "__main__":
    unittest.main()
