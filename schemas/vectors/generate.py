#!/usr/bin/python3
"""Golden and evil messages for every decoder of Mayfly, in any language.

good/<name>.msgpack is a message and good/<name>.json what it means (the JSON form of schemas/*.schema.json, defaults
filled in); bad/<name>.msgpack must be refused and bad/<name>.json names the field. The first word of a name is the kind
of message: task, result, output, control or frame (a guest frame with its length prefix).

    generate.py            write the files
    generate.py --check    fail when the files are not what would be written

Deterministic: the same bytes everywhere. Messages too large to keep in the tree come from large_cases().
"""
import base64
import json
import os
import struct
import sys

import msgpack

HERE = os.path.dirname(os.path.abspath(__file__))


class Pairs(list):
    """A map as a list of pairs, so that keys can repeat or be no text."""


class Raw(bytes):
    """Bytes that already are msgpack, or pretend to be."""


def head(n, fix, fix_max, wide):
    if n <= fix_max:
        return bytes([fix | n])
    return bytes([wide]) + struct.pack(">H", n) if n < 65536 else bytes([wide + 1]) + struct.pack(">I", n)


def pack(value):
    if isinstance(value, Raw):
        return bytes(value)
    if isinstance(value, (dict, Pairs)):
        items = list(value.items()) if isinstance(value, dict) else value
        return head(len(items), 0x80, 15, 0xDE) + b"".join(pack(k) + pack(v) for k, v in items)
    if isinstance(value, list):
        return head(len(value), 0x90, 15, 0xDC) + b"".join(pack(item) for item in value)
    return msgpack.packb(value, use_bin_type=True)


def b64(data):
    return base64.b64encode(data).decode()


MINIMAL = {"v": 1, "kind": "run", "id": "t-1", "image": "base", "argv": ["true"]}
TASK_DEFAULTS = {
    "env": {}, "stdin": "", "files": [], "collect": [], "labels": {}, "created_ms": 0, "ttl_ms": 600000,
    "timeout_ms": 60000, "output_limit_bytes": 16 << 20, "cpus": 1, "memory_mib": 256, "disk_mib": 256, "stream": False,
}
LEAST = {
    "argv": ["t", ""], "env": {"A": ""}, "stdin": b"", "files": [{"path": "f", "data": b"", "mode": 0}], "collect": ["g"],
    "labels": {"l": ""}, "created_ms": 0, "ttl_ms": 1, "timeout_ms": 1, "output_limit_bytes": 0, "cpus": 1,
    "memory_mib": 96, "disk_mib": 16, "stream": False,
}
LONGEST_PATH = "d/" * 100 + "f" * 55
MOST = {
    "id": "I" + "d" * 63, "image": "i" + "m" * 62, "argv": ["a"] + ["b"] * 255,
    "env": {f"E{i}": "v" for i in range(128)}, "files": [{"path": f"f{i}", "data": b"", "mode": 0o777} for i in range(64)],
    "collect": [LONGEST_PATH] + [f"c{i}" for i in range(63)],
    "labels": {**{"k" * 127 + chr(97 + i): "v" * 128 for i in range(15)}, "\u00e9" * 64: "\u20ac" * 42 + "vv"},
    "created_ms": (1 << 53) - 1, "ttl_ms": 86400000, "timeout_ms": 86400000, "output_limit_bytes": 1 << 30, "cpus": 64,
    "memory_mib": 1 << 20, "disk_mib": 1 << 20, "stream": True,
}
TYPICAL = {
    "v": 1, "kind": "run", "id": "4f0c2a9e-7d1b-4c52-9a3e-1b2c3d4e5f60", "image": "python",
    "argv": ["python3", "-c", "print('h\u00e9llo \u4e16\u754c \U0001f98b')"], "env": {"LANG": "C.UTF-8", "EMPTY": ""},
    "stdin": b"\x00\xff raw", "files": [{"path": "in/data.csv", "data": b"a,b\n1,2\n"},
                                        {"path": "run.sh", "data": b"#!/bin/sh\n", "mode": 0o755}],
    "collect": ["out/result.json", "log"], "labels": {"team": "blue"}, "created_ms": 1795453739364, "ttl_ms": 120000,
    "timeout_ms": 30000, "output_limit_bytes": 1048576, "cpus": 2, "memory_mib": 512, "disk_mib": 64, "stream": True,
}


def task(**fields):
    return {**MINIMAL, **fields}


