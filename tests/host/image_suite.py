#!/usr/bin/python3
"""`mayfly image`: the same recipe makes the same bytes, nothing is built twice, what changed is, and what is wrong is refused by
name; packages come from where this machine's own come from."""
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
REPO = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(REPO, "tests", "support"))
import stack  # noqa: E402
from cli import MAYFLY, mayfly  # noqa: E402

BUILD_IMAGE = os.path.join(REPO, "tools", "image", "build-image")
RECIPE = "name = tiny\ndescription = the essential packages and a file\nfile = start.sh /usr/local/bin/start 0750\n"


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="ascii") as f:
        f.write(text)


def read(path):
    with open(path, "rb") as f:
        return f.read()


class Folder(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="mayfly-image_")
        self.addCleanup(shutil.rmtree, self.folder)
        self.state = self.path("state")
        os.mkdir(self.state)
        self.recipe = self.path("tiny.image")
        write(self.recipe, RECIPE)
        write(self.path("start.sh"), "#!/bin/sh\necho one\n")

    def path(self, *parts):
        return os.path.join(self.folder, *parts)


class Images(Folder):
    def setUp(self):
        super().setUp()
        for part in ("cache", "kernel", "jail"):  # copies: a builder writes in place below cache/
            shutil.copytree(os.path.join(stack.ARTIFACTS, part), os.path.join(self.state, part), symlinks=True,
                            ignore=shutil.ignore_patterns("small-*"))

    def build(self, *options, recipe=None):
        done = mayfly(None, "image", "build", *options, recipe or self.recipe, seconds=400, MAYFLY_STATE=self.state)
        return done.returncode, done.stderr.decode()

    def built(self):
        """The manifest of the image there is, with the digest and the length of its bytes."""
        folder = os.path.join(self.state, "images", "tiny")
        image = read(os.path.join(folder, "rootfs.erofs"))
        return json.loads(read(os.path.join(folder, "manifest.json"))), hashlib.sha256(image).hexdigest(), len(image)

    def assert_manifest(self, manifest, digest, length):
        self.assertEqual(manifest["name"], "tiny")
        self.assertEqual(manifest["description"], "the essential packages and a file")
        self.assertEqual((manifest["digest"], manifest["bytes"]), (digest, length))
        self.assertEqual(manifest["suite"], "bookworm")
        time.strptime(manifest["date"], "%Y-%m-%dT%H:%M:%SZ")
        self.assertLessEqual({"bash", "coreutils"}, set(manifest["packages"]))
        kernel = json.loads(read(os.path.join(self.state, "kernel", "manifest.json")))
        self.assertLessEqual({"digest", "kernel", "package", "version", "agent", "date"}, set(kernel))

    def assert_holds_the_file(self):
        out = self.path("out")
        subprocess.run(["fsck.erofs", f"--extract={out}", os.path.join(self.state, "images", "tiny", "rootfs.erofs")],
                       check=True, capture_output=True)
        start = os.stat(os.path.join(out, "usr", "local", "bin", "start"))
        self.assertEqual((start.st_mode & 0o7777, start.st_uid, start.st_gid), (0o750, 0, 0))
        self.assertEqual(read(os.path.join(out, "usr", "local", "bin", "start")), b"#!/bin/sh\necho one\n")
        programs = read(os.path.join(self.state, "images", "tiny", "programs")).decode().splitlines()
        self.assertLessEqual({"bash", "find", "awk"}, set(programs))  # awk: a link that leads somewhere in the image alone
        self.assertNotIn("start", programs)  # which a task may not execute
        passwd = read(os.path.join(out, "etc", "passwd")).decode()
        self.assertIn("task:x:1000:1000:", passwd)

    def assert_listed(self, manifest):
        done = mayfly(None, "image", "list", "--json", MAYFLY_STATE=self.state)
        self.assertEqual((done.returncode, json.loads(done.stdout)), (0, manifest))

    def assert_change_is_seen_and_an_interrupt_harmless(self):
        write(self.path("start.sh"), "#!/bin/sh\necho two\n")
        before = self.built()
        process = subprocess.Popen([MAYFLY, "image", "build", "--state", self.state, self.recipe], stdin=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE, start_new_session=True)
        for line in process.stderr:
            if b"putting Debian's packages together" in line:
                break
        else:
            self.fail("the changed file made no new image")
        os.killpg(process.pid, signal.SIGTERM)
        process.communicate(timeout=120)
        self.assertNotEqual(process.returncode, 0)
        self.assertEqual(self.built(), before)
        stack.wait_until("the staging folder is gone", lambda: not [f for f in os.listdir(self.state) if f.startswith(".staging.")])

    def test_once_again_unchanged_changed(self):
        status, said = self.build()
        self.assertEqual(status, 0, said)
        first = self.built()
        self.assert_manifest(*first)
        self.assert_holds_the_file()
        self.assert_listed(first[0])
        status, said = self.build("--force")
        self.assertEqual(status, 0, said)
        self.assertIn("packages together", said)
        self.assertEqual(self.built(), first)
        folder = os.stat(os.path.join(self.state, "images", "tiny")).st_ino
        status, said = self.build()
        self.assertEqual((status, "'tiny' is up to date" in said), (0, True), said)
        self.assertEqual(os.stat(os.path.join(self.state, "images", "tiny")).st_ino, folder)
        self.assert_change_is_seen_and_an_interrupt_harmless()

    def test_a_wrong_line_is_refused_by_name(self):
        for line, complaint in (("colour = red", "unknown key 'colour'"), ("packages = bash $(id)", "the package '$(id)'"),
                                ("file = nothing.txt /etc/x", "there is no file"), ("just words", "'just words' is not"),
                                ("include = none.image", "there is no recipe"), ("include = wrong.image", "must not include a third"),
                                ("file = start.sh ../x", "'../x' is not an absolute path")):
            with self.subTest(line):
                wrong = self.path("wrong.image")
                write(wrong, RECIPE + line + "\n")
                status, said = self.build(recipe=wrong)
                self.assertEqual(status, 1, said)
                self.assertIn(wrong, said)
                self.assertIn(complaint, said)
                self.assertFalse(os.path.exists(os.path.join(self.state, "images")))


