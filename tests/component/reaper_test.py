#!/usr/bin/python3
"""The real mayfly-reaper against a real Kafka and a real redis-server; what it has to reap is made up here: leases as a
worker leaves them, a disk's file, a control group with a process in it. No VM is booted.

A kill at random moments stands for a crash between any two steps: nothing in the reaper knows about tests."""
import os
import signal
import subprocess
import sys
import time
import unittest
import uuid

from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from seed import seeded  # noqa: E402
from stack import BUILD, ENGINE_UID, Fleet, Services, wait_until  # noqa: E402

LEASE_MS = 2000
GRACE_MS = 500
HOUR_MS = 3600 * 1000
CONTROLLERS = ("memory", "pids", "cpu")
FREEZER = os.path.isdir("/sys/fs/cgroup/freezer")

choose = seeded()
services = None


def setUpModule():
    global services
    services = Services()
    unittest.addModuleCleanup(services.__exit__)
    services.__enter__()
    # Nothing is reaped within lease + grace of Redis's start; wait that out once for all tests.
    wait_until("Redis is up for a while", lambda: uptime_ms(services) > LEASE_MS + GRACE_MS)


def uptime_ms(of):
    text = subprocess.run(["redis-cli", "-p", str(of.redis_port), "INFO", "server"], capture_output=True, text=True, check=True)
    return int(text.stdout.split("uptime_in_seconds:")[1].split()[0]) * 1000


def cgroup_roots():
    if os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
        return ["/sys/fs/cgroup"]
    return [f"/sys/fs/cgroup/{controller}" for controller in CONTROLLERS]


class Case(unittest.TestCase):
    def setUp(self):
        self.fleet = Fleet(services, lease_ms=LEASE_MS, grace_ms=GRACE_MS)
        self.sleepers = []
        self.offset = 0
        for kind in ("tasks", "results"):
            self.make_topic(kind)

    def tearDown(self):
        self.fleet.close()
        for sleeper in self.sleepers:
            sleeper.kill()
            sleeper.wait()
        for root in cgroup_roots():
            parent = os.path.join(root, "mayfly." + self.fleet.name)
            for name in os.listdir(parent) if os.path.isdir(parent) else ():
                if os.path.isdir(os.path.join(parent, name)):
                    os.rmdir(os.path.join(parent, name))
            if os.path.isdir(parent):
                os.rmdir(parent)

    def make_topic(self, kind):
        admin = AdminClient({"bootstrap.servers": services.brokers})
        for future in admin.create_topics([NewTopic(self.fleet.topic(kind), 2, 1)]).values():
            future.result(30)

    def redis(self, *args):
        return services.redis_command(*args)

    def key(self, task_id):
        return f"{self.fleet.name}:{{mayfly}}:lease:{task_id}"

    @property
    def deadlines(self):
        return f"{self.fleet.name}:{{mayfly}}:deadlines"

    def now_ms(self):
        seconds, micros = self.redis("TIME")
        return int(seconds) * 1000 + int(micros) // 1000

    def new_id(self):
        return "task-" + uuid.uuid4().hex[:12]

    def lease(self, task_id=None, state="running", owner="w1.dead", attempt=1, host=None, due_in_ms=None,
              expires_in_ms=HOUR_MS, partition=0, offset=None):
        """A lease as a worker's or reaper's script writes it; by default it ends one lease from now."""
        task_id = task_id or self.new_id()
        if offset is None:
            offset, self.offset = self.offset, self.offset + 1
        now = self.now_ms()
        due = now + (LEASE_MS if due_in_ms is None else due_in_ms)
        self.redis("SET", self.key(task_id),
                   f"{state} {owner} {now * 1000} {attempt} {host or self.fleet.name} 0 {now + expires_in_ms} "
                   f"{self.fleet.topic('tasks')} {partition} {offset}")
        self.redis("ZADD", self.deadlines, due, task_id)
        return task_id

    def state(self, task_id):
        line = self.redis("GET", self.key(task_id))
        return line.split(" ")[0] if line else None

    def states(self, ids):
        """At one moment."""
        return [line.split(" ")[0] if line else None for line in self.redis("MGET", *map(self.key, ids))]

    def until_ms(self, end_ms, look):
        """Look again and again, and answer all that was seen before `end_ms` of Redis's clock."""
        seen = []
        while True:
            sight = look()
            if self.now_ms() >= end_ms:
                return seen
            seen.append(sight)
            time.sleep(0.05)

    def wait_state(self, task_id, *states):
        wait_until(f"{task_id} is {states} (it is {self.state(task_id)})\n{self.fleet.log()[-1500:]}",
                   lambda: self.state(task_id) in states)

    def make_objects(self, task_id):
        with open(self.disk(task_id), "wb") as f:
            f.write(os.urandom(1 << 20))
        sleeper = subprocess.Popen(["sleep", "1000"], start_new_session=True)
        self.sleepers.append(sleeper)
        for group in self.group_paths(task_id):
            os.makedirs(group)
            with open(os.path.join(group, "cgroup.procs"), "w", encoding="ascii") as f:
                f.write(str(sleeper.pid))
        return sleeper

    def disk(self, task_id):
        return os.path.join(self.fleet.state, "scratch", task_id + ".luks")

    def group_paths(self, task_id):
        return [os.path.join(root, "mayfly." + self.fleet.name, "vm-" + task_id) for root in cgroup_roots()]

    def groups(self, task_id):
        return [path for path in self.group_paths(task_id) if os.path.isdir(path)]

    def objects(self, task_id, sleeper):
        return os.path.exists(self.disk(task_id)), bool(self.groups(task_id)), sleeper.poll() is None

    def assert_objects(self, task_id, sleeper, are_there):
        self.assertEqual(self.objects(task_id, sleeper), (are_there,) * 3)

    def one_result(self, task_id, outcome):
        wait_until(f"{task_id} is told\n{self.fleet.log()[-1500:]}", lambda: self.state(task_id) == "told")
        result, = self.fleet.told()[task_id]
        self.assertEqual((result["outcome"], result["ran"]), (outcome, "unknown"))
        return result

    def commit(self, partition, next_offset, metadata=None):
        """What workers commit in their transactions."""
        subprocess.run([os.path.join(BUILD, "tests", "component", "commit_position"), services.brokers, self.fleet.name,
                        self.fleet.topic("tasks"), str(partition), str(next_offset), *([metadata] if metadata else [])],
                       check=True, timeout=60)


