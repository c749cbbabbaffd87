#!/usr/bin/python3
"""Clones of templates in real microVMs: each is a machine of its own, nothing else of a task changes, and nothing is left of a template."""
import os
import time
import unittest

from case import EndToEnd, OneFleet, wait_until  # first: it says where the next one is
import processes

CLONES = 20
# What machines must not have in common, each on a line of its own.
IDENTITY = """
od -An -N16 -tx1 /dev/urandom; cat /proc/sys/kernel/random/uuid /proc/sys/kernel/random/boot_id /etc/machine-id; hostname; date +%s.%N
"""
# What a forked interpreter draws, and whether it is one (the kernel's PF_FORKNOEXEC).
DRAWN = """
import os, random, secrets, tempfile, uuid
print(int(open("/proc/self/stat").read().rsplit(")")[1].split()[6]) >> 6 & 1)
for drawn in hash("mayfly"), hash(b"m"), random.random(), secrets.token_hex(8), uuid.uuid4(), tempfile.mktemp(), os.urandom(8).hex(): print(drawn)
"""
CANARY_PARTS = ("mayfly", "tenant", "7d1f0c55")


def sh(script):
    return ["/bin/sh", "-c", script]


def wait_for_template(fleet, image="base"):
    wait_until(f"there is a template of {image}", lambda: f"template.ready image={image} " in fleet.log())


class Clones(OneFleet):
    shared_settings = {"slots": 2, "clones": "yes"}

    @classmethod
    def tearDownClass(cls):
        try:
            wait_until(f"nothing is left of {cls.shared.name}", lambda: not cls.shared.leftovers())
        finally:
            super().tearDownClass()

    def run_clone(self, argv, **task):
        result = self.shared.result(self.shared.submit(argv=argv, **task), 240)
        self.assertEqual((result["outcome"], result["isolation"]["start"]), ("succeeded", "clone"), result["message"])
        return result

    def setUp(self):
        wait_for_template(self.shared)

    def test_a_clone_runs_a_task_as_a_boot_does(self):
        task = {"argv": sh("cat; pwd; id -u; cat in; echo $A; touch made; echo >&2 err; exit 0"), "stdin": b"input\n", "env": {"A": "b"},
                "files": [{"path": "in", "data": b"file\n"}], "collect": ["made"]}
        clone = self.run_clone(**task)
        cold = self.shared.result(self.shared.submit(start="cold", **task), 240)
        self.assertEqual((cold["outcome"], cold["isolation"]["start"]), ("succeeded", "cold"))
        for field in ("stdout", "stderr", "exit_code", "files", "ran", "key_destroyed"):
            self.assertEqual(clone[field], cold[field], field)
        for stage in ("disk", "vmm", "boot", "key", "setup", "start", "run", "erase", "total"):
            self.assertGreaterEqual(clone["timings_ms"][stage], 0, stage)

    def test_each_is_a_machine_of_its_own(self):
        seen = {}
        for _ in range(CLONES):
            before = time.time()
            lines = self.run_clone(sh(IDENTITY))["stdout"]["head"].decode().split("\n")
            after = time.time()
            names = ("random", "uuid", "boot_id", "machine_id", "hostname", "clock")
            machine = dict(zip(names, [line.strip() for line in lines if line.strip()]))
            self.assertEqual(set(machine), set(names), lines)
            clock = float(machine.pop("clock"))
            self.assertTrue(before - 0.05 <= clock <= after + 0.05, (before, clock, after))
            for name, value in machine.items():
                self.assertNotIn(value, seen.setdefault(name, set()), name)
                seen[name].add(value)

    def test_no_two_waiting_interpreters_draw_the_same(self):
        self.shared.result(self.shared.submit(argv=["true"], image="python"), 240)
        wait_for_template(self.shared, "python")
        seen = {}
        for _ in range(CLONES):
            is_fork, *drawn = self.run_clone(["python3", "-c", DRAWN], image="python")["stdout"]["head"].decode().split()
            self.assertEqual((is_fork, len(drawn)), ("1", 7))
            for i, value in enumerate(drawn):
                self.assertNotIn(value, seen.setdefault(i, set()))
                seen[i].add(value)

    def memory_of(self, pid):
        """What a VMM has in its memory and can write."""
        with open(f"/proc/{pid}/maps", encoding="ascii") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
            for line in maps:
                area, rights = line.split()[:2]
                start, end = (int(address, 16) for address in area.split("-"))
                if not rights.startswith("rw"):
                    continue
                for at in range(start, end, 1 << 24):
                    try:
                        memory.seek(at)
                        yield memory.read(min(end - at, 1 << 24))
                    except OSError:
                        pass

    def holds_canary(self, pid):
        return any("-".join(CANARY_PARTS).encode() in data for data in self.memory_of(pid))

    def while_it_runs(self, script, check):
        task_id = self.shared.submit(argv=sh(script + "; echo ready; sleep 8"), stream=True)
        self.shared.flush()
        with self.shared.reader("output") as reader:
            wait_until("it is ready", lambda: any(task_id.encode() in m.value() and b"ready" in m.value() for m in reader.messages()), 240)
        vm_id = os.path.basename(self.shared.disk(task_id)).removesuffix(".luks")
        vmms = [pid for pid in processes.vmms(self.shared) if vm_id.encode() in processes.command_line(processes.parent(pid))]
        self.assertEqual(len(vmms), 1)
        answer = check(vmms[0])
        self.assertEqual(self.shared.result(task_id, 240)["isolation"]["start"], "clone")
        return answer

    def test_what_a_tenant_left_is_in_no_other_clone(self):
        leave = "a=" + "; a=$a-".join(CANARY_PARTS) + "; for i in $(seq 300); do echo $a; done > f; sync; export a; sh -c 'sleep 7' &"
        self.assertTrue(self.while_it_runs(leave.rstrip("&") + "& true", self.holds_canary))  # the control: the search finds it
        self.assertFalse(self.while_it_runs("true", self.holds_canary))


