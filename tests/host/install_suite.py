#!/usr/bin/python3
"""What is installed is whole: whatever units, compose file, Dockerfile, configuration and builders name is in the tree that
`cmake --install` makes, and the installed command finds its parts there."""
import configparser
import glob
import os
import re
import shutil
import subprocess
import tempfile
import unittest

REPO = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ["MAYFLY_BUILD"]
NAMED = re.compile(r"(?<![\w.])/usr/(?:bin|libexec|share)/[\w./-]*mayfly[\w./-]*")
NAMING = ["deploy/mayfly-worker.service", "deploy/mayfly-reaper.service", "deploy/worker.conf", "deploy/reaper.conf",
          "deploy/Dockerfile", "docker-compose.yml", "README.md"]


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


class Installed(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.root = tempfile.mkdtemp(prefix="mayfly-install.")
        subprocess.run(["cmake", "--install", BUILD, "--prefix", "/usr"], check=True, stdout=subprocess.DEVNULL,
                       env={**os.environ, "DESTDIR": cls.root})
        cls.usr = os.path.join(cls.root, "usr")

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.root)

    def missing(self, text):
        return {path for path in NAMED.findall(text) if not os.path.exists(self.root + path.rstrip("."))}

    def test_every_path_that_is_named_is_there(self):
        for name in NAMING:
            with self.subTest(name):
                self.assertEqual(self.missing(read(os.path.join(REPO, name))), set())

    def test_a_path_that_is_not_there_is_seen(self):
        self.assertEqual(self.missing("Documentation=file:/usr/share/doc/mayfly/NOTHING.md\nExecStart=/usr/bin/mayfly\n"),
                         {"/usr/share/doc/mayfly/NOTHING.md"})

    def test_units_and_what_to_configure_them_with(self):
        for part in ("worker", "reaper"):
            unit = configparser.RawConfigParser(strict=False)
            unit.optionxform = str
            unit.read_string(read(os.path.join(self.usr, "lib/systemd/system", f"mayfly-{part}.service")))
            # Else systemd gives it up after five ends in ten seconds, and one whose host is fit again never joins.
            self.assertEqual((unit["Unit"]["StartLimitIntervalSec"], unit["Service"]["Restart"]), ("0", "always"))
            self.assertTrue(os.path.exists(os.path.join(self.usr, "share/doc/mayfly/examples", f"{part}.conf")))

    def test_the_small_kernel_has_its_config(self):
        script = 'repository=$1; . "$1/libexec/mayfly/small-kernel.sh"; cat "$config"'
        done = subprocess.run(["bash", "-c", script, "bash", self.usr], capture_output=True, text=True, check=True)
        self.assertEqual(done.stdout, read(os.path.join(REPO, "guest", "kernel", "small.config")))

    def test_the_command_finds_builders_agent_and_recipes(self):
        """Builders that only say what they are given."""
        for builder in glob.glob(os.path.join(self.usr, "libexec/mayfly/build-*")):
            with open(builder, "w", encoding="ascii") as f:
                f.write('#!/bin/sh\necho "$(basename "$0") $*"\n')
        done = subprocess.run([os.path.join(self.usr, "bin", "mayfly"), "image", "build", "--state", self.root],
                              capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual([line.split()[0] for line in done.stdout.splitlines()],
                         ["build-kernel", "build-jail-root", "build-image", "build-image"])
        given = {os.path.realpath(word) for word in done.stdout.split() if word.endswith((".image", "/mayfly-agent"))}
        self.assertEqual(given, {os.path.join(self.usr, "libexec/mayfly/mayfly-agent"),
                                 *glob.glob(os.path.join(self.usr, "share/mayfly/images/*.image"))})


if __name__ == "__main__":
    unittest.main()
