#!/usr/bin/python3
"""SIGKILL to a worker, to half of it, or to it and its reaper, in every state of a job: nothing is left on the host or in Redis, and
the task is told exactly once."""
import contextlib
import os
import signal
import subprocess
import unittest

from case import wait_until
from in_state import InState, STATES, TRIES
import processes


class Killed(InState):
    def kill_in(self, fleet, state, kill, ids):
        """A worker that is killed while its task is in that state, as the log says afterwards; the task is added to `ids`."""
        for _ in range(TRIES):
            worker = fleet.start_worker()
            # What the last one left runs first: on a slow host it kept both slots for longer than a state is waited for.
            fleet.results(ids, 240)
            task_id, stopped = self.frozen_at(fleet, worker, state)
            kill(worker)
            ids.append(task_id)
            self.assertNotEqual(worker.wait(20), 0)  # now its engine has ended, too, or is about to: nothing it waits for comes first
            for pid in stopped:
                with contextlib.suppress(ProcessLookupError):  # a lane that was killed as well
                    os.kill(pid, signal.SIGCONT)
            self.assert_vms_end(fleet)
            if self.state_of(fleet, task_id) == state:
                return
        self.fail(f"in {TRIES} tries no worker was killed while its task was {state}")

    def assert_vms_end(self, fleet):
        """Guards see their lifeline close: no VM outlives its worker, with or without a reaper."""
        wait_until("no VM is left", lambda: not processes.guards(fleet) or None, 20)

    def test_whole_worker_in_every_state(self):
        fleet = self.fleet()
        fleet.start_reaper()
        ids = []
        for state in STATES:
            self.kill_in(fleet, state, fleet.kill_group, ids)
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
                    self.kill_in(fleet, state, lambda worker, f=find_victim: os.kill(f(worker), signal.SIGKILL), ids)
        fleet.start_worker()
        self.assert_told_and_clean(fleet, ids)

    def test_worker_and_reaper_together_in_every_state(self):
        """Nobody is there who could know: the next worker and the next reaper find out."""
        fleet = self.fleet()
        ids = []
        for state in STATES:
            reaper = fleet.start_reaper()

            def kill(worker, other=reaper):
                fleet.kill_group(other)
                fleet.kill_group(worker)

            self.kill_in(fleet, state, kill, ids)
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
