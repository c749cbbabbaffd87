#!/usr/bin/python3
"""`mayfly run` with real microVMs: as if the program ran here."""
import base64
import hashlib
import json
import os
import signal
import subprocess
import tempfile
import unittest

from case import HERE, REPO, OneFleet, wait_until
from cli import MAYFLY, begin, environment, mayfly


class Run(OneFleet):
    shared_settings = {"slots": 2, "lease_ms": 30000}  # a longer lease than a worker is ever frozen here

    @classmethod
    def tearDownClass(cls):
        try:
            wait_until("nothing is left", lambda: not cls.shared.leftovers() or None, 30)
        finally:
            super().tearDownClass()

    def setUp(self):
        super().setUp()
        self.folder = tempfile.mkdtemp(prefix="mayfly-cli.")
        self.addCleanup(subprocess.run, ["rm", "-rf", self.folder], check=True)

    def run_sh(self, script, *options, **more):
        return mayfly(self.shared, "run", *options, "--", "sh", "-c", script, cwd=self.folder, **more)

    def path(self, name):
        return os.path.join(self.folder, name)

    def test_streams_and_exit_code(self):
        done = self.run_sh("cat; echo to-stderr >&2; echo $GREETING; exit 7", "--quiet", "--stdin", "--env", "GREETING=hello there",
                           stdin=b"from here\n")
        self.assertEqual((done.returncode, done.stdout, done.stderr), (7, b"from here\nhello there\n", b"to-stderr\n"))

    def test_ends_that_are_not_the_programs_own(self):
        for script, options, code, says in (("kill -TERM $$", (), 128 + 15, b"signal 15"),
                                            ("sleep 600", ("--timeout", "1s"), 124, b"timed out (--timeout)"),
                                            ("sleep 600", ("--timeout", "5m", "--ttl", "5s"), 125, b"expired (--ttl)"),
                                            ("true", ("--queue", "1ms"), 125, b"expired (--queue)"),
                                            ("true", ("--image", "no-such-image"), 125, b"no-such-image"),
                                            ("true", ("--memory", "900G"), 125, b"rejected (--memory): ")):
            done = self.run_sh(script, *options)
            self.assertEqual((done.returncode, done.stdout), (code, b""), done.stderr)
            self.assertIn(says, done.stderr)

    def test_output_comes_as_it_is_written(self):
        process = begin(self.shared, "run", "--", "sh", "-c", "echo first; sleep 600")
        try:
            self.assertEqual(process.stdout.readline(), b"first\n")
            self.assertIsNone(process.poll())
        finally:
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130, err)
        self.assertIn(b"cancelled", err)
        wait_until("the cancelled task is gone", lambda: not self.shared.leftovers() or None, 30)

    def test_what_else_ends_a_program_cancels_it(self):
        before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whoever runs the tests under nohup has it ignored
        self.addCleanup(signal.signal, signal.SIGHUP, before)
        processes = [(begin(self.shared, "run", "--", "sh", "-c", "echo on; sleep 600"), number)
                     for number in (signal.SIGTERM, signal.SIGHUP)]
        for process, number in processes:
            self.assertEqual(process.stdout.readline(), b"on\n")
            process.send_signal(number)
        for process, number in processes:
            _, err = process.communicate(timeout=60)
            self.assertEqual(process.returncode, 130, f"{number}: {err}")
            self.assertIn(b"mayfly: cancelled", err)

    def leave(self, task_id, frozen, kill):
        """Ctrl-C twice, while what is frozen keeps the cancelled task from ending."""
        process = begin(self.shared, "run", "--id", task_id, "--", "sh", "-c", "echo on; sleep 600")
        self.addCleanup(process.kill)
        self.assertEqual(process.stdout.readline(), b"on\n")
        kill(frozen.pid, signal.SIGSTOP)
        try:
            process.send_signal(signal.SIGINT)
            self.assertIn(b"cancelling; Ctrl-C again leaves", process.stderr.readline())
            self.assertIsNone(process.poll())
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
            log = self.shared.log()
        finally:
            kill(frozen.pid, signal.SIGCONT)
        self.assertEqual(process.returncode, 130, err)
        self.assertIn(f"left task {task_id}; `mayfly watch --id {task_id}` shows how it ended".encode(), err)
        self.assertIn(f"job.state id={task_id} state=running", log)
        self.assertNotIn(f"job.over id={task_id}", log)

    def test_ctrl_c_twice_leaves_at_once(self):
        self.leave("left-alone", self.worker, os.killpg)
        self.assertIn(b"cancelled", mayfly(self.shared, "watch", "--id", "left-alone").stdout)

    def test_ctrl_c_twice_leaves_without_kafka(self):
        self.leave("left-without", self.services.kafka, os.kill)
        self.shared.cancel("left-without")  # the first Ctrl-C's own message may be lost
        self.assertIn(b"cancelled", mayfly(self.shared, "watch", "--id", "left-without").stdout)

    def test_a_reader_that_goes_away_cancels(self):
        process = begin(self.shared, "run", "--id", "unread", "--", "sh", "-c", "while echo again; do sleep 0.2; done")
        self.assertEqual(process.stdout.readline(), b"again\n")
        process.stdout.close()
        self.assertEqual(process.wait(60), 141)
        process.stdin.close()
        process.stderr.close()
        self.assertIn(b"cancelled", mayfly(self.shared, "watch", "--id", "unread").stdout)

    def test_a_full_disk_is_told(self):
        with open("/dev/full", "wb") as full:
            done = mayfly(self.shared, "run", "--", "echo", "lost", stdout=full)
        self.assertEqual(done.returncode, 125)
        self.assertIn(b"No space left on device", done.stderr)

    def test_files_there_and_back(self):
        for name, text in (("in.txt", "lower case\n"), ("with:colon", "kept\n"), ("tool.sh", "tr a-z A-Z <in.txt >out/upper.txt\n")):
            with open(self.path(name), "w", encoding="ascii") as f:
                f.write(text)
        done = self.run_sh("mkdir -p out; sh bin/tool.sh; cat with:colon; ls -l in.txt", "--file", "in.txt", "--file", "with:colon",
                           "--file", "tool.sh:bin/tool.sh", "--collect", "out/upper.txt", "--into", "results")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue(done.stdout.startswith(b"kept\n"))
        with open(self.path("results/out/upper.txt"), encoding="ascii") as f:
            self.assertEqual(f.read(), "LOWER CASE\n")
        self.assertEqual(os.listdir(self.path("results")), ["out"])

    def test_a_file_that_was_not_made(self):
        done = self.run_sh("true", "--collect", "nothing.txt")
        self.assertEqual(done.returncode, 125)
        self.assertIn(b"/work/nothing.txt was not collected", done.stderr)

    def test_many_bytes_arrive_as_they_are(self):
        done = self.run_sh("seq -f '%015.0f' 1 131072; echo end >&2", "--quiet")
        whole = b"".join(b"%015d\n" % i for i in range(1, 131073))
        self.assertEqual(hashlib.sha256(done.stdout).hexdigest(), hashlib.sha256(whole).hexdigest())
        self.assertEqual(done.stderr, b"end\n")

    def test_output_that_is_no_text(self):
        done = mayfly(self.shared, "submit", "--wait", "--json", "--id", "bytes", "--", "sh", "-c",
                      r"printf '\377\000\342\202'; printf '\303\244' >&2")
        result = json.loads(done.stdout)
        self.assertEqual((result["stdout_encoding"], result["stderr_encoding"], result["stderr"]), ("base64", "utf-8", "\u00e4"))
        self.assertEqual(base64.b64decode(result["stdout"]), b"\xff\0\xe2\x82")
        done = mayfly(self.shared, "logs", "bytes")
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, b"\xff\0\xe2\x82", "\u00e4".encode()))

    def test_logs_of_what_runs(self):
        mayfly(self.shared, "submit", "--stream", "--id", "talks", "--", "sh", "-c", "echo first; sleep 3; echo last; exit 3")
        follow = begin(self.shared, "logs", "-f", "talks")
        self.addCleanup(follow.kill)
        self.assertEqual(follow.stdout.readline(), b"first\n")
        out, err = follow.communicate(timeout=60)
        self.assertEqual((follow.returncode, out, err), (0, b"last\n", b""))
        self.assertEqual(mayfly(self.shared, "logs", "talks").stdout, b"first\nlast\n")
        self.assertEqual(json.loads(mayfly(self.shared, "result", "--json", "talks").stdout)["exit_code"], 3)

    def test_closed_standard_error(self):
        """Taken as wanted: what the program says there goes nowhere, least of all into a descriptor of librdkafka's."""
        done = subprocess.run(["sh", "-c", 'exec "$0" run -- sh -c "echo out; echo err >&2" 2>&-', MAYFLY], stdout=subprocess.PIPE,
                              stdin=subprocess.DEVNULL, timeout=120, check=False, env=environment(self.shared))
        self.assertEqual((done.returncode, done.stdout), (0, b"out\n"))

    def test_an_output_limit(self):
        done = self.run_sh("seq -f '%015.0f' 1 10000", "--output-limit", "64K")
        self.assertEqual((done.returncode, len(done.stdout)), (0, 65536))
        self.assertIn(b"94464 of 160000 bytes of its stdout were dropped", done.stderr)

    def test_a_lost_worker_repeats_nothing_on_the_screen(self):
        fleet = self.fleet(slots=1)
        worker = fleet.start_worker()
        fleet.start_reaper()
        process = begin(fleet, "run", "--timeout", "5m", "--", "sh", "-c", "for i in 1 2 3 4 5 6 7 8; do echo $i; sleep 1; done")
        self.assertEqual([process.stdout.readline() for _ in range(3)], [b"1\n", b"2\n", b"3\n"])
        fleet.kill_group(worker)
        fleet.start_worker()
        out, err = process.communicate(timeout=180)
        self.assertEqual((process.returncode, out), (0, b"4\n5\n6\n7\n8\n"), err)
        self.assertIn(b"its worker was lost; attempt 2 starts over", err)
        self.assert_nothing_left(fleet)


