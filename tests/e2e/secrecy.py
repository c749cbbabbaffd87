#!/usr/bin/python3
"""Keys are nowhere, and what a guest wrote can be read nowhere, while it runs and after its end; the engine is powerless."""
import os
import re
import shutil
import subprocess

from case import EndToEnd, wait_until  # first: it says where the next two are
import skips
import processes

HEX_KEY = re.compile(rb"[0-9a-f]{64}")
CANARY = b"canary-" + b"3f9c1b7e5a" * 4
KEYSLOT_AREA_BYTES = 256 * 1024  # LUKS1 with a 512-bit key: 4000 stripes of 64 bytes behind the header
BLOCK = 4096


def status_of(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


def content(path):
    with open(path, "rb") as f:
        return f.read()


def blocks_that_differ(one, other):
    return sum(one[i:i + BLOCK] != other[i:i + BLOCK] for i in range(0, len(one), BLOCK))


def holds_a_secret(data):
    return CANARY in data or HEX_KEY.search(data) is not None


def keyslots(path):
    """What LUKS1 says of its eight keyslots; none where there is no LUKS header any more."""
    dump = subprocess.run(["cryptsetup", "luksDump", path], capture_output=True, text=True, check=False)
    return re.findall(r"^Key Slot \d: (\w+)", dump.stdout, re.M)


class Secrets(EndToEnd):
    def running_task(self, fleet):
        # The canary is made in the guest, so that it is in no record; then written to the disk for certain.
        script = ("echo ready; sleep 3; c=canary-; for i in 1 2 3 4; do c=${c}3f9c1b7e5a; done;"
                  "for i in $(seq 2000); do echo $c; done > /work/file; sync; echo written; sleep 6")
        task_id = fleet.submit(argv=["/bin/sh", "-c", script], stream=True)
        fleet.flush()
        return task_id

    def wait_for_output(self, fleet, text):
        with fleet.reader("output") as reader:
            wait_until(f"the guest says '{text}'", lambda: any(text.encode() in m.value() for m in reader.messages()))

    def processes(self, fleet, worker):
        guards = processes.guards(fleet)
        self.assertEqual(len(guards), 1)
        return [worker.pid, *processes.children(worker.pid), *guards, *processes.vmms(fleet)]

    def where_secrets_are(self, fleet):
        """Every file below the state directory and every value in Redis that holds a key or the canary."""
        found = []
        for folder, _, names in os.walk(fleet.state):
            paths = [os.path.join(folder, name) for name in names]
            found += [p for p in paths if not os.path.islink(p) and holds_a_secret(content(p))]
        self.services.redis_command("CONFIG", "SET", "rdbcompression", "no")  # else DUMP hides longer texts
        for key in self.services.redis_command("KEYS", "*"):
            value = subprocess.run(["redis-cli", "-p", str(self.services.redis_port), "DUMP", key], capture_output=True, check=True)
            if holds_a_secret(value.stdout) or holds_a_secret(key.encode()):
                found.append(key)
        return found

    def check_process(self, pid, worker):
        for what in ("cmdline", "environ"):
            self.assertFalse(holds_a_secret(content(f"/proc/{pid}/{what}")), f"{what} of {pid}")
        core = next(line for line in content(f"/proc/{pid}/limits").decode().splitlines() if line.startswith("Max core file size"))
        if pid != worker.pid:  # the supervisor, which never has a key
            self.assertEqual(core.split()[4:6], ["0", "0"], f"core dumps of {pid}")

    def test_keys_and_canaries(self):
        fleet = self.fleet()
        worker = fleet.start_worker()
        task_id = self.running_task(fleet)
        before, erased = os.path.join(fleet.state, "copy-of-disk"), os.path.join(fleet.state, "same-file")
        self.wait_for_output(fleet, "ready")
        disk = fleet.disk(task_id)
        fresh = content(disk)
        self.wait_for_output(fleet, "written")
        for pid in self.processes(fleet, worker):
            self.check_process(pid, worker)
        shutil.copy(disk, before)
        os.link(disk, erased)  # what unlinking leaves on the medium
        self.assertGreater(blocks_that_differ(fresh, content(before)) * BLOCK, 2000 * len(CANARY))  # it did reach the disk
        self.assertEqual(self.where_secrets_are(fleet), [])
        result = fleet.result(task_id)
        self.assertEqual((result["outcome"], result["key_destroyed"]), ("succeeded", True))
        wait_until("the disk is unlinked", lambda: not os.path.exists(disk))
        self.assertEqual(self.where_secrets_are(fleet), [])
        self.check_erased(before, erased)

    def check_erased(self, before, erased):
        """One keyslot opened the volume (the negative control); none is left, and of its material not one block."""
        self.assertEqual(keyslots(before).count("ENABLED"), 1)
        self.assertNotIn("ENABLED", keyslots(erased))
        old, new = content(before), content(erased)
        area = range(BLOCK, KEYSLOT_AREA_BYTES, 512)
        material = {old[i:i + 512] for i in area} - {bytes(512)}
        self.assertGreater(len(material), 100)
        self.assertEqual(material & {new[i:i + 512] for i in area}, set())

    def test_the_search_finds_what_lies_open(self):
        """The negative control of the search: the same secrets in a file, in a log and in Redis are found."""
        fleet = self.fleet()
        plain, log = os.path.join(fleet.state, "scratch", "plain.luks"), os.path.join(fleet.state, "other.log")
        self.assertEqual(self.where_secrets_are(fleet), [])
        with open(plain, "wb") as f:
            f.write(b"\0" * BLOCK + CANARY)
        with open(log, "w", encoding="ascii") as f:
            f.write("event=oops key=" + "5a" * 32 + "\n")
        self.services.redis_command("SET", fleet.name, CANARY.decode())
        self.assertEqual(set(self.where_secrets_are(fleet)), {plain, log, fleet.name})
        self.services.redis_command("DEL", fleet.name)

    def test_engine_and_vmm_have_no_powers(self):
        fleet = self.fleet()
        worker = fleet.start_worker()
        self.running_task(fleet)
        self.wait_for_output(fleet, "ready")
        engine = processes.engine(worker)
        vmm = processes.vmms(fleet)[0]
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
        wait_until("it starts or ends", lambda: worker.poll() is not None or "intake.assigned" in fleet.log())
        if worker.poll() is None:
            self.assertEqual(fleet.accel, "kvm")
            skips.is_too_good(self, "guests run on KVM here")
        self.assertNotEqual(worker.returncode, 0)
        self.assertIn("allow_emulation", fleet.log())


if __name__ == "__main__":
    skips.main()
