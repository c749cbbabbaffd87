#!/usr/bin/python3
"""The mayfly command and the examples, as a stranger would type them, against a real fleet."""
import json
import os
import shutil
import signal
import subprocess
import unittest

from case import REPO, EndToEnd, wait_until
from stack import BUILD, Fleet

MAYFLY = os.path.join(BUILD, "tools", "mayfly")
EXAMPLES = os.path.join(REPO, "tools", "examples")
KEYS = {"id", "outcome", "ran", "exit_code", "signal", "stdout", "stderr", "timings_ms", "isolation", "key_destroyed"}


class Cli(EndToEnd):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.fleet_ = Fleet(cls.services, slots=2)
        cls.fleet_.start_worker()

    @classmethod
    def tearDownClass(cls):
        cls.fleet_.close()
        super().tearDownClass()

    def environment(self):
        return {**os.environ, "MAYFLY_BROKERS": self.services.brokers, "MAYFLY_REDIS": f"127.0.0.1:{self.services.redis_port}",
                "MAYFLY_PREFIX": self.fleet_.name, "MAYFLY_STATE": self.fleet_.state, "NO_COLOR": "1"}

    def mayfly(self, *args, stdin=None, cwd=None):
        return subprocess.run([MAYFLY, *args], input=stdin, capture_output=True, text=True, env=self.environment(), cwd=cwd,
                              timeout=150, check=False)

    def test_run_streams_and_exits_like_the_program(self):
        done = self.mayfly("run", "--", "sh", "-c", "echo out; echo err >&2; exit 7")
        self.assertEqual((done.returncode, done.stdout), (7, "out\n"), done.stderr)
        self.assertIn("err\n", done.stderr)
        self.assertEqual(self.mayfly("run", "--", "sh", "-c", "kill -15 $$").returncode, 128 + 15)
        self.assertEqual(self.mayfly("run", "--timeout", "1s", "--", "sleep", "100").returncode, 124)
        refused = self.mayfly("run", "--image", "no-such-image", "--", "true")
        self.assertEqual(refused.returncode, 125)
        self.assertIn("no-such-image", refused.stderr)

    def test_run_takes_and_brings_files(self):
        folder = os.path.join(self.fleet_.state, "cli")
        os.makedirs(folder)
        with open(os.path.join(folder, "in.txt"), "w", encoding="ascii") as f:
            f.write("words\n")
        done = self.mayfly("run", "--file", "in.txt", "--collect", "out.txt", "--", "sh", "-c", "tr a-z A-Z < in.txt > out.txt",
                           cwd=folder)
        self.assertEqual(done.returncode, 0, done.stderr)
        with open(os.path.join(folder, "out.txt"), encoding="ascii") as f:
            self.assertEqual(f.read(), "WORDS\n")

    def test_control_c_cancels(self):
        process = subprocess.Popen([MAYFLY, "run", "--", "sh", "-c", "echo started; sleep 1000"], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, env=self.environment(), text=True)
        self.assertEqual(process.stdout.readline(), "started\n")
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130, errors)

    def test_submit_waits_for_json_lines(self):
        lines = [{"image": "base", "argv": ["echo", str(i)], "labels": {"n": str(i)}} for i in range(3)]
        lines.append({"image": "base", "argv": ["sh", "-c", "exit 3"]})
        done = self.mayfly("submit", "--wait", "--json", "-", stdin="".join(json.dumps(line) + "\n" for line in lines))
        self.assertEqual(done.returncode, 0, done.stderr)
        results = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual(len(results), 4)
        for result in results:
            self.assertLessEqual(KEYS, result.keys())
            self.assertIs(result["key_destroyed"], True)
        self.assertEqual({r["stdout"] for r in results}, {"0\n", "1\n", "2\n", ""})
        self.assertEqual(sorted(r["outcome"] for r in results), ["failed", "succeeded", "succeeded", "succeeded"])

    def test_bad_lines_are_named(self):
        done = self.mayfly("submit", "-", stdin='{"image": "base", "argv": ["true"]}\nnot json\n')
        self.assertEqual(done.returncode, 2)
        self.assertRegex(done.stderr, r"line 2|:2|2:")

    def test_help_everywhere(self):
        for command in ("run", "submit", "watch", "ps", "dev", "image", "doctor"):
            done = self.mayfly(command, "--help")
            self.assertEqual(done.returncode, 0, command)
            self.assertIn("usage: mayfly " + command, done.stdout)
        self.assertNotEqual(self.mayfly("no-such-command").returncode, 0)

    def test_ps_and_watch(self):
        sleeper = self.fleet_.submit(argv=["sleep", "100"])
        self.fleet_.flush()
        wait_until("ps shows it", lambda: sleeper in self.mayfly("ps").stdout)
        self.fleet_.cancel(sleeper)
        self.fleet_.result(sleeper)
        watch = subprocess.Popen([MAYFLY, "watch", "--json", "--from", "beginning", "--id", sleeper], stdout=subprocess.PIPE,
                                 env=self.environment(), text=True)
        try:
            events = [json.loads(watch.stdout.readline()) for _ in range(1)]
        finally:
            watch.kill()
            watch.communicate()
        self.assertEqual(events[0]["id"], sleeper)

    def test_examples(self):
        python = subprocess.run(["/usr/bin/python3", os.path.join(EXAMPLES, "submit.py"), self.services.brokers],
                                capture_output=True, text=True, env=self.environment(), timeout=150, check=False)
        self.assertIn("42", python.stdout, python.stderr)
        folder = os.path.join(self.fleet_.state, "node")
        os.makedirs(folder)
        for name in ("submit.mjs", "package.json", "package-lock.json"):
            shutil.copy(os.path.join(EXAMPLES, name), folder)
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--silent"], cwd=folder, check=True, timeout=200)
        node = subprocess.run(["node", "submit.mjs", self.services.brokers], cwd=folder, capture_output=True, text=True,
                              env=self.environment(), timeout=150, check=False)
        self.assertIn("42", node.stdout, node.stderr)
        for name in ("submit.py", "submit.mjs"):
            with open(os.path.join(EXAMPLES, name), encoding="utf-8") as f:
                self.assertLess(len(f.readlines()), 40, name)


if __name__ == "__main__":
    unittest.main(verbosity=2)