def without(message, field):
    return {key: value for key, value in message.items() if key != field}


def task_meaning(fields):
    meaning = {**TASK_DEFAULTS, **fields}
    if isinstance(meaning["stdin"], (bytes, str)):
        meaning["stdin"] = b64(as_bytes(meaning["stdin"]))
    meaning["files"] = [{"mode": 0o644, **f, "data": b64(as_bytes(f["data"]))} for f in meaning["files"]]
    return meaning


def as_bytes(data):
    return data.encode() if isinstance(data, str) else data


def good_tasks():
    plain = {
        "minimal": MINIMAL, "typical": TYPICAL, "least": task(**LEAST), "most": task(**MOST),
        "stdin-as-str": task(stdin="text \u00fc"), "data-as-str": task(files=[{"path": "a", "data": "text"}]),
        "data-not-utf8": task(files=[{"path": "a", "data": b"\x80\xfe\x00"}]),
        "path-odd": task(files=[{"path": "...", "data": b""}, {"path": ".hid/..x/a b\n", "data": b""}]),
        "paths-apart": task(files=[{"path": "a", "data": b""}, {"path": "ab", "data": b""}, {"path": "b/a", "data": b""},
                                   {"path": "b/c", "data": b""}]),
        "env-value-with-equals": task(env={"A": "=b=", "a b": "\n"}), "no-fields-empty": task(env={}, files=[], labels={}),
        "text-edges": task(argv=["\u007f", "\u0080", "\u07ff", "\u0800", "\ud7ff", "\ue000", "\uffff", "\U00010000",
                                 "\U0010ffff", "\n\x01"]),
        "ids": task(id="0.-_Z", image="0.-_z"), "order-of-keys": dict(reversed(list(TYPICAL.items()))),
    }
    for name, fields in plain.items():
        yield f"task-{name}", pack(fields), task_meaning(fields)
    wide = Pairs([("v", Raw(b"\xd3" + struct.pack(">q", 1))), ("kind", Raw(b"\xdb\0\0\0\x03run")),
                  ("id", Raw(b"\xda\0\x03t-1")), ("image", Raw(b"\xd9\x04base")),
                  ("argv", Raw(b"\xdd\0\0\0\x01" + pack("true"))), ("cpus", Raw(b"\xcf" + struct.pack(">Q", 2))),
                  ("env", Raw(b"\xdf\0\0\0\0")), ("ttl_ms", Raw(b"\xd2" + struct.pack(">i", 5))),
                  ("memory_mib", Raw(b"\xd1" + struct.pack(">h", 300))), ("disk_mib", Raw(b"\xd0\x40"))])
    yield "task-wide-encodings", pack(wide), task_meaning(task(cpus=2, ttl_ms=5, memory_mib=300, disk_mib=64))


def bad_task_bytes():
    whole = pack(TYPICAL)
    yield "empty", b"", "", "no bytes at all"
    yield "cut-short", whole[:-1], "", "the last byte is missing"
    yield "cut-in-head", b"\xdf\0\0", "", "cut inside a length"
    yield "trailing", whole + b"\xc0", "", "a second value follows"
    yield "huge-array", b"\xdd\xff\xff\xff\xff", "", "claims 4 billion elements in five bytes"
    yield "huge-map", b"\xdf\xff\xff\xff\xff", "", "claims 4 billion pairs in five bytes"
    yield "huge-str", b"\xdb\xff\xff\xff\xff", "", "claims 4 GiB of text in five bytes"
    yield "huge-ext", b"\xc9\xff\xff\xff\xff\x01", "", "claims 4 GiB of extension"
    yield "huge-inside", pack(task(argv=Raw(b"\xdd\x10\0\0\0"))), "", "a huge claim inside a map"
    yield "never-used-byte", b"\xc1", "", "0xc1 is no msgpack"
    yield "never-used-inside", pack(task(stdin=Raw(b"\xc1"))), "", "0xc1 inside a map"
    yield "nested-deep", pack(task(env=Raw(b"\x91" * 9 + b"\xc0"))), "", "arrays nested 10 deep"
    yield "nested-very-deep", b"\x91" * 10000, "", "arrays nested 10000 deep"
    yield "nested-empty", pack(task(env=Raw(b"\x91" * 8 + b"\x90"))), "", "the ninth level is empty, and counts"
    yield "many-values", pack(task(argv=Raw(b"\xdc\x10\x00" + b"\xc0" * 4096))), "", "more than 4096 values"
    yield "not-a-map", pack(["v", 1]), "", "an array"
    yield "text", b"\xa4null", "", "a string"
    yield "json", json.dumps(MINIMAL).encode(), "", "JSON instead of msgpack"
    yield "map-empty", b"\x80", "v", "a map without fields"


