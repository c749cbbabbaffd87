"""Processes of this machine, as /proc shows them."""
import contextlib
import os


def children(pid):
    """[] when it has ended."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
            return [int(p) for p in f.read().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def parent(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as f:
        return int(f.read().rpartition(") ")[2].split()[1])


def states(pid):
    """{pid: letter} of it and its children, as proc(5) has them: S sleeps, T is stopped, D hangs in the kernel, Z has ended."""
    found = {}
    for one in (pid, *children(pid)):
        with contextlib.suppress(OSError), open(f"/proc/{one}/stat", encoding="utf-8", errors="replace") as f:
            found[one] = f.read().rpartition(") ")[2][:1]
    return found


def uid(pid):
    """None when there is no such process any more."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError), open(f"/proc/{pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("Uid:"))
    return None


def command_line(pid):
    """Empty when there is no such process any more."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as f:
            return f.read()
    except OSError:
        return b""


def find(what):
    """Pids whose command line holds `what`."""
    return [int(pid) for pid in filter(str.isdigit, os.listdir("/proc")) if what in command_line(pid)]


def guards(fleet):
    return find(b"mayfly." + fleet.name.encode() + b"/")


def vmms(fleet):
    """Whatever a guard has started; a sanitizer's helper, too, is its child for a moment, with its own command line."""
    return [pid for guard in guards(fleet) for pid in children(guard) if command_line(pid) not in (b"", command_line(guard))]


def lanes(worker):
    return [p for p in children(worker.pid) if uid(p) == 0]


def engine(worker):
    return next(p for p in children(worker.pid) if uid(p) not in (0, None))
