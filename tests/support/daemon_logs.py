"""What the daemons of a fleet say: each into a file of its own, so that one that says nothing is seen, and all of it as one text."""
import contextlib
import heapq
import os
import re
import threading

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z ")


class DaemonLog:
    """Of one daemon and whatever it forks."""

    def __init__(self, path):
        self.path = path
        self.read_bytes = 0
        self.time = ""

    def _bytes(self, begin=0):
        with contextlib.suppress(FileNotFoundError), open(self.path, "rb") as f:
            f.seek(begin)
            return f.read()
        return b""

    def text(self):
        return self._bytes().decode(errors="replace")

    def new_lines(self):
        """[(time, line)] of what has come since the last call, in whole lines. What has no time of its own has that of the line before;
        none is put before a line that its daemon wrote earlier."""
        new = self._bytes(self.read_bytes)
        new = new[:new.rfind(b"\n") + 1]
        self.read_bytes += len(new)
        found = []
        for line in new.decode(errors="replace").splitlines(True):
            time = TIME.match(line)
            self.time = max(self.time, time.group() if time else "")
            found.append((self.time, line))
        return found


class DaemonLogs:
    def __init__(self):
        self.logs = []
        self.all = ""
        self.lock = threading.Lock()  # Fleet.kept_running() looks from a thread of its own

    def add(self, path):
        log = DaemonLog(path)
        with self.lock:
            self.logs.append(log)
        return log

    def text(self):
        """Of all of them. It only grows, so that a place in it stays one; what came since the last call is in the order of its times."""
        with self.lock:
            new = [log.new_lines() for log in self.logs]
            self.all += "".join(line for _, line in heapq.merge(*new, key=lambda timed: timed[0]))
            return self.all