def bad_task_heads():
    for field in MINIMAL:
        yield f"no-{field}", without(MINIMAL, field), field, f"{field} is missing"
    yield "version-0", task(v=0), "v", "another version"
    yield "version-2", task(v=2, colour="red"), "v", "another version comes before unknown fields"
    yield "version-text", task(v="1"), "v", "the version as text"
    yield "version-true", task(v=True), "v", "true is not 1"
    yield "version-float", task(v=1.0), "v", "a float is no integer, whatever its value"
    yield "kind-unknown", task(kind="walk"), "kind", "unknown kind"
    yield "kind-bin", task(kind=b"run"), "kind", "bin where text is due"
    yield "unknown-field", task(colour="red"), "colour", "unknown field"
    yield "unknown-empty", {**MINIMAL, "": 1}, '""', "a field without a name"
    yield "unknown-control", {**MINIMAL, "a\nb\u00e9": 1}, "a?b??", "an odd name is shown as printable ASCII"
    yield "key-twice", Pairs([*MINIMAL.items(), ("id", "t-2")]), "id", "the same key twice"
    yield "key-twice-equal", Pairs([*MINIMAL.items(), ("v", 1)]), "v", "the same key twice, even with the same value"
    yield "key-number", Pairs([*MINIMAL.items(), (1, 1)]), "[5]", "a key that is a number"
    yield "key-bin", Pairs([*MINIMAL.items(), (b"cpus", 1)]), "[5]", "a key that is bin"
    yield "key-not-utf8", Pairs([*MINIMAL.items(), (Raw(b"\xa1\xff"), 1)]), "?", "a key that is not UTF-8"
    yield "nil", task(stdin=None), "stdin", "nil does not mean absent: leave the field out"


def bad_task_names():
    yield "id-empty", task(id=""), "id", "empty id"
    yield "id-long", task(id="i" * 65), "id", "65 characters"
    yield "id-slash", task(id="a/b"), "id", "a slash would leave a folder"
    yield "id-dots", task(id=".."), "id", "must start with a letter or digit"
    yield "id-newline", task(id="a\n"), "id", "a newline"
    yield "id-unicode", task(id="\u0661"), "id", "a digit that is not ASCII"
    yield "id-number", task(id=7), "id", "a number"
    yield "id-nul", task(id="a\0b"), "id", "a NUL byte"
    yield "image-long", task(image="i" * 64), "image", "64 characters"
    yield "image-upper", task(image="Base"), "image", "upper case"
    yield "image-path", task(image="../base"), "image", "a path"
    yield "image-empty", task(image=""), "image", "empty"
    yield "argv-empty", task(argv=[]), "argv", "no program"
    yield "argv-text", task(argv="true"), "argv", "a string is no argv"
    yield "argv-many", task(argv=["a"] * 257), "argv", "257 arguments"
    yield "argv-number", task(argv=["true", 1]), "argv[1]", "a number among arguments"
    yield "argv-bin", task(argv=[b"true"]), "argv[0]", "bin among arguments"
    yield "argv-blank", task(argv=["", "x"]), "argv[0]", "the program has no name"
    yield "argv-nul", task(argv=["a", "b\0c"]), "argv[1]", "a NUL byte"
    yield "env-array", task(env=["A=b"]), "env", "env as an array"
    yield "env-many", task(env={f"E{i}": "" for i in range(129)}), "env", "129 variables"
    yield "env-equals", task(env={"A=B": "c"}), "env.A=B", "'=' in a name"
    yield "env-blank", task(env={"": "c"}), 'env.""', "a variable without a name"
    yield "env-number", task(env={"A": 1}), "env.A", "a number as value"
    yield "env-twice", task(env=Pairs([("A", "1"), ("A", "2")])), "env.A", "the same variable twice"
    yield "env-nul", task(env={"A\0": "1"}), "env.A?", "a NUL byte in a name"
    yield "env-value-nul", task(env={"A": "\0"}), "env.A", "a NUL byte in a value"
    yield "env-key-number", task(env=Pairs([(1, "1")])), "env[0]", "a name that is a number"


