#!/usr/bin/python3
"""What stands still beside a task, and is not its fault. A host that takes the processor away from a booting VM again and again: its
kernel measures its timer wrongly, the agent sees that and has it start over, and the task never learns of it. A Kafka that takes no
output: the time that a program waits for it, or its end behind its output, is not the program's. A host whose memory is short: tasks wait."""
import contextlib
import os
import re
import shutil
import signal
import tempfile
import time

from case import EndToEnd, wait_until  # first: it says where the next two are
import skips
import processes

RUNS_S, STANDS_S = 0.02, 0.15  # a kernel that is stopped for 100 ms in the wrong moment has no timer afterwards
BOOTS = 12                     # one in two of those starts over


class Stalls(EndToEnd):
    def boot_with_stalls(self, fleet):
        """Until its kernel started over, or its agent spoke."""
        task_id = fleet.submit(argv=["/bin/sleep", "0.2"], disk_mib=16, memory_mib=128)
        fleet.flush()
        over = re.compile(rf"vm\.restart vm=\S+ id={task_id}|id={task_id} state=running|job\.fault id={task_id}")
        vmms = []
        while not over.search(fleet.log()):
            vmms = vmms or processes.vmms(fleet)
            for sign, pause in ((signal.SIGSTOP, STANDS_S), (signal.SIGCONT, RUNS_S)):
                for vmm in vmms:
                    with contextlib.suppress(ProcessLookupError):  # ended, as the log is about to say
                        os.kill(vmm, sign)
                time.sleep(pause)
        return fleet.result(task_id)

    def test_a_guest_whose_timer_is_wrong_starts_over(self):
        fleet = self.fleet(slots=1, boot_ms=120000)
        fleet.start_worker()
        if fleet.accel == "kvm":
            skips.is_too_good(self, "a kernel on KVM measures no timer wrongly")
        for _ in range(BOOTS):
            result = self.boot_with_stalls(fleet)
            self.assertEqual((result["outcome"], result["attempt"]), ("succeeded", 1))
            if "vm.restart" in fleet.log():
                break
        self.assertIn("vm.restart", fleet.log(), "no boot was disturbed: this test would see nothing")
        self.assertNotIn("job.fault", fleet.log())
        self.assert_nothing_left(fleet)

    def test_time_that_output_waits_for_kafka_is_not_the_programs(self):
        """One program has ended when its output waits, another one waits itself; the third is late without any such excuse."""
        fleet = self.fleet(slots=3)
        fleet.start_worker()
        for_window, beyond_pipe = 262144 + 30000, 262144 + 300000  # bytes: what may be on its way, and more than a pipe holds
        ids = [fleet.submit(argv=["/bin/sh", "-c", f"sleep 3; head -c {size} /dev/zero"], stream=True, timeout_ms=6000)
               for size in (for_window, beyond_pipe)]
        late = fleet.submit(argv=["/bin/sh", "-c", "sleep 60"], stream=True, timeout_ms=6000)
        fleet.flush()
        wait_until("all run", lambda: all(f"job.state id={i} state=running" in fleet.log() for i in [*ids, late]), step=0.01)
        self.services.kafka.send_signal(signal.SIGSTOP)
        try:
            time.sleep(20)  # timeout_ms, and the engine's ten seconds beyond it, are over; librdkafka gives up after thirty
        finally:
            self.services.kafka.send_signal(signal.SIGCONT)
        told = self.assert_each_told_once(fleet, [*ids, late])
        self.assertEqual(told[late][0]["outcome"], "timed_out")
        for task_id, size in zip(ids, (for_window, beyond_pipe)):
            result = told[task_id][0]
            self.assertEqual((result["outcome"], result["message"], result["stdout"]["kept"]), ("succeeded", "", size))
        self.assert_nothing_left(fleet)

    def long_task(self, fleet):
        task_id = fleet.submit(argv=["/bin/sleep", "600"], disk_mib=16, memory_mib=128)
        fleet.flush()
        return task_id

    def wait_for(self, fleet, what, n=1):
        wait_until(what, lambda: fleet.log().count(what) >= n, 120)

    def end(self, fleet, task_id):
        fleet.cancel(task_id)
        self.assertEqual(fleet.result(task_id)["outcome"], "cancelled")

    def test_tasks_wait_while_memory_is_short_and_go_on_after(self):
        """What the kernel says of its memory is played; one task runs all the same, and before and after it there are two."""
        folder = tempfile.mkdtemp(prefix="mayfly-pressure.")
        self.addCleanup(shutil.rmtree, folder)
        os.chmod(folder, 0o755)
        pressure = os.path.join(folder, "memory")

        def stalled(percent):
            with open(pressure + ".new", "w", encoding="ascii") as f:
                f.write(f"some avg10={percent:.2f} avg60=0.00 avg300=0.00 total=1\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=1\n")
            os.rename(pressure + ".new", pressure)

        def has_begun(task_id):
            return f"job.state id={task_id} " in fleet.log()

        stalled(0)
        with open("/proc/meminfo", encoding="ascii") as f:
            available = int(re.search(r"^MemAvailable: +(\d+) kB$", f.read(), re.M)[1]) // 1024
        fleet = self.fleet(slots=3, pressure_file=pressure, memory_floor_mib=available // 2)  # scarce, and not too little
        fleet.start_worker()
        before = [self.long_task(fleet) for _ in range(2)]
        for task_id in before:
            self.wait_for(fleet, f"id={task_id} state=running")
        stalled(50)
        self.wait_for(fleet, "memory.high")
        waiting = self.long_task(fleet)
        self.end(fleet, before[0])  # there is a slot more, which it may not have
        time.sleep(2)
        self.assertFalse(has_begun(waiting))
        self.end(fleet, before[1])  # nothing runs: it may
        self.wait_for(fleet, f"id={waiting} state=running")
        last = self.long_task(fleet)
        time.sleep(2)
        self.assertFalse(has_begun(last))
        stalled(0)
        self.wait_for(fleet, f"id={last} state=running")
        self.assertEqual([fleet.log().count(f" memory.{word} ") for word in ("high", "low")], [1, 1])
        for task_id in (waiting, last):
            self.end(fleet, task_id)
        self.assert_nothing_left(fleet)


if __name__ == "__main__":
    skips.main()