class Reaping(Case):
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
        zombie = Producer({"bootstrap.servers": services.brokers, "transactional.id": "w1.zombie"})
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
        worker = Producer({"bootstrap.servers": services.brokers, "transactional.id": "w1.alive"})
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


class Telling(Case):
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
        member = Consumer({"bootstrap.servers": services.brokers, "group.id": self.fleet.name, "session.timeout.ms": 6000,
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
            reaper = self.fleet.start_reaper(lost_after_ms=1000, scan_ms=50)
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


class Holding(Case):
    """What cannot be erased withholds no result, is told of, and is tried again for ever."""

    def setUp(self):
        super().setUp()
        self.releases = []

    def tearDown(self):
        for release in self.releases:
            release()
        super().tearDown()

    def lefts(self, task_id):
        return [line for line in self.fleet.log().splitlines() if "reaper.left" in line and f"id={task_id} " in line]

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
        self.wait_state(task_id, None)  # the id is free for a worker, whose lane looks itself
        self.release_disk(task_id)
        self.wait_state(task_id, None)
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


class Caution(Case):
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
        sleepers = {i: self.make_objects(i) for i in (abandoned, live, elsewhere)}
        self.fleet.start_reaper(scan_ms=100)
        for gone in (abandoned, elsewhere):
            wait_until(f"it is erased\n{self.fleet.log()[-1500:]}", lambda: not os.path.exists(self.disk(gone)) and not self.groups(gone))
            wait_until("its process is gone", lambda: sleepers[gone].poll() is not None)
        self.wait_state(abandoned, None)
        self.assert_objects(live, sleepers[live], True)
        self.assertEqual((self.state(live), self.state(elsewhere)), ("running", "running"))

    def test_nothing_is_destroyed_while_redis_is_away_or_new(self):
        own = Services()
        try:
            own.start_redis()
            own.kafka_port = services.kafka_port
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


if __name__ == "__main__":
    unittest.main(verbosity=2)
