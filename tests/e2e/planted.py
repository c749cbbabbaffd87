#!/usr/bin/python3
"""Negative controls of what the other files lean on: the audit finds one of each thing a crash could leave, and the count of
terminal results sees a second one and a missing one; no fleet is closed in peace that should not be."""
import os
import subprocess
import unittest

from case import EndToEnd
from stack import Fleet, SANITIZERS, Services


class Planted(EndToEnd):
    @classmethod
    def setUpClass(cls):
        cls.services = Services()
        cls.services.start_redis()

    def setUp(self):
        self.planted = self.fleet()
        self.assertEqual(self.planted.leftovers(), [])

    def assert_found(self, text):
        left = self.planted.leftovers()
        self.assertEqual(len(left), 1, left)
        self.assertIn(text, left[0])

    def plant(self, *command):
        process = subprocess.Popen(command, start_new_session=True, stdin=subprocess.DEVNULL)
        self.addCleanup(self.planted.kill_group, process)
        return process

    def test_a_disk(self):
        path = os.path.join(self.planted.state, "scratch", "x.luks")
        with open(path, "wb"):
            self.assert_found("x.luks")

    def test_a_control_group(self):
        group = f"/sys/fs/cgroup/pids/mayfly.{self.planted.name}/vm-x"
        if not os.path.isdir("/sys/fs/cgroup/pids"):
            group = f"/sys/fs/cgroup/mayfly.{self.planted.name}/vm-x"
        os.makedirs(group)
        self.addCleanup(os.rmdir, os.path.dirname(group))
        self.addCleanup(os.rmdir, group)
        self.assert_found(group)

    def test_a_lease_and_a_deadline(self):
        self.services.redis_command("SET", self.planted.name + ":{mayfly}:lease:x", "a line")
        self.assert_found(":lease:x")
        self.services.redis_command("DEL", self.planted.name + ":{mayfly}:lease:x")
        self.services.redis_command("ZADD", self.planted.name + ":{mayfly}:deadlines", 1, "task-x")
        self.assert_found("task-x")

    def test_a_guard(self):
        self.plant("/bin/bash", "-c", "exec -a $0 sleep 60", f"mayfly.{self.planted.name}/x")
        self.assert_found("process")

    def test_a_child_of_a_daemon_that_is_no_more(self):
        daemon = self.plant("/bin/sh", "-c", "sleep 61 & echo; exec sleep 62")
        self.planted.processes.append(daemon)
        self.assertEqual(self.planted.leftovers(), [])  # a living daemon's processes are no leftovers
        daemon.kill()
        daemon.wait()
        self.assert_found("sleep\\x0061")

    def test_a_mount(self):
        folder = os.path.join(self.planted.state, "mounted")
        os.mkdir(folder)
        subprocess.run(["mount", "-t", "tmpfs", "none", folder], check=True)
        self.addCleanup(subprocess.run, ["umount", folder], check=True)
        self.assert_found(folder)

    def test_a_daemon_that_does_not_end_well(self):
        fleet = Fleet(self.services)
        daemon = subprocess.Popen(["/bin/sh", "-c", "trap 'exit 3' TERM; echo; while :; do sleep 0.1; done"], start_new_session=True,
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        self.addCleanup(daemon.stdout.close)
        daemon.stdout.readline()
        fleet.processes.append(daemon)
        with self.assertRaisesRegex(AssertionError, "1 did not end well"):
            fleet.close()

    def test_a_sanitizers_report(self):
        for sign in SANITIZERS:
            fleet = Fleet(self.services)
            with open(fleet.log_path, "w", encoding="ascii") as log:
                log.write(f"==1=={sign}: a leak\n")
            with self.assertRaisesRegex(AssertionError, "a sanitizer's report"):
                fleet.close()

    def test_results_told_twice_or_not_at_all(self):
        self.assert_told_once({"a": [1], "b": [2]}, ["a", "b"])
        for found in ({"a": [1], "b": [2, 2]}, {"a": [1]}, {"a": [1], "b": [2], "c": [3]}):
            with self.assertRaises(AssertionError):
                self.assert_told_once(found, ["a", "b"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
