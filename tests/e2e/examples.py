#!/usr/bin/python3
"""The programs of tools/examples, as a stranger would run them: any language that has Kafka and msgpack is enough."""
import os
import shutil
import subprocess
import unittest

from case import REPO, OneFleet

EXAMPLES = os.path.join(REPO, "tools", "examples")
MOST_LINES = 40


class Examples(OneFleet):
    shared_settings = {"slots": 2}

    def assert_prints_a_result(self, *command, cwd=EXAMPLES):
        env = {**os.environ, "MAYFLY_PREFIX": self.shared.name}
        done = subprocess.run([*command, self.services.brokers], capture_output=True, text=True, cwd=cwd, env=env, timeout=150,
                              check=False, stdin=subprocess.DEVNULL)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"^succeeded, exit code 0, \d+ ms\nhello from \S+ 42\n$")

    def test_python(self):
        self.assert_prints_a_result("/usr/bin/python3", "submit.py")

    def test_node(self):
        folder = os.path.join(self.shared.state, "node")
        os.makedirs(folder)
        for name in ("submit.mjs", "package.json", "package-lock.json"):
            shutil.copy(os.path.join(EXAMPLES, name), folder)
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--silent"], cwd=folder, check=True, timeout=200,
                       stdin=subprocess.DEVNULL)
        self.assert_prints_a_result("node", "submit.mjs", cwd=folder)

    def test_they_are_short(self):
        for name in ("submit.py", "submit.mjs"):
            with open(os.path.join(EXAMPLES, name), encoding="utf-8") as f:
                self.assertLess(len(f.readlines()), MOST_LINES, name)


if __name__ == "__main__":
    unittest.main(verbosity=2)
