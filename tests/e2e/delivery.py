#!/usr/bin/python3
"""Intake, admission, leases, publication, offsets: with the null VMM, because nothing here is about the guest."""
import json
import os
import signal
import subprocess
import time
import unittest

import msgpack
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic

from case import REPO, EndToEnd, wait_until  # first: it says where the next one is
from seed import seeded
from stack import BUILD

VECTORS = os.path.join(REPO, "schemas", "vectors")
choose = seeded()


class Queue(EndToEnd):
    settings = {"vmm": "null", "allow_null_vmm": "yes"}

    def test_each_task_is_told_once(self):
        fleet = self.fleet(slots=50)
        fleet.start_worker()
        ids = [fleet.submit(argv=["true"]) for _ in range(2000)]
        self.assert_each_told_once(fleet, ids)
        self.assert_nothing_left(fleet)

    def test_kill_dash_nine_loses_and_repeats_nothing(self):
        fleet = self.fleet(slots=200, lease_ms=3000, grace_ms=500)
        fleet.start_reaper()
        ids = []
        for _ in range(4):
            worker = fleet.start_worker()
            ids += [fleet.submit(argv=["true"]) for _ in range(1500)]
            fleet.flush()
            time.sleep(choose.random() * 0.5)
            fleet.kill_group(worker)
        fleet.start_worker()
        self.assert_each_told_once(fleet, ids, 240)
        self.assert_nothing_left(fleet, 60)

    def test_full_worker_holds_and_loses_nothing(self):
        fleet = self.fleet(slots=2, null_run_ms=50)
        fleet.start_worker()
        ids = [fleet.submit(argv=["true"]) for _ in range(120)]
        self.assert_each_told_once(fleet, ids)

    def test_two_workers_share_and_survive_each_other(self):
        fleet = self.fleet(slots=20, null_run_ms=100, lease_ms=3000, grace_ms=500)
        fleet.start_reaper()
        first = fleet.start_worker("w1")
        ids = [fleet.submit(argv=["true"]) for _ in range(300)]
        fleet.flush()
        second = fleet.start_worker("w2")
        ids += [fleet.submit(argv=["true"]) for _ in range(300)]
        fleet.flush()
        time.sleep(0.5)
        fleet.kill_group(second)
        ids += [fleet.submit(argv=["true"]) for _ in range(300)]
        with fleet.kept_running("w1", first):  # on a busy host it may be late, be taken for dead, and end itself
            self.assert_each_told_once(fleet, ids, 240)

    def test_stopped_at_any_moment_of_its_start_it_ends_well(self):
        fleet = self.fleet()
        for _ in range(25):
            worker = fleet.start_worker(wait=False)
            time.sleep(choose.random() * choose.choice((0.05, 0.2, 1)))  # it is forked, let in, joins
            worker.terminate()
            worker.wait(60)
            self.assertTrue(fleet.has_stopped_well(worker), fleet.story())

    def test_drain_finishes_or_hands_back(self):
        fleet = self.fleet(slots=4, null_run_ms=700)
        worker = fleet.start_worker()
        ids = [fleet.submit(argv=["true"]) for _ in range(20)]
        fleet.flush()
        wait_until("something runs", lambda: "state=running" in fleet.log())
        worker.terminate()
        self.assertEqual(worker.wait(60), 0)
        with fleet.reader("results") as reader:
            found = {}
            wait_until("what was told can be read", lambda: reader.collect(found) or found)
            reader.collect(found)
        self.assertLess(len(found), len(ids), "all were told before the drain ended")
        self.assertEqual(fleet.leftovers(), [])
        fleet.start_worker()
        self.assert_each_told_once(fleet, ids)

    def test_expired_and_cancelled_and_impossible(self):
        fleet = self.fleet(slots=1, null_run_ms=60000)  # until it is cancelled
        fleet.start_worker()
        old = fleet.submit(argv=["true"], created_ms=int(time.time() * 1000) - 60000, queue_ms=1000)
        greedy = fleet.submit(argv=["true"], memory_mib=1000000)
        running, held = fleet.submit(argv=["true"]), fleet.submit(argv=["true"])
        fleet.flush()
        wait_until("one runs", lambda: "state=running" in fleet.log())
        fleet.cancel(held)
        fleet.cancel(running)
        found = fleet.results([old, greedy, running, held])
        self.assert_told_once(found, [old, greedy, running, held])
        self.assertEqual([found[old][0][key] for key in ("outcome", "field", "ran")], ["expired", "queue_ms", "not_started"])
        self.assertEqual((found[greedy][0]["outcome"], found[greedy][0]["field"]), ("rejected", "memory_mib"))
        with fleet.reader("dead") as letters:  # the raw record of what was rejected, and of nothing else
            self.assertEqual([msgpack.unpackb(m.value())["id"] for m in letters.to_the_end()], [greedy])
        self.assertEqual(found[held][0]["outcome"], "cancelled")
        self.assertEqual(found[running][0]["outcome"], "cancelled")

    def test_a_task_that_waited_long_was_cancelled_long_ago(self):
        """Told twenty minutes ago, about tasks that are an hour old: one that a worker has read, one that it reads later."""
        fleet = self.fleet(slots=1, null_run_ms=60000)
        fleet.start_worker()
        now = int(time.time() * 1000)
        running = fleet.submit(argv=["true"])
        fleet.flush()
        wait_until("one runs", lambda: "state=running" in fleet.log())
        held = fleet.submit(argv=["true"], created_ms=now - 3_600_000)
        later, young = held + "-later", held + "-young"
        fleet.flush()
        for task_id in (held, later, young):
            fleet.producer.produce(fleet.topic("control"), msgpack.packb(
                {"v": 1, "kind": "cancel", "id": task_id, "created_ms": now - 1_200_000}))
        fleet.flush()
        self.assertEqual(fleet.result(held)["outcome"], "cancelled")
        fleet.submit(id=later, argv=["true"], created_ms=now - 3_600_000)
        fleet.submit(id=young, argv=["true"], created_ms=now - 600_000, queue_ms=601_000)  # the id, used again
        found = fleet.results([later, young])
        self.assertEqual([found[i][0]["outcome"] for i in (later, young)], ["cancelled", "expired"])
        fleet.cancel(running)

    def test_a_batch_does_not_expire_in_its_own_queue(self):
        """Each may live two seconds, and the last waits for all before it; some were made a week ago."""
        fleet = self.fleet(slots=2, null_run_ms=20)
        now = int(time.time() * 1000)
        ages = {fleet.submit(argv=["true"], created_ms=now - age_ms, ttl_ms=ttl_ms): (age_ms, ttl_ms)
                for age_ms in (0, 660_000, 7 * 86_400_000) for ttl_ms in (2000, 600_000)}
        batch = [fleet.submit(argv=["true"], ttl_ms=2000) for _ in range(400)]
        late = [fleet.submit(argv=["true"], queue_ms=1) for _ in range(3)]  # by its own record's time
        patient = fleet.submit(argv=["true"], created_ms=now - 660_000, queue_ms=86_400_000)
        ahead = fleet.submit(argv=["true"], created_ms=now + 3_600_000, queue_ms=1_800_000)  # a clock that is wrong
        fleet.flush()
        time.sleep(2)
        fleet.start_worker()
        ids = [*ages, *batch, *late, patient, ahead]
        found = fleet.results(ids, 120)
        self.assert_told_once(found, ids)
        outcomes = {i: (found[i][0]["outcome"], found[i][0]["field"]) for i in ids}
        others = set(ids) - set(late)
        self.assertEqual({i: outcomes[i] for i in others if outcomes[i] != ("succeeded", "")}, {}, ages)
        self.assertEqual({i: outcomes[i] for i in late}, {i: ("expired", "queue_ms") for i in late})
        self.assertGreater(max(found[i][0]["timings_ms"]["total"] + found[i][0]["timings_ms"]["queued"] for i in batch), 2000)

    def test_a_life_ends_from_its_start(self):
        fleet = self.fleet(slots=1, null_run_ms=3000)
        fleet.start_worker()
        ids = [fleet.submit(argv=["true"], ttl_ms=700) for _ in range(3)]
        whole = fleet.submit(argv=["true"], queue_ms=600_000)
        fleet.flush()
        found = fleet.results([*ids, whole], 60)
        self.assert_told_once(found, [*ids, whole])
        for i in ids:
            self.assertEqual((found[i][0]["outcome"], found[i][0]["field"]), ("expired", "ttl_ms"))
            self.assertIn("700 ms", found[i][0]["message"])
        self.assertEqual(found[whole][0]["outcome"], "succeeded")

    def test_bad_records_are_answered_and_kept(self):
        fleet = self.fleet(slots=4)
        fleet.start_worker()
        sent = []
        for name in sorted(os.listdir(os.path.join(VECTORS, "bad"))):
            if name.startswith("task-") and name.endswith(".msgpack"):
                with open(os.path.join(VECTORS, "bad", name), "rb") as f:
                    raw = f.read()
                with open(os.path.join(VECTORS, "bad", name[:-8] + ".json"), encoding="utf-8") as f:
                    sent.append((name, raw, json.load(f)["field"]))
        self.assertGreater(len(sent), 40)
        sent.append(("tombstone", None, ""))
        for name, raw, _ in sent:
            fleet.producer.produce(fleet.topic("tasks"), raw, key=name)
        good = fleet.submit(argv=["true"])
        fleet.flush()
        answers, dead = {}, set()

        def all_answered():
            for message in results.messages():
                result = msgpack.unpackb(message.value())
                answers[(result["source"]["partition"], result["source"]["offset"])] = result
            dead.update(message.value() for message in letters.messages())
            return len(answers) >= len(sent) + 1 and len(dead) >= len({raw for _, raw, _ in sent})

        with fleet.reader("results") as results, fleet.reader("dead") as letters:
            wait_until("every record is answered", all_answered)
        by_record = {}
        with fleet.reader("tasks") as tasks:
            for message in tasks.to_the_end():
                by_record[message.value()] = answers[(message.partition(), message.offset())]
        with fleet.reader("dead") as letters:
            letters = {tuple(value.decode() for _, value in m.headers()): m for m in letters.to_the_end()}
        self.assertEqual(len(letters), len(sent))
        with fleet.reader("tasks") as tasks:
            for record in tasks.to_the_end():
                letter = letters.get((fleet.topic("tasks"), str(record.partition()), str(record.offset())))
                if letter:
                    self.assertEqual((letter.key(), letter.value()), (record.key(), record.value()))
                    self.assertEqual([name for name, _ in letter.headers()],
                                     [f"mayfly.source.{part}" for part in ("topic", "partition", "offset")])
        for name, raw, field in sent:
            self.assertEqual((by_record[raw]["outcome"], by_record[raw]["field"]), ("rejected", field), name)
            if field:
                self.assertTrue(by_record[raw]["message"].startswith(field + ": "), by_record[raw]["message"])
            self.assertIn(raw, dead, name)
        self.assertEqual(fleet.result(good)["outcome"], "succeeded")  # the worker lives on

    def answered_beside(self, fleet, records, kept):
        """Send these, each no task, and a good one; all are answered, and the dead letters are those of kept."""
        sender = Producer({"bootstrap.servers": self.services.brokers, "compression.type": "gzip", "message.max.bytes": 100000000})
        for record in records:
            sender.produce(fleet.topic("tasks"), record)
        self.assertEqual(sender.flush(30), 0)
        good = fleet.submit(argv=["true"])
        self.assertEqual(fleet.result(good)["outcome"], "succeeded")
        outcomes, dead = [], []
        with fleet.reader("results") as results, fleet.reader("dead") as letters:
            def all_answered():
                outcomes.extend(msgpack.unpackb(message.value())["outcome"] for message in results.messages())
                dead.extend(message.value() for message in letters.messages())
                return len(outcomes) > len(records) and len(dead) >= len(kept)
            wait_until("every record is answered and what fits is kept", all_answered)
            dead.extend(message.value() for message in letters.messages(1))
        self.assertEqual(sorted(outcomes), ["rejected"] * len(records) + ["succeeded"])
        self.assertEqual(sorted(dead), sorted(kept))

    def test_large_records_are_answered_and_kept(self):
        fleet = self.fleet(slots=4)
        fleet.start_worker()
        fits = [os.urandom(size) for size in (999999, 1000001, 1048000)] + [bytes(3000000)]
        bomb = bytes(20000000)  # a few kilobytes on the way, too large for any of our topics when unpacked
        self.answered_beside(fleet, [*fits, bomb], kept=fits)

    def test_a_dead_letter_that_its_topic_refuses_stops_nobody(self):
        fleet = self.fleet(slots=4)
        fleet.start_worker()
        self.set_limit(fleet, "dead", 5000)
        small = [os.urandom(1000) for _ in range(20)]  # together more than the topic takes at once
        self.answered_beside(fleet, [*small[:10], os.urandom(9000), os.urandom(6000), *small[10:]], kept=small)
        self.assertIn("raise max.message.bytes", fleet.log())

    def set_limit(self, fleet, kind, most):
        """max.message.bytes of a topic."""
        topic = ConfigResource(ConfigResource.Type.TOPIC, fleet.topic(kind), set_config={"max.message.bytes": str(most)})
        admin = AdminClient({"bootstrap.servers": self.services.brokers})
        for future in admin.alter_configs([topic]).values():
            future.result(30)

    def test_a_result_that_its_topic_refuses_stops_nobody(self):
        """It is told in a shorter form; when not even that is taken, the others are, and it is told when the limit is raised."""
        fleet = self.fleet(slots=50)
        worker = fleet.start_worker()
        labels = {f"label-{i}": "v" * 120 for i in range(16)}
        self.set_limit(fleet, "results", 2000)
        small = [fleet.submit(argv=["true"]) for _ in range(100)]  # together more than the topic takes at once
        large = [fleet.submit(argv=["true"], labels=labels) for _ in range(10)]
        small += [fleet.submit(argv=["true"]) for _ in range(100)]
        told = self.assert_each_told_once(fleet, small + large)
        self.assertEqual({told[i][0]["message"] for i in small}, {"the null VMM runs nothing"})
        for task_id in large:
            result = told[task_id][0]
            self.assertEqual((result["outcome"], result["labels"]), ("succeeded", {}))
            self.assertRegex(result["message"], "runs nothing; told without output, files and labels: .* refuses [0-9]+ bytes")
        self.assertIn("raise max.message.bytes", fleet.log())
        self.set_limit(fleet, "results", 1000000)
        whole = fleet.submit(argv=["true"], labels=labels)
        time.sleep(6)  # what it knows of the old limit is forgotten after five
        after = fleet.submit(argv=["true"], labels=labels)
        told = self.assert_each_told_once(fleet, [*small, *large, whole, after])
        self.assertEqual(told[after][0]["labels"], labels)
        self.set_limit(fleet, "results", 100)
        nothing = [fleet.submit(argv=["true"]) for _ in range(3)]
        fleet.flush()
        wait_until("it is seen that nothing can be told", lambda: "it is the shortest form" in fleet.log())
        worker.terminate()
        self.assertEqual(worker.wait(90), 0)
        self.set_limit(fleet, "results", 1000000)
        fleet.start_reaper()
        fleet.start_worker()
        self.assert_each_told_once(fleet, [*small, *large, whole, after, *nothing])

    def delete_before(self, fleet, offset):
        subprocess.run([os.path.join(BUILD, "tests", "component", "delete_records"), self.services.brokers, fleet.topic("tasks"), "0",
                        str(offset)], check=True, timeout=60)

    def losses(self, fleet):
        """[(first, last, records)] as the dead-letter topic has them."""
        found = []
        with fleet.reader("dead") as letters:
            for message in letters.to_the_end():
                headers = {name: value.decode() for name, value in message.headers()}
                self.assertEqual((message.key(), message.value(), headers["mayfly.source.topic"], headers["mayfly.lost.group"]),
                                 (None, None, fleet.topic("tasks"), fleet.name))
                found.append(tuple(int(headers[f"mayfly.{what}"]) for what in ("source.offset", "lost.last", "lost.records")))
        return found

    def restart(self, fleet, worker):
        worker.terminate()
        self.assertEqual(worker.wait(60), 0)
        return fleet.start_worker()

    def test_records_lost_to_retention_are_told_once(self):
        fleet = self.fleet(slots=4, partitions=1)
        worker = fleet.start_worker()
        first = [fleet.submit(argv=["true"]) for _ in range(3)]
        self.assert_each_told_once(fleet, first)
        worker.terminate()
        self.assertEqual(worker.wait(60), 0)
        lost = [fleet.submit(argv=["true"]) for _ in range(4)]
        kept = [fleet.submit(argv=["true"]) for _ in range(2)]
        fleet.flush()
        self.delete_before(fleet, len(first) + len(lost))
        worker = fleet.start_worker()
        self.assert_each_told_once(fleet, first + kept)
        self.assertEqual(self.losses(fleet), [(3, 6, 4)])
        self.assertRegex(fleet.log(), r" error engine intake\.lost topic=\S+ partition=0 first=3 last=6 records=4 ")
        worker = self.restart(fleet, worker)
        kept.append(fleet.submit(argv=["true"]))
        self.assert_each_told_once(fleet, first + kept)
        worker.terminate()
        self.assertEqual(worker.wait(60), 0)
        lost += [fleet.submit(argv=["true"]) for _ in range(2)]
        fleet.flush()
        self.delete_before(fleet, -1)  # nothing is left: the end of the log says what is lost
        worker = fleet.start_worker()
        wait_until("the second loss is told", lambda: len(self.losses(fleet)) > 1)
        kept.append(fleet.submit(argv=["true"]))
        self.assert_each_told_once(fleet, first + kept)
        self.restart(fleet, worker)
        self.assertEqual(self.losses(fleet), [(3, 6, 4), (10, 11, 2)])
        self.assertEqual(fleet.log().count("intake.lost"), 2)

    def test_records_lost_before_a_busy_worker_fetched_them(self):
        fleet = self.fleet(slots=1, partitions=1, null_run_ms=300)
        fleet.start_worker()
        ids = [fleet.submit(argv=["true"], stdin=os.urandom(300000)) for _ in range(60)]  # it fetches 4 MB ahead
        fleet.flush()
        wait_until("it runs", lambda: "state=running" in fleet.log())
        self.delete_before(fleet, 50)
        last = fleet.submit(argv=["true"])
        fleet.results([last])
        (first, end, records), = self.losses(fleet)
        self.assertEqual((end, records), (49, 50 - first))
        self.assertGreater(first, 3)
        self.assert_each_told_once(fleet, [*ids[:first], *ids[50:], last])

    def test_what_was_no_record_is_not_lost(self):
        """A transaction's marker at the end of the log, deleted like the record before it."""
        fleet = self.fleet(slots=4, partitions=1)
        worker = fleet.start_worker()
        sender = Producer({"bootstrap.servers": self.services.brokers, "transactional.id": fleet.name + "-sender"})
        sender.init_transactions(30)
        sender.begin_transaction()
        sender.produce(fleet.topic("tasks"), msgpack.packb({"v": 1, "kind": "run", "id": fleet.name + "-a", "image": "base", "argv": ["true"]}))
        sender.commit_transaction(30)
        self.assert_each_told_once(fleet, [fleet.name + "-a"])
        wait_until("the marker is behind the group", lambda: self.committed(fleet) == 2)
        worker.terminate()
        self.assertEqual(worker.wait(60), 0)
        self.delete_before(fleet, -1)
        fleet.start_worker()
        after = fleet.submit(argv=["true"])
        self.assert_each_told_once(fleet, [fleet.name + "-a", after])
        self.assertEqual(self.losses(fleet), [])
        self.assertNotIn("intake.lost", fleet.log())

    def committed(self, fleet):
        consumer = Consumer({"bootstrap.servers": self.services.brokers, "group.id": fleet.name})
        try:
            return consumer.committed([TopicPartition(fleet.topic("tasks"), 0)], 30)[0].offset
        finally:
            consumer.close()

    def test_a_log_that_starts_over_is_for_a_person(self):
        """The group is beyond the end of the log: what is there may be answered, or new."""
        fleet = self.fleet(slots=4, partitions=1)
        admin = AdminClient({"bootstrap.servers": self.services.brokers})
        admin.create_topics([NewTopic(fleet.topic("tasks"), 1, 1)])[fleet.topic("tasks")].result(30)
        subprocess.run([os.path.join(BUILD, "tests", "component", "commit_position"), self.services.brokers, fleet.name,
                        fleet.topic("tasks"), "0", "5"], check=True, timeout=60)
        fleet.submit(argv=["true"])
        fleet.flush()
        worker = fleet.start_worker(wait=False)
        self.assertEqual(worker.wait(60), 1)
        self.assertRegex(fleet.log(), "engine.die .*has lost records: 5 was asked for, 0 came; .*reset the offsets")
        self.assertNotIn("intake.lost", fleet.log())
        self.assertEqual(fleet.told(), {})

    def test_a_gap_wider_than_the_map(self):
        """30,000 aborted records while a task before them is open: nothing is lost, and the worker lives."""
        fleet = self.fleet(slots=4, null_run_ms=6000, partitions=1)
        fleet.start_worker()
        first = fleet.submit(argv=["true"])
        fleet.flush()
        wait_until("it runs", lambda: "state=running" in fleet.log())
        aborting = Producer({"bootstrap.servers": self.services.brokers, "transactional.id": fleet.name + "-gap", "linger.ms": 50})
        aborting.init_transactions(30)
        aborting.begin_transaction()
        for _ in range(30000):
            aborting.produce(fleet.topic("tasks"), b"never seen")
            aborting.poll(0)
        aborting.flush(60)
        aborting.abort_transaction(60)
        behind = [fleet.submit(argv=["true"]) for _ in range(3)]
        self.assert_each_told_once(fleet, [first, *behind])

    def test_redis_away_for_a_while(self):
        fleet = self.fleet(slots=20, null_run_ms=20, lease_ms=3000)
        fleet.start_worker()
        ids = [fleet.submit(argv=["true"]) for _ in range(200)]
        fleet.flush()
        self.services.redis.kill()
        self.services.redis.wait()
        ids += [fleet.submit(argv=["true"]) for _ in range(200)]
        fleet.flush()
        time.sleep(2)
        self.services.start_redis()
        self.assert_each_told_once(fleet, ids)

    def test_kafka_killed_in_the_middle(self):
        fleet = self.fleet(slots=50, null_run_ms=10)
        fleet.start_worker()
        ids = [fleet.submit(argv=["true"]) for _ in range(1000)]
        fleet.flush()
        self.services.kafka.kill()
        self.services.kafka.wait()
        self.services.start_kafka()
        ids += [fleet.submit(argv=["true"]) for _ in range(100)]
        self.assert_each_told_once(fleet, ids, 240)

    def test_kafka_stands_still_for_longer_than_a_session(self):
        """Its members are out of the group, its transactions over, and what they asked meanwhile is answered too late."""
        fleet = self.fleet(slots=4, null_run_ms=3000)
        worker = fleet.start_worker()
        ids = [fleet.submit(argv=["true"]) for _ in range(12)]
        fleet.flush()
        wait_until("some run", lambda: "state=running" in fleet.log())
        os.kill(self.services.kafka.pid, signal.SIGSTOP)
        try:
            time.sleep(25)
        finally:
            os.kill(self.services.kafka.pid, signal.SIGCONT)
        self.assert_each_told_once(fleet, ids)
        self.assertIsNone(worker.poll())

    def test_a_drain_ends_although_kafka_hangs(self):
        fleet = self.fleet(slots=4, null_run_ms=1500, drain_ms=3000)
        fleet.start_reaper()
        worker = fleet.start_worker()
        ids = [fleet.submit(argv=["true"]) for _ in range(12)]
        fleet.flush()
        wait_until("some run", lambda: "state=running" in fleet.log())
        self.services.kafka.send_signal(signal.SIGSTOP)
        try:
            worker.terminate()
            self.assertEqual(worker.wait(120), 0)
        finally:
            self.services.kafka.send_signal(signal.SIGCONT)
        self.assertIn("engine.leave", fleet.log())
        fleet.start_worker()
        self.assert_each_told_once(fleet, ids, 120)

    def test_null_vmm_wants_two_keys(self):
        fleet = self.fleet(allow_null_vmm="no")
        worker = fleet.start_worker(wait=False)
        self.assertEqual(worker.wait(30), 2)
        self.assertIn("allow_null_vmm", fleet.log())


if __name__ == "__main__":
    unittest.main(verbosity=2)
