#!/usr/bin/python3
"""SIGKILL to what a job needs while its worker lives, in every state of the job that has it: lanes, VMM, guard, reaper. The job ends
cleanly, is told exactly once, and nothing is left on the host or in Redis."""
import os
import signal
import unittest

from case import audit, wait_until
from in_state import InState, STATES
import processes


class Lane(InState):
    def test_both_die_in_every_state(self):
        fleet = self.fleet()
        worker = fleet.start_worker()
        ids = []

        def kill():
            for lane in processes.lanes(worker):
                os.kill(lane, signal.SIGKILL)

        for state in STATES:
            with self.subTest(state):
                result = self.result_of(fleet, self.hit(fleet, worker, state, kill, ids))
                self.assertEqual((result["outcome"], result["key_destroyed"]), ("succeeded", True))
                self.assertIsNone(worker.poll())
        self.settle(fleet, ids)

    def test_one_that_hangs_is_replaced(self):
        fleet = self.fleet()
        worker = fleet.start_worker()
        lanes = processes.lanes(worker)
        for lane in lanes:
            os.kill(lane, signal.SIGSTOP)
        result = fleet.result(self.one_task(fleet))
        self.assertEqual(result["outcome"], "succeeded")
        self.assertIn("did not answer", fleet.log())


class Machine(InState):
    def test_vmm_or_guard_dies_while_user_code_runs(self):
        for victim, expected in ((b"qemu-system", "failed"), (b"mayfly-guard", "failed")):
            with self.subTest(victim):
                fleet = self.fleet()
                fleet.start_worker()
                task_id = self.one_task(fleet)
                self.at_state(fleet, task_id, "running")
                guards = processes.guards(fleet)
                self.assertEqual(len(guards), 1)
                os.kill(processes.vmms(fleet)[0] if victim == b"qemu-system" else guards[0], signal.SIGKILL)
                result = fleet.result(task_id)
                self.assertEqual((result["outcome"], result["ran"], result["key_destroyed"]), (expected, "ran", True))
                self.assert_nothing_left(fleet)

    def kill_vmm(self, fleet):
        for vmm in wait_until("there is a VMM", lambda: processes.vmms(fleet), step=0.002):
            os.kill(vmm, signal.SIGKILL)

    def test_vmm_dies_in_every_other_state_that_has_one(self):
        """While user code has not run, the task is tried again; afterwards it is told what happened; at the end it does not
        matter any more."""
        expected = {"preparing": {"succeeded"}, "booting": {"succeeded"}, "collecting": {"failed", "succeeded"}, "erasing": {"succeeded"}}
        fleet = self.fleet()
        worker = fleet.start_worker()
        ids = []
        for state, outcomes in expected.items():
            with self.subTest(state):
                result = self.result_of(fleet, self.hit(fleet, worker, state, lambda: self.kill_vmm(fleet), ids))
                self.assertIn(result["outcome"], outcomes)
                self.assertIs(result["key_destroyed"], True)
        self.settle(fleet, ids)

    def test_one_that_cannot_be_removed_keeps_its_slot(self):
        """Its uid may still have processes. The only slot: the worker takes no more tasks, and ends."""
        fleet = self.fleet(slots=1)
        worker = fleet.start_worker()
        task_id = self.one_task(fleet)
        self.at_state(fleet, task_id, "running")
        planted = os.path.join(audit.control_groups(fleet)[0], "planted")
        os.mkdir(planted)
        try:
            self.assertEqual(fleet.result(task_id)["outcome"], "succeeded")
            self.assertEqual(worker.wait(120), 1)
            self.assertIn("is empty and cannot be removed; look for groups below it", fleet.log())
            self.assertIn("the reaper will find it, the slot is not used again", fleet.log())
        finally:
            os.rmdir(planted)
        fleet.start_reaper()
        self.settle(fleet, [task_id])


class Reaper(InState):
    def test_it_dies_in_every_state_of_a_job_that_is_well(self):
        fleet = self.fleet()
        worker = fleet.start_worker()
        ids = []
        for state in STATES:
            with self.subTest(state):
                reaper = fleet.start_reaper()
                result = self.result_of(fleet, self.hit(fleet, worker, state, lambda r=reaper: fleet.kill_group(r), ids))
                self.assertEqual((result["outcome"], result["attempt"]), ("succeeded", 1))
                fleet.kill_group(reaper)  # that of a try that came too late
        fleet.start_reaper()
        self.settle(fleet, ids)

    def test_it_dies_while_it_reaps(self):
        for moment, state in (("reaper.take", "erasing"), ("reaper.erased", "booting"), ("reaper.fenced", "collecting"),
                              ("reaper.told", "running")):
            with self.subTest(moment):
                fleet = self.fleet()
                reaper = fleet.start_reaper(lost_after_ms=1000)
                worker = fleet.start_worker()
                task_id, _ = self.frozen_at(fleet, worker, state)  # lanes that are stopped die with it
                fleet.kill_group(worker)
                wait_until(moment, lambda m=moment: m in fleet.log(), 60, step=0.002)
                fleet.kill_group(reaper)
                fleet.start_reaper(lost_after_ms=1000)
                self.assertEqual(fleet.result(task_id)["outcome"], "lost")
                fleet.start_worker()
                self.settle(fleet, [task_id])


if __name__ == "__main__":
    unittest.main(verbosity=2)
