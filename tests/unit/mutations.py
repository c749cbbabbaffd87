"""Seeded mutations of the vectors: of a message's shape, of its bytes, and of a lease's line."""
import copy
import random
import re

from vectors import generate

NASTY = [
    None, True, False, 0, 1, -1, 2, 15, 16, 63, 64, 65, 95, 96, 256, 511, 512, 1 << 20, (1 << 20) + 1, 86400000, 86400001,
    2592000000, 2592000001,
    1 << 30, (1 << 30) + 1, (1 << 32) - 1, 1 << 32, (1 << 53) - 1, 1 << 53, (1 << 63) - 1, 1 << 63, (1 << 64) - 1, -(1 << 63),
    1.0, 0.5, float("inf"), "", "a", "a/b", "/a", "..", "a/..", "a\0", "a\n", "\u00e9" * 64, "x" * 64, "x" * 65, "x" * 128, "x" * 129,
    "x" * 255, "x" * 256, "run", "base", "cancel", "stdout", "finished", "started", "lost", "0" * 64, b"", b"a", b"\xff\x00",
    [], ["a"], ["a", "a"], [""], ["a", ""], [1], [b"a"], {}, {"a": "b"}, {"": ""}, {"A=B": "c"}, {"a": 1}, {"path": "p", "data": "d"},
    [{"path": "p", "data": "d"}], [{"path": "p"}], [{"path": "p", "data": "d"}, {"path": "p/q", "data": "d"}], {"head": "x"},
    {"sha256": "f" * 64}, generate.Raw(b"\xa2\xc3\x28"), generate.Raw(b"\xa1\xff"), generate.Raw(b"\xc7\x01\x05\x00"),
    generate.Raw(b"\xd4\x01\x00"), generate.Raw(b"\xdd\0\0\0\x00"), generate.Raw(b"\xdf\0\0\0\x00"), generate.Raw(b"\xd3\0\0\0\0\0\0\0\x01"),
]
FIELDS = ["v", "id", "cpus", "queue_ms", "ttl_ms", "env", "stdin", "files", "collect", "labels", "stream", "memory_mib", "colour", "", "argv",
          "exit_code", "signal", "stdout", "outcome", "event", "kind", "data", "seq", "path", "mode", "created_ms", 1, b"v"]


def thaw(value):
    """A copy whose maps are Pairs, so that a mutation may repeat a key."""
    if isinstance(value, (dict, generate.Pairs)):
        items = value.items() if isinstance(value, dict) else value
        return generate.Pairs([thaw(key), thaw(inner)] for key, inner in items)
    return [thaw(inner) for inner in value] if isinstance(value, list) else value


def places(value):
    """Every (container, index) in it."""
    found = []
    if isinstance(value, list):
        for i, inner in enumerate(value):
            child = inner[1] if isinstance(value, generate.Pairs) else inner
            found.append((value, i))
            found += places(child)
    return found


def containers(value):
    return [value] + [c for holder, i in places(value)
                      for c in [holder[i][1] if isinstance(holder, generate.Pairs) else holder[i]] if isinstance(c, list)]


def mutate_shape(message, rng):
    value = thaw(message)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        act = rng.randrange(5)
        holder, i = rng.choice(places(value)) if places(value) else (value, None)
        nasty = thaw(rng.choice(NASTY))
        if act in (0, 1) and i is not None:
            if isinstance(holder, generate.Pairs):
                holder[i][1] = nasty
            else:
                holder[i] = nasty
        elif act == 2 and i is not None:
            del holder[i]
        elif act == 3:
            target = rng.choice(containers(value))
            target.append([rng.choice(FIELDS), nasty] if isinstance(target, generate.Pairs) else nasty)
        elif i is not None:
            holder.insert(rng.randrange(len(holder) + 1), copy.deepcopy(holder[i]))
    return generate.pack(value)


def mutate_bytes(data, rng):
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(len(data) + 1)
        act = rng.randrange(5)
        if act == 0 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        elif act == 1 and at < len(data):
            data[at] = rng.choice((rng.randrange(256), 0xC0 + rng.randrange(32), 0x80, 0x90, 0xA0))
        elif act == 2:
            del data[at:at + rng.randrange(1, 6)]
        elif act == 3:
            data[at:at] = rng.randbytes(rng.randrange(1, 6))
        else:
            del data[at:]
    return bytes(data)


WORDS = [b"", b"-", b"0", b"1", b"00", b"01", b"-1", b"+1", b"1e3", b"255", b"256", b"1000000", b"1000001", b"2147483647", b"2147483648",
         b"4294967295", b"4294967296", b"9007199254740991", b"9007199254740992", b"9223372036854775806", b"9223372036854775807",
         b"18446744073709551617", b"running", b"reaping", b"orphan", b"ended", b"told", b"destroyed", b"w" * 64, b"w" * 65, b"w" * 128,
         b"w" * 129, b"t" * 249, b"t" * 250, b".", b"_a", b"a_.-", b"a/b", b"\x1b[2J", b"\xc3\xa9", b"a\0", b"a\n", b"a\tb", b"\xd9\xa1"]


def mutate_line(line, rng):
    words = line.split(b" ")
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        i, j = rng.randrange(len(words)), rng.randrange(len(words))
        act = rng.randrange(7)
        if act == 0:
            words[i] = rng.choice(WORDS)
        elif act == 1:
            words[i] = re.sub(rb"[0-9]", lambda _: b"%d" % rng.randrange(10), words[i])
        elif act == 2:
            words[i], words[j] = words[j], words[i]
        elif act == 3:
            words.insert(j, words[i])
        elif act == 4 and len(words) > 1:
            del words[i]
        elif act == 5:
            words.append(rng.choice(WORDS))
        else:
            at = rng.randrange(len(words[i]) + 1)
            words[i] = words[i][:at] + bytes([rng.choice((rng.randrange(256), 0x30 + rng.randrange(10)))]) + words[i][at:]
    return b" ".join(words)


def line_mutations(n, seed):
    rng = random.Random(f"lines {seed}")
    lines = [data for _, data, _ in generate.good_leases()]
    for i in range(n):
        line = rng.choice(lines)
        yield "lease", mutate_bytes(line, rng) if i % 4 == 0 else mutate_line(line, rng)


def mutations(n, seed):
    rng = random.Random(seed)
    seeds = {"task": [generate.MINIMAL, generate.TYPICAL, generate.TYPICAL, generate.task(**generate.LEAST)],
             "result": [generate.FINISHED, generate.RESULT_MOST, generate.STARTED], "output": [generate.OUTPUT],
             "control": [generate.CONTROL]}
    for i in range(n):
        kind = rng.choice(("task",) * 6 + ("result",) * 3 + ("output", "control"))
        message = rng.choice(seeds[kind])
        yield kind, mutate_shape(message, rng) if i % 2 else mutate_bytes(generate.pack(message), rng)
