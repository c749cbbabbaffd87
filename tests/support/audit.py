"""The audit after a crash: what carries a fleet's name on this host or in Redis. tests/e2e/planted.py plants one of each."""
import glob
import os

CGROUP_ROOTS = ["/sys/fs/cgroup", *glob.glob("/sys/fs/cgroup/*/")]


def files(fleet):
    folder = os.path.join(fleet.state, "scratch")
    return [os.path.join(folder, name) for name in os.listdir(folder)]


def control_groups(fleet):
    """Groups of workspaces; the parent of them all stays as long as its worker."""
    groups = [path for root in CGROUP_ROOTS for path in glob.glob(os.path.join(root, "mayfly." + fleet.name, "*"))]
    return [path for path in groups if os.path.isdir(path)]


def leases(fleet):
    """Lease lines, and deadlines that would make a reaper look for one."""
    redis = fleet.services.redis_command
    deadlines = redis("ZRANGE", f"{fleet.name}:{{mayfly}}:deadlines", 0, -1)
    return redis("KEYS", f"{fleet.name}:*:lease:*") + [f"deadline of the lease of {task_id}" for task_id in deadlines]


def is_alive(process):
    return process.poll() is None


def processes(fleet):
    """Guards and VMMs, and whatever a daemon left that is no more: daemons lead sessions of their own."""
    ended = {p.pid for p in fleet.processes if not is_alive(p)}
    living = {p.pid for p in fleet.processes if is_alive(p)}
    found = []
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                line = f.read()
            session = os.getsid(pid)
        except OSError:
            continue
        is_of_a_vm = f"mayfly.{fleet.name}/".encode() in line or (b"qemu-system" in line and fleet.name.encode() in line)
        is_stray = session in ended - living or (fleet.state.encode() in line and session not in living)
        if line and (is_of_a_vm or is_stray):
            found.append(f"process {pid}: {line[:100]!r}")
    return found


def mounts(fleet):
    with open("/proc/self/mounts", encoding="utf-8") as f:
        return [line for line in f if fleet.name in line or fleet.state in line]


def leftovers(fleet):
    return [thing for look in (files, control_groups, leases, processes, mounts) for thing in look(fleet)]
