#!/usr/bin/python3
"""SIGKILL to every part of a worker in every state of a job: nothing is left on the host or in Redis, and the task is told
exactly once."""
import contextlib
import os
import re
import signal
import unittest

from case import EndToEnd, wait_until
import processes

STATES = ("leasing", "preparing", "booting", "running", "collecting", "erasing", "telling", "releasing")
TRIES = 5  # to kill in a state that lasts as long as it likes


class Crash(EndToEnd):
    settings = {"lease_ms": 3000, "grace_ms": 1000}

    def one_task(self, fleet, **task):
        task_id = fleet.submit(argv=["/bin/sh", "-c", "echo x > out; sleep 2"], collect=["out"], **task)
        fleet.flush()
        return task_id

    def at_state(self, fleet, task_id, state):
        needle = f"id={task_id} state={state} "
        wait_until(f"{task_id} is {state}", lambda: needle in fleet.log(), 60, step=0.002)

    def state_of(self, fleet, task_id):
        return re.findall(rf"id={task_id} state=(\w+)", fleet.log())[-1]

    def frozen_at(self, fleet, worker, state):
        """A task that stays in that state, if somebody can be stopped who would end it, and whom to wake; it is stopped in the
        state before, or before the task is there."""
        lanes = processes.lanes(worker)
        stopped, before = {"leasing": ([self.services.redis.pid], None), "erasing": (lanes, "collecting"),
                           "telling": ([self.services.kafka.pid], "collecting"),
                           "releasing": ([self.services.redis.pid], "collecting")}.get(state, ([], None))
        task_id = None if stopped and not before else self.one_task(fleet)
        if before:
            self.at_state(fleet, task_id, before)
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        task_id = task_id or self.one_task(fleet)
        self.at_state(fleet, task_id, state)
        return task_id, stopped

    def kill_in(self, fleet, state, kill, ids):
        """A worker that is killed while its task is in that state, as the log says afterwards; the task is added to `ids`."""
        for _ in range(TRIES):
            worker = fleet.start_worker()
            task_id, stopped = self.frozen_at(fleet, worker, state)
            kill(worker)
            ids.append(task_id)
            for pid in stopped:
                with contextlib.suppress(ProcessLookupError):  # a lane that was killed as well
                    os.kill(pid, signal.SIGCONT)
            self.assertNotEqual(worker.wait(20), 0)
            self.assert_vms_end(fleet)
            if self.state_of(fleet, task_id) == state:
                return
        self.fail(f"in {TRIES} tries no worker was killed while its task was {state}")

    def settle(self, fleet, ids, seconds=180):
        self.assert_each_told_once(fleet, ids, seconds)
        self.assert_nothing_left(fleet, 60)

    def test_whole_worker_in_every_state(self):
        fleet = self.fleet()
        fleet.start_reaper()
        ids = []
        for state in STATES:
            self.kill_in(fleet, state, fleet.kill_group, ids)
        fleet.start_worker()
        self.settle(fleet, ids, 240)

    def test_engine_or_supervisor_alone_in_every_state(self):
        victims = {"engine": processes.engine,
                   "supervisor": lambda worker: worker.pid}
        fleet = self.fleet()
        fleet.start_reaper()
        ids = []
        for i, state in enumerate(STATES):  # each half of the states: they are the same to both
            find_victim = victims["engine" if i % 2 else "supervisor"]
            self.kill_in(fleet, state, lambda worker, f=find_victim: os.kill(f(worker), signal.SIGKILL), ids)
        fleet.start_worker()
        self.settle(fleet, ids, 240)

    def assert_vms_end(self, fleet):
        """Guards see their lifeline close: no VM outlives its worker, with or without a reaper."""
        wait_until("no VM is left", lambda: not processes.guards(fleet) or None, 20)

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
        self.settle(fleet, [task_id])

    def test_a_lane_dies_and_the_job_ends_cleanly(self):
        fleet = self.fleet()
        worker = fleet.start_worker()
        for state in STATES:
            with self.subTest(state):
                task_id = self.one_task(fleet)
                self.at_state(fleet, task_id, state)
                for lane in processes.lanes(worker):
                    os.kill(lane, signal.SIGKILL)
                result = fleet.result(task_id)
                self.assertEqual(result["outcome"], "succeeded")
                self.assertIs(result["key_destroyed"], True)
                self.assert_nothing_left(fleet)
                self.assertIsNone(worker.poll())

    def test_a_hanging_lane_is_replaced(self):
        fleet = self.fleet()
        worker = fleet.start_worker()
        lanes = processes.lanes(worker)
        for lane in lanes:
            os.kill(lane, signal.SIGSTOP)
        result = fleet.result(self.one_task(fleet))
        self.assertEqual(result["outcome"], "succeeded")
        self.assertIn("did not answer", fleet.log())

    def test_vmm_and_guard_die(self):
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

    def test_vmm_dies_in_every_state_that_has_one(self):
        """While user code has not run, the task is tried again; afterwards it is told what happened; at the end it does not
        matter any more."""
        expected = {"preparing": {"succeeded"}, "booting": {"succeeded"}, "collecting": {"failed", "succeeded"}, "erasing": {"succeeded"}}
        fleet = self.fleet()
        worker = fleet.start_worker()
        for state, outcomes in expected.items():
            with self.subTest(state):
                task_id, stopped = self.frozen_at(fleet, worker, state)
                self.kill_vmm(fleet)
                for pid in stopped:
                    os.kill(pid, signal.SIGCONT)
                result = fleet.result(task_id)
                self.assertIn(result["outcome"], outcomes)
                self.assertIs(result["key_destroyed"], True)
                self.assert_nothing_left(fleet)

    def test_reaper_dies_while_it_reaps(self):
        for moment in ("reaper.take", "reaper.erased", "reaper.fenced"):
            with self.subTest(moment):
                fleet = self.fleet()
                reaper = fleet.start_reaper(lost_after_ms=1000)
                worker = fleet.start_worker()
                task_id = self.one_task(fleet)
                self.at_state(fleet, task_id, "running")
                fleet.kill_group(worker)
                wait_until(moment, lambda: moment in fleet.log(), 60, step=0.002)
                fleet.kill_group(reaper)
                fleet.start_reaper(lost_after_ms=1000)
                self.assertEqual(fleet.result(task_id)["outcome"], "lost")
                fleet.start_worker()
                self.settle(fleet, [task_id])

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
        self.settle(fleet, [task_id])


if __name__ == "__main__":
    unittest.main(verbosity=2)
