#!/usr/bin/python3
"""Workspaces that are made ahead of tasks: what a task finds in them, whose deadline they have, and what becomes of them when nobody takes
them, when their worker dies, and when another task needs their room."""
import os
import re
import signal
import subprocess
import time

from case import EndToEnd, audit, wait_until
import processes

SAY = ["/bin/sh", "-c", "echo hello; cat /proc/sys/kernel/random/boot_id; date +%s.%N; echo x > left"]


class Pool(EndToEnd):
    settings = {"clones": "no", "pool_max": 2, "pool_age_ms": 600000, "lease_ms": 4000, "grace_ms": 1000}

    def ready(self, fleet):
        """vm_ids that became ready in the pool, in their order; of some something else has become since."""
        return re.findall(r" pool\.ready vm=(\S+) ", fleet.log())

    def adopted(self, fleet):
        return dict(re.findall(r" workspace\.adopt vm=(\S+) id=(\S+)", fleet.log()))

    def over(self, fleet):
        """{vm_id: why} of those that the pool gave up."""
        return dict(re.findall(r' pool\.end vm=(\S+) message="([^"]*)"', fleet.log()))

    def waiting(self, fleet):
        return [vm for vm in self.ready(fleet) if vm not in self.adopted(fleet) and vm not in self.over(fleet)]

    def stats(self, fleet):
        wait_until("the pool says what it did", lambda: "pool.stats" in fleet.log())
        line = re.findall(r" pool\.stats (.*)", fleet.log())[-1]
        return {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", line)}

    def one(self, fleet, **task):
        return fleet.result(fleet.submit(**{"argv": SAY, **task}))

    def filled(self, fleet, **task):
        """After a first task, for which there was none: others of its shape wait."""
        result = self.one(fleet, **task)
        self.assertEqual((result["outcome"], result["isolation"]["start"]), ("succeeded", "cold"))
        wait_until(f"one is ready\n{fleet.log()[-2000:]}", lambda: self.waiting(fleet), 120)
        return result

    def drain(self, fleet, worker):
        worker.send_signal(signal.SIGTERM)
        self.assertEqual(worker.wait(60), 0, fleet.log()[-3000:])
        self.assert_nothing_left(fleet)

    def test_a_task_finds_one_and_the_next_another_one(self):
        fleet = self.fleet()
        worker = fleet.start_worker()
        first = self.filled(fleet)
        second = self.one(fleet)
        wait_until("another one is ready", lambda: self.waiting(fleet), 120)
        third = self.one(fleet)
        for result in (second, third):
            self.assertEqual((result["outcome"], result["isolation"]["start"], result["key_destroyed"]), ("succeeded", "pool", True))
            self.assertLess(abs(float(result["stdout"]["head"].split()[2]) - result["finished_ms"] / 1000), 60)
        boots = [result["stdout"]["head"].split()[1] for result in (first, second, third)]
        self.assertEqual(len(set(boots)), 3)  # each in a machine of its own
        self.assertEqual({self.adopted(fleet)[vm] for vm in self.adopted(fleet)}, {second["id"], third["id"]})
        cold = self.one(fleet, start="cold")
        self.assertEqual(cold["isolation"]["start"], "cold")
        self.drain(fleet, worker)
        stats = self.stats(fleet)
        self.assertEqual((stats["hits"], stats["misses"], stats["failed"], stats["lost"]), (2, 2, 0, 0))
        self.assertGreaterEqual(stats["made"], 2)

    def test_they_are_clones_where_there_is_a_template(self):
        """Each draws what it needs to draw, and each is ended when its template is given up."""
        fleet = self.fleet(clones="yes")
        worker = fleet.start_worker()
        self.one(fleet)
        wait_until(f"a clone is ready\n{fleet.log()[-2000:]}", lambda: re.search(r" pool\.ready .* start=clone", fleet.log()), 120)
        results = [self.one(fleet)]
        wait_until("another one is ready", lambda: self.waiting(fleet), 120)
        results.append(self.one(fleet))
        self.assertEqual([(r["outcome"], r["isolation"]["start"]) for r in results], [("succeeded", "pool")] * 2)
        self.assertEqual(len({r["stdout"]["head"].split()[1] for r in results}), 2)
        self.assertNotIn("start=cold", fleet.log())  # none booted while the template was on its way
        self.drain(fleet, worker)
        self.assertEqual(self.stats(fleet)["failed"], 0)

    def test_the_deadlines_of_a_hit_are_its_tasks(self):
        """By the engine's clock, and, when nobody is there to look at that one, by the guard's."""
        fleet = self.fleet()
        worker = fleet.start_worker()
        self.filled(fleet)
        result = self.one(fleet, argv=["/bin/sleep", "1000"], ttl_ms=3000)
        self.assertEqual((result["outcome"], result["field"], result["isolation"]["start"]), ("expired", "ttl_ms", "pool"))
        wait_until("another one is ready", lambda: self.waiting(fleet), 120)
        vm = self.waiting(fleet)[0]
        task_id = fleet.submit(argv=["/bin/sleep", "1000"], ttl_ms=4000)
        fleet.flush()
        wait_until("it runs", lambda: f" job.state id={task_id} state=running " in fleet.log(), 60, step=0.002)
        self.assertEqual(self.adopted(fleet)[vm], task_id)
        self.assertTrue(fleet.disk(task_id).endswith(f"/{vm}.luks"))  # its lease says which
        standing = [worker.pid, *processes.children(worker.pid)]
        for pid in standing:
            os.kill(pid, signal.SIGSTOP)
        try:
            wait_until("its guard has ended it", lambda: vm.encode() not in b"".join(map(processes.command_line, processes.guards(fleet))), 60)  # its own deadline is its age
        finally:
            for pid in standing:
                os.kill(pid, signal.SIGCONT)
        fleet.start_reaper()
        self.assertIn(fleet.result(task_id)["outcome"], ("expired", "lost"))

    def test_one_that_breaks_is_nobodys_fault(self):
        fleet = self.fleet()
        fleet.start_worker()
        self.filled(fleet)
        for pid in processes.vmms(fleet):
            os.kill(pid, signal.SIGKILL)
        wait_until("it is seen", lambda: "pool.fault" in fleet.log())  # else a program may have begun in it, and that is another attempt
        result = self.one(fleet)
        self.assertEqual((result["outcome"], result["attempt"]), ("succeeded", 1))
        self.assertNotIn("job.fault", fleet.log())

    def test_one_that_waited_too_long_is_not_used(self):
        fleet = self.fleet(pool_age_ms=4000)
        worker = fleet.start_worker()
        self.filled(fleet)
        vm = self.waiting(fleet)[0]
        wait_until("it is ended", lambda: self.over(fleet).get(vm) == "it is too old", 60)
        wait_until("and gone", lambda: not os.path.exists(os.path.join(fleet.state, "scratch", vm + ".luks")), 30)
        self.drain(fleet, worker)
        self.assertGreaterEqual(self.stats(fleet)["expired"], 1)

    def test_one_whose_image_was_replaced_is_not_used(self):
        fleet = self.fleet()
        images, new = os.path.join(fleet.state, "images"), os.path.join(fleet.state, "images.new")
        subprocess.run(["cp", "-rL", images, new], check=True)
        os.unlink(images)
        os.rename(new, images)
        fleet.start_worker()
        self.filled(fleet)
        old = self.waiting(fleet)[0]
        image = os.path.join(images, "base", "rootfs.erofs")
        subprocess.run(["cp", image, image + ".new"], check=True)
        os.rename(image + ".new", image)
        self.assertEqual(self.one(fleet)["outcome"], "succeeded")
        self.assertNotIn(old, self.adopted(fleet))
        wait_until("it is given up", lambda: self.over(fleet).get(old) == "its image was replaced", 30)

    def test_they_give_way_to_a_task_that_needs_their_room(self):
        """Which neither waits for their age nor fails; a task that finds room beside them leaves them alone."""
        fleet = self.fleet(memory_mib=1400)
        fleet.start_worker()
        self.filled(fleet)
        wait_until("all are ready", lambda: "state=making" not in fleet.log().rsplit("pool.ready", 1)[1], 60)
        before = set(self.waiting(fleet))
        beside = self.one(fleet, memory_mib=128)
        self.assertEqual(beside["outcome"], "succeeded")
        self.assertTrue(before & set(self.waiting(fleet)))
        large = self.one(fleet, memory_mib=1200)
        self.assertEqual((large["outcome"], large["attempt"]), ("succeeded", 1))
        self.assertIn("a task needs its room", self.over(fleet).values())

    def test_nothing_is_left_of_a_worker_that_was_killed(self):
        """Their VMs end with it, without anybody; keys and files go when their hold is over; those of another worker stay."""
        fleet = self.fleet()
        fleet.start_reaper()
        worker = fleet.start_worker()
        self.filled(fleet)
        wait_until("it is held", lambda: self.held(fleet), 30)
        disks = [os.path.join(fleet.state, "scratch", name) for name in os.listdir(os.path.join(fleet.state, "scratch"))]
        keepers = [os.open(disk, os.O_RDONLY) for disk in disks]
        heads = [os.pread(keeper, 1 << 16, 0) for keeper in keepers]
        time.sleep(3 * 4 + 2 * 1)  # some leases long it is left alone
        self.assertTrue(set(self.waiting(fleet)) <= set(self.held(fleet)))
        self.assertTrue(all(map(os.path.exists, disks)))
        fleet.kill_group(worker)
        wait_until("no VM is left", lambda: not processes.guards(fleet), 20)
        wait_until(f"nothing is left\n{fleet.log()[-2000:]}", lambda: not fleet.leftovers(), 60)
        for keeper, head in zip(keepers, heads):
            self.assertNotEqual(os.pread(keeper, 1 << 16, 0), head)  # what the file held was overwritten
            os.close(keeper)

    def held(self, fleet):
        table = fleet.services.redis_command("HGETALL", f"{fleet.name}:{{mayfly}}:vms:{fleet.name}")
        return [vm for vm, entry in table.items() if " " in entry]

    def test_killed_in_every_state(self):
        """Of one that is being made, and of one that is being handed over."""
        fleet = self.fleet()
        fleet.start_reaper()
        ids = []
        for needle in ("workspace.stage vm=\\S+ id=pool stage=vmm status=ready", "workspace.stage vm=\\S+ id=pool stage=disk status=ready",
                       "workspace.stage vm=\\S+ id=pool stage=key status=ready", "pool.ready", "workspace.adopt"):
            worker = fleet.start_worker()
            begin = len(fleet.log())
            ids.append(fleet.submit(argv=SAY))
            fleet.flush()
            if needle == "workspace.adopt":
                wait_until("one is ready", lambda b=begin: "pool.ready" in fleet.log()[b:], 120)
                ids.append(fleet.submit(argv=SAY))
                fleet.flush()
            wait_until(needle, lambda n=needle, b=begin: re.search(n, fleet.log()[b:]), 120, step=0.002)
            fleet.kill_group(worker)
            wait_until("no VM is left", lambda: not processes.guards(fleet), 20)
        fleet.start_worker()
        self.assert_each_told_once(fleet, ids, 240)
        fleet.kill_group(fleet.processes[-1])
        wait_until(f"nothing is left\n{fleet.log()[-2000:]}", lambda: not fleet.leftovers(), 60)


if __name__ == "__main__":
    import skips
    skips.main()
