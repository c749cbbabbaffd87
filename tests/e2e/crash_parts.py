#!/usr/bin/python3
"""SIGKILL (or worse) to what a job needs while its worker lives, in every state of the job that has it: lanes, VMM, guard, reaper. The job ends
cleanly, is told exactly once, and nothing is left on the host or in Redis."""
import contextlib
import os
import re
import signal
import time

from case import audit, wait_until
from in_state import InState, STATES
import processes
import skips

FREEZER = "/sys/fs/cgroup/freezer"  # of cgroup v1: a frozen process is as hard to kill as one that hangs in the kernel


class Lane(InState):
    def test_both_die_in_every_state(self):
        fleet = self.fleet()
        worker = fleet.start_worker()
        ids = []

        def kill(_):
            for lane in processes.lanes(worker):
                os.kill(lane, signal.SIGKILL)

        for state in STATES:
            with self.subTest(state):
                result = self.result_of(fleet, self.hit(fleet, state, lambda: [worker], kill, ids))
                self.assertEqual((result["outcome"], result["key_destroyed"]), ("succeeded", True))
                self.assertIsNone(worker.poll())
        self.assert_told_and_clean(fleet, ids)

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
    def kill(self, find, fleet):
        """Those that there are, or come in a moment; hit() sees when it was too late for any."""
        ends = time.monotonic() + 5
        while not (found := find(fleet)) and time.monotonic() < ends:
            time.sleep(0.002)
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def kill_vmm(self, fleet):
        self.kill(processes.vmms, fleet)

    def kill_guard(self, fleet):
        self.kill(processes.guards, fleet)

    def test_vmm_or_guard_dies_in_every_state_that_has_one(self):
        """While user code has not run, the task is tried again; afterwards it is told what happened."""
        expected = {"making": {"succeeded"}, "booting": {"succeeded"}, "running": {"failed"}, "collecting": {"failed", "succeeded"}}
        fleet = self.fleet()
        worker = fleet.start_worker()
        ids = []
        for kill in (self.kill_vmm, self.kill_guard):
            for state, outcomes in expected.items():
                with self.subTest(state=state, kill=kill.__name__):
                    result = self.result_of(fleet, self.hit(fleet, state, lambda: [worker], lambda _, k=kill: k(fleet), ids))
                    self.assertIn(result["outcome"], outcomes)
                    self.assertIs(result["key_destroyed"], True)
        ids.append(self.guard_dies_at_the_end(fleet))
        self.assertIsNone(worker.poll())
        self.assert_told_and_clean(fleet, ids)

    def guard_dies_at_the_end(self, fleet):
        """While it should kill its VMM, and does not: the lane does."""
        task_id = self.one_task(fleet)
        self.at_state(fleet, task_id, "running")  # what follows is too short to find anybody in it
        guard = processes.guards(fleet)[0]
        os.kill(guard, signal.SIGSTOP)
        self.at_state(fleet, task_id, "ending")
        os.kill(guard, signal.SIGKILL)
        result = self.result_of(fleet, task_id)
        self.assertEqual((result["outcome"], result["key_destroyed"]), ("succeeded", True))
        return task_id

    def test_a_guard_ends_its_vm_in_time_without_anybody(self):
        """Supervisor, engine and lanes stand still, and there is no reaper."""
        fleet = self.fleet()
        worker = fleet.start_worker()
        first = self.result_of(fleet, self.one_task(fleet))
        ttl_ms = 5000 + 4 * first["timings_ms"]["start"]  # enough to boot in, on this host
        task_id = fleet.submit(argv=["/bin/sleep", "1000"], ttl_ms=ttl_ms)
        fleet.flush()
        self.at_state(fleet, task_id, "running")
        standing = [worker.pid, *processes.children(worker.pid)]
        for pid in standing:
            os.kill(pid, signal.SIGSTOP)
        try:
            self.assertNotEqual(self.members(fleet), set())
            wait_until("the guard has ended its VM", lambda: not processes.guards(fleet), 60 + ttl_ms / 1000)
            self.assertEqual(audit.control_groups(fleet), [])
        finally:
            for pid in standing:
                os.kill(pid, signal.SIGCONT)
        fleet.start_reaper()
        self.assertIn(fleet.result(task_id)["outcome"], ("expired", "lost"))  # who is first: the engine that wakes, or the reaper
        self.assert_told_and_clean(fleet, [first["id"], task_id])

    def members(self, fleet):
        """Processes in control groups of this fleet's workspaces."""
        found = set()
        for group in audit.control_groups(fleet):
            with contextlib.suppress(OSError), open(os.path.join(group, "cgroup.procs"), encoding="ascii") as f:  # removed meanwhile
                found |= set(map(int, f.read().split()))
        return found

    def when_it_is_visible(self, fleet, task_id):
        """The result, and what was in its control groups when a reader could see it."""
        found = {}
        with fleet.reader("results") as reader:
            wait_until("a result is visible", lambda: reader.collect(found) or task_id in found, 120, step=0)
            return found[task_id][0], self.members(fleet)

    def test_no_result_is_visible_while_its_vm_runs(self):
        """Also when neither the guard does anything, which would kill it at once, nor the VM, whose agent ends it when nobody listens."""
        fleet = self.fleet()
        fleet.start_worker()
        first = self.one_task(fleet)
        self.result_of(fleet, first)  # a worker's first transaction may take longer than a guard is waited for
        task_id = self.one_task(fleet)
        self.at_state(fleet, task_id, "running")
        vm = self.members(fleet)
        self.assertNotEqual(vm, set())  # they are seen
        guard = processes.guards(fleet)[0]
        for pid in {guard, *vm}:
            os.kill(pid, signal.SIGSTOP)
        try:
            fleet.cancel(task_id)
            result, members = self.when_it_is_visible(fleet, task_id)
        finally:
            os.kill(guard, signal.SIGCONT)
        self.assertEqual(members, set())
        self.assertEqual((result["outcome"], result["key_destroyed"]), ("cancelled", True))
        self.assert_told_and_clean(fleet, [first, task_id])

    def test_one_that_cannot_be_killed_is_told_of(self):
        """A result does not wait for it for ever, and does not claim what is not so."""
        if not os.path.isdir(FREEZER):
            skips.is_too_good(self, "there is nothing here that keeps a process from being killed")
        fleet = self.fleet(slots=1)
        worker = fleet.start_worker()
        task_id = self.one_task(fleet)
        self.at_state(fleet, task_id, "running")
        ice = os.path.join(FREEZER, "mayfly-test-" + fleet.name)
        os.mkdir(ice)
        try:
            for vmm in self.members(fleet):
                with open(os.path.join(ice, "cgroup.procs"), "w", encoding="ascii") as f:
                    f.write(str(vmm))
            with contextlib.suppress(OSError), open(os.path.join(ice, "freezer.state"), "w", encoding="ascii") as f:
                f.write("FROZEN")
            result, members = self.when_it_is_visible(fleet, task_id)
            self.assertNotEqual(members, set())
            self.assertIs(result["key_destroyed"], False)
            self.assertIn("its microVM could not be killed and may still run", result["message"])
            self.assertEqual(worker.wait(120), 1)
        finally:
            with open(os.path.join(ice, "freezer.state"), "w", encoding="ascii") as f:
                f.write("THAWED")
            wait_until("it is dead", lambda: not self.members(fleet))
            os.rmdir(ice)
        fleet.start_reaper()
        self.assert_told_and_clean(fleet, [task_id])

    def test_one_that_cannot_be_removed_keeps_its_slot(self):
        """Its uid may still have processes. The only slot: the worker takes no more tasks, and ends."""
        fleet = self.fleet(slots=1)
        worker = fleet.start_worker()
        task_id = self.one_task(fleet)
        self.at_state(fleet, task_id, "running")
        planted = os.path.join(audit.control_groups(fleet)[0], "planted")
        os.mkdir(planted)
        try:
            result = fleet.result(task_id)
            self.assertEqual((result["outcome"], result["key_destroyed"], result["message"]), ("succeeded", True, ""))
            self.assertEqual(worker.wait(120), 1)
            self.assertIn("is empty and cannot be removed; look for groups below it", fleet.log())
            self.assertIn("the reaper will find it, the slot is not used again", fleet.log())
        finally:
            os.rmdir(planted)
        fleet.start_reaper()
        self.assert_told_and_clean(fleet, [task_id])