class Sources(Folder):
    """An apt of the test's own, with lists of archives at an address where nothing answers: what matters is what is asked for."""

    def have(self, list_name, suite, origin="Debian"):
        uri = self.path(list_name).replace("_", "%5f").replace("/", "_")  # as apt names its files
        name = self.path("apt", "lists", f"{uri}_dists_{suite}_")
        write(name + "Release", f"Origin: {origin}\nCodename: {suite}\nArchitectures: amd64\nComponents: main\n")
        write(name + "main_binary-amd64_Packages", "")

    def build(self, *options):
        write(self.path("apt.conf"), f'Dir::Etc::SourceList "/dev/null";\nDir::Etc::SourceParts "{self.path("parts")}";\n'
                                     f'Dir::State "{self.path("apt")}";\nAcquire::Retries "0";\n')
        os.makedirs(self.path("parts"), exist_ok=True)
        done = subprocess.run([BUILD_IMAGE, "--state", self.state, *options, self.recipe], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, check=False, timeout=120,
                              env={**os.environ, "APT_CONFIG": self.path("apt.conf")})
        self.assertEqual(done.returncode, 1, done.stderr)
        return done.stderr, read(os.path.join(self.state, "cache", "apt", "sources.list")).decode().splitlines()

    def test_lists_of_mirrors_keyrings_and_an_archive_of_another_path(self):
        write(self.path("main.list"), "# nearest first\nhttp://127.0.0.1:1/far/debian\tpriority:1\nhttp://127.0.0.1:2/debian\n")
        write(self.path("safe.list"), "http://127.0.0.1:1/safe\n")
        write(self.path("parts", "main.sources"),
              f"# main\n\nTypes: deb\nURIs: mirror+file://{self.path('main.list')}\nSuites: bookworm bookworm-updates\n"
              f"Components: main\nSigned-By: {self.path('a.gpg')}\n")
        write(self.path("parts", "safe.list"), "# safe\ndeb [arch=amd64 signed-by=%s] mirror+file:%s bookworm-security main\n" %
              (self.path("b.gpg"), self.path("safe.list")))
        for list_name, suite in (("main.list", "bookworm"), ("main.list", "bookworm-updates"),
                                 ("safe.list", "bookworm-security")):
            self.have(list_name, suite)
        said, lines = self.build()
        self.assertEqual(lines, [
            f"deb [signed-by={self.path('a.gpg')}] http://127.0.0.1:1/far/debian bookworm main",
            f"deb [signed-by={self.path('a.gpg')}] http://127.0.0.1:1/far/debian bookworm-updates main",
            f"deb [signed-by={self.path('b.gpg')}] http://127.0.0.1:1/safe bookworm-security main"])
        self.assertIn("does not answer; name another one: --mirror", said)

    def test_what_this_machine_lacks_is_said(self):
        said, _ = self.build()
        self.assertIn("no bookworm main from Debian; name an archive: --mirror", said)
        said, lines = self.build("--mirror", "http://127.0.0.1:1/debian")
        self.assertIn("no bookworm-security main from Debian; the image goes without", said)
        self.assertEqual(lines, ["deb http://127.0.0.1:1/debian bookworm main", "deb http://127.0.0.1:1/debian bookworm-updates main"])

    def test_a_third_party_that_calls_its_suite_the_same_is_not_taken(self):
        write(self.path("other.list"), "http://127.0.0.1:1/other\n")
        write(self.path("parts", "other.list"), f"deb mirror+file:{self.path('other.list')} bookworm main\n")
        self.have("other.list", "bookworm", origin="Somebody")
        said, lines = self.build()
        self.assertEqual(lines, [])
        self.assertIn("no bookworm main from Debian", said)


if __name__ == "__main__":
    unittest.main()
