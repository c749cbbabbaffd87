#!/usr/bin/python3
"""A program that is a fork of the waiting interpreter does what an executed one does: the programs of warm_programs.py run in two
microVMs, one that was warmed as a template is and one that was not, and what they print and how they end is compared."""
import os
import re
import subprocess
import sys
import threading
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
REPO = os.path.dirname(os.path.dirname(HERE))
BUILD = os.environ.get("MAYFLY_BUILD", os.path.join(REPO, "build", "dev"))
sys.path[:0] = [HERE, os.path.join(REPO, "tests", "support")]
import skips  # noqa: E402
import warm_programs  # noqa: E402

LIBRARY = os.path.join(BUILD, "guest", "warm", "python.so")
WEAK_LIBRARY = os.path.join(BUILD, "guest", "warm-weak", "python.so")
ADDRESS = re.compile(rb"0x[0-9a-f]{6,}")
FORKED = "print(int(open('/proc/self/stat').read().rsplit(')')[1].split()[6]) >> 6 & 1)"  # the kernel's PF_FORKNOEXEC

# What a fork cannot do as an executed program would is executed: how it is called, and whether it is a fork.
CHOICES = [
    (["python3", "-c", FORKED], {}, b"1\n"),
    (["/usr/bin/python3", "-c", FORKED, "-u"], {}, b"1\n"),
    (["python", "-c", FORKED], {"A": "1", "TZ": "UTC"}, b"1\n"),
    (["python3.11", "-"], {}, b"1\n"),
    (["python3"], {}, b"1\n"),
    (["python3", "-u", "-c", FORKED], {}, b"0\n"),
    (["python3", "-I", "-c", FORKED], {}, b"0\n"),
    (["python3", "-c", FORKED], {"PYTHONHASHSEED": "1"}, b"0\n"),
    (["python3", "-c", FORKED], {"LC_ALL": "C"}, b"0\n"),
    (["python3", "-c", FORKED], {"HOME": "/tmp"}, b"0\n"),
    (["python3", "-c", FORKED], {"LD_PRELOAD": ""}, b"0\n"),
    (["python3", "-c", FORKED], {"PATH": "/usr/bin"}, b"0\n"),
    (["python3", "-c", FORKED, "x" * 70000], {}, b"0\n"),
    (["/bin/python3", "-c", FORKED], {}, b"0\n"),
    (["sh", "-c", 'exec python3 -c "%s"' % FORKED], {}, b"0\n"),
]


def to_bytes(text):
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")


def field(text):
    text = to_bytes(text)
    return b"%d\n%s" % (len(text), text)


def fields(*texts):
    return field(str(len(texts))) + b"".join(field(text) for text in texts)


class Vm:
    def __init__(self, how):
        self.process = subprocess.Popen([os.path.join(BUILD, "tests", "host", "guest_programs"), "python", how],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.is_what = self.process.stdout.readline().decode().strip()

    def end(self):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()

    def run(self, argv, env=None, files=None, stdin=b""):
        pairs = [[text for pair in (given or {}).items() for text in pair] for given in (env, files)]
        counted = [field(str(len(pair) // 2)) + b"".join(field(text) for text in pair) for pair in pairs]
        self.process.stdin.write(fields(*argv) + b"".join(counted) + field(stdin))
        self.process.stdin.flush()
        status, _, _, out, err = map(int, self.process.stdout.readline().split())
        return status, self.process.stdout.read(out), self.process.stdout.read(err)

    def run_alone(self, program):
        """In an empty /work. Addresses are chance, everything else is not."""
        _, argv, more = program
        if more.get("files"):
            self.run(["find", "/work", "-mindepth", "1", "-delete"])
        status, out, err = self.run(argv, **more)
        return status, ADDRESS.sub(b"0xADDRESS", out), ADDRESS.sub(b"0xADDRESS", err)

    def run_all(self, programs):
        return [self.run_alone(program) for program in programs]


class Warm(unittest.TestCase):
    def start(self, how):
        vm = Vm(how)
        self.addCleanup(vm.end)
        if not vm.is_what and vm.process.wait() == skips.SKIPPED:
            self.skipTest("there is no VM here")
        if how != "cold" and vm.is_what.startswith("not warm: ") and not vm.is_what[10:]:
            self.skipTest("the python image was built before images could name a warm runtime: mayfly image build")
        self.assertIn(vm.is_what.split()[0], ("cold", "warm"), vm.is_what)
        return vm

    def compare(self, library, programs):
        """Each of `programs` that differs, with what it did when it was executed and when it was forked."""
        results = {}

        def run(how):
            results[how] = self.start(how).run_all(programs)

        threads = [threading.Thread(target=run, args=(how,)) for how in ("cold", library)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return [(program[0], executed, forked) for program, executed, forked in
                zip(programs, results["cold"], results[library], strict=True) if executed != forked]

    @unittest.skipUnless(os.path.exists(LIBRARY), "built without the headers of CPython 3.11 (libpython3.11-dev)")
    def test_a_fork_does_what_an_executed_program_does(self):
        programs = list(warm_programs.programs())
        self.assertGreaterEqual(len(programs), 200)
        differing = self.compare(LIBRARY, programs)
        self.assertEqual(differing, [])

    @unittest.skipUnless(os.path.exists(LIBRARY), "built without the headers of CPython 3.11 (libpython3.11-dev)")
    def test_what_a_fork_cannot_do_is_executed(self):
        vm = self.start(LIBRARY)
        for argv, env, is_forked in CHOICES:
            with self.subTest(argv=str(argv)[:80], env=env):
                self.assertEqual(vm.run(argv, env, stdin=FORKED.encode()), (0, is_forked, b""))
        self.assertEqual(vm.run(["mkdir", "-p", "/work/.local/lib/python3.11/site-packages"])[0], 0)
        self.assertEqual(vm.run(["python3", "-c", FORKED]), (0, b"0\n", b""))

    @unittest.skipUnless(os.path.exists(WEAK_LIBRARY), "built without the headers of CPython 3.11 (libpython3.11-dev)")
    def test_a_difference_is_seen(self):
        """The control: a fork that leaves one signal as it found it."""
        differing = self.compare(WEAK_LIBRARY, [program for program in warm_programs.seen() if "/proc/self/status" in program[0]])
        self.assertEqual(len(differing), 1)


if __name__ == "__main__":
    skips.main()
