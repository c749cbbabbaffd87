#!/usr/bin/python3
"""`mayfly submit`, `watch` and `ps`: what they do with the queue. The worker runs nothing (null VMM); what programs see is in
cli_run.py."""
import glob
import json
import os
import pty
import select
import signal
import subprocess
import tempfile
import time
import unittest

import msgpack
from confluent_kafka import Consumer

from case import REPO, EndToEnd, wait_until
from stack import Services
from cli import MAYFLY, begin, environment, mayfly

BAD = os.path.join(REPO, "schemas", "vectors", "bad")
SILENT_S = 120  # what says nothing for so long hangs
RESULT_KEYS = set(("v id kind outcome ran exit_code signal stdout stderr timings_ms isolation key_destroyed message field files labels "
                   "host attempt usage stdout_bytes stderr_bytes stdout_sha256 stdout_truncated "
                   "stdout_encoding stderr_encoding").split())


def lines_of(text):
    return [json.loads(line) for line in text.splitlines()]


def task(**fields):
    return json.dumps({"image": "base", "argv": ["true"], **fields}) + "\n"


def end(process):
    if process.poll() is None:
        process.kill()
        process.communicate()


class Terminal:
    """A command that has a terminal, and what it has written there."""

    def __init__(self, fleet, *args, **env):
        self.fd, other = pty.openpty()
        self.process = subprocess.Popen([MAYFLY, *args], stdin=other, stdout=other, stderr=other,
                                        env=environment(fleet, **{"TERM": "xterm", "NO_COLOR": "", **env}))
        os.close(other)
        self.seen = b""

    def read(self, until=None):
        """What it has written until there, or until its end."""
        while until is None or until not in self.seen:
            if not select.select([self.fd], [], [], SILENT_S)[0]:
                raise AssertionError(f"nothing came for {SILENT_S} s after {self.seen}")
            try:
                self.seen += os.read(self.fd, 4096)
            except OSError:  # EIO: nobody has the other side any more
                break
        return self.seen

    def end(self):
        self.process.kill()
        self.process.wait()
        os.close(self.fd)


class Told:
    """What a worker would write of a task, written by the test: ids, attempts and times as it likes."""

    def __init__(self, fleet, task_id, record=0):
        self.fleet, self.id, self.record = fleet, task_id, record
        self.now_ms = int(time.time() * 1000)

    def _write(self, topic, value, key=None, at_ms=None):
        self.fleet.producer.produce(self.fleet.topic(topic), msgpack.packb(value), key=key or self.id, timestamp=at_ms or self.now_ms)
        self.fleet.producer.poll(0)

    def _event(self, event, **more):
        self._write("results", {"v": 1, "event": event, "id": self.id, "kind": "run", "host": "h1", "worker": "w1", "attempt": 1,
                                "token": 1, "labels": {}, "finished_ms": self.now_ms,
                                **{"source": {"topic": "t", "partition": 0, "offset": self.record}, **more}})

    def started(self, **more):
        self._event("started", **more)

    def finished(self, stdout=b"", kept=None, exit_code=0, **more):
        kept = len(stdout) if kept is None else kept
        stream = {"head": stdout[:32768], "tail": stdout[32768:], "bytes": kept, "kept": kept, "sha256": "0" * 64}
        self._event("finished", outcome="succeeded", ran="ran", exit_code=exit_code, stdout=stream, timings_ms={"total": 1000}, **more)

    def chunk(self, data, seq, offset, attempt=1, stream="stdout", at_ms=None):
        self._write("output", {"v": 1, "id": self.id, "stream": stream, "seq": seq, "offset": offset, "attempt": attempt, "data": data},
                    at_ms=at_ms)

    def others(self, n):
        """As many results of other tasks, in the same partition and in others."""
        for i in range(n):
            other = Told(self.fleet, f"other-{i}")
            other.now_ms = self.now_ms
            other._event("finished", outcome="succeeded")