def bad_task_text():
    for name, raw in {
        "continuation": b"\x80", "overlong-2": b"\xc0\xaf", "overlong-3": b"\xe0\x9f\xbf", "overlong-4": b"\xf0\x8f\xbf\xbf",
        "surrogate": b"\xed\xa0\x80", "beyond-10ffff": b"\xf4\x90\x80\x80", "f5": b"\xf5\x80\x80\x80", "cut": b"\xe2\x82",
    }.items():
        text = Raw(pack("x" * len(raw))[:1] + raw)
        yield f"utf8-{name}", task(argv=["a", text]), "argv[1]", f"not UTF-8: {raw.hex(' ')}"


def bad_task_files():
    file = {"path": "a", "data": b""}
    yield "files-map", task(files={"a": b""}), "files", "a map of files"
    yield "files-many", task(files=[{"path": f"f{i}", "data": b""} for i in range(65)]), "files", "65 files"
    yield "files-text", task(files=["a"]), "files[0]", "a path alone"
    yield "file-no-path", task(files=[without(file, "path")]), "files[0].path", "no path"
    yield "file-no-data", task(files=[file, {"path": "b"}]), "files[1].data", "no data"
    yield "file-unknown", task(files=[{**file, "owner": 0}]), "files[0].owner", "unknown field of a file"
    yield "file-data-number", task(files=[{**file, "data": 1}]), "files[0].data", "a number as data"
    yield "file-data-array", task(files=[{**file, "data": [1]}]), "files[0].data", "an array as data"
    yield "file-mode-setuid", task(files=[{**file, "mode": 0o1000}]), "files[0].mode", "beyond 0777"
    yield "file-mode-negative", task(files=[{**file, "mode": -1}]), "files[0].mode", "below 0"
    yield "file-mode-text", task(files=[{**file, "mode": "755"}]), "files[0].mode", "text as mode"
    yield "file-twice", task(files=[file, {"path": "b", "data": b""}, file]), "files[2].path", "the same path twice"
    yield "file-below-file", task(files=[file, {"path": "a/b", "data": b""}]), "files[1].path", "a folder that is a file"
    yield "file-above-file", task(files=[{"path": "a/b", "data": b""}, file]), "files[1].path", "a file that is a folder"
    for name, path in {"absolute": "/etc/passwd", "up": "../x", "up-inside": "a/../../x", "up-end": "a/..", "dot": "./a",
                       "dot-only": ".", "dotdot": "..", "empty": "", "slash-end": "a/", "slashes": "a//b",
                       "long": LONGEST_PATH + "f", "nul": "a\0b", "bytes-long": "\u20ac" * 86}.items():
        yield f"path-{name}", task(files=[{"path": path, "data": b""}]), "files[0].path", f"path {name}"
    yield "collect-absolute", task(collect=["a", "/a"]), "collect[1]", "an absolute path"
    yield "collect-many", task(collect=[f"c{i}" for i in range(65)]), "collect", "65 paths"
    yield "collect-twice", task(collect=["a", "b", "a"]), "collect[2]", "the same path twice"
    yield "collect-number", task(collect=[1]), "collect[0]", "a number"
    yield "labels-many", task(labels={f"l{i}": "" for i in range(17)}), "labels", "17 labels"
    yield "label-key-long", task(labels={"k" * 129: ""}), "labels." + "k" * 40, "a key of 129 bytes"
    yield "label-key-blank", task(labels={"": "v"}), 'labels.""', "an empty key"
    yield "label-value-long", task(labels={"k": "v" * 129}), "labels.k", "a value of 129 bytes"
    yield "label-value-bytes-long", task(labels={"k": "\u20ac" * 43}), "labels.k", "43 characters, 129 bytes"
    yield "label-value-number", task(labels={"k": 1}), "labels.k", "a number"


