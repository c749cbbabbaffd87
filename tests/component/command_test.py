#!/usr/bin/python3
"""What the mayfly command and the daemons say by themselves, before they have talked to anybody: options, input, descriptors,
settings. No Kafka."""
import json
import os
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "support"))

from cli import MAYFLY, environment  # noqa: E402
from stack import BUILD  # noqa: E402

NOBODY = "127.0.0.1:1"  # no Kafka is there


def mayfly(*args, stdin=b"", **more):
    return subprocess.run([MAYFLY, *args], input=stdin, capture_output=True, timeout=60, check=False,
                          env=environment(MAYFLY_BROKERS=NOBODY, **more))


class Command(unittest.TestCase):
    def refused(self, *args, stdin=b"", code=2):
        done = mayfly(*args, stdin=stdin)
        self.assertEqual((done.returncode, done.stdout), (code, b""), done.stderr)
        return done.stderr.decode()

    def test_an_option_is_named_as_it_was_typed(self):
        for args, says in ((("run", "-it", "--", "sh"), "unknown option '-i': there is no interactive mode"),
                           (("run", "-ti", "--", "sh"), "unknown option '-t': there is no interactive mode"),
                           (("run", "--quiet", "-e", "A=B", "--", "sh"), "unknown option '-e': options are whole words"),
                           (("run", "-h"), "unknown option '-h'"),
                           (("run", "--env=A=B", "-it", "--", "sh"), "unknown option '-i'"),
                           (("run", "--nonsense=3", "--", "sh"), "unknown option '--nonsense=3'"),
                           (("run", "--quiet=yes", "--", "sh"), "--quiet takes no value"),
                           (("run", "--i", "x", "--", "sh"), "'--i' could be --"),
                           (("run", "--image"), "'--image' wants a value"),
                           (("submit", "-x", "-"), "unknown option '-x'"),
                           (("-it", "run"), "unknown option '-i'"),
                           (("--nonsense", "run"), "unknown option '--nonsense'"),
                           (("--redis",), "'--redis' wants a value")):
            self.assertIn(says, self.refused(*args), args)

    def test_a_flaw_is_told_in_words_of_the_command_line(self):
        with tempfile.NamedTemporaryFile(prefix="mayfly-flaw.") as f:
            for args, says in ((("--file", f"{f.name}:../x"), f"--file '{f.name}:../x': must be relative to /work"),
                               (("--file", f"{f.name}:a", "--file", f"{f.name}:a/b"),
                                f"--file '{f.name}:a/b': is the same as, above or below --file '{f.name}:a'"),
                               (("--collect", "a", "--collect", "/work/a"), "--collect '/work/a': is the same as --collect 'a'"),
                               (("--collect", "/etc/passwd"), "--collect '/etc/passwd': must be relative to /work"),
                               (("--memory", "1M"), "--memory: must be from 96 to 1048576 MiB"),
                               (("--timeout", "2d"), "--timeout: must be from 1 to 86400000 ms"),
                               (("--id", "/"), "--id: must be letters"),
                               (("--image", "Base"), "--image: must be lower-case"),
                               (("--env", "=x"), "--env"),
                               (("--label", "a=" + "x" * 200), "--label 'a': must be 0 to 128 bytes long, not 200")):
                said = self.refused("submit", *args, "--", "true")
                self.assertIn(says, said)
                self.assertNotRegex(said, r"files\[|collect\[|_mib|_ms\b|msgpack|the message", args)
        said = self.refused("submit", "--", "cat", b"\xff")
        self.assertIn("argument 1: the text must be valid UTF-8", said)

    def test_a_flaw_is_told_in_words_of_json(self):
        task = {"image": "base", "argv": ["true"]}
        for more, says in (({"timeout_ms": "5"}, "timeout_ms: must be a whole number"), ({"cpus": 1.5}, "cpus: must be a whole number"),
                           ({"argv": [1]}, "argv[0]: must be text"), ({"argv": "ls"}, "argv: must be an array"),
                           ({"env": ["A=B"]}, "env: must be an object"), ({"stdin": 7}, "stdin: must be text in base64"),
                           ({"stdin": "a-_="}, "stdin: is not base64"), ({"files": [7]}, "files[0]: must be an object"),
                           ({"files": [{"path": "x", "data": 1}]}, "files[0].data: must be text in base64"),
                           ({"stream": 1}, "stream: must be true or false"), ({"v": "1"}, "v: must be a whole number"),
                           ({"stdin": "A" * 1400000}, "the task is too large"), ({"image": None}, "image: must be text")):
            said = self.refused("submit", "-", stdin=json.dumps({**task, **more}).encode())
            self.assertIn(says, said)
            self.assertNotRegex(said, "msgpack|the message", more)

    def test_what_is_no_json_line(self):
        task = {"image": "base", "argv": ["true"]}
        for text, says in ((json.dumps(task, indent=1).encode(), "each task has one line of its own; `jq -c .`"),
                           (json.dumps([task], indent=1).encode(), "each task has one line of its own; `jq -c '.[]'`"),
                           (json.dumps([task]).encode(), "is a JSON array, and must be a JSON object: one task a line; `jq -c '.[]'`"),
                           (json.dumps(task).encode() * 2, "holds more than one JSON value"),
                           (json.dumps(task).encode() + b",\n", "holds more than one JSON value"),
                           (json.dumps(task).encode("utf-16"), "looks like UTF-16"),
                           (b'\xef\xbb\xbf{"image":"base","argv":7}', "argv: must be an array"),  # its BOM is no flaw
                           (b"\xef\xbb\xbf\n\xef\xbb\xbf{}", "line 2: is not JSON")):
            self.assertIn(says, self.refused("submit", "-", stdin=text))

    def test_closed_descriptors(self):
        for script, says in (("submit - <&-", "standard input is closed"), ("submit <&-", "standard input is closed"),
                             ("submit --stdin -- cat <&-", "--stdin: standard input is closed"),
                             ("run --stdin -- cat <&-", "--stdin: standard input is closed"),
                             ("run -- true >&-", "standard output is closed"), ("submit - </dev/null >&-", "standard output is closed"),
                             ("watch >&-", "standard output is closed"), ("ps >&-", "standard output is closed"),
                             ("run --stdin -- cat <&- >&-", "standard output is closed")):
            done = subprocess.run(["sh", "-c", f'exec "$0" {script}', MAYFLY], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                  timeout=60, check=False, env=environment(MAYFLY_BROKERS=NOBODY))
            self.assertEqual(done.returncode, 2, script)
            self.assertIn(says, done.stderr.decode())
        for script in ("--help >&-", "--version >&-", "help run >&-"):
            done = subprocess.run(["sh", "-c", f'exec "$0" {script}', MAYFLY], stderr=subprocess.PIPE, timeout=60, check=False)
            self.assertEqual((done.returncode, done.stderr), (1, b"mayfly: standard output is closed\n"), script)

    def test_without_kafka_it_ends_while_standard_input_is_open(self):
        for args in (("-",), ("--stdin", "--", "cat")):
            process = subprocess.Popen([MAYFLY, "submit", "--wait", "--within", "1s", *args], stdin=subprocess.PIPE,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment(MAYFLY_BROKERS=NOBODY))
            said = process.stderr.read()
            self.assertEqual(process.wait(60), 1, said)
            self.assertIn(b"Kafka at 127.0.0.1:1 does not answer", said)
            process.stdin.close()
            process.stderr.close()

    def test_units_are_in_the_help(self):
        for command in ("result", "logs"):
            self.assertIn("a bare number is seconds", mayfly("help", command).stdout.decode())
        for command in ("run", "submit"):
            text = mayfly("help", command).stdout.decode()
            self.assertRegex(text, r"Durations: .*a bare number is seconds")
            self.assertRegex(text, r"Sizes: .*a bare number is MiB")


class Daemon(unittest.TestCase):
    """Worker and reaper have one main()."""

    def test_what_is_wrong_is_told_before_anything_is_done(self):
        for name in ("worker", "reaper"):
            def daemon(*args, program=os.path.join(BUILD, name, f"mayfly-{name}")):
                return subprocess.run([program, *args], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)

            usage = f"usage: mayfly-{name} --config FILE\n"
            done = daemon("--help")
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertTrue(done.stdout.startswith(usage))
            for args in ((), ("--config",), ("--nonsense",), ("--config", "a", "b")):
                done = daemon(*args)
                self.assertEqual((done.returncode, done.stdout), (2, ""), args)
                self.assertIn(usage, done.stderr)
            with tempfile.NamedTemporaryFile("w", prefix="mayfly-conf.") as conf:
                conf.write("brokers = b\nhost = ../x\nworker = w\n")
                conf.flush()
                done = daemon("--config", conf.name)
            self.assertEqual((done.returncode, done.stdout), (2, ""))
            self.assertTrue(done.stderr.startswith(f"mayfly-{name}: {conf.name}:2: host: write 1 to 64 letters"), done.stderr)


if __name__ == "__main__":
    unittest.main()
