"""Kafka's ACLs, by the three requests of its protocol that no client library of Debian 12 has whole (transactional ids are missing).

A rule is (principal, resource, name, pattern, operation), say ("User:w", "Topic", "mayfly.tasks", "literal", "Read")."""
import socket
import struct
import time

RESOURCES = {"Topic": 2, "Group": 3, "Cluster": 4, "TransactionalId": 5}
PATTERNS = {"literal": 3, "prefixed": 4}
OPERATIONS = {"Read": 3, "Write": 4, "Create": 5, "Describe": 8, "DescribeConfigs": 10, "IdempotentWrite": 12}
ALLOW = 3
DESCRIBE_ACLS, CREATE_ACLS, DELETE_ACLS = 29, 30, 31


def text(value):
    raw = value.encode()
    return struct.pack(">h", len(raw)) + raw


def fields(rule):
    principal, resource, name, pattern, operation = rule
    return struct.pack(">b", RESOURCES[resource]) + text(name) + struct.pack(">b", PATTERNS[pattern]) + text(principal) + \
        text("*") + struct.pack(">bb", OPERATIONS[operation], ALLOW)


def ask(port, key, body):
    """The answer's body; version 1 of each, which has plain lengths."""
    request = struct.pack(">hhi", key, 1, 7) + text("acl") + body
    with socket.create_connection(("127.0.0.1", port), timeout=30) as s:
        s.sendall(struct.pack(">i", len(request)) + request)
        with s.makefile("rb") as f:
            size, = struct.unpack(">i", f.read(4))
            return f.read(size)[4:]


def is_there(port, rule):
    """As the broker itself sees it: the controller's word reaches it a moment later."""
    answer = ask(port, DESCRIBE_ACLS, fields(rule))
    _, error, length = struct.unpack_from(">ihh", answer)
    assert error == 0, f"DescribeAcls: error {error}"
    return struct.unpack_from(">i", answer, 8 + max(length, 0))[0] > 0


def change(port, key, rules, is_wanted):
    if not rules:
        return
    answer = ask(port, key, struct.pack(">i", len(rules)) + b"".join(map(fields, rules)))
    _, n, error = struct.unpack_from(">iih", answer)
    assert (n, error) == (len(rules), 0), f"request {key}: {n} answers, the first with error {error}"
    for rule in rules:
        while is_there(port, rule) != is_wanted:
            time.sleep(0.01)


def add(port, rules):
    change(port, CREATE_ACLS, rules, True)


def remove(port, rules):
    change(port, DELETE_ACLS, rules, False)
