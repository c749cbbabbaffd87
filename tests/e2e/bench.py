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
        self.assertRegex(self.bench("queue", "2000"), r"bare loop \d+/s, Mayfly \d+/s, Mayfly / bare \d+\.\d\d \(2000 no-op tasks")

    def test_start(self):
        said = self.bench("start", "1")
        for stage in ("lease", "disk", "vmm", "boot", "key", "setup", "launch", "start", "run", "erase", "total"):
            self.assertRegex(said, rf" {stage} \d+")
        self.assertRegex(said, r"pipeline overhead beyond the VM: p50 \d+ ms")


if __name__ == "__main__":
    unittest.main(verbosity=2)
