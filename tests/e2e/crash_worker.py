#!/usr/bin/python3
"""SIGKILL to a worker, to half of it, or to it and its reaper, in every state of a job: nothing is left on the host or in Redis, and
the task is told exactly once."""
import os
import signal
import subprocess
import unittest

from case import wait_until
from in_state import InState, STATES
import processes


class Killed(InState):
    def kill_in(self, fleet, state, start, kill, ids):
        """A worker that start() made, and others, if it makes them, are killed while its task is in that state. No VM outlives its
        worker, with or without a reaper: guards see their lifeline close."""
        def harm(worker, *others):
            kill(worker, *others)
            self.assertNotEqual(worker.wait(20), 0)  # now its engine has ended, too, or is about to: nothing it waits for comes first
            wait_until("no VM is left", lambda: not processes.guards(fleet) or None, 20)

        self.hit(fleet, state, start, harm, ids)

    def test_whole_worker_in_every_state(self):
        fleet = self.fleet()
        fleet.start_reaper()
        ids = []
        for state in STATES:
            self.kill_in(fleet, state, lambda: [fleet.start_worker()], fleet.kill_group, ids)
        fleet.start_worker()
        self.assert_told_and_clean(fleet, ids)

    def test_engine_or_supervisor_alone_in_every_state(self):
        victims = {"engine": processes.engine,
                   "supervisor": lambda worker: worker.pid}
        fleet = self.fleet()
        fleet.start_reaper()
        ids = []
        for state in STATES:
            for name, find_victim in victims.items():
                with self.subTest(state=state, victim=name):
                    self.kill_in(fleet, state, lambda: [fleet.start_worker()],
                                 lambda worker, f=find_victim: os.kill(f(worker), signal.SIGKILL), ids)
        fleet.start_worker()
        self.assert_told_and_clean(fleet, ids)

    def test_worker_and_reaper_together_in_every_state(self):
        """Nobody is there who could know: the next worker and the next reaper find out."""
        fleet = self.fleet()
        ids = []
        for state in STATES:
            self.kill_in(fleet, state, lambda: [fleet.start_worker(), fleet.start_reaper()], fleet.kill_group, ids)
        fleet.start_reaper()
        fleet.start_worker()
        self.assert_told_and_clean(fleet, ids)

    def test_nobody_comes_back_and_the_reaper_answers(self):
        fleet = self.fleet()
        fleet.start_reaper(lost_after_ms=2000)
        worker = fleet.start_worker()
        task_id = self.one_task(fleet)
        self.at_state(fleet, task_id, "running")
        fleet.kill_group(worker)
        result = fleet.result(task_id)
        self.assertEqual((result["outcome"], result["ran"], result["key_destroyed"]), ("lost", "unknown", True))
        wait_until("files and processes are gone", lambda: not [x for x in fleet.leftovers() if "lease" not in x] or None, 30)
        fleet.start_worker()
        self.assert_told_and_clean(fleet, [task_id])

    def test_what_holds_fast_withholds_nothing_and_harms_no_other(self):
        """A disk that nobody can remove, of a worker that was killed: its task has an end, the host goes on with others."""
        fleet = self.fleet()
        fleet.start_reaper(lost_after_ms=2000)
        worker = fleet.start_worker()
        task_id = self.one_task(fleet)
        self.at_state(fleet, task_id, "running")
        disk = fleet.disk(task_id)
        subprocess.run(["chattr", "+i", disk], check=True)
        self.addCleanup(subprocess.run, ["chattr", "-i", disk], stderr=subprocess.DEVNULL, check=False)
        fleet.kill_group(worker)
        heir = fleet.start_worker()
        result = fleet.result(task_id)
        # The second attempt has a workspace, and a disk, of its own: what is left of the first is in nobody's way.
        self.assertEqual((result["outcome"], result["attempt"], result["key_destroyed"]), ("succeeded", 2, True))
        other = fleet.result(self.one_task(fleet))
        self.assertEqual((other["outcome"], other["key_destroyed"]), ("succeeded", True))
        self.assertIsNone(heir.poll())
        self.assertIn(f"reaper.left id={task_id} ", fleet.log())
        subprocess.run(["chattr", "-i", disk], check=True)
        self.assert_told_and_clean(fleet, [task_id, other["id"]])

    def test_a_frozen_worker_tells_nothing_afterwards(self):
        """A zombie: stopped until the reaper has given its task away, then woken."""
        fleet = self.fleet()
        fleet.start_reaper(lost_after_ms=1000)
        worker = fleet.start_worker()
        task_id = self.one_task(fleet)
        self.at_state(fleet, task_id, "running")
        engine = processes.engine(worker)
        os.kill(engine, signal.SIGSTOP)
        result = fleet.result(task_id)
        self.assertEqual(result["outcome"], "lost")
        os.kill(engine, signal.SIGCONT)
        self.assertNotEqual(worker.wait(60), 0)  # it was fenced
        fleet.start_worker()
        self.assert_told_and_clean(fleet, [task_id])


if __name__ == "__main__":
    unittest.main(verbosity=2)
