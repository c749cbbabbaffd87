"""`tools/bench start`: every way to user code, by turns in one run."""
import contextlib
import os
import statistics
import sys
import tempfile
import time

import msgpack
from confluent_kafka import Consumer, TopicPartition

import by_hand
import chart
import processes
from stack import BUILD, Fleet, Services, wait_until

PYTHON = ["python3", "-c", "print('BY-HAND', 6 * 7)"]
STAGES = ("queued", "lease", "vmm", "boot", "disk", "key", "setup", "launch", "run", "erase")
SLOTS = 4
POOL = 2
PATIENCE_S = 120
CHART = os.path.join(BUILD, "starts.svg")


def quantile(values, q):
    if len(values) < 2:
        return values[0] if values else float("nan")
    return statistics.quantiles(values, n=100, method="inclusive")[q - 1]


def our_command_lines(fleet):
    """[(pid, command line)] of the QEMUs that the fleet's worker runs now."""
    for pid in processes.vmms(fleet):
        line = processes.command_line(pid).decode().split("\0")[:-1]
        if line and "qemu-system" in line[0]:
            yield pid, line


def pss_mib(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("Pss:")) / 1024


class Results:
    """A subscriber that is there already when its task is sent."""

    def __init__(self, fleet):
        topic = fleet.topic("results")
        self.consumer = Consumer({"bootstrap.servers": fleet.services.brokers, "group.id": "bench", "isolation.level": "read_committed",
                                  "enable.auto.commit": False, "fetch.wait.max.ms": 5})
        partitions = wait_until("the results' topic", lambda: list(self.consumer.list_topics(topic, timeout=10).topics[topic].partitions))
        self.consumer.assign([TopicPartition(topic, p, self.consumer.get_watermark_offsets(TopicPartition(topic, p), 10)[1])
                              for p in partitions])

    def of(self, task_id, seconds=PATIENCE_S):
        limit = time.monotonic() + seconds
        while time.monotonic() < limit:
            message = self.consumer.poll(0.05)
            if message is None or message.error():
                continue
            result = msgpack.unpackb(message.value())
            if result["event"] == "finished" and result["id"] == task_id:
                return result
        raise AssertionError(f"no result of {task_id} in {seconds} s")

    def close(self):
        self.consumer.close()


class Ours:
    """One way of our own: a fleet, and what its tasks ask for."""

    def __init__(self, name, fleet, results, start, asked):
        self.name, self.fleet, self.results, self.start, self.asked = name, fleet, results, start, asked
        self.submit_to_result, self.to_user_code, self.stages, self.others = [], [], {}, 0

    def one(self):
        begin = time.monotonic()
        task = self.fleet.submit(argv=PYTHON, image="python", **self.asked)
        self.fleet.producer.flush(10)
        result = self.results.of(task)
        took = (time.monotonic() - begin) * 1000
        assert result["outcome"] == "succeeded", result
        return took, result

    def run(self):
        """One sample; a start of another kind is counted, and tried again."""
        for _ in range(10):
            took, result = self.one()
            if result["isolation"]["start"] == self.start:
                break
            self.others += 1
            time.sleep(0.5)
        else:
            raise AssertionError(f"ten tasks of '{self.name}' were not started that way, but '{result['isolation']['start']}'")
        self.submit_to_result.append(took)
        self.to_user_code.append(result["timings_ms"]["start"])
        for stage, value in result["timings_ms"].items():
            self.stages.setdefault(stage, []).append(value)


def say_row(name, values):
    print(f"  {name:42}" + "".join(f"{quantile(values, q):9.0f}" for q in (50, 90, 99)))


