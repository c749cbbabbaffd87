"""`tools/bench tasks`: whole tasks (submit, start, run, erase, result), so many at a time; and that no two of them are alike."""
import collections
import statistics
import sys
import time

import msgpack

from stack import Fleet, Services, wait_until
from starts import quantile

PYTHON = ["python3", "-c", """
import os, random, time, uuid
now = time.time()
ids = [open(path).read().strip() for path in ("/etc/machine-id", "/proc/sys/kernel/random/boot_id")]
print(os.getrandom(16).hex(), uuid.uuid4(), random.random(), hash("mayfly"), *ids, now)
"""]
KINDS = ("getrandom", "uuid", "random", "hash", "machine id", "boot id")


def in_flight(fleet, reader, count, at_a_time, **asked):
    """[(result, ms from submit to result)]"""
    sent, over = {}, []
    while len(over) < count:
        while len(sent) < at_a_time and len(sent) + len(over) < count:
            sent[fleet.submit(**asked)] = time.monotonic()
        fleet.producer.poll(0)
        for message in reader.consumer.consume(100, 0.02):
            result = msgpack.unpackb(message.value()) if message.error() is None else {"event": ""}
            if result["event"] == "finished" and result["id"] in sent:
                over.append((result, (time.monotonic() - sent.pop(result["id"])) * 1000))
                if len(over) % 50 == 0:
                    print(f"\r{len(over)}/{count}", end="", file=sys.stderr, flush=True)
        oldest = min(sent.values(), default=time.monotonic())
        assert time.monotonic() - oldest < 120, f"{len(sent)} tasks hang:\n{fleet.story()}"
    return over


def say(over, seconds):
    outcomes = collections.Counter(result["outcome"] for result, _ in over)
    starts = collections.Counter(result["isolation"]["start"] for result, _ in over)
    took = [ms for _, ms in over]
    print(f"\n{len(over)} tasks in {seconds:.1f} s: {len(over) / seconds:.1f}/s; outcomes {dict(outcomes)}, starts {dict(starts)}, "
          f"attempts {max(result['attempt'] for result, _ in over)} at most; submit to result p50 {quantile(took, 50):.0f}, "
          f"p90 {quantile(took, 90):.0f}, p99 {quantile(took, 99):.0f} ms")


def say_alike(over):
    """What should differ between any two, and how wrong their clocks are."""
    lines = [result["stdout"]["head"].decode().split() for result, _ in over if result["outcome"] == "succeeded"]
    for kind, values in zip(KINDS, zip(*lines)):
        print(f"  {kind}: {len(values) - len(set(values))} of {len(values)} were seen before")
    lates = [float(line[6]) * 1000 - result["finished_ms"] for (result, _), line in zip(over, lines)]
    print(f"  clock before the result's time: median {-statistics.median(lates):.0f} ms; in front of it: {sum(late > 5 for late in lates)}")


def bench(count, at_a_time):
    with Services() as services, Fleet(services, log_level="info", slots=at_a_time + 4, clones="yes") as fleet:
        fleet.start_worker(memory_mib=8192, disk_mib=16384)
        with fleet.reader("results") as reader:
            asked = {"argv": PYTHON, "image": "python"}
            wait_until("tasks that do not start cold", lambda: in_flight(fleet, reader, 1, 1, **asked)[0][0]["isolation"]["start"] != "cold",
                       180, 1)
            begin = time.monotonic()
            over = in_flight(fleet, reader, count, at_a_time, **asked)
            say(over, time.monotonic() - begin)
            say_alike(over)
        left = [x for x in fleet.leftovers() if "lease" not in x]
    print(f"  left on the host while the worker still ran: {len(left)}; counted again after its end by its own drain")
