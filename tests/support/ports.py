"""Loopback ports for what a test starts, such that no other test gets the same one before a server listens there."""
import random
import socket

FIRST = 10000
claims = []  # held as long as this process lives


def is_listening(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def below_those_of_connections():
    """A port that the kernel may hand out to a client can be taken, even by a client that waits for its own server there."""
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as f:
        return int(f.read().split()[0])


def claim(port):
    """Among test processes: a name without a file, which the kernel takes back when its owner ends, however it ends."""
    name = socket.socket(socket.AF_UNIX)
    try:
        name.bind(f"\0mayfly.test.port.{port}")
    except OSError:
        name.close()
        return False
    claims.append(name)
    return True


def claim_ports(n):
    """The first of `n` in a row that nobody listens on."""
    end = below_those_of_connections()
    while True:
        first = random.randrange(min(FIRST, end // 2), end - n)
        if all(claim(port) and not is_listening(port) for port in range(first, first + n)):
            return first