def say(hands, ours, idle_mib):
    plain_code, plain_line = ([took[i] for took in hands[0].took] for i in (0, 1))
    print(f"\n{len(ours[0].to_user_code)} of each, by turns; ms" + " " * 20 + "p50      p90      p99")
    print("to user code, its disk ready (ours: from intake of the record):")
    for hand in hands:
        say_row(f"by hand, {hand.name}", [took[0] for took in hand.took])
    for way in ours:
        say_row(way.name, way.to_user_code)
    print("to Python's line (ours: from submit to the committed result at a subscriber):")
    for hand in hands:
        say_row(f"by hand, {hand.name} ({hand.hangs} hung)", [took[1] for took in hand.took])
    for way in ours:
        say_row(f"{way.name} ({way.others} started otherwise)", way.submit_to_result)
    print("stages, p50:" + "".join(f"{stage:>8}" for stage in STAGES))
    for way in ours:
        print(f"  {way.name:10}" + "".join(f"{statistics.median(way.stages.get(stage, [float('nan')])):8.0f}" for stage in STAGES))
    print("plain by-hand boot / ours, p50:")
    for way in ours:
        print(f"  {way.name:10} to user code {quantile(plain_code, 50) / max(quantile(way.to_user_code, 50), 0.5):6.1f}"
              f"   to Python's result {quantile(plain_line, 50) / quantile(way.submit_to_result, 50):6.1f}")
    print("memory of an idle workspace of the pool, PSS: " + (f"{statistics.median(idle_mib):.1f} MiB" if idle_mib else "none was seen"))


def draw(hands, ours):
    rows = [(f"by hand, {hand.name}: user code", "by hand", [took[0] for took in hand.took]) for hand in hands]
    rows += [(f"Mayfly, {way.name}: user code", "Mayfly", way.to_user_code) for way in ours]
    rows += [(f"by hand, {hand.name}: Python's line", "by hand", [took[1] for took in hand.took]) for hand in hands]
    rows += [(f"Mayfly, {way.name}: Python's result", "Mayfly", way.submit_to_result) for way in ours]
    chart.bars("From nothing to user code, and to Python's output (p50; whiskers: p90, p99)",
               [(name, kind, *(max(quantile(values, q), 0.5) for q in (50, 90, 99))) for name, kind, values in rows if values], CHART)
    print(f"drawn: {os.path.relpath(CHART)}")


def learn_command(fleet):
    """Mayfly's own command line, from a task that boots."""
    task = fleet.submit(argv=PYTHON, image="python", start="cold")
    fleet.flush()
    line = wait_until("a microVM of the fleet that boots",
                      lambda: next((line for _, line in our_command_lines(fleet) if "-kernel" in line and "-incoming" not in line and
                                    not any("memory-backend" in word for word in line)), None), step=0.01)
    fleet.result(task)
    return line


def warm_up(way, seconds=180):
    """Until it starts the way it should: templates are made in the background."""
    limit = time.monotonic() + seconds
    while True:
        result = way.one()[1]
        if result["isolation"]["start"] == way.start:
            return
        assert time.monotonic() < limit, f"no task of '{way.name}' was started that way in {seconds} s, but '{result['isolation']['start']}'"
        time.sleep(1)


def bench(runs):
    with contextlib.ExitStack() as stack:
        folder, services = stack.enter_context(tempfile.TemporaryDirectory()), stack.enter_context(Services())
        common = {"log_level": "info", "slots": SLOTS, "clones": "yes"}
        direct = stack.enter_context(Fleet(services, **common))
        pooled = stack.enter_context(Fleet(services, **common, pool_max=POOL, slot_uid_base=65300))
        ours = []
        for fleet in (direct, pooled):
            fleet.start_worker()
        for name, fleet, start, asked in (("cold", direct, "cold", {"start": "cold"}), ("clone", direct, "clone", {}),
                                          ("pool", pooled, "pool", {})):
            ours.append(Ours(name, fleet, stack.enter_context(contextlib.closing(Results(fleet))), start, asked))
        initrd = by_hand.initrd(folder)
        hands = [by_hand.ByHand("a plain command line", by_hand.plain_command(folder, initrd)),
                 by_hand.ByHand("Mayfly's own", by_hand.tuned_command(learn_command(direct), folder, initrd))]
        for hand in hands:
            by_hand.boot(hand.command)
        for way in ours:
            warm_up(way)
        idle_mib = []
        for run in range(runs):
            for step in [*hands, *ours]:
                step.run()
                time.sleep(0.3)  # what it left to do is over, and the pool is full again
            idle_mib += [pss_mib(pid) for pid, _ in our_command_lines(pooled)]
            print(f"\r{run + 1}/{runs}", end="", file=sys.stderr, flush=True)
        say(hands, ours, idle_mib)
        draw(hands, ours)
    print(f"build: {os.path.relpath(BUILD)}")
