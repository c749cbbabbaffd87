"""Looks for a way out: the network, the host, its neighbours, the kernel. Prints what it found and succeeds only when
everything was closed. A probe that cannot be made is a closed door; one that this program gets through is a finding."""
import ctypes
import errno
import glob
import os
import socket

libc = ctypes.CDLL(None, use_errno=True)
findings = []


def probe(name, what, is_open):
    """`is_open` answers what it got through to, or something false; an exception means closed."""
    try:
        found = is_open()
    except (OSError, ValueError) as error:
        found, why = None, getattr(error, "strerror", None) or str(error)
    else:
        why = "nothing there"
    if found:
        findings.append(f"{name}: {found}")
    print(f"{'OPEN  ' if found else 'closed'}  {name:<22} {found or f'{what}: {why}'}")


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
    reached = []
    for path in paths:
        try:
            fd = os.open(path, mode | os.O_NONBLOCK)
        except OSError:
            continue
        try:
            if mode != os.O_RDONLY or os.read(fd, 16):
                reached.append(path)
        except OSError:
            pass
        os.close(fd)
    if not reached:
        raise OSError(errno.EACCES, "refused")
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
probe("internet", "TCP 1.1.1.1:443", lambda: connects(socket.AF_INET, ("1.1.1.1", 443)))
probe("internet, IPv6", "TCP [2606:4700:4700::1111]:443", lambda: connects(socket.AF_INET6, ("2606:4700:4700::1111", 443)))
probe("DNS", "UDP 8.8.8.8:53", lambda: connects(socket.AF_INET, ("8.8.8.8", 53), socket.SOCK_DGRAM))
probe("names", "example.org", name_resolves)
probe("cloud metadata", "TCP 169.254.169.254:80", lambda: connects(socket.AF_INET, ("169.254.169.254", 80)))
probe("host's usual address", "TCP 10.0.2.2:22", lambda: connects(socket.AF_INET, ("10.0.2.2", 22)))
probe("host over vsock", "CID 2", lambda: connects(socket.AF_VSOCK, (2, 1024)))
probe("raw sockets", "AF_PACKET", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 3) and "made one")
probe("virtio ports", "/dev/vport*", lambda: opens("/dev/vport*", os.O_RDWR))
probe("own disk, raw", "/dev/vd*", lambda: opens("/dev/vd*"))
probe("other disks", "/dev/[sh]d* /dev/nvme*", lambda: opens("/dev/[shn][dv]*"))
probe("host files", "9p or virtiofs", lambda: [m for m in open("/proc/mounts", encoding="utf-8") if "9p" in m or "virtiofs" in m])
probe("memory", "/dev/mem", lambda: opens("/dev/*mem", os.O_RDWR))
probe("kernel memory", "/proc/kcore", lambda: opens("/proc/kcore"))
probe("kernel log", "/dev/kmsg", lambda: opens("/dev/kmsg"))
probe("KVM", "/dev/kvm", lambda: opens("/dev/kvm", os.O_RDWR))
probe("I/O ports", "iopl(3)", lambda: system_call("iopl", 3))
probe("kernel modules", "init_module", lambda: raw_call("init_module", 175, None, 0, b""))
probe("another kernel", "kexec_load", lambda: raw_call("kexec_load", 246, 0, 0, None, 0))
probe("kernel settings", "/proc/sys/kernel/core_pattern", lambda: opens("/proc/sys/kernel/core_pattern", os.O_WRONLY))
probe("mounts", "tmpfs on /mnt", lambda: system_call("mount", b"none", b"/mnt", b"tmpfs", 0, None))
probe("the agent's memory", "/proc/1/mem", lambda: opens("/proc/1/mem", os.O_RDWR))
probe("the agent, ptrace", "ptrace(ATTACH, 1)", lambda: system_call("ptrace", 16, 1, None, None))
probe("the agent, signals", "kill(1)", lambda: system_call("kill", 1, 0))
probe("other processes", "/proc", foreign_processes)
probe("privileges", "uid, capabilities", is_privileged)
probe("set-id programs", "/usr/bin ...", setuid_files)
probe("root", "setuid(0)", lambda: system_call("setuid", 0))
probe("the system", "write /etc/passwd", lambda: opens("/etc/passwd", os.O_WRONLY))
print(f"{len(findings)} ways out" + "".join(f"\n  {finding}" for finding in findings))
raise SystemExit(1 if findings else 0)
