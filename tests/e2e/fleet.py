#!/usr/bin/python3
"""Several processes of one fleet: more workers than partitions, a reaper that is slow to tell, a host that is not fit."""
import contextlib
import os
import shutil
import subprocess
import time
import unittest

from case import EndToEnd, wait_until
from stack import BUILD

HOSTILE_VMM = os.path.join(BUILD, "tests", "e2e", "hostile-vmm")
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


class Fitness(EndToEnd):
    """Is it the host, or is it the task? In place of QEMU there is a program that does what a VMM that was taken over could do
    (tests/support/hostile_vmm.c), in the real jail; what the host tries by itself is well unless the word ends in '!'."""
    settings = {"lease_ms": 3000, "grace_ms": 1000}

    is_host_known = False

    def know_the_host(self):
        """The word that is copied below, if this kernel was never tried before: an honest VMM's."""
        if not Fitness.is_host_known:
            worker = self.fleet(slots=1).start_worker()
            worker.terminate()
            self.assertEqual(worker.wait(60), 0)
        Fitness.is_host_known = True

    def taken_over(self, word, **settings):
        self.know_the_host()
        fleet = self.fleet(slots=1, **settings)
        root = os.path.join(fleet.state, "jail")
        os.rename(root, root + ".good")
        accel = os.path.join(fleet.state, "accel")  # everybody's word for what this host has: a VMM that was taken over must not write it
        found = os.path.realpath(accel)
        os.unlink(accel)
        if os.path.exists(found):
            shutil.copy(found, accel)
        for folder in ("proc", "dev", "usr/bin"):
            os.makedirs(os.path.join(root, folder))
        shutil.copy(HOSTILE_VMM, os.path.join(root, "usr/bin/qemu-system-x86_64"))
        self.be(fleet, word)
        return fleet

    def be(self, fleet, word):
        with open(os.path.join(fleet.state, "jail", "evil"), "w", encoding="ascii") as f:
            f.write(word)

    def be_good(self, fleet):
        root = os.path.join(fleet.state, "jail")
        shutil.rmtree(root)
        os.rename(root + ".good", root)

    def tasks(self, fleet, n, **task):
        ids = [fleet.submit(argv=["/bin/true"], **task) for _ in range(n)]
        found = fleet.results(ids)
        return [found[task_id][0] for task_id in ids]

    def test_what_a_vmm_says_does_not_drain_its_host(self):
        """Each of these was a fault of the host's, of which three in a row drain it."""
        fleet = self.taken_over("errors")
        worker = fleet.start_worker()
        for word, n, why in (("errors", 2, "QEMU refused step"), ("io", 4, "where this host can"),
                             ("resets", 4, "started its kernel 16 times"), ("garbage", 4, "not QMP")):
            with self.subTest(word):
                self.be(fleet, word)
                results = self.tasks(fleet, n)
                self.assertEqual({(r["outcome"], why in r["message"], r["key_destroyed"]) for r in results}, {("failed", True, True)})
                self.assertEqual({r["ran"] == "not_started" for r in results}, {word == "errors"})
                self.assertIsNone(worker.poll())
        self.assertNotIn("engine.host", fleet.log())
        self.be_good(fleet)
        self.assertEqual(self.tasks(fleet, 1)[0]["outcome"], "succeeded")
        self.assert_nothing_left(fleet)

    def test_what_a_guest_says_hurts_its_task_only(self):
        """Frames out of turn, that nobody asked for, or in a wrong way, of a guest that was taken over while user code ran."""
        fleet = self.taken_over("again")
        worker = fleet.start_worker()
        for word, why in (("again", "spoke out of turn"), ("unasked", "spoke out of turn"), ("offset", "output that was not asked for"),
                          ("limit", "output that was not asked for"), ("noise", "frame"), ("other", "a file that was not asked for"),
                          ("gap", "a file in a wrong way")):
            with self.subTest(word):
                self.be(fleet, word)
                result = self.tasks(fleet, 1, collect=["a"], output_limit_bytes=65536)[0]
                self.assertEqual((result["outcome"], result["ran"], result["key_destroyed"]), ("failed", "ran", True), result)
                self.assertIn(why, result["message"])
                self.assertLessEqual(result["stdout"]["kept"], 65536)
        self.assertIsNone(worker.poll())
        self.assertNotIn("host.look", fleet.log())
        self.assert_nothing_left(fleet)

    def test_a_task_that_cannot_start_drains_no_host(self):
        """Whatever the reason: where others start, it is told after its tries."""
        fleet = self.taken_over("dies", boot_ms=1500)
        worker = fleet.start_worker()
        for word in ("dies", "silent"):
            with self.subTest(word):
                self.be(fleet, word)
                result = self.tasks(fleet, 1)[0]
                self.assertEqual((result["outcome"], result["ran"]), ("failed", "not_started"))
                self.assertIn("times on this host, where others start", result["message"])
        self.assertIsNone(worker.poll())
        self.assertIn(" host.fit ", fleet.log())
        self.assertNotIn("engine.host", fleet.log())

    def test_one_task_is_enough_to_see_that_a_host_is_not_fit(self):
        """An agent of another version, or a guest that never boots: what a stale kernel bundle does. The task is told nothing, and runs
        elsewhere."""
        for word, boot_ms, why in (("version!", 60000, r"speaks version \d+, this worker \d+; rebuild the bundle with 'mayfly image build'"),
                          ("silent!", 1500, "says nothing in boot_ms, 1500 ms")):
            with self.subTest(word):
                fleet = self.taken_over(word, boot_ms=boot_ms)
                worker = fleet.start_worker()
                task_id = fleet.submit(argv=["/bin/true"])
                fleet.flush()
                self.assertEqual(worker.wait(120), 1)
                self.assertRegex(fleet.log(), why)
                self.assertIn("this host is not fit: it takes no more tasks", fleet.log())
                self.assertEqual(fleet.told(), {})
                self.assert_nothing_left(fleet)
                self.be_good(fleet)
                fleet.start_worker("w2", boot_ms=60000)
                self.assertEqual(fleet.result(task_id)["outcome"], "succeeded")
                self.assert_nothing_left(fleet)

    def test_one_that_is_started_again_and_again_lets_others_work(self):
        """A member that is back within its session gets its partitions back: until its host is fit again it does not join."""
        fleet = self.taken_over("version!")
        fit = os.path.join(fleet.state, "fit")
        os.makedirs(os.path.join(fit, "scratch"))
        for part in ("images", "kernel", "blank", "accel"):
            os.symlink(os.path.realpath(os.path.join(fleet.state, part)), os.path.join(fit, part))
        os.symlink(os.path.realpath(os.path.join(fleet.state, "jail.good")), os.path.join(fit, "jail"))
        worker = fleet.start_worker()
        ids = [fleet.submit(argv=["/bin/true"]) for _ in range(4)]
        fleet.flush()
        self.assertEqual(worker.wait(120), 1)
        mark = os.path.join(fleet.state, "unfit", fleet.name + "-w1")
        self.be(fleet, "silent!")
        looks = fleet.log().count("host.look")
        looking = fleet.start_worker(wait=False)
        wait_until("it looks", lambda: fleet.log().count("host.look") > looks)
        looking.terminate()
        self.assertEqual(looking.wait(60), 0)
        self.assertTrue(os.path.exists(mark))  # it had found nothing yet
        self.be(fleet, "version!")
        with fleet.kept_running("w1", worker):
            fleet.start_worker("w2", wait=False, state_dir=fit)
            results = [r[0] for r in fleet.results(ids).values()]
            self.assertEqual({(r["outcome"], r["worker"]) for r in results}, {("succeeded", fleet.name + "-w2")})
            self.assertGreater(fleet.log().count("engine.host"), 1)  # it was started again, and saw the same
            assigned = fleet.log().count("intake.assigned")
            self.be_good(fleet)
            wait_until("it is fit and joins", lambda: " host.fit " in fleet.log() and fleet.log().count("intake.assigned") > assigned)
            self.assertFalse(os.path.exists(mark))
        self.assert_nothing_left(fleet)

    def test_a_full_file_system_is_seen_by_the_lane(self):
        """The control of what a VMM says: here the host sees it itself."""
        fleet = self.taken_over("io")
        scratch = os.path.join(fleet.state, "scratch")
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "none", scratch], check=True)
        try:
            worker = fleet.start_worker()
            self.assertIn("where this host can", self.tasks(fleet, 1, disk_mib=16)[0]["message"])
            with open(os.path.join(scratch, "ballast"), "wb") as f:
                with contextlib.suppress(OSError):
                    while True:
                        f.write(bytes(65536))
            ids = [fleet.submit(argv=["/bin/true"], disk_mib=16) for _ in range(3)]
            fleet.flush()
            self.assertEqual(worker.wait(120), 1)
            self.assertRegex(fleet.log(), r"is full; make room, or lower disk_mib: No space left on device; this host is not fit")
            self.assertFalse(set(ids) & set(fleet.told()))
        finally:
            subprocess.run(["umount", "-l", scratch], check=True)


if __name__ == "__main__":
    unittest.main(verbosity=2)
