#!/usr/bin/python3
"""`mayfly submit`, `watch` and `ps`: what they do with the queue. The worker runs nothing (null VMM); what programs see is in
cli_run.py."""
import glob
import json
import os
import time
import unittest

from case import REPO, EndToEnd, wait_until
from cli import begin, mayfly

BAD = os.path.join(REPO, "schemas", "vectors", "bad")


def lines_of(text):
    return [json.loads(line) for line in text.splitlines()]


def task(**fields):
    return json.dumps({"image": "base", "argv": ["true"], **fields}) + "\n"


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
        for key in ("id outcome ran exit_code signal stdout stderr timings_ms isolation key_destroyed message field files labels "
                    "host attempt usage stdout_bytes stderr_bytes stdout_sha256 stdout_truncated").split():
            self.assertIn(key, results[0])
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

    def test_an_id_used_twice_has_two_answers(self):
        results = lines_of(self.mayfly("submit", "--wait", "--json", "-", stdin=task(id="same").encode() * 2).stdout)
        self.assertEqual([r["id"] for r in results], ["same", "same"])
        self.assertNotEqual(results[0]["source"], results[1]["source"])

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
        self.assertEqual(self.mayfly("submit", "--raw", "/no/such/file", code=2).stdout, b"")

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
                     ("watch", "--from", "yesterday"), ("run",), ("run", "--nonsense"), ("run", "--file", "/no/such", "--", "x"),
                     ("nonsense",), ("dev", "nonsense"), ("dev",), ("run", "--memory", "1M", "--", "x"), ("--redis", "x", "ps"),
                     ("watch", "--id", ""), ("submit", "--within", "3s", "--", "true")):
            done = mayfly(self.shared, *args)
            self.assertEqual(done.returncode, 2, f"{args}: {done.stderr}")
            self.assertTrue(done.stderr and not done.stdout, args)

    def test_help_everywhere(self):
        for command in ("run", "submit", "watch", "ps", "dev", "image", "doctor"):
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
