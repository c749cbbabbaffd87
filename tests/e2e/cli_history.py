"""`mayfly result`, `logs` and `watch --id`: what they find in what Kafka keeps. Run by cli_queue.py, whose worker they share."""
import json
import time

import msgpack
from cli import begin, mayfly
from queue_case import RESULT_KEYS, end, lines_of
from told import Told


class History:
    """A part of cli_queue.Queue."""

    def test_an_id_that_is_over_is_found(self):
        for name in ("over-1", "over-2"):
            self.mayfly("submit", "--wait", "--id", name, "--", "true")
        seen = lines_of(self.mayfly("watch", "--json", "--id", "over-1", "--id", "over-2").stdout)
        self.assertEqual([r["id"] for r in seen if r["event"] == "finished"], ["over-1", "over-2"])

    def test_what_became_of_a_task(self):
        self.mayfly("submit", "--wait", "--id", "became-1", "--label", "a=b", "--", "true")
        result = json.loads(self.mayfly("result", "--json", "became-1").stdout)
        self.assertEqual((result["outcome"], result["labels"], RESULT_KEYS - result.keys()), ("succeeded", {"a": "b"}, set()))
        self.assertIn(b"succeeded", self.mayfly("result", "became-1").stdout)
        self.assertEqual(self.mayfly("result", "--json", "--since", "1h", "became-1").stdout.count(b"\n"), 1)
        self.assertEqual(self.mayfly("logs", "became-1").stdout, b"")
        self.mayfly("submit", "--wait", "--memory", "900G", "--id", "became-2", "--", "true")
        self.assertIn(b"task became-2 did not run: rejected: ", self.mayfly("logs", "became-2").stderr)
        for command in ("result", "logs"):
            done = self.mayfly(command, "became-none", code=4)
            self.assertEqual(done.stdout, b"")
            self.assertIn(b"nothing is known of a task became-none", done.stderr)
            self.mayfly(command, "no/id", code=2)
            self.mayfly(command, code=2)
            self.mayfly(command, "a", "b", code=2)

    def test_the_latest_result_far_back(self):
        fleet = self.fleet()
        self.make_topics(fleet)
        Told(fleet, "reused", 1).finished()
        Told(fleet, "reused", 2).finished(exit_code=7)
        Told(fleet, "running", 3).started(attempt=2)
        Told(fleet, "again", 4).finished()
        Told(fleet, "again", 5).started()
        refused = Told(fleet, "refused", 6)
        refused._event("refused", outcome="rejected")
        Told(fleet, "x").others(60000)
        old = Told(fleet, "old", 7)
        old.now_ms -= 7200 * 1000
        old.finished()
        fleet.flush()
        self.assertEqual(json.loads(mayfly(fleet, "result", "--json", "reused").stdout)["exit_code"], 7)
        done = mayfly(fleet, "result", "running")
        self.assertEqual((done.returncode, done.stdout), (3, b""))
        self.assertRegex(done.stderr, rb"has no result yet: it started at .* \(attempt 2, host h1\)")
        done = mayfly(fleet, "result", "--json", "again")
        self.assertEqual((done.returncode, done.stdout), (3, b""))
        self.assertRegex(done.stderr, rb"the result of an earlier task again is there.*\n.*has no result yet: it started at")
        self.assertEqual(mayfly(fleet, "result", "refused").returncode, 4)
        self.assertEqual(mayfly(fleet, "result", "old").returncode, 0)
        self.assertEqual(mayfly(fleet, "result", "--since", "1h", "old").returncode, 4)
        self.assertEqual(mayfly(fleet, "submit", "--id", "waits", "--", "true").returncode, 0)
        for command, says in (("result", rb"it was submitted at .* and has not started"), ("logs", rb"has not started yet; -f waits")):
            done = mayfly(fleet, command, "waits")
            self.assertEqual((done.returncode, done.stdout), (3, b""), done.stderr)
            self.assertRegex(done.stderr, says)

    def test_an_id_that_waits_again(self):
        """Its latest task counts, and that one is in the queue: what an earlier one became is no answer."""
        fleet = self.fleet()
        self.make_topics(fleet)
        value = msgpack.packb({"v": 1, "kind": "run", "id": "back", "image": "base", "argv": ["true"]})
        for _ in range(2):
            fleet.producer.produce(fleet.topic("tasks"), value, key="back", partition=0)
        Told(fleet, "back", 0).finished(stdout=b"of the first\n")
        fleet.flush()
        for command, says in (("result", rb"was submitted at .* and has not started"), ("logs", rb"has not started yet; -f waits")):
            done = mayfly(fleet, command, "back")
            self.assertEqual((done.returncode, done.stdout), (3, b""), done.stderr)
            self.assertRegex(done.stderr, says)
        follow, watch = begin(fleet, "logs", "-f", "back"), begin(fleet, "watch", "--json", "--id", "back")
        for process in (follow, watch):
            self.addCleanup(end, process)
        self.assertEqual(json.loads(watch.stdout.readline())["exit_code"], 0)  # of the first: no reason to end
        time.sleep(1)
        self.assertEqual((follow.poll(), watch.poll()), (None, None))
        second = Told(fleet, "back", 1)
        second.finished(stdout=b"of the second\n", exit_code=5)
        fleet.flush()
        out, err = follow.communicate(timeout=60)
        self.assertEqual((follow.returncode, out), (0, b"of the second\n"), err)
        out, err = watch.communicate(timeout=60)
        self.assertEqual((watch.returncode, [r["exit_code"] for r in lines_of(out)]), (0, [5]), err)
        self.assertEqual(json.loads(mayfly(fleet, "result", "--json", "back").stdout)["exit_code"], 5)
        self.assertEqual(mayfly(fleet, "logs", "back").stdout, b"of the second\n")
        first = {"topic": fleet.topic("tasks"), "partition": 0, "offset": 1}
        for record, event, more in ((2, "duplicate", {"same_as": first}), (3, "refused", {"outcome": "rejected"})):
            fleet.producer.produce(fleet.topic("tasks"), value, key="back", partition=0)
            fleet.flush()
            self.assertEqual(mayfly(fleet, "result", "back").returncode, 3)
            Told(fleet, "back", record)._event(event, **more)  # it has its answer, which is no result
            fleet.flush()
            self.assertEqual(json.loads(mayfly(fleet, "result", "--json", "back").stdout)["exit_code"], 5)

    def make_topics(self, fleet):
        """As a worker does, which then is not needed."""
        worker = fleet.start_worker(vmm="null", allow_null_vmm="yes")
        worker.terminate()
        worker.wait(60)

    def test_logs_put_chunks_together(self):
        fleet = self.fleet()
        self.make_topics(fleet)
        before = Told(fleet, "log", 1)
        before.now_ms -= 60000
        before.started()
        before.chunk(b"of an earlier task\n", 0, 0)
        before.finished(stdout=b"of an earlier task\n")
        first = Told(fleet, "log", 2)
        first.now_ms -= 30000
        first.started()
        first.chunk(b"of a lost attempt\n", 0, 0)
        last = Told(fleet, "log", 2)
        last.started(attempt=2)
        last.chunk(b"one ", 0, 0, 2)
        last.chunk(b"one ", 0, 0, 2)  # sent twice
        Told(fleet, "another").chunk(b"not this\n", 1, 0)
        last.chunk(b"oops\n", 1, 0, 2, "stderr")
        last.chunk(b"e two\n", 2, 2, 2)
        fleet.flush()
        done = mayfly(fleet, "logs", "log")
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, b"one two\n", b"oops\n"))
        follow = begin(fleet, "logs", "-f", "log")
        self.addCleanup(end, follow)
        self.assertEqual(follow.stdout.readline(), b"one two\n")
        last.chunk(b"\xff\x00three\n", 3, 8, 2)
        fleet.flush()
        self.assertEqual(follow.stdout.readline(), b"\xff\x00three\n")
        last.finished(stdout=b"one two\n\xff\x00three\nfour\n", attempt=2)  # its last chunk did not come
        fleet.flush()
        out, err = follow.communicate(timeout=60)
        self.assertEqual((follow.returncode, out, err), (0, b"four\n", b"oops\n"))
        self.assertEqual(mayfly(fleet, "logs", "log").stdout, b"one two\n\xff\x00three\nfour\n")
        silent = Told(fleet, "log", 3)
        silent.now_ms += 1000
        silent.started()
        silent.finished()
        fleet.flush()
        self.assertEqual(mayfly(fleet, "logs", "log").stdout, b"")

    def test_logs_of_what_was_not_streamed(self):
        fleet = self.fleet()
        self.make_topics(fleet)
        follow = begin(fleet, "logs", "-f", "inline")
        self.addCleanup(end, follow)
        time.sleep(1)  # it may wait or find it: both must end the same
        told = Told(fleet, "inline")
        told.finished(stdout=b"h" * 32768 + b"t" * 10, kept=50000)
        fleet.flush()
        out, err = follow.communicate(timeout=60)
        for got, said, code in ((out, err, follow.returncode), (*self.logs(fleet, "inline"), 0)):
            self.assertEqual((got, code), (b"h" * 32768 + b"t" * 10, 0))
            self.assertIn(b"17222 bytes of its output did not arrive", said)

    def logs(self, fleet, task_id):
        done = mayfly(fleet, "logs", task_id)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout, done.stderr
