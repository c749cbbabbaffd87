#!/usr/bin/python3
"""A room in which doors stand open that tools/demo/prober.py must find: COMMAND runs in it as nobody, with the two capabilities
that open raw sockets and mounts. To be run by root under `unshare --net --mount`; nothing of it outlives COMMAND.

usage: open_doors.py FOLDER COMMAND...    (FOLDER: empty, for the files that are put over the room's own)
"""
import fcntl
import os
import socket
import struct
import subprocess
import sys
import threading
import time

SIOCSIFADDR, SIOCSIFFLAGS, IFF_UP = 0x8916, 0x8914, 1  # netdevice(7)
SERVERS = (("1.1.1.1", 443), ("169.254.169.254", 80))
NAME_SERVER = ("8.8.8.8", 53)
IPV6_SERVER = ("2606:4700:4700::1111", 443)
SILENT = "10.0.2.2"  # has the address, but nobody listens: a door that is not closed for the reason it should be
DEVICES = ("vport0p1", "vdx", "sdx", "mem", "kmsg", "kvm")
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=+net_raw,+sys_admin",
          "--ambient-caps=+net_raw,+sys_admin"]


def give_addresses():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        fcntl.ioctl(s, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP))
        for i, (address, _) in enumerate((*SERVERS, NAME_SERVER, (SILENT, 0))):
            fcntl.ioctl(s, SIOCSIFADDR, struct.pack("16sHH4s8x", b"lo:%d" % i, socket.AF_INET, 0, socket.inet_aton(address)))
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as s:
        address = socket.inet_pton(socket.AF_INET6, IPV6_SERVER[0])
        fcntl.ioctl(s, SIOCSIFADDR, struct.pack("16sII", address, 128, socket.if_nametoindex("lo")))


def server_of(address, family):
    """An IPv6 address can be used only a moment after it was given."""
    end = time.monotonic() + 20
    while True:
        try:
            return socket.create_server(address, family=family)
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def answer_questions(s):
    """Every name has one address; a probe that is no question has an answer, too."""
    while True:
        question, sender = s.recvfrom(512)
        answer = b"\xc0\x0c" + struct.pack("!HHIH4s", 1, 1, 60, 4, socket.inet_aton("192.0.2.1"))
        s.sendto(question[:2] + struct.pack("!5H", 0x8180, 1, 1, 0, 0) + question[12:] + answer, sender)


def listen():
    for address in SERVERS:
        yield server_of(address, socket.AF_INET)
    yield server_of(IPV6_SERVER, socket.AF_INET6)
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(NAME_SERVER)
    threading.Thread(target=answer_questions, args=(s,), daemon=True).start()
    yield s


def put_over(folder, path, text, mode):
    name = os.path.join(folder, os.path.basename(path))
    with open(name, "w", encoding="ascii") as f:
        f.write(text)
    os.chmod(name, mode)
    subprocess.run(["mount", "--bind", name, path], check=True)


def open_files(folder):
    put_over(folder, "/etc/resolv.conf", f"nameserver {NAME_SERVER[0]}\n", 0o644)
    with open("/etc/passwd", encoding="ascii") as f:
        put_over(folder, "/etc/passwd", f.read(), 0o666)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "none", "/dev"], check=True)
    for name in DEVICES:
        os.close(os.open(os.path.join("/dev", name), os.O_CREAT | os.O_WRONLY))
        os.chmod(os.path.join("/dev", name), 0o666)


def main():
    folder, *command = sys.argv[1:]
    give_addresses()
    servers = list(listen())
    open_files(folder)
    status = subprocess.run([*NOBODY, *command], cwd="/", check=False).returncode
    for s in servers:
        s.close()
    return status


if __name__ == "__main__":
    sys.exit(main())
