#!/usr/bin/python3
"""`mayfly submit`, `watch` and `ps`: what they do with the queue. The worker runs nothing (null VMM); what programs see is in
cli_run.py."""
import glob
import json
import os
import signal
import tempfile
import time
import unittest

from confluent_kafka import Consumer

from case import REPO, wait_until
from cli import begin, mayfly
from cli_history import History
from queue_case import RESULT_KEYS, QueueCase, end, lines_of, task
from stack import Services
from terminal import Terminal
from told import Told

BAD = os.path.join(REPO, "schemas", "vectors", "bad")


class Queue(History, QueueCase):
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
        self.assertNotEqual(running[0]["vm_id"], "-")
        self.assertEqual(running[0]["tenant"], "-")
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