class Prober(unittest.TestCase):
    """The demo's prober where doors are open: one that calls everything closed would prove nothing."""
    OPEN = ("internet", "internet, IPv6", "DNS", "names", "cloud metadata", "raw sockets",  # the network
            "other processes",  # the host
            "virtio ports", "own disk, raw", "other disks",  # disks
            "memory", "kernel log", "KVM", "mounts",  # the kernel
            "privileges", "set-id programs", "the system")

    def probe(self, *room):
        done = subprocess.run([*room, "/usr/bin/python3", os.path.join(REPO, "tools", "demo", "prober.py")], capture_output=True,
                              text=True, check=False, cwd="/", timeout=120)
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        doors = {line[8:30].rstrip(): line[:6].rstrip() for line in done.stdout.splitlines()[:-1]}
        n_closed = list(doors.values()).count("closed")
        self.assertEqual(done.stdout.splitlines()[-1], f"{len(doors)} doors tried, {len(doors) - n_closed} not closed")
        return doors

    def test_it_finds_open_doors(self):
        with tempfile.TemporaryDirectory(prefix="mayfly-doors.") as folder:
            doors = self.probe("unshare", "--net", "--mount", "/usr/bin/python3", os.path.join(HERE, "open_doors.py"), folder)
        self.assertEqual({door: doors[door] for door in self.OPEN}, dict.fromkeys(self.OPEN, "OPEN"))
        self.assertEqual(doors["host's usual address"], "UNSURE")  # it answered: nobody listens there

    def test_the_same_doors_closed(self):
        doors = self.probe("unshare", "--net", "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
        for door in ("internet", "DNS", "cloud metadata", "host's usual address", "raw sockets", "mounts", "the system", "root"):
            self.assertEqual(doors[door], "closed", door)


if __name__ == "__main__":
    unittest.main()
