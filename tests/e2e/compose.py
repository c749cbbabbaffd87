#!/usr/bin/python3
"""docker-compose.yml as it is shipped, under Debian's podman: up, healthy by its own health checks, the demo's tasks, a worker
that is killed and comes back, down, and nothing is left. Only its ports, the name of its host and its base image are the test's."""
import os
import shutil
import signal
import subprocess
import sys
import threading
import unittest
import uuid

from case import REPO
import audit
import skips
from cli import MAYFLY
from containers import Containers, read, run, write
from ports import is_listening
from processes import command_line, find
from stack import ARTIFACTS, Fleet, Services, wait_until

SERVICES = ["kafka", "redis", "worker", "reaper"]
CONF = os.path.join(REPO, "deploy", "compose")


def container(service):
    return f"mayfly_{service}_1"


class Composed(Fleet):
    """What the compose file started, as its clients see it; its own name is only its host's."""

    def topic(self, kind):
        return f"mayfly.{kind}"

    def story(self):
        return ""  # the tests show the containers' logs


def at_once(*steps):
    """All of them side by side; the first error of any."""
    errors = []

    def take(step):
        try:
            step()
        except BaseException as error:  # whatever it is, the test has to fail of it
            errors.append(error)

    threads = [threading.Thread(target=take, args=(step,)) for step in steps]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


