"""Looks for a way out: the network, the host, its neighbours, the kernel. Prints what it found and succeeds only when
everything was closed. A door is closed when what is behind it is not there, or when it is refused for the reason it should
be; one that this program gets through is a finding, and so is one that fails for any other reason."""
import ctypes
import errno
import glob
import os
import socket

libc = ctypes.CDLL(None, use_errno=True)
NO_ROUTE = {errno.ENETUNREACH}
NO_FAMILY = {errno.EAFNOSUPPORT}  # of addresses, in this kernel
NO_CALL = {errno.ENOSYS}  # in this kernel
ABSENT = {errno.ENOENT}
REFUSED = {errno.EPERM, errno.EACCES, errno.EROFS}
signs = []


def probe(name, what, look, expected=frozenset()):
    """`look` answers what it got through to, or something false when nothing is there; `expected` are the errors that a closed
    door fails with."""
    try:
        found = look()
        sign, why = ("OPEN", found) if found else ("closed", f"{what}: nothing there")
    except OSError as error:
        sign, why = "closed" if error.errno in expected else "UNSURE", f"{what}: {error.strerror or error}"
    signs.append(sign)
    print(f"{sign:<6}  {name:<22} {why}")


def connects(family, address, kind=socket.SOCK_STREAM):
    with socket.socket(family, kind) as s:
        s.settimeout(1)
        s.connect(address)
        if kind == socket.SOCK_DGRAM:
            s.send(b"\0" * 12)
            s.recv(512)
    return f"reached {address}"


def opens(pattern, mode=os.O_RDONLY):
    paths = glob.glob(pattern)
    if not paths:
        raise OSError(errno.ENOENT, "nothing there")
    reached, refusal = [], None
    for path in paths:
        try:
            os.close(os.open(path, mode | os.O_NONBLOCK))
            reached.append(path)
        except OSError as error:
            if error.errno not in REFUSED:
                raise
            refusal = error
    if not reached:
        raise refusal
    return "opened " + " ".join(reached)


def system_call(name, *args):
    ctypes.set_errno(0)
    if getattr(libc, name)(*args) < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return name + "() succeeded"


def raw_call(name, number, *args):
    ctypes.set_errno(0)
    if libc.syscall(ctypes.c_long(number), *args) < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return name + "() succeeded"


def foreign_interfaces():
    names = sorted({name for _, name in socket.if_nameindex()} - {"lo"})
    return names and "interfaces " + " ".join(names)


def foreign_processes():
    """Processes that are neither ours nor the kernel's: only the agent, which is PID 1, may be seen or not."""
    seen = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                line = f.read()
            owner = os.stat(f"/proc/{pid}").st_uid
        except OSError:
            continue
        if line and owner != os.getuid() and pid != "1":
            seen.append(line.split(b"\0")[0].decode(errors="replace"))
    return seen and "sees " + " ".join(seen)