class Ends(EndToEnd):
    """Whatever dies while there is a template, or one is being made: nothing is left, and the tasks run."""
    settings = {"clones": "yes"}

    def when(self, fleet, sign):
        wait_until(sign, lambda: sign in fleet.log(), 120, 0.01)

    def test_the_worker_dies_in_every_state_of_a_template(self):
        for sign in ("id=template stage=vmm status=starting", "id=template stage=boot status=starting", "id=template stage=warm status=starting",
                     "id=template stage=save status=starting", "template.ready"):
            with self.subTest(sign):
                fleet = self.fleet()
                fleet.start_reaper()
                worker = fleet.start_worker()
                self.when(fleet, sign)
                fleet.kill_group(worker)
                self.assert_nothing_left(fleet, 60)

    def test_a_template_that_dies_is_made_again_and_costs_no_task_anything(self):
        fleet = self.fleet()
        fleet.start_worker()
        self.when(fleet, "id=template stage=boot status=starting")
        for vmm in processes.vmms(fleet):
            os.kill(vmm, 9)
        self.when(fleet, "template.failed")
        result = fleet.result(fleet.submit(argv=sh("echo hello")), 240)
        self.assertEqual((result["outcome"], result["stdout"]["head"]), ("succeeded", b"hello\n"))
        wait_for_template(fleet)

    def test_a_blank_disk_that_changed_makes_its_templates_stale(self):
        fleet = self.fleet()
        blanks = os.path.join(fleet.state, "blank")
        os.unlink(blanks)  # a link to what all fleets have
        os.mkdir(blanks)
        fleet.start_worker()
        wait_for_template(fleet)
        starts = [self.start_of_one(fleet)]
        for name in os.listdir(blanks):
            os.utime(os.path.join(blanks, name))
        starts.append(self.start_of_one(fleet))
        wait_until("it is made again", lambda: fleet.log().count("template.ready image=base ") > 1)
        starts.append(self.start_of_one(fleet))
        self.assertEqual(starts, ["clone", "cold", "clone"])

    def start_of_one(self, fleet):
        result = fleet.result(fleet.submit(argv=sh("echo hello > f; cat f")), 240)
        self.assertEqual((result["outcome"], result["stdout"]["head"]), ("succeeded", b"hello\n"), result["message"])
        return result["isolation"]["start"]

    def test_it_drains_in_the_middle_of_one(self):
        fleet = self.fleet()
        worker = fleet.start_worker()
        self.when(fleet, "id=template stage=boot status=starting")
        worker.terminate()
        self.assertEqual(worker.wait(60), 0)
        self.assert_nothing_left(fleet)


if __name__ == "__main__":
    unittest.main()