class Compose(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.services = Services()  # for its ports: what listens there are the containers
        cls.addClassCleanup(shutil.rmtree, cls.services.directory)
        cls.host = "t" + uuid.uuid4().hex[:10]
        cls.containers = Containers({"MAYFLY_KAFKA_PORT": str(cls.services.kafka_port),
                                     "MAYFLY_CONTROLLER_PORT": str(cls.services.controller_port),
                                     "MAYFLY_REDIS_PORT": str(cls.services.redis_port), "MAYFLY_CONF": cls.write_conf()})
        cls.addClassCleanup(cls.containers.close)
        cls.build()
        cls.containers.compose("up", "-d")
        cls.ids = cls.containers.podman("ps", "--all", "--quiet", "--no-trunc").split()
        wait_until("Kafka listens", lambda: is_listening(cls.services.kafka_port), 120)
        cls.fleet = Composed(cls.services)
        cls.addClassCleanup(cls.fleet.close)
        cls.fleet.name = cls.host

    @classmethod
    def write_conf(cls):
        """The settings that are shipped, with this test's ports and host."""
        folder = os.path.join(cls.services.directory, "conf")
        os.mkdir(folder)
        for name in ("worker.conf", "reaper.conf"):
            text = read(os.path.join(CONF, name))
            for what, by in (("brokers = 127.0.0.1:29092", f"brokers = {cls.services.brokers}"),
                             ("redis_port = 26379", f"redis_port = {cls.services.redis_port}"),
                             ("host = compose", f"host = {cls.host}")):
                assert text.count(what + "\n") == 1, f"{name}: {what}"
                text = text.replace(what, by)
            write(os.path.join(folder, name), text)
        return folder

    @classmethod
    def build(cls):
        cls.containers.import_base()
        at_once(lambda: cls.containers.compose("--podman-build-args=--jobs=2", "build"),
                lambda: cls.containers.build("kafka.Dockerfile", "docker.io/apache/kafka:4.1.0",
                                             [os.path.join(ARTIFACTS, "kafka", "libs")]),
                lambda: cls.containers.build("redis.Dockerfile", "docker.io/library/redis:7-bookworm"),
                cls.fill_state)

    @classmethod
    def fill_state(cls):
        """The volume as podman-compose would make it, but filled, so that `mayfly image build` finds what is of packages made; the
        kernel bundle gets the agent that is built here."""
        cls.containers.podman("volume", "create", "--label", "io.podman.compose.project=mayfly", "mayfly_state")
        cls.state = cls.containers.podman("volume", "inspect", "mayfly_state", "--format", "{{.Mountpoint}}").strip()
        os.chmod(cls.state, 0o755)
        run("cp", "-a", *(os.path.join(ARTIFACTS, part) for part in ("images", "kernel", "jail")), cls.state)
        os.mkdir(os.path.join(cls.state, "cache"))
        for part in os.listdir(os.path.join(ARTIFACTS, "cache")):
            if part != "containers":
                run("cp", "-a", os.path.join(ARTIFACTS, "cache", part), os.path.join(cls.state, "cache"))

    def inspect(self, service, what):
        return self.containers.podman("inspect", container(service), "--format", "{{%s}}" % what).strip()

    def log(self, service):
        done = subprocess.run(["podman", "logs", "--tail", "40", container(service)], env=self.containers.environment,
                              capture_output=True, text=True, check=False, timeout=60)
        return f"{service}:\n{done.stdout}{done.stderr}"

    def wait_until(self, what, check, seconds=180):
        try:
            return wait_until(what, check, seconds, step=0.3)
        except AssertionError as error:
            raise AssertionError(f"{error}\n" + "\n".join(map(self.log, SERVICES))) from None

    def is_healthy(self, service):
        """podman's timers for health checks are systemd's: where there is none, somebody has to ask."""
        return self.containers.answers("healthcheck", "run", container(service)) and \
            self.inspect(service, ".State.Health.Status") == "healthy"

    def assert_healthy(self):
        for service in SERVICES:
            self.wait_until(f"{service} is healthy", lambda s=service: self.is_healthy(s))

    def leases(self):
        return self.services.redis_command("KEYS", "mayfly:*:lease:*")

    def strangers(self):
        """Processes in another mount namespace that is made of this storage, and podman's own beside them."""
        root = self.containers.root.encode()
        own = os.readlink("/proc/self/ns/mnt")
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/mountinfo", "rb") as f:
                    is_of_us = root in f.read() and os.readlink(f"/proc/{pid}/ns/mnt") != own
            except OSError:
                continue
            if is_of_us:
                yield f"process {pid}: {command_line(pid)[:100]!r}"
        yield from (f"process {pid} of podman" for pid in find(root) if pid != os.getpid())

    def leftovers(self):
        containers = self.containers.podman("ps", "--all", "--quiet").split()
        volumes = self.containers.podman("volume", "ls", "--quiet").split()
        mounts = [line for line in read("/proc/self/mounts").splitlines()
                  if self.containers.root in line and not line.split()[1].endswith("/graph/overlay")]
        return [*containers, *volumes, *audit.control_groups(self.fleet),
                *self.containers.groups(self.ids), *mounts, *self.strangers()]

    def start_sleeper(self):
        task = self.fleet.submit(argv=["sh", "-c", "sleep 8; echo survived"])
        self.fleet.flush()
        with self.fleet.reader("results") as reader:
            self.wait_until("it runs", lambda: any(task.encode() in m.value() and b"started" in m.value()
                                                   for m in reader.messages()))
        return task

    def crash(self):
        """Its restart policy brings it back."""
        before = self.inspect("worker", ".State.Pid")
        os.kill(int(before), signal.SIGKILL)
        self.wait_until("the worker's container runs again", lambda: self.inspect("worker", ".State.Status") == "running" and
                        self.inspect("worker", ".State.Pid") not in (before, "0"))

    def kill(self):
        """As a person does it, who then starts it."""
        self.containers.podman("kill", container("worker"))
        self.wait_until("the worker's container is down", lambda: self.inspect("worker", ".State.Status") == "exited")
        self.assertFalse(self.is_healthy("worker"))
        self.containers.compose("start", "worker")

    def test_1_healthy(self):
        self.assert_healthy()
        done = self.containers.compose("exec", "-T", "worker", "mayfly", "run", "--", "echo", "hello")
        self.assertEqual(done, "hello\n")

    def test_2_the_demo(self):
        done = subprocess.run([os.path.join(REPO, "tools", "demo", "show"), MAYFLY], stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=400, check=False,
                              env={**os.environ, "MAYFLY_BROKERS": self.services.brokers, "LC_ALL": "C.UTF-8",
                                   "MAYFLY_REDIS": f"127.0.0.1:{self.services.redis_port}"})
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr + self.log("worker"))
        self.assertIn("\n9 of 9 as expected.\n", done.stdout)

    def test_3_a_worker_that_is_killed(self):
        tasks = []
        for end in (self.crash, self.kill):
            tasks.append(self.start_sleeper())
            end()
            self.wait_until("the worker takes tasks", lambda: self.is_healthy("worker"))
            self.assertEqual(self.fleet.result(tasks[-1])["outcome"], "succeeded")
        self.wait_until("no lease is left", lambda: not self.leases())
        told = self.fleet.told()
        self.assertEqual({task: [(r["outcome"], r["attempt"]) for r in told[task]] for task in tasks},
                         {task: [("succeeded", 2)] for task in tasks})
        self.assertEqual({task for task, results in told.items() if len(results) != 1}, set())
        self.assertEqual(len(told), 1 + 9 + len(tasks))

    def test_4_too_little_memory_to_lock(self):
        """A page, where no more can be had; the worker that runs has what there is."""
        few = ["prlimit", "--memlock=4096:4096", "setpriv", "--bounding-set=-sys_resource", "--"]
        done = subprocess.run(["podman", "exec", container("worker"), *few, "/usr/libexec/mayfly/mayfly-worker", "--config",
                               "/etc/mayfly/worker.conf"], env=self.containers.environment, capture_output=True, text=True,
                              check=False, timeout=120)
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertRegex(done.stdout + done.stderr, "room for the keys of [0-9]+ slots: lock [0-9]+ bytes for keys, where "
                         "RLIMIT_MEMLOCK is 4096: .*ulimits: memlock of a compose file")
        self.assertTrue(self.is_healthy("worker"))

    def test_5_down(self):
        self.assertGreater(len(list(self.strangers())), 10)  # they would be seen
        self.assertNotEqual(self.containers.groups(self.ids), [])
        self.containers.compose("stop")
        codes = {service: self.inspect(service, ".State.ExitCode") for service in SERVICES}
        self.assertEqual({s: codes[s] for s in ("worker", "reaper", "redis")}, dict.fromkeys(("worker", "reaper", "redis"), "0"),
                         self.log("worker") + self.log("reaper"))
        self.assertEqual(os.listdir(os.path.join(self.state, "scratch")), [])
        self.containers.compose("down", "--volumes")
        try:
            wait_until("nothing is left", lambda: not self.leftovers(), 30)
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.leftovers()}") from None
        root = self.containers.root
        self.containers.close()
        self.assertFalse(os.path.exists(root))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # cleanups run
    skips.main()
