#!/usr/bin/python3
"""tools/quickstart as a newcomer uses it; and the demo notices when its programs do not do what they should."""
import glob
import os
import signal
import subprocess
import unittest

from case import REPO, EndToEnd
import dev
import stack
from cli import MAYFLY, environment

SHOW = os.path.join(REPO, "tools", "demo", "show")
QUICKSTART = os.path.join(REPO, "tools", "quickstart")
RELEASE = os.path.join(REPO, "build", "release")


class Quickstart(dev.PrivateStack):
    program = os.path.join(RELEASE, "tools", "mayfly")
    built = dev.PrivateStack.built | {"cache"}

    def setUp(self):
        super().setUp()
        for part in ("images", "kernel", "jail", "cache", "kafka/libs"):  # or all would be downloaded again
            subprocess.run(["cp", "-a", os.path.join(stack.ARTIFACTS, part), os.path.join(self.state, part)], check=True)

    def quickstart(self, *args):
        done = subprocess.run([QUICKSTART, "--state", self.state, *args], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=700, check=False, env=environment())
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("\n9 of 9 as expected.\n", done.stdout)
        self.assertNotIn("\033", done.stdout + done.stderr)
        return done

    def products(self):
        """{path: when it was made} of all that is built."""
        kept = [os.path.join(self.state, part) for part in ("images", "kernel", "jail", "kafka/libs")]
        paths = [path for folder in (RELEASE, *kept) for path in glob.glob(folder + "/**", recursive=True)]
        return {path: os.lstat(path).st_mtime_ns for path in paths if os.path.isfile(path)}

    def interrupt(self):
        """Ctrl-C to a quickstart without --keep, once the stack is up."""
        process = subprocess.Popen([QUICKSTART, "--state", self.state], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, text=True, start_new_session=True, env=environment())
        said = []
        for line in process.stdout:
            said.append(line)
            if "the stack is up" in line:
                break
        os.killpg(process.pid, signal.SIGTERM)
        said.append(process.communicate(timeout=120)[0])
        self.assertEqual(process.returncode, 143, "".join(said))
        return "".join(said)

    def test_twice_and_the_stack_that_stays(self):
        self.quickstart("--port-base", str(self.base))
        self.assert_no_trace({})
        products = self.products()
        # As after a power cut: the stack's ports are on record, and nothing runs.
        os.mkdir(os.path.join(self.state, "run"))
        with open(os.path.join(self.state, "run", "ports"), "w", encoding="ascii") as f:
            f.write(f"{self.base} {self.base + 1} {self.base + 2}\n")
        done = self.quickstart("--keep")
        self.assertIn(f"--brokers 127.0.0.1:{self.base} --redis 127.0.0.1:{self.base + 2} run", done.stdout)
        after = self.products()
        self.assertEqual({path for path in {*products, *after} if products.get(path) != after.get(path)}, set())
        pids = self.pids()
        self.note_host()
        self.assertEqual(set(pids), {"kafka", "redis", "worker", "reaper", "keeper"})
        done = self.mayfly("run", "--", "echo", "hello")
        self.assertEqual((done.returncode, done.stdout), (0, "hello\n"), done.stderr)

        os.killpg(pids["worker"], signal.SIGKILL)
        self.assertIn("a stack is here already; it is used and stays", self.interrupt())
        mended = self.pids()
        self.assertEqual({part for part in mended if mended[part] != pids[part]}, {"worker"})
        self.assertEqual(set(mended), set(pids))
        done = self.dev("stop")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assert_no_trace({**pids, **mended})


class Help(unittest.TestCase):
    def test_it_names_every_option(self):
        done = subprocess.run([QUICKSTART, "--help"], capture_output=True, text=True, check=True, timeout=60)
        for option in ("--keep", "--state DIR", "--port-base N"):
            self.assertIn(f"\n  {option} ", done.stdout)
        self.assertNotIn("shellcheck", done.stdout)


class Demo(EndToEnd):
    def test_programs_that_never_ran_are_noticed(self):
        fleet = self.fleet(vmm="null", allow_null_vmm="yes")
        fleet.start_worker()
        done = subprocess.run([SHOW, MAYFLY], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=400, check=False,
                              env=environment(fleet))
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertIn("0 of 9 as expected.", done.stdout)


if __name__ == "__main__":
    unittest.main()