def bad_task_numbers():
    least = {"created_ms": 0, "ttl_ms": 1, "timeout_ms": 1, "output_limit_bytes": 0, "cpus": 1, "memory_mib": 96,
             "disk_mib": 16}
    for field, low in least.items():
        name = field.replace("_", "-")
        yield f"{name}-below", task(**{field: low - 1}), field, f"below {low}"
        yield f"{name}-above", task(**{field: MOST[field] + 1}), field, f"above {MOST[field]}"
    yield "cpus-huge", task(cpus=(1 << 64) - 1), "cpus", "2^64 - 1"
    yield "cpus-wraps", task(cpus=(1 << 32) + 1), "cpus", "1 when cut to 32 bits"
    yield "cpus-least-int", task(cpus=-(1 << 63)), "cpus", "-2^63"
    yield "cpus-float", task(cpus=2.0), "cpus", "a float"
    yield "cpus-text", task(cpus="2"), "cpus", "text"
    yield "cpus-true", task(cpus=True), "cpus", "a boolean"
    yield "ttl-nil", task(ttl_ms=None), "ttl_ms", "nil"
    yield "ttl-ext", task(ttl_ms=msgpack.ExtType(1, b"\x01")), "ttl_ms", "an extension"
    yield "stream-number", task(stream=1), "stream", "a number is no boolean"
    yield "stdin-number", task(stdin=1), "stdin", "a number"
    yield "stdin-array", task(stdin=[]), "stdin", "an array"


STARTED = {"v": 1, "event": "started", "id": "t-1", "kind": "run", "host": "h1", "worker": "w1", "attempt": 1, "token": 7,
           "labels": {}, "finished_ms": 1795453739364, "source": {"topic": "mayfly.tasks", "partition": 0, "offset": 12}}
EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
SILENT = {"head": b"", "tail": b"", "bytes": 0, "kept": 0, "sha256": EMPTY_SHA256}
FINISHED = {
    **STARTED, "event": "finished", "outcome": "succeeded", "ran": "ran", "exit_code": 0, "signal": None, "message": "",
    "field": "", "stdout": {**SILENT, "head": b"hi\n", "bytes": 3, "kept": 3, "sha256": "0" * 64}, "stderr": SILENT,
    "files": [{"path": "out", "data": b"\x00\x01", "size": 2, "mode": 420, "sha256": "a" * 64, "error": ""},
              {"path": "gone", "data": None, "size": 0, "mode": 0, "error": "no such file"}],
    "timings_ms": {"queued": 1, "lease": 2, "total": 900}, "usage": {"cpu_ms": 5, "max_rss_kib": 1024},
    "isolation": {"vmm": "qemu", "accel": "tcg", "disk": "luks1", "net": "none"}, "key_destroyed": True,
    "labels": {"team": "blue"},
}


def result(**fields):
    return {**FINISHED, **fields}


def jsonable(value):
    """The JSON form: bytes as base64."""
    if isinstance(value, bytes):
        return b64(value)
    if isinstance(value, dict):
        return {key: jsonable(inner) for key, inner in value.items()}
    return [jsonable(inner) for inner in value] if isinstance(value, list) else value


REJECTED = result(id="", outcome="rejected", ran="not_started", exit_code=None, field="cpus", message="must be from 1 to 64",
                  files=[], timings_ms={}, key_destroyed=False, labels={})
OUTPUT = {"v": 1, "id": "t-1", "stream": "stdout", "seq": 0, "offset": 0, "attempt": 1, "data": b"hello\n\xff"}
CONTROL = {"v": 1, "kind": "cancel", "id": "t-1", "created_ms": 1795453739364}


def good_others():
    for name, message in {
        "result-started": STARTED, "result-finished": FINISHED, "result-rejected": REJECTED,
        "result-signal": result(outcome="failed", exit_code=None, signal=9), "result-lost": result(outcome="lost", ran="unknown"),
        "output-stdout": OUTPUT, "output-stderr": {**OUTPUT, "stream": "stderr", "seq": 3, "offset": 1 << 40, "data": b""},
        "control-cancel": CONTROL, "control-most": {**CONTROL, "id": "c" * 64, "created_ms": (1 << 53) - 1},
        "control-least": {**CONTROL, "id": "c", "created_ms": 0},
    }.items():
        yield name, pack(message), jsonable(message)
    yield "result-newer", pack(result(colour={"of": ["a", "newer", "worker"]})), jsonable(FINISHED)
    yield "output-newer", pack({**OUTPUT, "colour": "red"}), jsonable(OUTPUT)


