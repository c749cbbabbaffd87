#!/usr/bin/python3
"""What a VMM process could do if it were taken over: each attempt is held by the jail, and gets through a jail in which just
the locks that hold it were left open. jail_suite.py JAIL_DIR WEAK_DIR PROBE"""
import fcntl
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import unittest

JAIL_DIR, WEAK_DIR, PROBE = (os.path.abspath(p) for p in sys.argv[1:4])
UID = 64999
FILE_MIB = "16"
LONG_MS = 600000
SOON_MS = 1500
LIMIT_MS = 2 * LONG_MS
THREADS = 49  # of the VMM, one for its vCPU among them
GUARD_MAGIC, GUARD_SET_DEADLINE, GUARD_KILL, GUARD_ENDED = 0x4d464744, 1, 2, 3  # lib/host/guard.h
KILL = struct.pack("<II", GUARD_MAGIC, GUARD_KILL)
GUARD_UID = 65531  # lib/host/uids.h
CAP_KILL = 1 << 5


def boot_ms():
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000000


def set_deadline(at_boot_ms):
    return struct.pack("<IIQ", GUARD_MAGIC, GUARD_SET_DEADLINE, at_boot_ms)


ALL_SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL  # lib/host/sealed.c
MOUNTS, PROC, NET, USER, CAPS, SECCOMP, LIMITS, READ_ONLY = (1 << bit for bit in range(8))

# attempt: the locks that must all be open for it to get through
LOCKS = {
    "read_host_files": MOUNTS,
    "read_host_state": PROC,
    "send_packets": NET | SECCOMP,
    "become_root": USER,
    "make_namespace": SECCOMP,
    "make_device": SECCOMP | USER | CAPS | READ_ONLY,
    "write_root": USER | READ_ONLY,
    "read_other_slot": USER | CAPS,
    "mount_something": SECCOMP | USER | CAPS,
    "trace": SECCOMP,
    "dump_core": LIMITS,
    "outgrow_its_file": LIMITS,
}


# The jail copies the number of the host's node. Where there is none, another device's stands in for it.
KVM_NODE = '[ -e /dev/kvm ] || { mount -t tmpfs none /dev && mknod /dev/kvm c 1 3; } && exec "$@"'


def bits(mask):
    return [1 << b for b in range(8) if mask & 1 << b]