class Reaper(InState):
    def test_it_dies_in_every_state_of_a_job_that_is_well(self):
        fleet = self.fleet()
        worker = fleet.start_worker()
        ids = []
        for state in STATES:
            with self.subTest(state):
                task_id = self.hit(fleet, state, lambda: [worker, fleet.start_reaper()], lambda _, reaper: fleet.kill_group(reaper), ids)
                result = self.result_of(fleet, task_id)
                self.assertEqual((result["outcome"], result["attempt"]), ("succeeded", 1))
        fleet.start_reaper()
        self.assert_told_and_clean(fleet, ids)

    def test_it_dies_while_it_reaps(self):
        for moment, state in (("reaper.take", "ending"), ("reaper.erased", "booting"), ("reaper.fenced", "collecting"),
                              ("reaper.told", "running")):
            with self.subTest(moment):
                fleet = self.fleet()
                reaper = fleet.start_reaper(lost_after_ms=1000)
                ids = []
                task_id = self.hit(fleet, state, lambda f=fleet: [f.start_worker()], fleet.kill_group, ids)
                owner = re.search(r" engine\.start owner=(\S+)", fleet.processes[-1].log.text()).group(1)  # not that of an earlier try
                needle = re.compile(rf" {moment} (id={task_id} |owner={owner}\n)")
                wait_until(moment, lambda f=fleet, n=needle: n.search(f.log()), 60, step=0.002)
                fleet.kill_group(reaper)
                fleet.start_reaper(lost_after_ms=1000)
                self.assertEqual(fleet.result(task_id)["outcome"], "lost")
                fleet.start_worker()
                self.assert_told_and_clean(fleet, ids)


if __name__ == "__main__":
    skips.main()