def bad_others():
    yield "result-cut-short", pack(FINISHED)[:-1], "", "the last byte is missing"
    for name, message, field, why in (
        ("result-version", result(v=2), "v", "another version"),
        ("result-no-outcome", without(FINISHED, "outcome"), "outcome", "finished without an outcome"),
        ("result-no-id", without(FINISHED, "id"), "id", "no id"),
        ("result-outcome-unknown", result(outcome="great"), "outcome", "unknown outcome"),
        ("result-id-slash", result(id="a/b"), "id", "not an id"),
        ("result-exit-negative", result(exit_code=-1), "exit_code", "below 0"),
        ("result-sha256-short", result(stdout={**SILENT, "sha256": "00"}), "stdout.sha256", "not 64 digits"),
        ("result-sha256-upper", result(stdout={**SILENT, "sha256": "A" * 64}), "stdout.sha256", "upper case"),
        ("result-head-number", result(stdout={**SILENT, "head": 1}), "stdout.head", "a number as bytes"),
        ("result-file-no-path", result(files=[{"data": b""}]), "files[0].path", "a file without a path"),
        ("result-timing-negative", result(timings_ms={"disk": -1}), "timings_ms.disk", "below 0"),
        ("result-key-twice", Pairs([*FINISHED.items(), ("id", "x")]), "id", "the same key twice"),
        ("output-stream-number", {**OUTPUT, "stream": 1}, "stream", "a number"),
        ("output-stream-unknown", {**OUTPUT, "stream": "stdlog"}, "stream", "unknown stream"),
        ("output-no-data", without(OUTPUT, "data"), "data", "no data"),
        ("output-seq-negative", {**OUTPUT, "seq": -1}, "seq", "below 0"),
        ("output-attempt-wide", {**OUTPUT, "attempt": 1 << 32}, "attempt", "beyond 32 bits"),
        ("control-unknown-field", {**CONTROL, "force": True}, "force", "a worker must understand all of it"),
        ("control-kind", {**CONTROL, "kind": "restart"}, "kind", "unknown kind"),
        ("control-version", {**CONTROL, "v": 2}, "v", "another version"),
        ("control-id-long", {**CONTROL, "id": "c" * 65}, "id", "65 characters"),
        ("control-no-created", without(CONTROL, "created_ms"), "created_ms", "no time"),
        ("control-created-above", {**CONTROL, "created_ms": 1 << 53}, "created_ms", "2^53"),
        ("control-created-below", {**CONTROL, "created_ms": -1}, "created_ms", "below 0"),
        ("control-padded", {**CONTROL, "id": "c" * 1024}, "", "larger than any control message"),
    ):
        yield name, pack(message), field, why


def frame(message):
    body = pack(message)
    return struct.pack(">I", len(body)) + body


FRAMES = {
    "hello": {"t": "hello", "version": 1, "elapsed_ms": 900},
    "setup": {"t": "setup", "data": bytes(range(64)), "realtime_ns": 1795453739364000000, "hostname": "t-1"},
    "ready": {"t": "ready", "elapsed_ms": 40},
    "put": {"t": "put", "path": "in/data", "mode": 420, "offset": 0, "data": b"abc", "is_last": True},
    "run": {"t": "run", "argv": ["sh", "-c", "exit 3"], "env": {"A": "b"}, "timeout_ms": 60000,
            "output_limit_bytes": 1 << 24, "window": 1 << 18},
    "stdin": {"t": "stdin", "data": b"in", "is_last": True},
    "started": {"t": "started"},
    "out": {"t": "out", "stream": 1, "offset": 0, "data": b"hi\n"},
    "ack": {"t": "ack", "bytes": 3},
    "kill": {"t": "kill"},
    "exit": {"t": "exit", "has_exit_code": True, "exit_code": 3, "signal": 0, "is_timed_out": False, "is_oom": False,
             "stdout_bytes": 3, "stderr_bytes": 0, "cpu_ms": 1, "max_rss_kib": 900, "run_ms": 5},
    "collect": {"t": "collect", "paths": ["out"], "limit_bytes": 1 << 19},
    "file": {"t": "file", "path": "out", "mode": 420, "size": 1, "offset": 0, "data": b"x", "is_last": True, "error": ""},
    "collected": {"t": "collected"},
    "fail": {"t": "fail", "error": "no disk with the serial 'work'"},
}


def good_frames():
    for name, message in FRAMES.items():
        yield f"frame-{name}", frame(message), jsonable(message)


