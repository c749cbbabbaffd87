"""The reaper where something is in its way: what holds fast, a mass of leases that end at once, a Redis that is away. Run by
reaper_test.py, with which it shares Kafka and Redis."""
import os
import subprocess
import time
import unittest

from reaper_case import GRACE_MS, HOUR_MS, LEASE_MS, ReaperCase, uptime_ms
from stack import Fleet, Services, wait_until

FREEZER = os.path.isdir("/sys/fs/cgroup/freezer")


class Holding(ReaperCase):
    """What cannot be erased withholds no result, is told of, and is tried again for ever."""

    def setUp(self):
        super().setUp()
        self.releases = []

    def tearDown(self):
        for release in self.releases:
            release()
        super().tearDown()

    def lefts(self, task_id):
        return [line for line in self.fleet.log().splitlines() if "reaper.left" in line and f"vm_id={self.vm_id(task_id)} " in line]

    def hold_disk(self, task_id):
        subprocess.run(["chattr", "+i", self.disk(task_id)], check=True)
        self.releases.append(lambda: subprocess.run(["chattr", "-i", self.disk(task_id)], stderr=subprocess.DEVNULL, check=False))

    def release_disk(self, task_id):
        subprocess.run(["chattr", "-i", self.disk(task_id)], check=True)
        wait_until(f"its disk is gone\n{self.fleet.log()[-1500:]}", lambda: not os.path.exists(self.disk(task_id)))

    def freeze(self, pid):
        """As if it hung in the kernel: not even SIGKILL ends it. Answers what ends that."""
        group = f"/sys/fs/cgroup/freezer/held.{self.fleet.name}.{pid}"
        os.makedirs(group)

        def thaw():
            self.put(group, "freezer.state", "THAWED")

        def remove():
            wait_until("all that was held has ended", lambda: not self.get(group, "cgroup.procs"))
            os.rmdir(group)

        self.releases.append(thaw)
        self.addCleanup(remove)
        self.put(group, "cgroup.procs", str(pid))
        self.put(group, "freezer.state", "FROZEN")
        wait_until("it is frozen", lambda: self.get(group, "freezer.state") == "FROZEN")
        return thaw

    @staticmethod
    def put(folder, name, value):
        with open(os.path.join(folder, name), "w", encoding="ascii") as f:
            f.write(value)

    @staticmethod
    def get(folder, name):
        with open(os.path.join(folder, name), encoding="ascii") as f:
            return f.read().strip()

    def test_a_disk_that_holds_fast(self):
        task_id, other = self.lease(due_in_ms=0), self.lease(due_in_ms=0, attempt=3, partition=1)
        sleeper = self.make_objects(task_id)
        self.make_objects(other)
        self.hold_disk(task_id)
        reaper = self.fleet.start_reaper(scan_ms=100, lost_after_ms=4000)
        self.wait_state(task_id, "orphan")
        told = self.one_result(other, "lost")  # beside it, all is as ever
        self.assertIs(told["key_destroyed"], True)
        self.assertNotIn("key", told["message"])
        told = self.one_result(task_id, "lost")  # looking again did not put it off
        self.assertIs(told["key_destroyed"], False)
        self.assertIn("nobody saw whether the key of its disk is destroyed", told["message"])
        self.assertEqual(self.objects(task_id, sleeper), (True, False, False))
        wait_until("it was tried again", lambda: len(self.lefts(task_id)) >= 3)
        self.assertIn(self.disk(task_id), self.lefts(task_id)[0])
        self.assertIn("again_in_ms=", self.lefts(task_id)[0])
        self.fleet.kill_group(reaper)
        tried = len(self.lefts(task_id))
        self.fleet.start_reaper(scan_ms=100)
        wait_until("the next reaper tries it, too", lambda: len(self.lefts(task_id)) >= tried + 2)
        self.release_disk(task_id)
        self.assertEqual(self.lefts(other), [])
        self.assertEqual((self.state(task_id), len(self.fleet.told()[task_id])), ("told", 1))

    def test_objects_of_nobody_that_hold_fast(self):
        task_id = self.new_id()
        self.make_objects(task_id)
        self.hold_disk(task_id)
        self.fleet.start_reaper(scan_ms=100)
        wait_until("it was tried", lambda: len(self.lefts(task_id)) >= 2)
        self.assertIn("id=- ", self.lefts(task_id)[0])  # no lease says whose it was
        self.assertIsNone(self.state(task_id))
        self.release_disk(task_id)
        self.assertIsNone(self.state(task_id))  # nobody took a lease for it
        self.assertEqual(self.fleet.told(), {})

    @unittest.skipUnless(FREEZER, "no freezer of version 1: nothing survives SIGKILL here")
    def test_a_lane_that_hangs(self):
        """In the kernel, at the first erasing it is asked for: only after some scans it has to list what is there."""
        reaper = self.fleet.start_reaper(scan_ms=1500)
        wait_until("it runs", lambda: "reaper.redis" in self.fleet.log())
        lane = self.fleet.children(reaper)[0]
        thaw = self.freeze(lane)
        ids = [self.lease(due_in_ms=0, attempt=3, partition=p) for p in (0, 1, 0)]
        sleepers = {task_id: self.make_objects(task_id) for task_id in ids}
        for task_id in ids:
            self.one_result(task_id, "lost")
        for task_id in ids:
            wait_until(f"another lane erases it\n{self.fleet.log()[-1500:]}",
                       lambda t=task_id: self.objects(t, sleepers[t]) == (False, False, False))
        self.assertIn("the lane hung or died", "".join(line for task_id in ids for line in self.lefts(task_id)))
        self.assertIn(lane, self.fleet.children(reaper))  # it hangs all the while
        reaper.terminate()
        self.assertEqual(reaper.wait(60), 0)
        thaw()
        wait_until("the lane ends, too", lambda: not os.path.exists(f"/proc/{lane}"))
        self.assertEqual({task_id: len(told) for task_id, told in self.fleet.told().items()}, dict.fromkeys(ids, 1))

    @unittest.skipUnless(FREEZER, "no freezer of version 1: nothing survives SIGKILL here")
    def test_a_vm_that_does_not_die(self):
        task_id = self.lease(due_in_ms=0, attempt=3)
        thaw = self.freeze(self.make_objects(task_id).pid)
        self.fleet.start_reaper(scan_ms=100)
        # Its disk is gone, and yet: what may still run has the key.
        self.assertIs(self.one_result(task_id, "lost")["key_destroyed"], False)
        self.assertFalse(os.path.exists(self.disk(task_id)))
        self.assertTrue(self.groups(task_id))
        self.assertIn("do not die", self.lefts(task_id)[0])
        thaw()
        wait_until("its control groups are gone", lambda: not self.groups(task_id))

    def test_a_control_group_with_others_below_it(self):
        task_id = self.lease(due_in_ms=0, attempt=3)
        self.make_objects(task_id)
        inner = [os.path.join(path, "inner") for path in self.group_paths(task_id)]
        for path in inner:
            os.mkdir(path)
        self.fleet.start_reaper(scan_ms=100)
        self.assertIs(self.one_result(task_id, "lost")["key_destroyed"], True)  # nobody is left who had the key
        self.assertTrue(self.groups(task_id))
        for path in inner:
            os.rmdir(path)
        wait_until("its control groups are gone", lambda: not self.groups(task_id))


