#!/usr/bin/python3
"""The bus on a real Kafka: every record is answered once, whatever is killed, fenced, moved or lost on the way.

What is under test is the consumer, the partitions, the outbox and the publisher of the worker, in bus-member: a process
that may be killed at a named point of a transaction. Each promise has a control: a member that breaks it, and is caught."""
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import uuid

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from seed import seeded  # noqa: E402
from stack import BUILD, Reader, Services, wait_until  # noqa: E402

MEMBER = os.path.join(BUILD, "tests", "component", "bus-member")
PARTITIONS = 4
POINTS = ("begin", "send", "sent", "commit", "midway", "committed")

choose = seeded()
services = None


def setUpModule():
    global services
    services = Services()
    unittest.addModuleCleanup(services.__exit__)
    services.__enter__()


class Member:
    def __init__(self, group, instance, *words, after=None):
        self.group = group
        self.id = f"{group.name}.{instance}.{uuid.uuid4().hex[:6]}"
        self.log_path = os.path.join(group.folder, f"{len(group.members)}.log")
        fence = [f"fence={after.id}"] if after else []
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen([MEMBER, group.services.brokers, group.name, f"{group.name}.{instance}", self.id,
                                             *fence, *words], cwd=group.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        group.members.append(self)

    def lines(self, word):
        return [line.split()[1:] for line in self.all_lines() if line.startswith(word + " ") or line == word + "\n"]

    def all_lines(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return f.readlines()

    def says(self, text):
        return any(text in line for line in self.all_lines())

    def log(self):
        return "".join(self.all_lines()[-60:])

    def owned(self):
        """{partition: committed} as of the last assignment, None while there is none."""
        last = [line.split() for line in self.all_lines() if line.startswith(("assigned", "revoked"))][-1:]
        if not last or last[0][0] == "revoked":
            return None
        return {int(p): int(o) for p, o in (word.split("@") for word in last[0][1:])}

    def wait_for(self, word, n=1, seconds=60):
        wait_until(f"{self.id} says '{word}' {n} times:\n" + self.log(), lambda: len(self.lines(word)) >= n, seconds)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        """In order; a leak or a memory error is a failure."""
        assert self.process.poll() is None, f"{self.id} ended by itself with {self.process.returncode}:\n" + self.log()
        self.process.terminate()
        code = self.process.wait(60)
        assert code == 0, f"{self.id} ended with {code}:\n" + self.log()


class Group:
    """Topics, a consumer group and its members."""

    def __init__(self, on):
        self.services = on
        self.name = "b" + uuid.uuid4().hex[:10]
        self.folder = tempfile.mkdtemp(prefix="mayfly-bus.")
        self.members = []
        self.sent = set()
        admin = AdminClient({"bootstrap.servers": on.brokers})
        topics = [NewTopic(f"{self.name}.{kind}", PARTITIONS, 1) for kind in ("tasks", "urgent", "results", "output")]
        for future in admin.create_topics(topics).values():
            future.result(30)
        self.producer = Producer({"bootstrap.servers": on.brokers, "enable.idempotence": True, "linger.ms": 1})

    def send(self, n, partition=None, kind="tasks"):
        prefix = "" if kind == "tasks" else kind + ":"

        def on_delivery(error, message):
            assert error is None, error
            self.sent.add(f"{prefix}{message.partition()}/{message.offset()}")

        for i in range(n):
            where = i % PARTITIONS if partition is None else partition
            self.producer.produce(f"{self.name}.{kind}", b"x", partition=where, on_delivery=on_delivery)
            self.producer.poll(0)
        assert self.producer.flush(60) == 0

    def results(self, kind="results"):
        """{record: how often it is answered} by now, with what transactions that are still open turn out to be."""
        found = {}
        with Reader(self.services.brokers, f"{self.name}.{kind}") as reader:
            for message in reader.to_the_end():
                found[message.key().decode()] = found.get(message.key().decode(), 0) + 1
        return found

    def wait_for_results(self, expected, seconds=120):
        found = {}
        with Reader(self.services.brokers, f"{self.name}.results") as reader:
            def all_there():
                for message in reader.messages():
                    found[message.key().decode()] = found.get(message.key().decode(), 0) + 1
                return expected <= found.keys()
            try:
                wait_until("all results", all_there, seconds)
            except AssertionError:
                raise AssertionError(f"{len(expected - found.keys())} of {len(expected)} without an answer, such as "
                                     f"{sorted(expected - found.keys())[:5]}:\n" + self.members[-1].log()) from None

    def story(self, records):
        """What the members said about these records, and about their transactions."""
        words = [f" {record} " for record in records] + ["publisher.", "outbox.", "assigned", "revoked", "fenced"]
        return "".join(f"{os.path.basename(m.log_path)}: {line}" for m in self.members for line in m.all_lines()
                       if any(word in line.replace("\n", " ") for word in words))[-8000:]

    def committed(self, kind="tasks"):
        consumer = Consumer({"bootstrap.servers": self.services.brokers, "group.id": self.name})
        found = consumer.committed([TopicPartition(f"{self.name}.{kind}", p) for p in range(PARTITIONS)], 30)
        consumer.close()
        return {p.partition: p.offset for p in found}

    def close(self):
        for member in self.members:
            if member.process.poll() is None:
                member.kill()
        subprocess.run(["rm", "-rf", self.folder], check=True)


def flaws(sent, found):
    """What the promise forbids: (without an answer, answered twice, answered and never sent)."""
    return (sorted(sent - found.keys()), sorted(k for k, n in found.items() if n > 1), sorted(found.keys() - sent))


class Case(unittest.TestCase):
    def group(self, on=None):
        group = Group(on or services)
        self.addCleanup(group.close)
        return group

    def assert_each_once(self, group, *members, seconds=120):
        """Counted when these members, of which a second answer could come, have ended in order."""
        group.wait_for_results(group.sent, seconds)
        for member in members:
            member.stop()
        found = flaws(group.sent, group.results())
        self.assertEqual(found, ([], [], []), group.story(sum(found, [])[:3]))


class Killed(Case):
    def kill_on(self, group, points, *words):
        """A life for each point, the next one fencing the last; records come meanwhile."""
        last = None
        for point in points:
            member = Member(group, "m", f"die={point}:{choose.randint(1, 5)}", *words, after=last)
            end = time.monotonic() + 120
            while member.process.poll() is None:
                group.send(20)
                time.sleep(0.02)
                self.assertLess(time.monotonic(), end, f"no member came to its point: {point}\n{member.log()}")
            self.assertEqual(member.process.wait(), -signal.SIGKILL, member.log())
            last = member
        return last

    def test_at_every_point_of_a_transaction(self):
        group = self.group()
        last = self.kill_on(group, POINTS * 2)
        self.assert_each_once(group, Member(group, "m", after=last))

    def test_at_random_moments(self):
        group = self.group()
        last = None
        for _ in range(8):
            member = Member(group, "m", after=last)
            for _ in range(choose.randint(5, 40)):
                group.send(20)
                time.sleep(0.05)
            member.kill()
            last = member
        self.assert_each_once(group, Member(group, "m", after=last))

    def test_control_without_transactions_tells_twice(self):
        group = self.group()
        self.kill_on(group, ("midway",) * 3, "plain")
        Member(group, "m", "plain")
        group.wait_for_results(group.sent)
        missing, twice, _ = flaws(group.sent, group.results())
        self.assertEqual(missing, [])
        self.assertGreater(len(twice), 0, "a kill between produce and commit went unnoticed")

    def test_control_highest_seen_loses(self):
        group = self.group()
        last = self.kill_on(group, ("committed",) * 3, "highest", "slow=300")
        Member(group, "m", "highest", "slow=1", after=last)
        ends = {p: max(int(k.split("/")[1]) for k in group.sent if k.startswith(f"{p}/")) + 1 for p in range(PARTITIONS)}
        wait_until("everything is committed", lambda: group.committed() == ends, 60)
        missing, _, _ = flaws(group.sent, group.results())
        self.assertGreater(len(missing), 0, "records that were seen but not done were lost unnoticed")


class Restarted(Case):
    def test_goes_on_at_the_lowest_and_skips_what_is_done(self):
        group = self.group()
        group.send(400)
        held = {k for k in group.sent if int(k.split("/")[1]) % 25 == 0}
        first = Member(group, "m", "hold=25")
        group.wait_for_results(group.sent - held)
        first.wait_for("told", len(group.sent - held))
        first.kill()
        second = Member(group, "m", after=first)
        self.assert_each_once(group, second)
        self.assertEqual({r[0] for r in second.lines("record")}, held)
        self.assertEqual({s[0] for s in second.lines("skip")}, group.sent - held)
        first_assigned = second.lines("assigned")[0]
        self.assertEqual(sorted(first_assigned), [f"{p}@0" for p in range(PARTITIONS)])  # the lowest, not the highest


class Fenced(Case):
    def test_a_zombie_tells_nothing(self):
        for point in ("send", "sent", "commit"):
            with self.subTest(point):
                group = self.group()
                group.send(200)
                zombie = Member(group, "z", f"stop={point}:2")
                zombie.wait_for("stopping")
                group.send(200)
                heir = Member(group, "z", after=zombie)
                group.wait_for_results(group.sent)
                os.kill(zombie.process.pid, signal.SIGCONT)
                zombie.process.wait(60)
                self.assert_each_once(group, heir)

    def test_what_was_handed_over_before_the_fence_is_looked_at_again(self):
        """A new producer undoes a fence, so nothing that waited for it is told as it was: its owner asks for its lease again."""
        group = self.group()
        group.send(100)
        member = Member(group, "m", "late=init:1")
        member.wait_for("submitted")
        subprocess.run([MEMBER, services.brokers, group.name, "f", "f", f"fence={member.id}", "exit"], check=True)
        with open(os.path.join(group.folder, "go"), "wb"):
            pass
        self.assert_each_once(group, member)
        words = [line for line in member.all_lines() if "outbox.aborted" in line or line.startswith("told")]
        self.assertIn("before the producer was there", words[0])


class OutcomeNotKnown(Case):
    """The broker's answer to a commit is lost; meanwhile others go on."""

    def check_transaction(self, point, with_rebalance):
        group = self.group()
        group.send(200)
        first = Member(group, "a", f"lose={point}:2")
        first.wait_for("lost")
        if with_rebalance:
            second = Member(group, "b")
            # The first one's loop lives: it gives half away, and the new owner commits more there.
            second.wait_for("assigned")
            group.send(200)
            second.wait_for("told", 20)
        with open(os.path.join(group.folder, "go"), "wb"):
            pass
        group.send(40)
        self.assert_each_once(group, *group.members)
        self.assertTrue(first.says("publisher.unknown"))

    def test_it_was_committed(self):
        self.check_transaction("committed", False)

    def test_it_was_not_committed(self):
        self.check_transaction("commit", False)

    def test_it_was_committed_and_partitions_moved(self):
        self.check_transaction("committed", True)

    def test_it_was_not_committed_and_partitions_moved(self):
        self.check_transaction("commit", True)


class Moved(Case):
    def test_members_come_and_go_while_records_finish_out_of_order(self):
        group = self.group()
        stays = Member(group, "a", "slow=200")
        stays.wait_for("assigned")
        for instance in ("b", "c", "d"):  # a static member that comes back has its partitions at once
            comes = Member(group, instance, "slow=200")
            for _ in range(30):
                group.send(20)
                time.sleep(0.05)
            comes.stop()
        self.assert_each_once(group, stays)
        self.assertGreaterEqual(len(stays.lines("assigned")), 4)

    def test_a_member_dies_and_another_takes_over(self):
        group = self.group()
        stays = Member(group, "a", "slow=200")
        dies = Member(group, "b", "slow=200")
        wait_until("both own two", lambda: all(len(m.owned() or ()) == 2 for m in (stays, dies)))
        group.send(400)
        dies.wait_for("told")
        dies.kill()
        group.send(400)
        self.assert_each_once(group, stays)  # after the session, and the transaction's timeout


class Namesake(Case):
    """A static member that is fenced joins again: its broker may only have stood still. Not for ever: another may have its name."""

    def test_one_that_is_fenced_once_goes_on(self):
        group = self.group()
        member = Member(group, "m", "slow=200")
        group.send(200)
        member.wait_for("told")
        other = Consumer({"bootstrap.servers": services.brokers, "group.id": group.name, "group.instance.id": group.name + ".m",
                          "session.timeout.ms": 6000, "partition.assignment.strategy": "range", "enable.auto.commit": False})
        other.subscribe([f"{group.name}.tasks"])
        try:
            wait_until("it is fenced", lambda: other.poll(0.1) and False or member.says("consumer.fenced"))
        finally:
            other.close()
        group.send(200)
        self.assert_each_once(group, member)

    def test_one_of_two_with_one_name_goes_on(self):
        group = self.group()
        members = [Member(group, "m") for _ in range(2)]
        end = time.monotonic() + 120
        while all(member.process.poll() is None for member in members):
            group.send(20)
            time.sleep(0.05)
            self.assertLess(time.monotonic(), end, members[0].log() + members[1].log())
        ended, = [member for member in members if member.process.poll() is not None]
        lives, = [member for member in members if member is not ended]
        self.assertEqual(ended.process.returncode, 3, ended.log())
        self.assertIn("does another worker have the name", ended.log())
        group.send(100)
        self.assert_each_once(group, lives)


class Paused(Case):
    def test_pause_resume_and_rewind_lose_nothing(self):
        group = self.group()
        member = Member(group, "m", "juggle")
        for _ in range(30):
            group.send(100)
            time.sleep(0.05)
        self.assert_each_once(group, member)


class TwoTopics(Case):
    """Partitions of two topics have the same numbers, and nothing else in common."""

    def test_each_topic_goes_on_where_it_was(self):
        group = self.group()
        group.send(400)
        group.send(120, kind="urgent")
        held = {k for k in group.sent if int(k.split("/")[1]) % 25 == 0}
        first = Member(group, "m", "urgent", "hold=25")
        group.wait_for_results(group.sent - held)
        first.wait_for("told", len(group.sent - held))
        first.kill()
        second = Member(group, "m", "urgent", after=first)
        self.assert_each_once(group, second)
        self.assertEqual({r[0] for r in second.lines("record")}, held)
        self.assertEqual({s[0] for s in second.lines("skip")}, group.sent - held)
        self.assertEqual(group.committed("tasks"), {p: 100 for p in range(PARTITIONS)})
        self.assertEqual(group.committed("urgent"), {p: 30 for p in range(PARTITIONS)})

    def test_killed_paused_and_rewound_with_a_list_of_messages(self):
        group = self.group()
        last = None
        for point in ("sent", "midway", "committed"):
            member = Member(group, "m", "urgent", "copy", "juggle", f"die={point}:{choose.randint(1, 5)}", after=last)
            end = time.monotonic() + 120
            while member.process.poll() is None:
                group.send(20)
                group.send(8, kind="urgent")
                time.sleep(0.02)
                self.assertLess(time.monotonic(), end, f"no member came to its point: {point}\n{member.log()}")
            last = member
        self.assert_each_once(group, Member(group, "m", "urgent", "copy", "juggle", after=last))
        self.assertEqual(flaws(group.sent, group.results("output")), ([], [], []))


class BrokerAway(Case):
    def outage(self, point, seconds, *words):
        with Services() as on:
            group = self.group(on)
            group.send(400)
            member = Member(group, "m", f"late={point}:2", *words)
            member.wait_for("record")
            group.send(100)  # there is a second transaction for them
            member.wait_for("late")
            on.kafka.kill()
            on.kafka.wait()
            with open(os.path.join(group.folder, "go"), "wb"):
                pass
            time.sleep(seconds)
            on.start_kafka()
            group.send(100)
            self.assert_each_once(group, member, seconds=180)

    def test_before_the_offsets(self):
        self.outage("send", 2)

    def test_before_the_commit(self):
        self.outage("commit", 2)

    def test_longer_than_the_transaction_may_take(self):
        self.outage("commit", 12, "timeout=5000")

    def test_at_the_start(self):
        """A member that starts while no broker is there waits for one."""
        with Services() as on:
            group = self.group(on)
            group.send(100)
            on.kafka.kill()
            on.kafka.wait()
            member = Member(group, "m")
            time.sleep(3)
            self.assertIsNone(member.process.poll(), member.log())
            on.start_kafka()
            self.assert_each_once(group, member, seconds=180)


if __name__ == "__main__":
    unittest.main(verbosity=2)