class Queue(EndToEnd):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        from stack import Fleet
        cls.shared = Fleet(cls.services, vmm="null", allow_null_vmm="yes", slots=50)
        cls.shared.start_worker()

    @classmethod
    def tearDownClass(cls):
        cls.shared.close()
        super().tearDownClass()

    def mayfly(self, *args, code=0, **more):
        done = mayfly(self.shared, *args, **more)
        self.assertEqual(done.returncode, code, done.stderr.decode())
        return done

    def test_readiness_is_of_a_group_and_of_one_worker_of_it(self):
        worker = f"{self.shared.name}-w1"
        self.mayfly("doctor", "--ready")
        self.mayfly("doctor", "--ready", "--group", self.shared.name, "--worker", worker)
        self.mayfly("doctor", "--ready", "--group", self.shared.name + "x", code=1)
        for other in (worker[:-1], worker + "1", "w1"):
            self.mayfly("doctor", "--ready", "--worker", other, code=1)

    def test_one_from_flags(self):
        done = self.mayfly("submit", "--id", "flags-1", "--label", "a=b", "--", "echo", "hello")
        self.assertEqual(done.stdout, b"flags-1\n")
        seen = lines_of(self.mayfly("watch", "--json", "--from", "beginning", "--id", "flags-1").stdout)
        self.assertEqual((seen[-1]["id"], seen[-1]["outcome"], seen[-1]["labels"]), ("flags-1", "succeeded", {"a": "b"}))

    def test_ids_come_in_the_order_of_the_lines(self):
        ids = [f"order-{i}" for i in range(3000)]
        done = self.mayfly("submit", "-", stdin="".join(task(id=i) for i in ids).encode())
        self.assertEqual(done.stdout.decode().split(), ids)

    def test_every_task_is_answered_once(self):
        ids = [f"once-{i}" for i in range(2000)]
        done = self.mayfly("submit", "--wait", "--json", "-", stdin="".join(task(id=i) for i in ids).encode())
        results = lines_of(done.stdout)
        self.assertEqual(sorted(r["id"] for r in results), sorted(ids))
        self.assertEqual(RESULT_KEYS - results[0].keys(), set())
        self.assertNotIn(b"\033", done.stdout + done.stderr)

    def test_answers_come_while_lines_are_still_written(self):
        process = begin(self.shared, "submit", "--wait", "--json", "-")
        for i in range(3):
            process.stdin.write(task(id=f"talk-{i}").encode())
            process.stdin.flush()
            self.assertEqual(json.loads(process.stdout.readline())["id"], f"talk-{i}")
        process.stdin.close()
        self.assertEqual((process.stdout.read(), process.wait(30)), (b"", 0))
        process.stdout.close()
        process.stderr.close()

    def test_an_id_used_twice(self):
        """The same task is one task; other content under its id is refused, unless the task was over by then."""
        results = lines_of(self.mayfly("submit", "--wait", "--json", "-", stdin=task(id="same").encode() * 2).stdout)
        self.assertEqual([(r["id"], r["event"], r["outcome"]) for r in results], [("same", "finished", "succeeded")])
        fleet = self.fleet(vmm="null", allow_null_vmm="yes", null_run_ms=3000)
        fleet.start_worker()
        lines = task(id="one").encode() + task(id="one", argv=["false"]).encode()
        results = lines_of(mayfly(fleet, "submit", "--wait", "--json", "-", stdin=lines).stdout)
        self.assertEqual(sorted((r["event"], r["outcome"]) for r in results), [("finished", "succeeded"), ("refused", "rejected")])
        runs = [begin(fleet, "run", "--id", "two", "--", "true") for _ in range(2)]
        for process in runs:
            self.addCleanup(end, process)
        for process in runs:
            process.communicate(timeout=60)
            self.assertEqual(process.returncode, 0)
        self.assertEqual(json.loads(mayfly(fleet, "result", "--json", "one").stdout)["outcome"], "succeeded")

    def test_two_senders_do_not_take_each_others_answers(self):
        first = begin(self.shared, "submit", "--wait", "--json", "-")
        second = begin(self.shared, "submit", "--wait", "--json", "-")
        for name, process in (("x", first), ("y", second)):
            process.stdin.write("".join(task(id=f"{name}-{i}") for i in range(300)).encode())
        for name, process in (("x", first), ("y", second)):
            out, _ = process.communicate(timeout=120)
            self.assertEqual(sorted(r["id"] for r in lines_of(out)), sorted(f"{name}-{i}" for i in range(300)))

    def test_a_line_that_is_no_task(self):
        for bad, says in ((b"nonsense\n", b"is not JSON"), (b'{"image":"base"}\n', b"argv"), (b"[1]\n", b"JSON object"),
                          (task(cpus="two").encode(), b"cpus"), (task(stdin="?").encode(), b"base64")):
            done = self.mayfly("submit", "-", stdin=task(id="before").encode() + b"\n" + bad + task(id="after").encode(), code=2)
            self.assertEqual(done.stdout, b"before\n")
            self.assertIn(b"line 3: ", done.stderr)
            self.assertIn(says, done.stderr)
            self.assertIn(b"1 task(s) before it were submitted", done.stderr)

    def test_a_last_line_without_its_newline(self):
        self.assertEqual(self.mayfly("submit", "-", stdin=task(id="cut").encode().rstrip()).stdout, b"cut\n")

    def test_raw_records_are_sent_as_they_are(self):
        files = sorted(glob.glob(os.path.join(BAD, "task-*.msgpack")))
        self.assertGreater(len(files), 50)
        results = lines_of(self.mayfly("submit", "--wait", "--json", "--raw", *files).stdout)
        self.assertEqual([r["outcome"] for r in results], ["rejected"] * len(files))
        self.assertTrue(all(r["message"] for r in results))
        for says in ("this looks like JSON text; the message must be one msgpack map", "the message is empty; send one msgpack map"):
            self.assertIn(says, [r["message"] for r in results])
        self.assertEqual([RESULT_KEYS - r.keys() for r in results], [set()] * len(files))
        for path, says in (("/no/such/file", b"open '/no/such/file': No such file"), (BAD, b": Is a directory"),
                           ("/proc/self/mem", b"read '/proc/self/mem': ")):
            done = self.mayfly("submit", "--raw", path, code=2)
            self.assertEqual(done.stdout, b"")
            self.assertIn(says, done.stderr)

    def test_an_impossible_task_is_answered_in_full(self):
        result = json.loads(self.mayfly("submit", "--wait", "--json", "-", stdin=task(memory_mib=900 << 10).encode()).stdout)
        self.assertEqual(RESULT_KEYS - result.keys(), set())
        told = [result[key] for key in ("outcome", "field", "ran", "exit_code", "signal", "stdout", "key_destroyed")]
        self.assertEqual(told, ["rejected", "memory_mib", "not_started", None, None, "", False])

    def test_an_id_that_is_over_is_found(self):
        for name in ("over-1", "over-2"):
            self.mayfly("submit", "--wait", "--id", name, "--", "true")
        seen = lines_of(self.mayfly("watch", "--json", "--id", "over-1", "--id", "over-2").stdout)
        self.assertEqual([r["id"] for r in seen if r["event"] == "finished"], ["over-1", "over-2"])

    def test_an_unknown_prefix_makes_no_topics(self):
        tries = [begin(self.shared, "--prefix", "typo", *args)
                 for args in (("submit", "--", "true"), ("submit", "--wait", "--", "true"), ("run", "--", "true"), ("watch",))]
        for process, code in zip(tries, (1, 1, 125, 1)):
            self.addCleanup(end, process)
            out, err = process.communicate(timeout=120)
            self.assertEqual((process.returncode, out), (code, b""), err)
            self.assertRegex(err, rb"topic 'typo\.\w+' does not exist: .*`mayfly dev start`.* --prefix")
        consumer = Consumer({"bootstrap.servers": self.services.brokers, "group.id": "look"})
        self.addCleanup(consumer.close)
        topics = consumer.list_topics(timeout=30).topics
        self.assertIn(self.shared.topic("tasks"), topics)
        self.assertEqual([name for name in topics if name.startswith("typo")], [])

    def test_colours_only_on_a_terminal_that_has_them(self):
        self.mayfly("submit", "--wait", "--id", "colours", "--", "true")
        for env, is_coloured in (({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)):
            terminal = Terminal(self.shared, "watch", "--id", "colours", **env)
            self.addCleanup(terminal.end)
            seen = terminal.read()
            self.assertIn(b"succeeded", seen)
            self.assertEqual((b"\033[32msucceeded" in seen, b"\033" in seen), (is_coloured, is_coloured), env)
        self.assertNotIn(b"\033", self.mayfly("watch", "--id", "colours", TERM="xterm", NO_COLOR="").stdout)

    def test_nobody_takes_the_task(self):
        """Silence is explained after a while; until then there is progress on a terminal, and nowhere else."""
        fleet = self.fleet(vmm="null", allow_null_vmm="yes")
        worker = fleet.start_worker()
        submit = begin(fleet, "submit", "--wait", "--json", "-")
        self.addCleanup(end, submit)
        submit.stdin.write(task(id="answered").encode())
        self.assertEqual(json.loads(submit.stdout.readline())["id"], "answered")
        worker.terminate()
        worker.wait(60)
        submit.stdin.write(task(id="not-answered").encode())
        run = begin(fleet, "run", "--", "true")
        self.addCleanup(end, run)
        terminals = [Terminal(fleet, "run", "--", "true", **env) for env in ({"NO_COLOR": "1"}, {"TERM": "dumb"}, {})]
        for terminal in terminals:
            self.addCleanup(terminal.end)
        plain, dumb, live = [terminal.read(b"is a worker running") for terminal in terminals]
        self.assertIn(b"\r\033[Kwaiting for its start", live)
        self.assertIn(b"\033[33mmayfly: nobody has started it yet", live)
        self.assertIn(b"\r\033[Kwaiting for its start", plain)
        self.assertIn(b"\r\033[Kmayfly: nobody has started it yet", plain)
        self.assertTrue(dumb.startswith(b"mayfly: nobody has started it yet"), dumb)
        self.assertTrue(run.stderr.readline().startswith(b"mayfly: nobody has started it yet"))
        self.assertRegex(submit.stderr.readline(), rb"no result for 15 s, 1 to come; is a worker running")

    def doctor(self, *args, **env):
        """(exit status, {what is lacking: what it says})"""
        done = mayfly(self.shared, "doctor", *args, **env)
        lines = done.stdout.decode().splitlines()
        bad = {line[4:20].rstrip(): line[21:] for line in lines if line.startswith("NO")}
        self.assertEqual("Something is missing: see NO above." in lines, bool(bad) and "--ready" not in args)
        return done.returncode, bad

    def assert_lacks(self, found, **says):
        code, bad = found
        self.assertEqual((code, sorted(bad)), (1, sorted(name.replace("_", " ") for name in says)), bad)
        for name, text in says.items():
            self.assertIn(text, bad[name.replace("_", " ")])

    def test_doctor_of_a_healthy_host(self):
        self.assertEqual(self.doctor(), (0, {}))
        self.assertEqual(self.doctor("--ready"), (0, {}))

    def test_doctor_names_what_is_lacking(self):
        self.assert_lacks(self.doctor("--brokers", "127.0.0.1:1"), Kafka="Start a private stack with `mayfly dev start`")
        self.assert_lacks(self.doctor("--redis", "127.0.0.1:1"), Redis="--redis")
        self.assert_lacks(self.doctor(PATH="/nonexistent"), QEMU="is missing: it is the VMM; tools/install-deps brings it")
        with tempfile.TemporaryDirectory(prefix="mayfly-bare.") as bare:
            self.assert_lacks(self.doctor("--state", bare), kernel_bundle="build it: tools/image/build-kernel",
                              jail_root="tools/image/build-jail-root", images="mayfly image build guest/images/base.image")

    def test_doctor_sees_a_redis_that_drops_leases(self):
        services = Services()
        self.addCleanup(services.__exit__)
        services.start_redis()
        services.redis_command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        args = ("--redis", f"127.0.0.1:{services.redis_port}")
        self.assert_lacks(self.doctor(*args), Redis="may drop keys, and leases with them: set maxmemory-policy noeviction")
        self.assert_lacks(self.doctor("--ready", *args), Redis="noeviction")

    def test_doctor_asks_for_a_worker(self):
        done = self.mayfly("doctor", "--ready", "--prefix", "nobody", code=1)
        self.assertIn(b"answers, but no worker of group 'nobody' takes tasks", done.stdout)
        self.assertEqual(self.doctor("--ready", "--brokers", "127.0.0.1:1")[0], 1)

    def test_within_ends_also_while_lines_may_come(self):
        process = begin(self.shared, "submit", "--wait", "--json", "--within", "4s", "-")
        self.addCleanup(end, process)
        process.stdin.write(task(id="within-1").encode())
        self.assertEqual(json.loads(process.stdout.readline())["id"], "within-1")
        err = process.stderr.read()
        self.assertEqual(process.wait(60), 1)
        self.assertIn(b"standard input did not end in time; gave up (--within) after 1 tasks", err)
        process = begin(self.shared, "submit", "--wait", "--within", "2s", "--stdin", "--", "cat")
        self.addCleanup(end, process)
        self.assertEqual(process.wait(60), 1)
        self.assertIn(b"standard input did not end in time; gave up (--within)", process.stderr.read())

    def test_a_time_in_seconds_is_noticed(self):
        done = self.mayfly("submit", "--wait", "--json", "-", stdin=task(created_ms=int(time.time()), queue_ms=60000).encode())
        self.assertRegex(done.stderr, rb"line 1: created_ms: \d+ is a time in 1970: is it in seconds\?")
        result = json.loads(done.stdout)
        self.assertEqual(result["outcome"], "expired")
        self.assertRegex(result["message"], "of its created_ms, [0-9]+; is that in seconds")

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
        follow = begin(fleet, "logs", "-f", "back")
        self.addCleanup(end, follow)
        time.sleep(1)
        self.assertIsNone(follow.poll())
        second = Told(fleet, "back", 1)
        second.finished(stdout=b"of the second\n", exit_code=5)
        fleet.flush()
        out, err = follow.communicate(timeout=60)
        self.assertEqual((follow.returncode, out), (0, b"of the second\n"), err)
        self.assertEqual(json.loads(mayfly(fleet, "result", "--json", "back").stdout)["exit_code"], 5)
        self.assertEqual(mayfly(fleet, "logs", "back").stdout, b"of the second\n")
        for record, event, more in ((2, "duplicate", {"same_as": {"partition": 0, "offset": 1}}), (3, "refused", {"outcome": "rejected"})):
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

    def test_cancelling(self):
        """And what is said while a task runs for long, and of Ctrl-C, which ends the waiting alone."""
        fleet = self.fleet(vmm="null", allow_null_vmm="yes", null_run_ms=600000, slots=2)
        fleet.start_worker()
        process = begin(fleet, "submit", "--wait", "--id", "endless", "--", "true")
        self.addCleanup(end, process)
        lease = wait_until("it runs", lambda: lines_of(mayfly(fleet, "ps", "--json").stdout))[0]
        Told(fleet, "endless").started(source={key: lease[key] for key in ("topic", "partition", "offset")})  # the null VMM starts nothing
        fleet.flush()
        self.assertRegex(process.stderr.readline(), rb"no result for 15 s, 1 to come, of which 1 have started")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130)
        self.assertIn(b"1 tasks have no result yet and go on", err)
        self.assertIn(b"`mayfly result endless` says how it ended, `mayfly cancel endless` ends it", err)
        self.assertEqual(mayfly(fleet, "result", "endless").returncode, 3)
        self.assertEqual(mayfly(fleet, "submit", "--id", "endless-2", "--", "true").returncode, 0)
        done = mayfly(fleet, "cancel", "endless", "nobody", "endless-2")
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, b"", b""))
        mayfly(fleet, "watch", "--id", "endless", "--id", "endless-2")
        for name in ("endless", "endless-2"):
            self.assertEqual(json.loads(mayfly(fleet, "result", "--json", name).stdout)["outcome"], "cancelled")
        for args in ((), ("no/id",), ("fine", "no/id")):
            self.assertEqual(mayfly(fleet, "cancel", *args).returncode, 2)

    def test_giving_up(self):
        fleet = self.fleet(vmm="null", allow_null_vmm="yes", null_run_ms=10000)
        fleet.start_worker()
        started = time.monotonic()
        done = mayfly(fleet, "submit", "--wait", "--within", "2s", "--", "true")
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"1 tasks have no terminal result yet", done.stderr)
        self.assertGreaterEqual(time.monotonic() - started, 2)
        running = lines_of(mayfly(fleet, "ps", "--json").stdout)
        self.assertEqual([(r["state"], r["host"], r["attempt"]) for r in running], [("running", fleet.name, 1)])
        self.assertIn(b"running", mayfly(fleet, "ps").stdout)

    def test_nothing_runs(self):
        """Between two tasks of another test that is so, too: each form is waited for by itself."""
        wait_until("nothing runs", lambda: self.mayfly("ps", "--json").stdout == b"", 60)
        wait_until("nothing runs", lambda: b"no task is running" in self.mayfly("ps").stdout, 60)

    def test_no_fleet_says_what_to_do(self):
        tries = [begin(self.shared, args[0], "--brokers", "127.0.0.1:1", *args[1:])
                 for args in (("submit", "--", "true"), ("submit", "--wait", "--", "true"), ("run", "--", "true"), ("watch",))]
        for process in tries:
            _, err = process.communicate(timeout=60)
            self.assertIn(process.returncode, (1, 125))
            self.assertIn(b"mayfly dev start", err)
        done = mayfly(self.shared, "ps", "--redis", "127.0.0.1:1")
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"--redis", done.stderr)

    def test_wrong_command_lines(self):
        for args in (("submit", "--id", "x"), ("submit", "--json", "--", "x"), ("submit", "--ttl", "soon", "--", "x"), ("submit", "-", "x"),
                     ("submit", "--queue", "later", "--", "x"), ("submit", "--queue", "31d", "--", "x"), ("run", "--ttl", "0", "--", "x"),
                     ("watch", "--from", "yesterday"), ("run",), ("run", "--nonsense"), ("run", "--file", "/no/such", "--", "x"),
                     ("nonsense",), ("dev", "nonsense"), ("dev",), ("run", "--memory", "1M", "--", "x"), ("--redis", "x", "ps"),
                     ("watch", "--id", ""), ("submit", "--within", "3s", "--", "true")):
            done = mayfly(self.shared, *args)
            self.assertEqual(done.returncode, 2, f"{args}: {done.stderr}")
            self.assertTrue(done.stderr and not done.stdout, args)

    def test_help_everywhere(self):
        for command in ("run", "submit", "watch", "result", "logs", "cancel", "ps", "dev", "image", "doctor"):
            asked = self.mayfly(command, "--help").stdout
            self.assertEqual(asked, self.mayfly("help", command).stdout)
            self.assertIn(f"usage: mayfly {command}".encode(), asked)
            self.assertIn(command.encode(), self.mayfly("--help").stdout)

    def test_a_full_disk_is_told(self):
        for args in (("--help",), ("ps",), ("submit", "--", "true"), ("submit", "--wait", "--json", "--", "true")):
            with open("/dev/full", "wb") as full:
                done = mayfly(self.shared, *args, stdout=full)
            self.assertEqual(done.returncode, 1, args)
            self.assertIn(b"No space left on device", done.stderr)

    def test_a_reader_that_goes_away(self):
        process = begin(self.shared, "watch", "--json", "--from", "beginning")
        self.mayfly("submit", "--", "true")
        process.stdout.readline()
        process.stdout.close()

        def has_ended():
            self.mayfly("submit", "--", "true")
            return process.poll() is not None
        wait_until("watch ends when nobody reads", has_ended, 60, 0.5)
        process.stdin.close()
        process.stderr.close()


if __name__ == "__main__":
    unittest.main()
