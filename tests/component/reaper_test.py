#!/usr/bin/python3
"""The real mayfly-reaper against a real Kafka and a real redis-server; what it has to reap is made up here: leases as a
worker leaves them, a disk's file, a control group with a process in it. No VM is booted.

A kill at random moments stands for a crash between any two steps: nothing in the reaper knows about tests."""
import os
import signal
import sys
import time
import unittest

from confluent_kafka import Consumer, KafkaException, Producer

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from reaper_case import GRACE_MS, HOUR_MS, LEASE_MS, ReaperCase  # noqa: E402
from reaper_obstacles import Caution, Holding  # noqa: E402,F401  (unittest finds them here)
from seed import seeded  # noqa: E402
from stack import ENGINE_UID, wait_until  # noqa: E402

choose = seeded()


class Reaping(ReaperCase):
    def test_a_dead_worker_is_cleared_away_and_its_task_may_run_again(self):
        task_id = self.lease(due_in_ms=4000)
        sleeper = self.make_objects(task_id)
        with open(self.disk(task_id), "rb") as f:
            before = f.read(4096)
        due = int(self.redis("ZSCORE", self.deadlines, task_id))
        keeper = os.open(self.disk(task_id), os.O_RDONLY)  # what somebody who kept the file could read afterwards
        self.fleet.start_reaper()
        # Not a moment before the grace is over.
        self.assertEqual(set(self.until_ms(due + GRACE_MS, lambda: self.objects(task_id, sleeper))), {(True, True, True)})
        self.wait_state(task_id, "orphan")
        self.assert_objects(task_id, sleeper, False)
        self.assertNotEqual(os.pread(keeper, 4096, 0), before)
        os.close(keeper)
        self.assertLess(due, int(self.redis("ZSCORE", self.deadlines, task_id)))
        self.assertEqual(self.fleet.told(), {})

    def test_a_renewed_lease_is_left_alone(self):
        task_id = self.lease()
        sleeper = self.make_objects(task_id)
        self.fleet.start_reaper()
        end = time.monotonic() + 3 * (LEASE_MS + GRACE_MS) / 1000
        while time.monotonic() < end:
            self.redis("ZADD", self.deadlines, self.now_ms() + 10 * LEASE_MS, task_id)  # a busy host may stop us for seconds
            time.sleep(0.2)
        self.assertEqual(self.state(task_id), "running")
        self.assert_objects(task_id, sleeper, True)

    def test_a_zombies_transaction_cannot_commit(self):
        zombie = Producer({"bootstrap.servers": self.services.brokers, "transactional.id": "w1.zombie"})
        zombie.init_transactions(30)
        zombie.begin_transaction()
        zombie.produce(self.fleet.topic("results"), b"x")
        zombie.flush(10)
        task_id = self.lease(owner="w1.zombie", due_in_ms=0)
        self.fleet.start_reaper()
        self.wait_state(task_id, "orphan")
        with self.assertRaises(KafkaException):
            zombie.commit_transaction(10)

    def test_what_a_worker_told_is_not_told_again(self):
        by_position = self.lease(due_in_ms=0, offset=4, attempt=3)
        by_map = self.lease(due_in_ms=0, offset=11, attempt=3)
        open_record = self.lease(due_in_ms=0, offset=10, attempt=3)
        self.commit(0, 10, "1:C")  # the second lowest bit: offset 11
        self.fleet.start_reaper()
        self.wait_state(by_position, None)
        self.wait_state(by_map, None)
        self.wait_state(open_record, "told")
        self.assertEqual(list(self.fleet.told()), [open_record])

    def test_a_worker_whose_finish_got_lost_is_not_fenced(self):
        worker = Producer({"bootstrap.servers": self.services.brokers, "transactional.id": "w1.alive"})
        worker.init_transactions(30)
        worker.begin_transaction()
        worker.produce(self.fleet.topic("results"), b"\x80")
        task_id = self.lease(owner="w1.alive", due_in_ms=0, offset=4)
        self.commit(0, 5)
        self.fleet.start_reaper()
        self.wait_state(task_id, None)
        worker.commit_transaction(30)

    def test_leases_of_another_host_wait_for_its_reaper(self):
        task_id = self.lease(due_in_ms=0, host="elsewhere")
        due = int(self.redis("ZSCORE", self.deadlines, task_id))
        self.fleet.start_reaper()
        seen = self.until_ms(due + GRACE_MS + 2 * LEASE_MS, lambda: self.state(task_id))
        self.assertEqual(set(seen), {"running"})
        self.wait_state(task_id, "orphan")

    def test_what_a_dead_reaper_left_is_taken_over(self):
        task_id = self.lease(state="reaping", owner="reaper.gone", due_in_ms=0)
        sleeper = self.make_objects(task_id)
        self.fleet.start_reaper()
        self.wait_state(task_id, "orphan")
        self.assert_objects(task_id, sleeper, False)

    def test_objects_go_although_kafka_is_away(self):
        task_id = self.lease(due_in_ms=0)
        sleeper = self.make_objects(task_id)
        cut_off = self.fleet.start_reaper(brokers="127.0.0.1:1")
        wait_until("they are gone", lambda: not os.path.exists(self.disk(task_id)) and not self.groups(task_id))
        wait_until("its process is gone", lambda: sleeper.poll() is not None)
        self.assertEqual(self.state(task_id), "reaping")  # whether it was told is not known
        self.fleet.kill_group(cut_off)
        self.fleet.start_reaper()
        self.wait_state(task_id, "orphan")

    def test_sigterm_ends_it_with_status_0(self):
        reaper = self.fleet.start_reaper()
        self.lease(due_in_ms=0)
        wait_until("it runs", lambda: "reaper.start" in self.fleet.log())
        reaper.send_signal(signal.SIGTERM)
        self.assertEqual(reaper.wait(60), 0)

    def test_sigterm_at_any_moment_of_its_start(self):
        for _ in range(25):
            reaper = self.fleet.start_reaper(wait=False)
            time.sleep(choose.random() * choose.choice((0.05, 0.6)))
            reaper.terminate()
            reaper.wait(60)
            self.assertTrue(self.fleet.has_stopped_well(reaper), self.fleet.story())

    def test_only_the_lane_has_privileges(self):
        reaper = self.fleet.start_reaper()
        wait_until("it runs", lambda: "reaper.redis" in self.fleet.log())
        lane, kafka, engine = (self.status(pid) for pid in self.fleet.children(reaper))
        for confined in (kafka, engine):
            self.assertEqual(set(confined["Uid"] + confined["Gid"]), {str(ENGINE_UID)})
            self.assertEqual({int(confined[name][0], 16) for name in ("CapEff", "CapPrm", "CapInh", "CapAmb", "CapBnd")}, {0})
            self.assertEqual((confined["NoNewPrivs"], confined["Groups"], confined["Seccomp"]), (["1"], [], ["2"]))
        self.assertNotEqual(int(lane["CapEff"][0], 16), 0)  # the check can see a privilege

    @staticmethod
    def status(pid):
        with open(f"/proc/{pid}/status", encoding="ascii") as f:
            return {name: value.split() for name, value in (line.split(":", 1) for line in f)}

    def test_a_helper_that_dies_is_replaced(self):
        reaper = self.fleet.start_reaper()
        wait_until("it runs", lambda: "reaper.start" in self.fleet.log())
        for child in (0, 0, 2):  # lane, kafka, engine: a new lane comes last, with the others all are new
            pids = wait_until("three children", lambda: len(self.fleet.children(reaper)) == 3 and self.fleet.children(reaper))
            os.kill(pids[child], signal.SIGKILL)
            task_id = self.lease(due_in_ms=0)
            sleeper = self.make_objects(task_id)
            self.wait_state(task_id, "orphan")
            wait_until("its objects are gone", lambda: self.objects(task_id, sleeper) == (False, False, False))
        self.assertIsNone(reaper.poll())

    def test_a_lane_that_dies_is_replaced_alone(self):
        reaper = self.fleet.start_reaper()
        wait_until("it runs", lambda: "reaper.redis" in self.fleet.log())
        lane, kafka, engine = self.fleet.children(reaper)
        os.kill(lane, signal.SIGKILL)
        wait_until("there is another lane", lambda: len(self.fleet.children(reaper)) == 3 and lane not in self.fleet.children(reaper))
        self.assertEqual(self.fleet.children(reaper)[:2], [kafka, engine])


