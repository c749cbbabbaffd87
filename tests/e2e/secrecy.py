#!/usr/bin/python3
"""Keys are nowhere, and what a guest wrote can be read nowhere, while it runs and after its end; the engine is powerless."""
import os
import re
import shutil
import subprocess
import unittest

from case import EndToEnd, wait_until
from crash import children, find, uid

HEX_KEY = re.compile(rb"[0-9a-f]{64}")
CANARY = b"canary-" + b"3f9c1b7e5a" * 4


def status_of(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


class Secrets(EndToEnd):
    def running_task(self, fleet):
        # The canary is made in the guest, so that it is in no record; then written to the disk for certain.
        script = ("c=canary-; for i in 1 2 3 4; do c=${c}3f9c1b7e5a; done; for i in $(seq 2000); do echo $c; done > /work/file;"
                  "sync; echo written; sleep 6")
        task_id = fleet.submit(argv=["/bin/sh", "-c", script], stream=True)
        fleet.flush()
        with fleet.reader("output") as reader:
            wait_until("the guest wrote", lambda: any(b"written" in m.value() for m in reader.messages()))
        return task_id

    def processes(self, fleet, worker):
        guards = find(b"mayfly." + fleet.name.encode() + b"/")
        self.assertEqual(len(guards), 1)
        return [worker.pid, *children(worker.pid), *guards, *children(guards[0])]

    def test_keys_and_canaries(self):
        fleet = self.fleet()
        worker = fleet.start_worker()
        task_id = self.running_task(fleet)
        for pid in self.processes(fleet, worker):
            for what in ("cmdline", "environ"):
                with open(f"/proc/{pid}/{what}", "rb") as f:
                    self.assertIsNone(HEX_KEY.search(f.read()), f"{what} of {pid}")
            with open(f"/proc/{pid}/limits", encoding="ascii") as f:
                core = next(line for line in f if line.startswith("Max core file size"))
            if pid != worker.pid:
                self.assertEqual(core.split()[4:6], ["0", "0"], f"core dumps of {pid}")
        disk = os.path.join(fleet.state, "scratch", task_id + ".luks")
        copy = os.path.join(fleet.state, "copy-of-disk")
        shutil.copy(disk, copy)
        self.addCleanup(lambda: os.path.exists(copy) and os.unlink(copy))
        with open(copy, "rb") as f:
            data = f.read()
        self.assertNotIn(CANARY, data)
        self.assertTrue(data.startswith(b"LUKS\xba\xbe"))  # it was a real volume
        result = fleet.result(task_id)
        self.assertEqual((result["outcome"], result["key_destroyed"]), ("succeeded", True))
        self.assertFalse(os.path.exists(disk))
        for folder, _, names in os.walk(fleet.state):
            for name in names:
                path = os.path.join(folder, name)
                if os.path.islink(path) or path == copy:
                    continue
                with open(path, "rb") as f:
                    held = f.read()
                self.assertNotIn(CANARY, held, path)
                self.assertIsNone(HEX_KEY.search(held), path)
        for key in self.services.redis_command("KEYS", "*"):
            value = subprocess.run(["redis-cli", "-p", str(self.services.redis_port), "DUMP", key], capture_output=True, check=True)
            self.assertNotIn(CANARY, value.stdout)
            self.assertIsNone(HEX_KEY.search(value.stdout), key)

    def test_the_canary_is_seen_where_there_is_no_encryption(self):
        """The negative control of the search above: a plain file with the same text is found."""
        fleet = self.fleet()
        plain = os.path.join(fleet.state, "scratch", "plain.luks")
        with open(plain, "wb") as f:
            f.write(b"\0" * 4096 + CANARY)
        with open(plain, "rb") as f:
            self.assertIn(CANARY, f.read())
        os.unlink(plain)

    def test_engine_and_vmm_have_no_powers(self):
        fleet = self.fleet()
        worker = fleet.start_worker()
        self.running_task(fleet)
        engine = next(p for p in children(worker.pid) if uid(p) != 0)
        vmm = children(find(b"mayfly." + fleet.name.encode() + b"/")[0])[0]
        for name, pid in (("engine", engine), ("vmm", vmm)):
            status = status_of(pid)
            self.assertNotEqual(status["Uid"].split()[0], "0", name)
            for caps in ("CapPrm", "CapEff", "CapBnd", "CapAmb"):
                self.assertEqual(int(status[caps], 16), 0, f"{caps} of the {name}")
            self.assertEqual((status["NoNewPrivs"], status["Seccomp"]), ("1", "2"), name)
        for namespace in ("mnt", "pid", "ipc", "uts", "net"):
            self.assertNotEqual(os.readlink(f"/proc/{vmm}/ns/{namespace}"), os.readlink(f"/proc/self/ns/{namespace}"), namespace)
        self.assertEqual(status_of(worker.pid)["Uid"].split()[0], "0")  # the check can tell root from others

    def test_a_worker_wants_leave_to_emulate(self):
        fleet = self.fleet(allow_emulation="no")
        worker = fleet.start_worker(wait=False)
        if worker.wait(60) == 0 or os.path.exists("/dev/kvm") and "accel=kvm" in fleet.log():
            self.skipTest("guests run on KVM here")
        self.assertIn("allow_emulation", fleet.log())


if __name__ == "__main__":
    unittest.main(verbosity=2)
