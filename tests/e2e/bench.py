#!/usr/bin/python3
"""tools/bench runs and says what it should; how fast anything was is for people to judge."""
import os
import subprocess
import unittest

from case import REPO


class Bench(unittest.TestCase):
    def bench(self, *args):
        done = subprocess.run(["/usr/bin/python3", os.path.join(REPO, "tools", "bench"), *args], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, check=False, timeout=600)
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
        number = r" +(\d+|nan)"
        for way in ("by hand, a plain command line", "by hand, Mayfly's own", "cold", "clone", "pool"):
            self.assertRegex(said, rf"\n  {way} .*{number}{number}{number}\n")
        for way in ("cold", "clone", "pool"):
            self.assertRegex(said, rf"\n  {way} +to user code +([\d.]+|nan) +to Python's result +([\d.]+|nan)")
        self.assertRegex(said, r"memory of an idle workspace of the pool, PSS: [\d.]+ MiB")

    def test_tasks(self):
        said = self.bench("tasks", "8", "2")
        self.assertRegex(said, r"8 tasks in [\d.]+ s: [\d.]+/s; outcomes \{'succeeded': 8\}")
        for kind in ("getrandom", "uuid", "random", "hash", "machine id", "boot id"):
            self.assertIn(f"\n  {kind}: 0 of 8 were seen before\n", said)


if __name__ == "__main__":
    unittest.main(verbosity=2)
