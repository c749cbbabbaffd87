"""Vectors of tasks: good ones with what they mean, and bad ones (name, message, field, why)."""
import json
import struct

import msgpack
from vector_pack import Pairs, Raw, as_bytes, b64, pack, without

MINIMAL = {"v": 1, "kind": "run", "id": "t-1", "image": "base", "argv": ["true"]}
TASK_DEFAULTS = {
    "env": {}, "stdin": "", "files": [], "collect": [], "labels": {}, "created_ms": 0, "queue_ms": 0, "ttl_ms": 600000,
    "timeout_ms": 60000, "output_limit_bytes": 16 << 20, "cpus": 1, "memory_mib": 256, "disk_mib": 256, "oom": "program",
    "start": "any", "stream": False,
}
LEAST = {
    "argv": ["t", ""], "env": {"A": ""}, "stdin": b"", "files": [{"path": "f", "data": b"", "mode": 0}], "collect": ["g"],
    "labels": {"l": ""}, "created_ms": 0, "queue_ms": 0, "ttl_ms": 1, "timeout_ms": 1, "output_limit_bytes": 0, "cpus": 1,
    "memory_mib": 96, "disk_mib": 16, "oom": "program", "start": "any", "stream": False,
}
LONGEST_PATH = "d/" * 100 + "f" * 55
MOST = {
    "id": "I" + "d" * 63, "image": "i" + "m" * 62, "argv": ["a"] + ["b"] * 255,
    "env": {f"E{i}": "v" for i in range(128)}, "files": [{"path": f"f{i}", "data": b"", "mode": 0o777} for i in range(64)],
    "collect": [LONGEST_PATH] + [f"c{i}" for i in range(63)],
    "labels": {**{"k" * 127 + chr(97 + i): "v" * 128 for i in range(15)}, "\u00e9" * 64: "\u20ac" * 42 + "vv"},
    "created_ms": (1 << 53) - 1, "queue_ms": 2592000000, "ttl_ms": 86400000, "timeout_ms": 86400000,
    "output_limit_bytes": 1 << 30, "cpus": 64, "memory_mib": 1 << 20, "disk_mib": 1 << 20, "oom": "process",
    "start": "cold", "stream": True,
}
TYPICAL = {
    "v": 1, "kind": "run", "id": "4f0c2a9e-7d1b-4c52-9a3e-1b2c3d4e5f60", "image": "python",
    "argv": ["python3", "-c", "print('h\u00e9llo \u4e16\u754c \U0001f98b')"], "env": {"LANG": "C.UTF-8", "EMPTY": ""},
    "stdin": b"\x00\xff raw", "files": [{"path": "in/data.csv", "data": b"a,b\n1,2\n"},
                                        {"path": "run.sh", "data": b"#!/bin/sh\n", "mode": 0o755}],
    "collect": ["out/result.json", "log"], "labels": {"team": "blue"}, "created_ms": 1795453739364, "queue_ms": 3600000,
    "ttl_ms": 120000, "timeout_ms": 30000, "output_limit_bytes": 1048576, "cpus": 2, "memory_mib": 512, "disk_mib": 64,
    "stream": True,
}


def task(**fields):
    return {**MINIMAL, **fields}


def task_meaning(fields):
    meaning = {**TASK_DEFAULTS, **fields}
    if isinstance(meaning["stdin"], (bytes, str)):
        meaning["stdin"] = b64(as_bytes(meaning["stdin"]))
    meaning["files"] = [{"mode": 0o644, **f, "data": b64(as_bytes(f["data"]))} for f in meaning["files"]]
    return meaning


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
    yield "cut-short", whole[:-1], "stream", "the last byte is missing"
    yield "cut-in-head", b"\xdf\0\0", "", "cut inside a length"
    yield "trailing", whole + b"\xc0", "", "a second value follows"
    yield "huge-array", b"\xdd\xff\xff\xff\xff", "", "claims 4 billion elements in five bytes"
    yield "huge-map", b"\xdf\xff\xff\xff\xff", "", "claims 4 billion pairs in five bytes"
    yield "huge-str", b"\xdb\xff\xff\xff\xff", "", "claims 4 GiB of text in five bytes"
    yield "huge-ext", b"\xc9\xff\xff\xff\xff\x01", "", "claims 4 GiB of extension"
    yield "huge-inside", pack(task(argv=Raw(b"\xdd\x10\0\0\0"))), "argv", "a huge claim inside a map"
    yield "never-used-byte", b"\xc1", "", "0xc1 is no msgpack"
    yield "never-used-inside", pack(task(stdin=Raw(b"\xc1"))), "stdin", "0xc1 inside a map"
    yield "nested-deep", pack(task(env=Raw(b"\x91" * 9 + b"\xc0"))), "env", "arrays nested 10 deep"
    yield "nested-very-deep", b"\x91" * 10000, "", "arrays nested 10000 deep"
    yield "nested-empty", pack(task(env=Raw(b"\x91" * 8 + b"\x90"))), "env", "the ninth level is empty, and counts"
    yield "many-values", pack(task(argv=Raw(b"\xdc\x10\x00" + b"\xc0" * 4096))), "argv", "more than 4096 values"
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
    for field in TYPICAL:
        yield f"{field.replace('_', '-')}-nil", {**TYPICAL, field: None}, field, "nil does not mean absent: leave the field out"


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
    yield "label-value-nul", task(labels={"k": "\0"}), "labels.k", "a NUL byte"
    yield "label-value-number", task(labels={"k": 1}), "labels.k", "a number"


def bad_task_numbers():
    least = {"created_ms": 0, "queue_ms": 0, "ttl_ms": 1, "timeout_ms": 1, "output_limit_bytes": 0, "cpus": 1, "memory_mib": 96,
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
    yield "queue-float", task(queue_ms=1000.0), "queue_ms", "a float"
    yield "queue-text", task(queue_ms="1h"), "queue_ms", "text"
    yield "ttl-ext", task(ttl_ms=msgpack.ExtType(1, b"\x01")), "ttl_ms", "an extension"
    yield "oom-unknown", task(oom="thread"), "oom", "neither the program nor one process"
    yield "oom-true", task(oom=True), "oom", "a boolean"
    yield "oom-nil", task(oom=None), "oom", "nil does not mean the default"
    yield "start-unknown", task(start="clone"), "start", "neither any nor cold"
    yield "start-true", task(start=True), "start", "a boolean"
    yield "start-nil", task(start=None), "start", "nil does not mean the default"
    yield "stream-number", task(stream=1), "stream", "a number is no boolean"
    yield "stdin-number", task(stdin=1), "stdin", "a number"
    yield "stdin-array", task(stdin=[]), "stdin", "an array"
