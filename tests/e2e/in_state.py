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
        """It collects as many files as it may: with one, that is over before a busy host has looked."""
        files = [str(n) for n in range(64)]
        task_id = fleet.submit(argv=["/bin/sh", "-c", f"for i in {' '.join(files)}; do echo x > $i; done; sleep 2"], collect=files, **task)
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

    @contextlib.contextmanager
    def frozen_at(self, fleet, worker, state):
        """A task that stays in that state, if somebody can be stopped who would end it; that one is stopped in the state before, or
        before the task is there, and woken at the end, whatever has happened: others share it."""
        lanes = processes.lanes(worker)
        stopped, before = {"claiming": ([self.services.redis.pid], None), "ending": (lanes, "collecting"),
                           "telling": ([self.services.kafka.pid], "collecting"),
                           "releasing": ([self.services.redis.pid], "collecting")}.get(state, ([], None))
        task_id = None if stopped and not before else self.one_task(fleet)
        if before:
            self.at_state(fleet, task_id, before)
        try:
            for pid in stopped:
                os.kill(pid, signal.SIGSTOP)
            task_id = task_id or self.one_task(fleet)
            self.at_state(fleet, task_id, state)
            yield task_id
        finally:
            for pid in stopped:
                with contextlib.suppress(ProcessLookupError):  # a lane that was killed as well
                    os.kill(pid, signal.SIGCONT)

    def hit(self, fleet, state, start, harm, ids):
        """Does harm(worker, ...) while a task of that worker is in that state, as the log says afterwards. start() answers these
        daemons; it is called for every try, because harm that came too late was done all the same: what it has killed is to be there
        again, or the next try is another test, or never ends. Answers the task's id; it and those of other tries are added to `ids`."""
        for _ in range(TRIES):
            daemons = start()
            # What the last try left runs first: on a slow host it kept both slots for longer than a state is waited for.
            fleet.results(ids, 240)
            for daemon in daemons:
                self.assertIsNone(daemon.poll(), daemon.args)
            with self.frozen_at(fleet, daemons[0], state) as task_id:
                ids.append(task_id)
                harm(*daemons)
                is_hit = self.state_of(fleet, task_id) == state
            if is_hit:
                return task_id
        return self.fail(f"in {TRIES} tries nothing was done while a task was {state}")

    def result_of(self, fleet, task_id):
        """As soon as it is told and nothing is left."""
        result = fleet.result(task_id)
        self.assert_nothing_left(fleet)
        return result

    def assert_told_and_clean(self, fleet, ids, seconds=240):
        self.assert_each_told_once(fleet, ids, seconds)
        self.assert_nothing_left(fleet, 60)
