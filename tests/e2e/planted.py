#!/usr/bin/python3
"""Negative controls of what the other files lean on: the audit finds one of each thing a crash could leave, and the count of
terminal results sees a second one and a missing one; no fleet is closed in peace that should not be, and its story leaves nobody out;
harm that came too late is done again to all whom it needs."""
import contextlib
import os
import subprocess
import types
import unittest

from case import EndToEnd, wait_until
from in_state import InState
import processes
from stack import Fleet, SANITIZERS, Services

T1, T2, T3 = (f"2026-11-28T10:00:00.00{n}Z" for n in (1, 2, 3))


class Late(InState):
    """Whose tasks are found in these states, one after the other, when harm has been done."""

    def __init__(self, *states):
        super().__init__()
        self.states = iter(states)

    @contextlib.contextmanager
    def frozen_at(self, fleet, worker, state):
        yield "task"

    def state_of(self, fleet, task_id):
        return next(self.states)


class Unlucky(InState):
    def one_task(self, fleet, **task):
        raise OSError("it cannot be submitted")


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
        daemon = self.planted.launch("daemon", "/bin/sh", "-c", "sleep 61 & exec sleep 62")
        self.addCleanup(self.planted.kill_group, daemon)
        wait_until("it has a child", lambda: self.planted.children(daemon))
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
        daemon = fleet.launch("daemon", "/bin/sh", "-c", "trap 'exit 3' TERM; echo; while :; do sleep 0.1; done")
        wait_until("it hears signals", daemon.log.text)
        with self.assertRaisesRegex(AssertionError, "1 did not end well"):
            fleet.close()

    def test_a_story_leaves_nobody_out(self):
        fleet = self.planted
        silent, loud = fleet.launch("silent", "/bin/sh", "-c", "exit 3"), fleet.launch("loud", "/bin/echo", f"{T1} info  engine x")
        for daemon in (silent, loud):
            daemon.wait()
        living = fleet.launch("living", "/bin/sleep", "63")
        self.addCleanup(fleet.kill_group, living)
        wait_until("it sleeps", lambda: processes.states(living.pid) == {living.pid: "S"})
        self.assertEqual(fleet.story().splitlines()[:4], [
            f"silent-0.log, pid {silent.pid}, ended with 3; it said nothing",
            f"loud-1.log, pid {loud.pid}, ended with 0; the last of its lines (1):", f"    {T1} info  engine x",
            f"living-2.log, pid {living.pid}, runs {{{living.pid}: 'S'}}; it said nothing"])

    def test_one_text_of_all_logs_only_grows(self):
        fleet = self.planted
        texts = []
        for number, said in enumerate((f"{T2} a\nmore\n{T1} b\n", f"{T2} c\n{T3} d\n", f"{T1} late\n")):
            fleet.launch(f"daemon{number}", "/bin/echo", "-n", said).wait()
            if number:
                texts.append(fleet.log())
        self.assertEqual(texts, [first := f"{T2} a\nmore\n{T1} b\n{T2} c\n{T3} d\n", first + f"{T1} late\n"])

    def test_harm_that_came_too_late_is_done_to_all_again(self):
        fleet = self.planted
        fleet.results = lambda ids, seconds: {}  # there is no Kafka
        self.assertEqual(Late("ending", "telling", "running").hit(fleet, "running", lambda: [
            fleet.launch("daemon", "/bin/sleep", "64") for _ in range(2)], fleet.kill_group, ids := []), "task")
        self.assertEqual(([daemon.poll() for daemon in fleet.processes], ids), ([-9] * 6, ["task"] * 3))
        with self.assertRaisesRegex(AssertionError, "in 5 tries"):
            Late(*["ending"] * 5).hit(fleet, "running", lambda: [fleet.launch("daemon", "/bin/sleep", "64")], fleet.kill_group, [])
        dead = fleet.processes[0]
        with self.assertRaisesRegex(AssertionError, "/bin/sleep"):
            Late("ending").hit(fleet, "running", lambda: [dead], fleet.kill_group, [])

    def test_who_is_stopped_is_woken_whatever_happens(self):
        test = Unlucky()
        test.services = types.SimpleNamespace(redis=self.services.redis, kafka=self.services.redis)
        worker = self.planted.launch("worker", "/bin/sleep", "65")
        self.addCleanup(self.planted.kill_group, worker)
        with self.assertRaisesRegex(OSError, "cannot be submitted"), test.frozen_at(self.planted, worker, "claiming"):
            pass
        self.assertEqual(self.services.redis_command("PING"), "PONG")

    def test_a_sanitizers_report(self):
        for sign in SANITIZERS:
            fleet = Fleet(self.services)
            fleet.launch("daemon", "/bin/echo", f"==1=={sign}: a leak").wait()
            with self.assertRaisesRegex(AssertionError, "a sanitizer's report"):
                fleet.close()

    def test_results_told_twice_or_not_at_all(self):
        self.assert_told_once({"a": [1], "b": [2]}, ["a", "b"])
        for found in ({"a": [1], "b": [2, 2]}, {"a": [1]}, {"a": [1], "b": [2], "c": [3]}):
            with self.assertRaises(AssertionError):
                self.assert_told_once(found, ["a", "b"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
