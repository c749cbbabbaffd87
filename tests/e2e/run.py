#!/usr/bin/python3
"""Tasks of kind `run` in real microVMs on real encrypted disks: what a sender sees."""
import hashlib
import time
import unittest

import msgpack

from case import EndToEnd, OneFleet, wait_until


def sh(script):
    return ["/bin/sh", "-c", script]


# The parts of the standard library that Debian packs apart, the zones that it has from elsewhere, and a virtual environment.
PYTHON_USES = """
import dbm.gnu, distutils, lib2to3, ensurepip, socket, subprocess, zoneinfo
from datetime import datetime
print(socket.gethostbyname(socket.gethostname()), flush=True)
print(datetime(2026, 7, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")).utcoffset(), flush=True)
subprocess.run(["python3", "-m", "venv", "v"], check=True)
subprocess.run(["v/bin/python", "-c", "import pip; print(pip.__name__)"], check=True)
"""


class Run(OneFleet):
    shared_settings = {"slots": 2, "clones": "yes"}

    @classmethod
    def tearDownClass(cls):
        try:
            wait_until(f"nothing is left of {cls.shared.name}", lambda: not cls.shared.leftovers())
            twice = [i for i, results in cls.shared.told().items() if len(results) != 1]
            assert twice == [], twice
        finally:
            super().tearDownClass()

    def run_task(self, argv, seconds=120, **task):
        return self.shared.result(self.shared.submit(argv=argv, **task), seconds)

    def test_a_program_and_all_that_a_result_says(self):
        result = self.run_task(sh("cat; echo to-stderr >&2; echo $GREETING; pwd; id -u"), stdin=b"from stdin\n",
                               env={"GREETING": "hello there"}, labels={"team": "a"})
        self.assertEqual(result["stdout"]["head"], b"from stdin\nhello there\n/work\n1000\n")
        self.assertEqual(result["stderr"]["head"], b"to-stderr\n")
        self.assertEqual((result["outcome"], result["ran"], result["exit_code"], result["signal"]),
                         ("succeeded", "ran", 0, None))
        self.assertIn(result["isolation"].pop("start"), ("cold", "clone", "pool"))
        self.assertEqual(result["isolation"], {"vmm": "qemu", "accel": self.shared.accel, "disk": "luks1", "net": "none"})
        self.assertIs(result["key_destroyed"], True)
        self.assertEqual(result["labels"], {"team": "a"})
        self.assertEqual(result["stdout"]["sha256"], hashlib.sha256(result["stdout"]["head"]).hexdigest())
        for stage in ("lease", "disk", "vmm", "boot", "key", "setup", "start", "run", "erase", "total"):
            self.assertGreaterEqual(result["timings_ms"][stage], 0, stage)
        self.assertEqual((result["attempt"], result["host"]), (1, self.shared.name))

    def test_exit_code_and_signal(self):
        result = self.run_task(sh("exit 3"))
        self.assertEqual((result["outcome"], result["exit_code"]), ("failed", 3))
        result = self.run_task(sh("kill -9 $$"))
        self.assertEqual((result["outcome"], result["exit_code"], result["signal"]), ("failed", None, 9))

    def test_what_cannot_be_run_says_why(self):
        for argv, says in ((["/no/such/program"], "cannot run '/no/such/program': there is no such file"),
                           (["python3", "-V"], "cannot run 'python3': no folder of PATH has a program of that name; it is in these "
                                               "images: python"),
                           (["./tool.py"], "cannot run './tool.py': '/usr/bin/python3', which './tool.py' names as its interpreter, "
                                           "does not exist; it is in these images: python"),
                           (["./dos"], "cannot run './dos': its first line, '#!/bin/sh', ends in a carriage return (Windows line "
                                       "ends), which belongs to no program's name; save it with LF line ends")):
            result = self.run_task(argv, files=[{"path": "tool.py", "data": b"#!/usr/bin/python3\n", "mode": 0o755},
                                                {"path": "dos", "data": b"#!/bin/sh\r\necho\r\n", "mode": 0o755}])
            self.assertEqual((result["outcome"], result["ran"], result["message"]), ("failed", "not_started", says))

    def test_out_of_memory_is_told_with_what_there_was(self):
        grow = "perl -e 'push @a, \"x\" x 100 while 1'"
        result = self.run_task(sh(grow + "; echo no"), timeout_ms=100000)
        self.assertEqual((result["outcome"], result["signal"], result["stdout"]["bytes"]), ("failed", 9, 0), result["message"])
        self.assertRegex(result["message"], r"^out of memory: 'perl' \(process \d+\), and the program with it, was killed; of the VM's "
                                            r"256 MiB the program had 1[67]\d \(memory_mib\)$")
        result = self.run_task(sh(grow + "; echo $?"), timeout_ms=100000, oom="process")
        self.assertEqual((result["outcome"], result["stdout"]["head"]), ("succeeded", b"137\n"), result["message"])
        self.assertRegex(result["message"], r"^out of memory: 'perl' \(process \d+\) was killed; of the VM's 256 MiB")

    def test_files_in_and_out(self):
        result = self.run_task(sh("mkdir -p out && tr a-z A-Z < in/text > out/text && ln -s /etc/passwd link && ls -l in/text"),
                               files=[{"path": "in/text", "data": b"words\n", "mode": 0o600}],
                               collect=["out/text", "missing", "link"])
        files = {f["path"]: f for f in result["files"]}
        self.assertEqual(files["out/text"]["data"], b"WORDS\n")
        self.assertEqual(files["out/text"]["sha256"], hashlib.sha256(b"WORDS\n").hexdigest())
        self.assertNotEqual(files["missing"]["error"], "")
        self.assertNotEqual(files["link"]["error"], "")  # a symbolic link is not followed
        self.assertEqual(result["message"], "2 of 3 files could not be collected; 'files' says why")
        self.assertTrue(result["stdout"]["head"].startswith(b"-rw-------"), result["stdout"]["head"])

    def test_python_image(self):
        result = self.run_task(["python3", "-c", "import json; print(json.dumps({'sum': sum(range(101))}))"], image="python")
        self.assertEqual((result["outcome"], result["stdout"]["head"]), ("succeeded", b'{"sum": 5050}\n'))
        result = self.run_task(["python", "-c", PYTHON_USES], 300, image="python", timeout_ms=280000, memory_mib=384)
        self.assertEqual((result["outcome"], result["stdout"]["head"]), ("succeeded", b"127.0.0.1\n2:00:00\npip\n"),
                         result["stderr"]["head"])

    def test_time_limit_and_cancel(self):
        result = self.run_task(sh("echo before; sleep 1000"), timeout_ms=1500)
        self.assertEqual((result["outcome"], result["field"], result["stdout"]["head"]), ("timed_out", "timeout_ms", b"before\n"))
        self.assertIs(result["key_destroyed"], True)
        sleeper = self.shared.submit(argv=sh("sleep 1000"))
        self.shared.flush()
        wait_until("it runs", lambda: f"id={sleeper} state=running" in self.shared.log())
        self.shared.cancel(sleeper)
        result = self.shared.result(sleeper)
        self.assertEqual((result["outcome"], result["ran"], result["key_destroyed"]), ("cancelled", "ran", True))

    def test_ttl_ends_a_running_task(self):
        """Its program may run longer than that, or not quite: the workspace is older than its program."""
        for ttl_ms in (10000, 20000, 60000):  # a busy host may not have booted a VM by then
            ids = [self.shared.submit(argv=sh("sleep 1000"), ttl_ms=ttl_ms, timeout_ms=timeout_ms)
                   for timeout_ms in (300000, ttl_ms - 10)]
            found = self.shared.results(ids, 180)
            if all(found[i][0]["ran"] == "ran" for i in ids):
                break
        for result in (found[i][0] for i in ids):
            self.assertEqual([result[key] for key in ("outcome", "field", "ran", "key_destroyed")],
                             ["expired", "ttl_ms", "ran", True], result["message"])

    def test_streaming_is_complete_and_ordered(self):
        size = 3_000_000
        task = self.shared.submit(argv=sh(f"head -c {size} /dev/zero | tr '\\0' x; echo end >&2"), stream=True)
        result = self.shared.result(task)
        chunks = {"stdout": {}, "stderr": {}}

        def complete():
            for message in reader.messages():
                chunk = msgpack.unpackb(message.value())
                if chunk["id"] == task:
                    chunks[chunk["stream"]][chunk["offset"]] = chunk["data"]
            return sum(map(len, chunks["stdout"].values())) >= size

        with self.shared.reader("output") as reader:
            wait_until("all output is there", complete)
        whole = b"".join(data for _, data in sorted(chunks["stdout"].items()))
        self.assertEqual((len(whole), hashlib.sha256(whole).hexdigest()), (size, result["stdout"]["sha256"]))
        self.assertEqual(b"".join(chunks["stderr"].values()), b"end\n")
        self.assertEqual((result["stdout"]["bytes"], result["stdout"]["kept"]), (size, size))

    def test_output_limit_counts_and_drops(self):
        result = self.run_task(sh("head -c 300000 /dev/zero; echo done >&2"), output_limit_bytes=100_000)
        self.assertEqual(result["outcome"], "succeeded")
        self.assertEqual(result["stdout"]["bytes"], 300_000)
        self.assertLessEqual(result["stdout"]["kept"] + result["stderr"]["kept"], 100_000)

    def test_missing_image_names_the_field(self):
        result = self.run_task(["true"], image="no-such-image")
        self.assertEqual((result["outcome"], result["field"], result["ran"]), ("rejected", "image", "not_started"))
        with self.shared.reader("dead") as letters:
            self.assertEqual([msgpack.unpackb(m.value())["id"] for m in letters.to_the_end()], [result["id"]])
        self.assertIn("no-such-image", result["message"])

    def test_greedy_tasks_hurt_only_themselves(self):
        disk = self.run_task(sh("dd if=/dev/zero of=big bs=1M count=200 2>&1; rm big; echo after"), disk_mib=64)
        self.assertIn(b"No space left", disk["stdout"]["head"])
        self.assertIn(b"after", disk["stdout"]["head"])
        # The shell says so and ends where it may not fork any more; those it made go with it.
        bomb = self.run_task(sh("while :; do sleep 1000 & echo made; done"), 400, memory_mib=768, timeout_ms=300000)
        self.assertEqual((bomb["outcome"], bomb["exit_code"]), ("failed", 2))
        self.assertIn(b"Cannot fork", bomb["stderr"]["head"])
        self.assertGreater(bomb["stdout"]["bytes"], 100 * len("made\n"))
        memory = self.run_task(["python3", "-c", "b = []\nwhile True: b.append(bytearray(8 << 20))"], image="python",
                               memory_mib=128, timeout_ms=60000)
        self.assertEqual((memory["outcome"], memory["ran"]), ("failed", "ran"))
        self.assertEqual(self.run_task(["true"])["outcome"], "succeeded")

    def test_nothing_to_reach(self):
        result = self.run_task(sh("ls /sys 2>&1; sed -n 's/^ *\\([^ :]*\\):.*/net \\1/p' /proc/net/dev; ls /dev"))
        devices = "fd full null ptmx pts random shm stderr stdin stdout tty urandom zero"
        self.assertEqual(result["stdout"]["head"].decode().split("\n"), ["net lo", *devices.split(), ""])

    def test_two_tasks_are_two_machines(self):
        same = [self.shared.submit(argv=sh("cat /proc/sys/kernel/random/boot_id; head -c 16 /dev/urandom | od -An -tx1; date +%s"))
                for _ in range(2)]
        found = self.shared.results(same)
        lines = [found[i][0]["stdout"]["head"].split(b"\n") for i in same]
        self.assertNotEqual(lines[0][0], lines[1][0])
        self.assertNotEqual(lines[0][1], lines[1][1])
        self.assertLess(abs(int(lines[0][2]) - time.time()), 120)

    def test_many_writers_at_once_do_not_end_the_vmm(self):
        """More requests in flight than QEMU may have threads for."""
        result = self.run_task(sh("for i in $(seq 100); do dd if=/dev/zero of=f$i bs=1M count=1 oflag=direct 2>&1 & done;"
                                 " wait; ls | wc -l"), disk_mib=256, memory_mib=256)
        self.assertEqual((result["outcome"], result["message"]), ("succeeded", ""))

    def test_an_id_that_is_the_name_of_a_control_file(self):
        for name in ("tasks", "cgroup.procs"):
            result = self.run_task(["true"], id=name)
            self.assertEqual((result["outcome"], result["attempt"]), ("succeeded", 1))


class Drain(EndToEnd):
    def test_what_runs_is_finished_and_the_rest_handed_back(self):
        fleet = self.fleet(slots=2)
        worker = fleet.start_worker()
        ids = [fleet.submit(argv=sh("echo done; sleep 2")) for _ in range(6)]
        fleet.flush()
        wait_until("two ran", lambda: fleet.log().count("state=running") >= 2)
        worker.terminate()
        self.assertEqual(worker.wait(60), 0)
        self.assertEqual(fleet.leftovers(), [])
        told = fleet.told()
        self.assertIn(len(told), range(2, len(ids)))  # three or more, where one boot took longer than another task
        self.assertEqual({r[0]["outcome"] for r in told.values()}, {"succeeded"})
        self.assertNotRegex(fleet.log(), "job.drop .* state=running")
        fleet.start_worker()
        found = self.assert_each_told_once(fleet, ids)
        self.assertEqual({r[0]["outcome"] for r in found.values()}, {"succeeded"})


if __name__ == "__main__":
    unittest.main(verbosity=2)