class Telling(ReaperCase):
    def test_an_orphan_that_nobody_takes_is_lost(self):
        task_id = self.lease(due_in_ms=0, offset=7)
        self.make_objects(task_id)
        self.fleet.start_reaper(lost_after_ms=1500)
        self.wait_state(task_id, "orphan")
        self.assertIs(self.one_result(task_id, "lost")["key_destroyed"], True)  # in another batch, perhaps by another reaper
        time.sleep(2 * LEASE_MS / 1000)
        self.assertEqual(self.state(task_id), "told")  # until a worker has marked the record
        self.commit(0, 8)
        self.wait_state(task_id, None)
        self.assertEqual(len(self.fleet.told()[task_id]), 1)

    def test_an_orphan_is_not_lost_while_there_are_workers(self):
        """They may have a long queue. A member of their group stands for them: it never takes the record."""
        member = Consumer({"bootstrap.servers": self.services.brokers, "group.id": self.fleet.name, "session.timeout.ms": 6000,
                           "enable.auto.commit": False})
        member.subscribe([self.fleet.topic("tasks")])
        wait_until("it is a member", lambda: member.poll(0.1) is None and member.assignment())
        task_id = self.lease(due_in_ms=0, offset=7)
        self.fleet.start_reaper(lost_after_ms=1000)
        self.wait_state(task_id, "orphan")
        seen = [self.redis("ZSCORE", self.deadlines, task_id)]
        end = time.monotonic() + 60
        while len(set(seen)) < 5 and time.monotonic() < end:  # it was asked about again and again
            member.poll(0.1)
            seen.append(self.redis("ZSCORE", self.deadlines, task_id))
        self.assertGreaterEqual(len(set(seen)), 5)
        self.assertIn(self.state(task_id), ("orphan", "ended"))
        self.assertEqual(self.fleet.told(), {})
        member.close()
        self.one_result(task_id, "lost")

    def test_used_up_attempts_are_lost_at_once(self):
        task_id = self.lease(due_in_ms=0, attempt=3)
        self.fleet.start_reaper(lost_after_ms=HOUR_MS)
        self.assertIs(self.one_result(task_id, "lost")["key_destroyed"], False)  # there was no disk

    def test_a_life_that_ended_under_a_worker_that_renewed_is_expired(self):
        task_id = self.lease(due_in_ms=0, expires_in_ms=-2 * LEASE_MS)
        sleeper = self.make_objects(task_id)
        self.fleet.start_reaper()
        result = self.one_result(task_id, "expired")
        self.assert_objects(task_id, sleeper, False)
        self.assertEqual((result["worker"], result["field"], result["ran"]), ("w1", "ttl_ms", "unknown"))

    def test_a_life_that_ended_after_its_worker_is_tried_again(self):
        """However late a reaper looks: an hour of a whole fleet without power ends no task."""
        late = self.lease(due_in_ms=-HOUR_MS, expires_in_ms=300 - HOUR_MS)
        later = self.lease(due_in_ms=-HOUR_MS, expires_in_ms=-HOUR_MS // 2)
        used_up = self.lease(due_in_ms=-HOUR_MS, expires_in_ms=-HOUR_MS // 2, attempt=3)
        self.fleet.start_reaper(lost_after_ms=HOUR_MS)
        self.wait_state(late, "orphan")
        self.wait_state(later, "orphan")
        self.assertEqual(self.one_result(used_up, "lost")["field"], "")
        for one in (late, later):
            self.assertGreater(int(self.redis("ZSCORE", self.deadlines, one)), self.now_ms() + HOUR_MS // 2)

    def test_what_a_drained_worker_gave_back_waits_in_the_queue(self):
        never = (1 << 53) - 1
        task_id = self.lease(state="orphan", owner="-", due_in_ms=HOUR_MS)
        words = self.redis("GET", self.key(task_id)).split(" ")
        words[6] = str(never)
        self.redis("SET", self.key(task_id), " ".join(words))
        self.redis("ZADD", self.deadlines, never, task_id)
        witness = self.lease(due_in_ms=0)
        self.fleet.start_reaper(lost_after_ms=1000)
        self.one_result(witness, "lost")
        self.assertEqual(self.state(task_id), "orphan")

    def test_a_told_lease_is_kept_from_running_by_the_next_reaper_too(self):
        task_id = self.lease(state="ended", owner="reaper.gone", due_in_ms=0, offset=3)
        other = self.lease(state="ended", owner="reaper.gone", due_in_ms=0, offset=5, partition=1)
        first = self.fleet.start_reaper()
        self.one_result(task_id, "lost")
        self.one_result(other, "lost")
        self.fleet.kill_group(first)
        for one in (task_id, other):  # as if Redis had not heard of it
            self.redis("SET", self.key(one), self.redis("GET", self.key(one)).replace("told ", "ended ", 1))
        self.fleet.start_reaper()
        wait_until("both are known as told", lambda: {self.state(task_id), self.state(other)} == {"told"})
        self.one_result(task_id, "lost")
        self.one_result(other, "lost")

    def check_once(self, ids, reapers, seconds=180):
        """Counted when these reapers, of which a second result could come, have ended in order."""
        wait_until(f"all are told: {self.states(ids)}", lambda: set(self.states(ids)) == {"told"}, seconds)
        for reaper in reapers:
            self.assertIsNone(reaper.poll())
            wait_until("it is up, and hears signals", lambda r=reaper: len(self.fleet.children(r)) == 3)
            reaper.terminate()
            self.assertEqual(reaper.wait(60), 0, self.fleet.story())
        found = self.fleet.told()
        self.assertEqual({i: len(found.get(i, ())) for i in ids}, {i: 1 for i in ids})
        self.assertEqual(len(found), len(ids))

    def test_killed_at_any_moment_it_tells_once(self):
        ids = []
        for turn in range(12):
            reaper = self.fleet.start_reaper(wait=False, lost_after_ms=1000, scan_ms=50)
            for _ in range(3):
                task_id = self.lease(due_in_ms=-GRACE_MS, attempt=choose.choice((1, 3)), owner=f"w1.{turn}",
                                     partition=choose.choice((0, 1)))
                ids.append(task_id)
                if choose.random() < 0.5:
                    self.make_objects(task_id)
            time.sleep(choose.uniform(0.1, 2.5))
            self.fleet.kill_group(reaper)
        last = self.fleet.start_reaper(lost_after_ms=1000)
        # What was made after its lease had been reaped is found by the sweep of this host.
        wait_until("no object is left", lambda: not any(os.path.exists(self.disk(i)) or self.groups(i) for i in ids), 180)
        self.check_once(ids, [last])

    def test_two_reapers_at_once_tell_once(self):
        reapers = [self.fleet.start_reaper(lost_after_ms=1000, scan_ms=50) for _ in range(2)]
        ids = []
        for turn in range(8):
            ids += [self.lease(due_in_ms=-GRACE_MS, attempt=3, owner=f"w1.{turn}", partition=p) for p in (0, 1) for _ in range(4)]
            time.sleep(0.3)
        self.check_once(ids, reapers)

    def test_one_that_was_overtaken_does_not_tell(self):
        """A reaper that stops for long in the middle of its work, while another does it."""
        slow = self.fleet.start_reaper(lost_after_ms=1000, scan_ms=50)
        ids = []
        for turn in range(5):
            ids += [self.lease(due_in_ms=-GRACE_MS, attempt=3, owner=f"w1.{turn}", partition=p) for p in (0, 1)]
            time.sleep(choose.uniform(0.2, 1))
            os.killpg(slow.pid, signal.SIGSTOP)
            other = self.fleet.start_reaper(lost_after_ms=1000, scan_ms=50)
            self.check_once(ids, [other])
            os.killpg(slow.pid, signal.SIGCONT)
        self.check_once(ids, [slow])


if __name__ == "__main__":
    unittest.main(verbosity=2)