def is_privileged():
    with open("/proc/self/status", encoding="ascii") as f:
        status = dict(line.split(":\t", 1) for line in f if ":\t" in line)
    held = [key for key in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb") if int(status[key], 16)]
    if os.getuid() == 0 or "CapEff" in held or "CapPrm" in held:
        return f"uid {os.getuid()}, holds {' '.join(held)}"
    return int(status["NoNewPrivs"]) == 0 and "may gain privileges by execve()"


def setuid_files():
    found = []
    for folder in ("/bin", "/usr/bin", "/usr/sbin", "/usr/lib"):
        for path in glob.glob(folder + "/*"):
            if os.path.isfile(path) and os.stat(path).st_mode & 0o6000:
                found.append(path)
    return found and "set-id files " + " ".join(found)


def name_resolves():
    return f"example.org is {socket.gethostbyname('example.org')}"


probe("interfaces", "beside lo", foreign_interfaces)
probe("internet", "TCP 1.1.1.1:443", lambda: connects(socket.AF_INET, ("1.1.1.1", 443)), NO_ROUTE)
probe("internet, IPv6", "TCP [2606:4700:4700::1111]:443", lambda: connects(socket.AF_INET6, ("2606:4700:4700::1111", 443)),
      NO_ROUTE | NO_FAMILY)
probe("DNS", "UDP 8.8.8.8:53", lambda: connects(socket.AF_INET, ("8.8.8.8", 53), socket.SOCK_DGRAM), NO_ROUTE)
probe("names", "example.org", name_resolves, {socket.EAI_AGAIN})
probe("cloud metadata", "TCP 169.254.169.254:80", lambda: connects(socket.AF_INET, ("169.254.169.254", 80)), NO_ROUTE)
probe("host's usual address", "TCP 10.0.2.2:22", lambda: connects(socket.AF_INET, ("10.0.2.2", 22)), NO_ROUTE)
probe("host over vsock", "CID 2", lambda: connects(socket.AF_VSOCK, (2, 1024)), NO_FAMILY | {errno.ENODEV})
probe("raw sockets", "AF_PACKET", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 3) and "made one", REFUSED | NO_FAMILY)
probe("virtio ports", "/dev/vport*", lambda: opens("/dev/vport*", os.O_RDWR), ABSENT | REFUSED)
probe("own disk, raw", "/dev/vd*", lambda: opens("/dev/vd*"), ABSENT | REFUSED)
probe("other disks", "/dev/[sh]d* /dev/nvme*", lambda: opens("/dev/[shn][dv]*"), ABSENT | REFUSED)
probe("host files", "9p or virtiofs", lambda: [m for m in open("/proc/mounts", encoding="utf-8") if "9p" in m or "virtiofs" in m])
probe("memory", "/dev/mem", lambda: opens("/dev/*mem", os.O_RDWR), ABSENT | REFUSED)
probe("kernel memory", "/proc/kcore", lambda: opens("/proc/kcore"), ABSENT | REFUSED)
probe("kernel log", "/dev/kmsg", lambda: opens("/dev/kmsg"), ABSENT | REFUSED)
probe("KVM", "/dev/kvm", lambda: opens("/dev/kvm", os.O_RDWR), ABSENT | REFUSED)
probe("I/O ports", "iopl(3)", lambda: system_call("iopl", 3), REFUSED | NO_CALL)
probe("kernel modules", "init_module", lambda: raw_call("init_module", 175, None, 0, b""), REFUSED | NO_CALL)
probe("another kernel", "kexec_load", lambda: raw_call("kexec_load", 246, 0, 0, None, 0), REFUSED | NO_CALL)
probe("kernel settings", "/proc/sys/kernel/core_pattern", lambda: opens("/proc/sys/kernel/core_pattern", os.O_WRONLY), REFUSED)
probe("mounts", "tmpfs on /mnt", lambda: system_call("mount", b"none", b"/mnt", b"tmpfs", 0, None), REFUSED)
probe("the agent's memory", "/proc/1/mem", lambda: opens("/proc/1/mem", os.O_RDWR), ABSENT | REFUSED)
probe("the agent, ptrace", "ptrace(ATTACH, 1)", lambda: system_call("ptrace", 16, 1, None, None), REFUSED)
probe("the agent, signals", "kill(1)", lambda: system_call("kill", 1, 0), REFUSED)
probe("other processes", "/proc", foreign_processes)
probe("privileges", "uid, capabilities", is_privileged)
probe("set-id programs", "/usr/bin ...", setuid_files)
probe("root", "setuid(0)", lambda: system_call("setuid", 0), REFUSED)
probe("the system", "write /etc/passwd", lambda: opens("/etc/passwd", os.O_WRONLY), REFUSED)
n_not_closed = len(signs) - signs.count("closed")
print(f"{len(signs)} doors tried, {n_not_closed} not closed")
raise SystemExit(1 if n_not_closed else 0)
