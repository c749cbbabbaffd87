#!/usr/bin/python3
"""tools/bench runs and says what it should; how fast anything was is for people to judge."""
import os
import subprocess
import unittest

from case import REPO


class Bench(unittest.TestCase):
    def bench(self, *args):
        done = subprocess.run(["/usr/bin/python3", os.path.join(REPO, "tools", "bench"), *args], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, check=False, timeout=400)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr[-3000:])
        return done.stdout

    def test_queue(self):
        said = self.bench("queue", "2000", "1")
        self.assertRegex(said, r"2000 no-op tasks, 1 runs of each by turns")
        for who in ("bare loop", "loop that decodes", "Mayfly"):
            self.assertRegex(said, rf"{who} +\d+/s; processor time of a task: \d+\.\d us, Redis's \d+\.\d us, Kafka's \d+ us")
        self.assertRegex(said, r"Mayfly / bare loop: rate \d+\.\d\d \(.*\), processor time \d+\.\d\d \(")

    def test_start(self):
        said = self.bench("start", "1")
        for line in ("a plain command line", "Mayfly's own"):
            self.assertRegex(said, rf"by hand, {line}, QEMU exec to Python's line: median (\d+|nan) ms of [01], \d+ hung")
        for stage in ("lease", "disk", "vmm", "boot", "key", "setup", "launch", "start", "run", "erase", "total"):
            self.assertRegex(said, rf" {stage} \d+")
        self.assertRegex(said, r"pipeline overhead beyond the VM: p50 \d+ ms")


if __name__ == "__main__":
    unittest.main(verbosity=2)