class Caution(ReaperCase):
    def test_a_mass_expiry_is_looked_at_twice(self):
        ids = [self.lease(due_in_ms=-GRACE_MS) for _ in range(12)]
        self.fleet.start_reaper()
        wait_until("the brake", lambda: "reaper.brake" in self.fleet.log())
        braked = time.monotonic()
        self.assertEqual(set(self.states(ids)), {"running"})
        wait_until("they are reaped after all", lambda: set(self.states(ids)) == {"orphan"})
        self.assertGreater(time.monotonic() - braked, LEASE_MS / 1000 - 0.5)

    def test_a_mass_that_was_an_error_is_not_reaped(self):
        ids = [self.lease(due_in_ms=-GRACE_MS) for _ in range(12)]
        self.fleet.start_reaper()
        wait_until("the brake", lambda: "reaper.brake" in self.fleet.log())
        end = time.monotonic() + 2 * LEASE_MS / 1000
        while time.monotonic() < end:  # the workers are alive
            self.redis("ZADD", self.deadlines, *[x for i in ids for x in (self.now_ms() + LEASE_MS, i)])
            time.sleep(0.2)
        self.assertEqual(set(self.states(ids)), {"running"})

    def test_objects_without_a_lease_are_erased(self):
        abandoned, live, elsewhere = self.new_id(), self.lease(due_in_ms=HOUR_MS), self.lease(due_in_ms=HOUR_MS, host="other")
        planted, earlier = self.new_id(), self.new_id()
        sleepers = {i: self.make_objects(i) for i in (abandoned, live, elsewhere, planted, earlier)}
        # These lead to a lease that names another workspace, or another host.
        self.redis("HSET", self.vm_table(), self.vm_id(planted), live, self.vm_id(earlier), live, self.vm_id(elsewhere), elsewhere)
        self.redis("HSET", self.vm_table(), "finished", self.new_id())
        self.fleet.start_reaper(scan_ms=100)
        for gone in (abandoned, elsewhere, planted, earlier):
            wait_until(f"it is erased\n{self.fleet.log()[-1500:]}", lambda: not os.path.exists(self.disk(gone)) and not self.groups(gone))
            wait_until("its process is gone", lambda: sleepers[gone].poll() is not None)
        self.assert_objects(live, sleepers[live], True)
        self.assertEqual((self.state(abandoned), self.state(live), self.state(elsewhere)), (None, "running", "running"))
        wait_until("only what counts is in the VM table", lambda: self.redis("HGETALL", self.vm_table()) == {self.vm_id(live): live})

    def test_a_workspace_whose_entry_is_lost(self):
        """The next renewal writes it again; then it was never without one for long enough. Without renewals it is nobody's, and so it
        is when Redis forgot all: but not before its worker must have given it up."""
        live, given_up, forgotten = (self.lease(due_in_ms=HOUR_MS) for _ in range(3))
        sleepers = {i: self.make_objects(i) for i in (live, given_up, forgotten)}
        self.redis("DEL", self.vm_table(), self.key(forgotten))
        self.redis("ZREM", self.deadlines, forgotten)
        began = time.monotonic()
        self.fleet.start_reaper(scan_ms=100)
        while any(sight := [os.path.exists(self.disk(i)) for i in (given_up, forgotten)]):
            if time.monotonic() < began + (LEASE_MS + GRACE_MS) / 1000:
                self.assertEqual(sight, [True, True])
            self.entry(live)
            time.sleep(LEASE_MS / 10000)
            self.redis("DEL", self.vm_table())
            time.sleep(LEASE_MS / 10000)
            self.assert_objects(live, sleepers[live], True)
        self.assertEqual(self.state(given_up), "running")

    def hold(self, task_id, until_ms, owner="w1.a"):
        """In the VM table, as a worker writes it of a workspace that it made ahead of any task."""
        self.redis("HSET", self.vm_table(), self.vm_id(task_id), f"{until_ms} {owner}")

    def test_what_is_held_for_no_task_is_left_alone_until_its_worker_is_dead(self):
        """No lease ever names them. The one whose worker goes on holding it stays; the others are the controls."""
        live, dead, let_go = self.new_id(), self.new_id(), self.new_id()
        sleepers = {i: self.make_objects(i) for i in (live, dead, let_go)}
        end = self.now_ms() + 2 * LEASE_MS
        self.hold(live, end + HOUR_MS)
        self.hold(dead, end)
        self.fleet.start_reaper(scan_ms=100)
        for gone in (let_go, dead):
            wait_until(f"it is erased\n{self.fleet.log()[-1500:]}", lambda g=gone: self.objects(g, sleepers[g]) == (False,) * 3)
            self.assertTrue(gone == let_go or self.now_ms() > end + GRACE_MS)
            self.assert_objects(live, sleepers[live], True)
        self.assertEqual(self.redis("HKEYS", self.vm_table()).count(self.vm_id(live)), 1)
        self.assertEqual(self.fleet.told(), {})
        self.hold(live, self.now_ms() - GRACE_MS - 1)  # its worker dies, too
        wait_until("it is erased", lambda: self.objects(live, sleepers[live]) == (False,) * 3)

    def test_what_becomes_of_a_key_later_is_told(self):
        """The disk held fast while its lease was reaped, and is erased without a lease before its result is told."""
        task_id = self.lease(due_in_ms=0)
        self.make_objects(task_id)
        subprocess.run(["chattr", "+i", self.disk(task_id)], check=True)
        self.addCleanup(subprocess.run, ["chattr", "-i", self.disk(task_id)], stderr=subprocess.DEVNULL, check=False)
        self.fleet.start_reaper(scan_ms=100, lost_after_ms=HOUR_MS)
        self.wait_state(task_id, "orphan")
        self.assertNotIn("destroyed", self.redis("GET", self.key(task_id)))
        subprocess.run(["chattr", "-i", self.disk(task_id)], check=True)
        wait_until("its line says so", lambda: " destroyed " in self.redis("GET", self.key(task_id)))
        self.redis("ZADD", self.deadlines, 1, task_id)
        self.assertIs(self.one_result(task_id, "lost")["key_destroyed"], True)

    def test_nothing_is_destroyed_while_redis_is_away_or_new(self):
        own = Services()
        try:
            own.start_redis()
            own.kafka_port = self.services.kafka_port
            fleet = Fleet(own, lease_ms=LEASE_MS, grace_ms=GRACE_MS)
            self.fleet.close()
            self.fleet = fleet
            wait_until("it is up for long enough", lambda: uptime_ms(own) > LEASE_MS + GRACE_MS)
            fleet.start_reaper(scan_ms=100)
            wait_until("it looked", lambda: "reaper.redis" in fleet.log())
            own.redis.kill()
            own.redis.wait()
            task_id = self.new_id()
            sleeper = self.make_objects(task_id)  # of a worker whose lease went with Redis
            time.sleep(2 * (LEASE_MS + GRACE_MS) / 1000)
            self.assert_objects(task_id, sleeper, True)
            own.start_redis()
            while True:
                sight = self.objects(task_id, sleeper)
                if uptime_ms(own) >= LEASE_MS + GRACE_MS - 1000:  # it counts whole seconds
                    break
                self.assertEqual(sight, (True, True, True))
                time.sleep(0.05)
            wait_until("it is erased", lambda: not os.path.exists(self.disk(task_id)) and not self.groups(task_id))
        finally:
            own.__exit__()
