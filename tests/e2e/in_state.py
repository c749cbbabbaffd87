"""For tests that do harm to something while a job is in a state that the test chose."""
import contextlib
import os
import re
import signal

from case import EndToEnd, wait_until
import processes

# Where a job is, as the log says: its own states; within "making" the moment in which the VM has its disk's key; within "running" the
# moment in which its program has ended and its files come back.
STATES = ("claiming", "making", "booting", "running", "collecting", "ending", "telling", "releasing")
TRIES = 5  # to hit a state that lasts as long as it likes


class InState(EndToEnd):
    settings = {"lease_ms": 3000, "grace_ms": 1000}

    def one_task(self, fleet, **task):
        task_id = fleet.submit(argv=["/bin/sh", "-c", "echo x > out; sleep 2"], collect=["out"], **task)
        fleet.flush()
        return task_id

    def states_of(self, fleet, task_id):
        own = re.findall(rf" (?:job\.state id={task_id} state=(\w+)|workspace\.stage vm=\S+ id={task_id} stage=(key) status=ready"
                         rf"|exec\.state id={task_id} state=(collecting))", fleet.log())
        return [state or ("booting" if key else collecting) for state, key, collecting in own]

    def at_state(self, fleet, task_id, state):
        """As soon as the log says so: some states last milliseconds."""
        needle = {"booting": f" id={task_id} stage=key status=ready", "collecting": f"exec.state id={task_id} state=collecting "}
        needle = needle.get(state, f"job.state id={task_id} state={state} ")
        wait_until(f"{task_id} is {state}", lambda: needle in fleet.log(), 60, step=0.002)

    def state_of(self, fleet, task_id):
        return self.states_of(fleet, task_id)[-1]

    def frozen_at(self, fleet, worker, state):
        """A task that stays in that state, if somebody can be stopped who would end it, and whom to wake; it is stopped in the
        state before, or before the task is there."""
        lanes = processes.lanes(worker)
        stopped, before = {"claiming": ([self.services.redis.pid], None), "ending": (lanes, "collecting"),
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

    def hit(self, fleet, worker, state, harm, ids):
        """Does harm() while a task of that worker is in that state, as the log says afterwards. Answers the task's id; it and those
        of tries that came too late are added to `ids`."""
        for _ in range(TRIES):
            task_id, stopped = self.frozen_at(fleet, worker, state)
            ids.append(task_id)
            harm()
            is_hit = self.state_of(fleet, task_id) == state
            for pid in stopped:
                with contextlib.suppress(ProcessLookupError):  # a lane that was killed as well
                    os.kill(pid, signal.SIGCONT)
            if is_hit:
                return task_id
            self.result_of(fleet, task_id)
        return self.fail(f"in {TRIES} tries nothing was done while a task was {state}")

    def result_of(self, fleet, task_id):
        """As soon as it is told and nothing is left."""
        result = fleet.result(task_id)
        self.assert_nothing_left(fleet)
        return result

    def assert_told_and_clean(self, fleet, ids, seconds=240):
        self.assert_each_told_once(fleet, ids, seconds)
        self.assert_nothing_left(fleet, 60)