class Jail(unittest.TestCase):
    def setUp(self):
        self.root = tempfile.mkdtemp(prefix="mayfly-jail.")
        self.addCleanup(shutil.rmtree, self.root, ignore_errors=True)
        os.chmod(self.root, 0o755)
        for folder in ("proc", "dev"):
            os.mkdir(os.path.join(self.root, folder))
        shutil.copy(PROBE, os.path.join(self.root, "probe"))
        with open(os.path.join(self.root, "other-slot"), "w", encoding="ascii") as f:
            f.write("secret of another slot\n")
        os.chmod(os.path.join(self.root, "other-slot"), 0o600)
        os.chown(os.path.join(self.root, "other-slot"), UID + 1, UID + 1)

    def attempt(self, name, weak=0, kvm="-"):
        """True: it got through."""
        jail = os.path.join(WEAK_DIR, f"jail_weak_{weak}") if weak else os.path.join(JAIL_DIR, "mayfly-jail")
        # A pid namespace, as mayfly-guard makes one; see_processes has its own test.
        done = subprocess.run(["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", KVM_NODE, "sh",
                               jail, self.root, str(UID), "qemu", kvm, FILE_MIB, "./probe", name], capture_output=True, check=False, timeout=60)
        self.assertIn(done.returncode, (0, 1), f"{name}, weak {weak}: {done}")
        return done.returncode == 0

    def test_every_attempt_is_held(self):
        for name in [*LOCKS, "see_processes", "find_descriptors"]:
            with self.subTest(name):
                self.assertFalse(self.attempt(name))

    def test_each_gets_through_when_its_locks_are_open(self):
        for name, locks in LOCKS.items():
            with self.subTest(name):
                self.assertTrue(self.attempt(name, locks))

    def test_one_lock_of_several_is_enough(self):
        for name, locks in LOCKS.items():
            for lock in bits(locks):
                if locks != lock and lock in (NET, SECCOMP, USER, READ_ONLY):
                    with self.subTest(name, closed=lock):
                        self.assertFalse(self.attempt(name, locks & ~lock))

    def test_kvm_is_there_when_given_and_opens_nothing_else(self):
        self.assertTrue(self.attempt("open_kvm", kvm="kvm"))
        self.assertFalse(self.attempt("open_kvm"))
        for name in [*LOCKS, "see_processes", "find_descriptors"]:
            with self.subTest(name):
                self.assertFalse(self.attempt(name, kvm="kvm"))

    def test_processes_are_seen_without_a_pid_namespace(self):
        jail = os.path.join(JAIL_DIR, "mayfly-jail")
        done = subprocess.run([jail, self.root, str(UID), "qemu", "-", FILE_MIB, "./probe", "see_processes"], check=False, timeout=60)
        self.assertEqual(done.returncode, 0)

    def start_guard(self, group, name, memory_mib=200, deadline_ms=LONG_MS, pass_fds=(), log=subprocess.DEVNULL):
        """The real guard and our end of its socket."""
        command = [os.path.join(JAIL_DIR, "mayfly-guard"), f"mayfly.jailtest/{group}", str(memory_mib), "1", str(THREADS),
                   str(boot_ms() + deadline_ms), str(boot_ms() + LIMIT_MS), os.path.join(JAIL_DIR, "mayfly-jail"), self.root, str(UID), "qemu", "-", FILE_MIB, "./probe", name]
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        high = {3: fcntl.fcntl(theirs, fcntl.F_DUPFD, 50), **{4 + i: fcntl.fcntl(fd, fcntl.F_DUPFD, 60)
                                                              for i, fd in enumerate(pass_fds)}}
        shell = " ".join(f"{place}>&{fd} {fd}>&-" for place, fd in high.items())
        guard = subprocess.Popen(["bash", "-c", f'exec "$@" {shell}', "bash", *command], stderr=log,
                                 pass_fds=list(high.values()))
        theirs.close()
        for fd in high.values():
            os.close(fd)
        ours.settimeout(60)
        self.addCleanup(guard.wait, 60)
        self.addCleanup(ours.close)
        return guard, ours

    def groups(self, group):
        paths = [f"/sys/fs/cgroup/{root}/mayfly.jailtest/{group}" for root in ("memory", "pids", "cpu", "")]
        return [path for path in paths if os.path.exists(path)]

    def end_of(self, guard, ours, group):
        """What the guard says at the end (host/guard.h): wait status, deadline, out of memory. Whoever listens late,
        when the guard has closed its socket, hears it as well."""
        self.assertEqual((guard.wait(60), self.groups(group)), (0, []))
        magic, kind, status, is_deadline, is_out_of_memory = struct.unpack("<IIiII", ours.recv(64)[:20])
        self.assertEqual((magic, kind), (GUARD_MAGIC, GUARD_ENDED))
        return status, bool(is_deadline), bool(is_out_of_memory)

    def guarded(self, name, memory_mib, pass_fds=()):
        """In the real guard's control group: did it get through, was it out of memory?"""
        status, _, is_out_of_memory = self.end_of(*self.start_guard(name, name, memory_mib, pass_fds=pass_fds), name)
        return os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0, is_out_of_memory

    def test_the_deadline_ends_what_stays(self):
        lasting, to_lasting = self.start_guard("lasting", "stay")
        self.assertEqual(self.end_of(*self.start_guard("ended", "stay", deadline_ms=1000), "ended"), (signal.SIGKILL, True, False))
        self.assertIsNone(lasting.poll())  # its deadline is far
        self.assertNotEqual(self.groups("lasting"), [])
        to_lasting.send(KILL)
        self.assertEqual(self.end_of(lasting, to_lasting, "lasting"), (signal.SIGKILL, False, False))

    def test_a_deadline_is_moved_later_and_earlier(self):
        """The control of each move is the end that did not come, or came, at the time that was set before."""
        guard, ours = self.start_guard("moved", "stay", deadline_ms=SOON_MS)
        ours.send(set_deadline(boot_ms() + LONG_MS))
        time.sleep(2 * SOON_MS / 1000)
        self.assertIsNone(guard.poll())
        ours.send(set_deadline(boot_ms() + SOON_MS))
        self.assertIsNone(guard.poll())
        self.assertEqual(self.end_of(guard, ours, "moved"), (signal.SIGKILL, True, False))
        guard, ours = self.start_guard("passed", "stay")
        ours.send(set_deadline(1))
        self.assertEqual(self.end_of(guard, ours, "passed"), (signal.SIGKILL, True, False))

    def test_no_owner_moves_it_beyond_the_limit(self):
        with tempfile.TemporaryFile("w+") as log:
            guard, ours = self.start_guard("limit", "stay", log=log)
            ours.send(set_deadline(boot_ms() + LIMIT_MS + LONG_MS))
            self.assertEqual(self.end_of(guard, ours, "limit"), (signal.SIGKILL, False, False))
            log.seek(0)
            self.assertIn("beyond the limit", log.read())

    def test_nonsense_ends_it_and_is_told(self):
        for i, nonsense in enumerate((b"k", KILL + b"k", set_deadline(boot_ms() + LONG_MS)[:-1], struct.pack("<II", 7, GUARD_KILL),
                                      struct.pack("<II", GUARD_MAGIC, 99), struct.pack("<II40x", GUARD_MAGIC, GUARD_ENDED))):
            with self.subTest(nonsense), tempfile.TemporaryFile("w+") as log:
                guard, ours = self.start_guard(f"nonsense{i}", "stay", log=log)
                ours.send(nonsense)
                self.assertEqual(self.end_of(guard, ours, f"nonsense{i}"), (signal.SIGKILL, False, False))
                log.seek(0)
                self.assertIn("no message to a guard", log.read())

    def test_an_order_that_no_profile_allows_is_refused(self):
        jail = os.path.join(JAIL_DIR, "mayfly-jail")
        for profile, devices, code in (("qemu", "-", 1), ("none", "-", 2), ("qemu", "tun", 2), ("qemu", "", 2)):
            done = subprocess.run(["unshare", "--mount", "--pid", "--fork", "--kill-child", jail, self.root, str(UID), profile, devices, FILE_MIB,
                                   "./probe", "see_processes"], capture_output=True, check=False, timeout=60)
            self.assertEqual(done.returncode, code, (profile, devices, done))

    def status_of(self, pid):
        with open(f"/proc/{pid}/status", encoding="ascii") as f:
            return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)

    def test_who_waits_may_only_kill(self):
        """While it lives: a uid of its own, one capability, a filter; this process is the control of what is looked at."""
        guard, ours = self.start_guard("waits", "stay")
        end = time.monotonic() + 60
        while self.status_of(guard.pid)["Seccomp"] != "2":
            self.assertLess(time.monotonic(), end, "no filter was loaded")
            time.sleep(0.01)
        status, mine = self.status_of(guard.pid), self.status_of(os.getpid())
        for ids in ("Uid", "Gid"):
            self.assertEqual(status[ids].split(), [str(GUARD_UID)] * 4)
            self.assertNotEqual(mine[ids], status[ids])
        self.assertEqual(status["Groups"].split(), [])
        for caps, held in (("CapPrm", CAP_KILL), ("CapEff", CAP_KILL), ("CapInh", 0), ("CapBnd", 0), ("CapAmb", 0)):
            self.assertEqual(int(status[caps], 16), held, caps)
        self.assertNotEqual(int(mine["CapEff"], 16), CAP_KILL)
        self.assertEqual((status["NoNewPrivs"], mine["Seccomp"]), ("1", "0"))
        ours.send(KILL)
        self.assertEqual(self.end_of(guard, ours, "waits"), (signal.SIGKILL, False, False))

    def tries(self, script, *args):
        """Does a shell of the guards' uid get through with it, and does root?"""
        shell = ["/bin/sh", "-c", script, "sh", *args]
        drop = ["setpriv", f"--reuid={GUARD_UID}", f"--regid={GUARD_UID}", "--clear-groups", "--bounding-set=-all"]
        return [subprocess.run([*before, *shell], check=False, stderr=subprocess.DEVNULL, timeout=60).returncode == 0
                for before in (drop, [])]

    def test_the_guards_uid_removes_groups_and_nothing_more(self):
        """What else is in them is root's: who is a member, and how much it may have."""
        guard, ours = self.start_guard("holds", "stay")
        end = time.monotonic() + 60
        while self.status_of(guard.pid)["Seccomp"] != "2":
            self.assertLess(time.monotonic(), end, "no filter was loaded")
            time.sleep(0.01)
        for group in self.groups("holds"):
            for name in sorted({"pids.max", "memory.limit_in_bytes", "memory.max", "cpu.cfs_quota_us"} & set(os.listdir(group))):
                self.assertEqual(self.tries('v=$(cat "$1"); echo "$v" > "$1"', os.path.join(group, name)),
                                 [False, True], name)
            self.assertEqual(self.tries('echo $$ > "$1/cgroup.procs"', group), [False, True], group)
            self.assertEqual(self.tries('rmdir "$1"', group), [False, False], group)  # a process is in it
            empty = os.path.join(os.path.dirname(group), "vm-empty")
            os.mkdir(empty)
            self.assertTrue(self.tries('rmdir "$1"', empty)[0], empty)
        ours.send(KILL)
        self.assertEqual(self.end_of(guard, ours, "holds"), (signal.SIGKILL, False, False))

    def oom_score_adj(self, pid):
        with open(f"/proc/{pid}/oom_score_adj", encoding="ascii") as f:
            return int(f.read())

    def members(self, group):
        with open(os.path.join(self.groups(group)[0], "cgroup.procs"), encoding="ascii") as f:
            return f.read().split()

    def test_the_vmm_goes_before_its_guard_when_the_host_has_no_memory(self):
        """A worker's unit spares the worker, and children inherit that: the guard does, and is the control."""
        mine = self.oom_score_adj("self")
        self.assertLess(mine, 500, "nothing to see here")
        guard, ours = self.start_guard("spared", "stay")
        end = time.monotonic() + 60
        while not self.groups("spared") or not self.members("spared"):
            self.assertLess(time.monotonic(), end, "nobody entered the group")
            time.sleep(0.01)
        self.assertEqual(([self.oom_score_adj(vmm) for vmm in self.members("spared")], self.oom_score_adj(guard.pid)), ([500], mine))
        ours.send(KILL)
        self.assertEqual(self.end_of(guard, ours, "spared"), (signal.SIGKILL, False, False))

    def test_memory_is_limited(self):
        self.assertEqual(self.guarded("use_memory", 200), (False, True))
        self.assertEqual(self.guarded("use_memory", 2000), (True, False))

    def test_processes_are_limited(self):
        self.assertFalse(self.guarded("fork_many", 200)[0])
        weak = os.path.join(WEAK_DIR, f"jail_weak_{LIMITS | USER}")
        done = subprocess.run(["unshare", "--pid", "--fork", weak, self.root, str(UID), "qemu", "-", FILE_MIB, "./probe", "fork_many"], check=False)
        self.assertEqual(done.returncode, 0)

    def test_only_given_descriptors_are_there(self):
        self.assertFalse(self.guarded("find_descriptors", 200)[0])
        with open("/etc/hostname", "rb") as leaked:
            self.assertTrue(self.guarded("find_descriptors", 200, pass_fds=[leaked.fileno()])[0])

    def change_shared_memory(self, seals):
        fd = os.memfd_create("template", os.MFD_ALLOW_SEALING)
        try:
            os.fchmod(fd, 0o666)  # as lib/host/sealed.c does
            os.truncate(fd, 8192)
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
            return self.guarded("change_shared_memory", 200, pass_fds=[fd])[0], os.pread(fd, 1, 0)
        finally:
            os.close(fd)

    def test_sealed_memory_is_nobodys_to_change(self):
        """As the VMM of a clone, which has the template's memory, and opens it again to write."""
        self.assertEqual(self.change_shared_memory(ALL_SEALS), (False, b"\0"))

    def test_memory_that_lacks_a_seal_can_be_changed(self):
        self.assertTrue(self.change_shared_memory(0)[0])
        for seal in (fcntl.F_SEAL_WRITE, fcntl.F_SEAL_GROW, fcntl.F_SEAL_SHRINK, fcntl.F_SEAL_SEAL):
            with self.subTest(seal):
                self.assertTrue(self.change_shared_memory(ALL_SEALS & ~seal)[0])

    @classmethod
    def tearDownClass(cls):
        for root in ("memory", "pids", "cpu", ""):
            try:
                os.rmdir(f"/sys/fs/cgroup/{root}/mayfly.jailtest")
            except OSError:
                pass


unittest.main(argv=sys.argv[:1], verbosity=2)
