#!/usr/bin/python3
"""Several processes of one fleet: more workers than partitions, a reaper that is slow to tell, a host that is not fit."""
import os
import time
import unittest

from case import EndToEnd, wait_until

NULL = {"vmm": "null", "allow_null_vmm": "yes"}


class Fleets(EndToEnd):
    settings = {"lease_ms": 3000, "grace_ms": 1000}

    def test_more_workers_than_partitions(self):
        """One of two has nothing to do, and all of it when the other is gone."""
        fleet = self.fleet(partitions=1, **NULL)
        workers = {name: fleet.start_worker(name) for name in ("w1", "w2")}
        ids = [fleet.submit(argv=["true"]) for _ in range(20)]
        told = fleet.results(ids)
        self.assert_told_once(told, ids)
        busy = {r[0]["worker"] for r in told.values()}
        self.assertEqual(len(busy), 1, "one partition has one reader")
        name = busy.pop().removeprefix(fleet.name + "-")
        workers[name].terminate()
        self.assertEqual(workers.pop(name).wait(60), 0)
        more = [fleet.submit(argv=["true"]) for _ in range(20)]
        told = self.assert_each_told_once(fleet, ids + more)
        self.assertEqual({told[i][0]["worker"] for i in more}, {fleet.name + "-" + next(iter(workers))})
        self.assert_nothing_left(fleet)

    def test_a_record_is_not_marked_done_before_its_result_is_told(self):
        """A reaper has decided to tell `lost` and has not done so yet when a worker gets the record."""
        fleet = self.fleet(partitions=1, **NULL)
        fleet.start_worker().terminate()  # it has made the topics
        fleet.processes[-1].wait(60)
        task_id = fleet.submit(argv=["true"])
        fleet.flush()
        far_ms = int(time.time() * 1000) + 600_000
        keys = fleet.name + ":{mayfly}:"
        line = f"ended reaper.x.0 7 3 {fleet.name} 0 {far_ms} {fleet.topic('tasks')} 0 0 w.0 -"
        self.services.redis_command("SET", keys + "lease:" + task_id, line)
        self.services.redis_command("ZADD", keys + "deadlines", int(time.time() * 1000) + 6000, task_id)
        fleet.start_worker()
        wait_until("the worker has asked for it", lambda: f"job.requeue id={task_id}" in fleet.log())
        fleet.start_reaper()
        result = fleet.result(task_id)
        self.assertEqual((result["outcome"], result["attempt"]), ("lost", 3))
        after = fleet.submit(argv=["true"])
        self.assertEqual(fleet.result(after)["outcome"], "succeeded")
        self.assert_nothing_left(fleet)
        self.assert_told_once(fleet.told(), [task_id, after])

    def test_a_host_that_is_not_fit_gives_its_work_back(self):
        fleet = self.fleet()
        kernel = os.path.join(fleet.state, "kernel")
        there = os.readlink(kernel)
        worker = fleet.start_worker()
        os.unlink(kernel)
        ids = [fleet.submit(argv=["/bin/echo", "here"]) for _ in range(3)]
        fleet.flush()
        self.assertEqual(worker.wait(60), 1)
        self.assertIn("engine.host", fleet.log())
        self.assertIn("this host is not fit", fleet.log())
        self.assertEqual(fleet.told(), {})
        os.symlink(there, kernel)
        fleet.start_worker()
        told = self.assert_each_told_once(fleet, ids)
        self.assertEqual({(r[0]["outcome"], r[0]["attempt"]) for r in told.values()}, {("succeeded", 1)})
        self.assert_nothing_left(fleet)


if __name__ == "__main__":
    unittest.main(verbosity=2)
