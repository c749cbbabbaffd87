#!/usr/bin/python3
"""One record, one answer: what an id means while its task lives and after, whatever Redis forgot and whoever crashed. With the null
VMM, because nothing here is about the guest."""
import os
import subprocess
import time
import unittest

import msgpack

from case import EndToEnd, wait_until  # first: it says where the next one is
from seed import seeded
from stack import BUILD

choose = seeded()


class Answers(EndToEnd):
    settings = {"vmm": "null", "allow_null_vmm": "yes", "lease_ms": 3000, "grace_ms": 500}

    def submit_again(self, fleet, task_id, **fields):
        return fleet.submit(id=task_id, argv=["true"], **fields)

    def words(self, fleet, event, task_id):
        with fleet.reader("results") as reader:
            found = [msgpack.unpackb(m.value()) for m in reader.to_the_end()]
        return [r for r in found if r["event"] == event and r["id"] == task_id]

    def refusals(self, fleet, task_id):
        """The answers to records that are not the task of that id."""
        return self.words(fleet, "refused", task_id)

    def assert_shared(self, fleet, told, times):
        """So many other records of that task were told whose result answers them."""
        shared = self.words(fleet, "duplicate", told["id"])
        place = told["source"]
        self.assertEqual([r["same_as"] for r in shared], [place] * times)
        self.assertEqual(len({r["source"]["offset"] for r in shared} - {place["offset"]}), times)

    def wait_running(self, fleet, task_id, times=1):
        fleet.flush()
        wait_until(f"{task_id} runs", lambda: fleet.log().count(f"job.state id={task_id} state=running") >= times)

    def commit(self, fleet, group, partition, position, metadata):
        subprocess.run([os.path.join(BUILD, "tests", "component", "commit_position"), self.services.brokers, group,
                        fleet.topic("tasks"), str(partition), str(position), metadata], check=True)

    # The same id, while its task lives

    def test_the_same_record_twice_is_one_task(self):
        fleet = self.fleet(slots=4, null_run_ms=1500)
        fleet.start_worker()
        task = self.submit_again(fleet, fleet.name + "-twice", created_ms=int(time.time() * 1000))
        self.wait_running(fleet, task)
        for _ in range(3):
            self.submit_again(fleet, task, created_ms=int(time.time() * 1000))  # when it was made does not count
        after = fleet.submit(argv=["true"])
        told = self.assert_each_told_once(fleet, [task, after])
        self.assertEqual(told[task][0]["outcome"], "succeeded")
        self.assert_shared(fleet, told[task][0], 3)
        self.assertEqual(self.refusals(fleet, task), [])
        self.assert_nothing_left(fleet)

    def test_a_batch_sent_twice_is_one_batch(self):
        """Most of the second copies are read long after the first ones were told: they were sent before."""
        fleet = self.fleet(slots=2, null_run_ms=100)
        fleet.start_worker()
        ids = [fleet.name + f"-{n}" for n in range(60)]
        for _ in range(2):
            for task_id in ids:
                self.submit_again(fleet, task_id)
        last = fleet.submit(argv=["true"])
        told = self.assert_each_told_once(fleet, [*ids, last])
        self.assertEqual({r[0]["outcome"] for r in told.values()}, {"succeeded"})
        for task_id in ids[::10]:
            self.assert_shared(fleet, told[task_id][0], 1)
        self.assert_nothing_left(fleet)

    def test_other_content_is_refused_and_is_not_the_tasks_result(self):
        fleet = self.fleet(slots=4, null_run_ms=1500)
        fleet.start_worker()
        task = fleet.submit(argv=["true"])
        self.wait_running(fleet, task)
        self.submit_again(fleet, task, env={"OTHER": "1"})
        fleet.submit(raw=msgpack.packb({"v": 1, "kind": "run", "id": task, "image": "base", "argv": []}), key=task)
        told = self.assert_each_told_once(fleet, [task])
        self.assertEqual(told[task][0]["outcome"], "succeeded")
        refused = wait_until("both are answered", lambda: len(r := self.refusals(fleet, task)) == 2 and r)
        self.assertEqual({(r["outcome"], r["ran"]) for r in refused}, {("rejected", "not_started")})
        self.assertEqual({r["field"] for r in refused}, {"id", "argv"})
        sources = {(r["source"]["partition"], r["source"]["offset"]) for r in refused}
        self.assertEqual(len(sources), 2)
        self.assertNotIn((told[task][0]["source"]["partition"], told[task][0]["source"]["offset"]), sources)
        self.assert_nothing_left(fleet)

    def test_other_content_in_the_backlog_is_refused(self):
        fleet = self.fleet(slots=1, null_run_ms=200)
        fleet.start_worker()
        ids = [fleet.submit(argv=["true"]) for _ in range(12)]
        for task_id in ids:
            self.submit_again(fleet, task_id, env={"OTHER": "1"})
        last = fleet.submit(argv=["true"])
        self.assert_each_told_once(fleet, [*ids, last])
        for task_id in ids:
            wait_until("the other record is answered", lambda i=task_id: len(self.refusals(fleet, i)) == 1)
        self.assert_nothing_left(fleet)

    def test_an_orphans_id_is_still_its_own(self):
        fleet = self.fleet(slots=2, null_run_ms=2000, partitions=1)
        reaper = fleet.start_reaper()
        worker = fleet.start_worker()
        task = fleet.submit(argv=["true"])
        self.wait_running(fleet, task)
        fleet.kill_group(worker)
        self.submit_again(fleet, task, env={"OTHER": "1"})
        self.submit_again(fleet, task)
        fleet.flush()
        fleet.start_worker()
        after = fleet.submit(argv=["true"])
        told = self.assert_each_told_once(fleet, [task, after])
        self.assertEqual((told[task][0]["outcome"], told[task][0]["attempt"]), ("succeeded", 2))
        self.assertEqual(len(self.refusals(fleet, task)), 1)
        self.assert_shared(fleet, told[task][0], 1)
        self.assertIsNone(reaper.poll())
        self.assert_nothing_left(fleet)

    # The same id, after its task's result

    def test_an_id_is_free_as_soon_as_its_result_can_be_seen(self):
        fleet = self.fleet(slots=4)
        fleet.start_worker()
        task = fleet.name + "-again"
        with fleet.reader("results") as reader:
            for n in range(40):
                fields = {"env": {"N": str(n)}} if n % 2 else {}
                self.submit_again(fleet, task, **fields)
                fleet.flush()
                seen = {}
                wait_until(f"result {n}", lambda: reader.collect(seen, reader.messages(0.01)) or seen.get(task))
                self.assertEqual([r["outcome"] for r in seen[task]], ["succeeded"])
        self.assertEqual(self.refusals(fleet, task), [])
        self.assertEqual(len(fleet.told()[task]), 40)
        self.assert_nothing_left(fleet)

    # Redis forgets

    def test_what_a_reaper_told_is_not_run_again_when_redis_forgets(self):
        fleet = self.fleet(slots=2, null_run_ms=60000, partitions=1)
        reaper = fleet.start_reaper(lost_after_ms=1000)
        worker = fleet.start_worker()
        task = fleet.submit(argv=["true"])
        self.wait_running(fleet, task)
        fleet.kill_group(worker)
        self.assertEqual(fleet.result(task)["outcome"], "lost")
        reaper.terminate()
        self.assertEqual(reaper.wait(60), 0)
        self.services.redis_command("FLUSHALL")
        fleet.start_worker(null_run_ms=0)
        after = fleet.submit(argv=["true"])
        self.assert_each_told_once(fleet, [task, after])
        fleet.start_reaper()
        self.assert_each_told_once(fleet, [task, after])
        self.assert_nothing_left(fleet)

    def test_a_worker_asks_the_ledger_of_the_reapers(self):
        """Told: never run. Only announced: not run until a reaper, who stands by it no more, withdraws it. Neither: run."""
        fleet = self.fleet(slots=4, partitions=1)
        fleet.start_worker().terminate()  # it has made the topics
        fleet.processes[-1].wait(60)
        told, announced, free = [fleet.submit(argv=["true"]) for _ in range(3)]
        fleet.flush()
        self.commit(fleet, fleet.name + ".reaper", 0, 2, "t1:0,1!")
        fleet.start_worker()
        self.assertEqual(fleet.result(free)["outcome"], "succeeded")
        wait_until("the worker has looked", lambda: f"job.skip id={told} " in fleet.log() and
                   f"job.requeue id={announced} " in fleet.log())
        time.sleep(3)  # and looks again and again
        self.assertEqual(set(fleet.told()), {free})
        fleet.start_reaper()
        self.assertEqual(fleet.result(announced)["outcome"], "succeeded")
        self.assertEqual(set(self.assert_each_told_once(fleet, [announced, free])), {announced, free})
        self.assert_nothing_left(fleet)

    def test_redis_forgets_at_any_moment(self):
        """Workers die, reapers tell after a blink what nobody took, and Redis loses its memory again and again."""
        fleet = self.fleet(slots=8, null_run_ms=300, lease_ms=3000, grace_ms=500)
        fleet.start_reaper(lost_after_ms=1000)
        ids, worker = [], None
        for _ in range(8):
            worker = worker if worker and worker.poll() is None else fleet.start_worker()
            ids += [fleet.submit(argv=["true"]) for _ in range(24)]
            fleet.flush()
            time.sleep(choose.random())
            fleet.kill_group(worker)
            for _ in range(3):
                time.sleep(choose.random() * 3)
                self.services.redis_command("FLUSHALL")
        with fleet.kept_running("w1", fleet.start_worker()):
            self.assert_each_told_once(fleet, ids, 240)
        self.assert_nothing_left(fleet, 60)

    # A crash and its heirs

    def test_what_waits_for_a_dead_workers_lease_takes_no_place(self):
        """The heir tells what is new while the dead worker's leases have not even run out. If they took places in its hold, it would
        take a few new records whenever it asks for them again, once a second, and these would take it minutes."""
        fleet = self.fleet(slots=4, null_run_ms=60000, partitions=1, lease_ms=10000)
        worker = fleet.start_worker()
        orphans = [fleet.submit(argv=["true"]) for _ in range(4)]
        for task_id in orphans:
            self.wait_running(fleet, task_id)
        fleet.kill_group(worker)
        self.services.redis_command("SET", fleet.name + ":{mayfly}:lease:" + (odd := fleet.name + "-odd"), "no lease at all")
        fleet.submit(id=odd, argv=["true"])
        fresh = [fleet.submit(argv=["true"]) for _ in range(4000)]
        fleet.start_worker(null_run_ms=0)
        self.assert_told_once(fleet.results(fresh), fresh)  # no reaper runs: nothing ever frees what the dead one held
        self.services.redis_command("DEL", fleet.name + ":{mayfly}:lease:" + odd)
        fleet.start_reaper()
        self.assert_each_told_once(fleet, [*orphans, odd, *fresh])
        self.assert_nothing_left(fleet)


if __name__ == "__main__":
    unittest.main(verbosity=2)