def bad_frames():
    yield "frame-empty", struct.pack(">I", 0), "", "a length of zero"
    yield "frame-large", struct.pack(">I", 256 * 1024 + 1) + b"\x80", "", "a length beyond the limit"
    yield "frame-huge-inside", struct.pack(">I", 5) + b"\xdd\xff\xff\xff\xff", "", "a huge claim"
    yield "frame-trailing", struct.pack(">I", 11) + pack({"t": "ready"})[:9] + b"\xc0\xc0", "", "bytes after the map"
    for name, message, field, why in (
        ("type-unknown", {"t": "dance"}, "t", "unknown type"),
        ("type-missing", {"version": 1}, "", "no type: nothing says which fields it may have"),
        ("type-number", {"t": 1}, "t", "a number as type"),
        ("field-unknown", {**FRAMES["hello"], "colour": 1}, "colour", "unknown field"),
        ("field-of-another", {**FRAMES["hello"], "exit_code": 1}, "exit_code", "a field that this type does not carry"),
        ("key-twice", Pairs([*FRAMES["hello"].items(), ("version", 1)]), "version", "the same key twice"),
        ("out-data-large", {**FRAMES["out"], "data": bytes(32 * 1024 + 1)}, "data", "more than 32 KiB"),
        ("out-stream", {**FRAMES["out"], "stream": 3}, "stream", "a stream that does not exist"),
        ("out-data-number", {**FRAMES["out"], "data": 5}, "data", "a number as data"),
    ):
        yield f"frame-{name}", frame(message), field, why


def bad_cases():
    """(name, bytes, field, why)"""
    for name, data, field, why in bad_task_bytes():
        yield f"task-{name}", data, field, why
    for group in (bad_task_heads, bad_task_names, bad_task_text, bad_task_files, bad_task_numbers):
        for name, message, field, why in group():
            yield f"task-{name}", pack(message), field, why
    yield from bad_others()
    yield from bad_frames()


def good_cases():
    """(name, bytes, meaning)"""
    yield from good_tasks()
    yield from good_others()
    yield from good_frames()


def large_cases():
    """(name, bytes, field) of what is too large to keep; the field is None when the message is good."""
    def padded(size):
        empty = len(pack(task(stdin=bytes(1 << 19))))
        return pack(task(stdin=bytes(size - empty + (1 << 19))))

    yield "task-1000000-bytes", padded(1000000), None
    yield "task-1000001-bytes", padded(1000001), ""
    yield "task-args-most", pack(task(argv=["a", "b" * (131072 - 2 - 4 - 1)], env={"c": "d"})), None
    yield "task-args-above", pack(task(argv=["a", "b" * (131072 - 2 - 4)], env={"c": "d"})), "argv"
    yield "task-arg-alone", pack(task(argv=["b" * 131073])), "argv[0]"
    yield "output-data-most", pack({**OUTPUT, "data": bytes(262144)}), None
    yield "output-data-above", pack({**OUTPUT, "data": bytes(262145)}), "data"
    yield "result-head-most", pack(result(stdout={**SILENT, "head": bytes(131072)})), None
    yield "result-head-above", pack(result(stdout={**SILENT, "head": bytes(131073)})), "stdout.head"


def files():
    """Every file of the folder: path below it -> bytes."""
    made = {}

    def add(folder, name, data, about):
        assert f"{folder}/{name}.msgpack" not in made, name
        made[f"{folder}/{name}.msgpack"] = data
        made[f"{folder}/{name}.json"] = (json.dumps(about, indent=2, sort_keys=True, ensure_ascii=True) + "\n").encode()

    for name, data, meaning in good_cases():
        add("good", name, data, meaning)
    for name, data, field, why in bad_cases():
        add("bad", name, data, {"field": field, "why": why})
    return made


def on_disk():
    found = {}
    for folder in ("good", "bad"):
        for name in sorted(os.listdir(os.path.join(HERE, folder))):
            with open(os.path.join(HERE, folder, name), "rb") as file:
                found[f"{folder}/{name}"] = file.read()
    return found


def main():
    made = files()
    if sys.argv[1:] == ["--check"]:
        found = on_disk()
        wrong = sorted(path for path in made.keys() | found.keys() if made.get(path) != found.get(path))
        for path in wrong:
            print(f"{path}: not what generate.py makes; run schemas/vectors/generate.py", file=sys.stderr)
        print(f"{len(made)} files, {len(wrong)} wrong")
        return 1 if wrong or not made else 0
    for path in set(on_disk()) - set(made):
        os.unlink(os.path.join(HERE, path))
    for path, data in made.items():
        with open(os.path.join(HERE, path), "wb") as file:
            file.write(data)
    print(f"{len(made)} files")
    return 0


if __name__ == "__main__":
    sys.exit(main())
