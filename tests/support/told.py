"""What a worker would write of a task, written by the test."""
import time

import msgpack


class Told:
    """One task, known by its id and its record; attempts and times are as the test likes."""

    def __init__(self, fleet, task_id, record=0):
        self.fleet, self.id, self.record = fleet, task_id, record
        self.now_ms = int(time.time() * 1000)

    def _write(self, topic, value, key=None, at_ms=None):
        self.fleet.producer.produce(self.fleet.topic(topic), msgpack.packb(value), key=key or self.id, timestamp=at_ms or self.now_ms)
        self.fleet.producer.poll(0)

    def _event(self, event, **more):
        self._write("results", {"v": 1, "event": event, "id": self.id, "kind": "run", "host": "h1", "worker": "w1", "attempt": 1,
                                "token": 1, "labels": {}, "finished_ms": self.now_ms,
                                **{"source": {"topic": "t", "partition": 0, "offset": self.record}, **more}})

    def started(self, **more):
        self._event("started", **more)

    def finished(self, stdout=b"", kept=None, exit_code=0, **more):
        kept = len(stdout) if kept is None else kept
        stream = {"head": stdout[:32768], "tail": stdout[32768:], "bytes": kept, "kept": kept, "sha256": "0" * 64}
        self._event("finished", outcome="succeeded", ran="ran", exit_code=exit_code, stdout=stream, timings_ms={"total": 1000}, **more)

    def chunk(self, data, seq, offset, attempt=1, stream="stdout", at_ms=None):
        self._write("output", {"v": 1, "id": self.id, "stream": stream, "seq": seq, "offset": offset, "attempt": attempt, "data": data},
                    at_ms=at_ms)

    def others(self, n):
        """As many results of other tasks, in the same partition and in others."""
        for i in range(n):
            other = Told(self.fleet, f"other-{i}")
            other.now_ms = self.now_ms
            other._event("finished", outcome="succeeded")
