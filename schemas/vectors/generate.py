#!/usr/bin/python3
"""Golden and evil messages for every decoder of Mayfly, in any language.

good/<name>.msgpack is a message and good/<name>.json what it means (the JSON form of schemas/*.schema.json, defaults
filled in); bad/<name>.msgpack must be refused and bad/<name>.json names the field. The first word of a name is the kind
of message: task, result, output, control or frame (a guest frame with its length prefix). A lease is a line of text:
lease-*.line instead of .msgpack.

    generate.py            write the files
    generate.py --check    fail when the files are not what would be written

Deterministic: the same bytes everywhere. Messages too large to keep in the tree come from large_cases().
"""
import json
import os
import struct
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)  # also where another script loads this one

from vector_frames import bad_frames, good_frames  # noqa: E402
from vector_pack import Pairs, Raw, jsonable, pack, without  # noqa: E402,F401
from vector_tasks import (  # noqa: E402,F401
    LEAST, LONGEST_PATH, MINIMAL, TASK_DEFAULTS, TYPICAL, bad_task_bytes, bad_task_files, bad_task_heads, bad_task_names, bad_task_numbers,
    bad_task_text, good_tasks, task)

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
    "isolation": {"vmm": "qemu", "accel": "tcg", "disk": "luks1", "net": "none", "start": "cold"}, "key_destroyed": True,
    "labels": {"team": "blue"},
}


def result(**fields):
    return {**FINISHED, **fields}


REJECTED = result(id="", outcome="rejected", ran="not_started", exit_code=None, field="cpus", message="must be from 1 to 64",
                  files=[], timings_ms={}, key_destroyed=False, labels={})
OUTPUT = {"v": 1, "id": "t-1", "stream": "stdout", "seq": 0, "offset": 0, "attempt": 1, "data": b"hello\n\xff"}
CONTROL = {"v": 1, "kind": "cancel", "id": "t-1", "created_ms": 1795453739364}


TIMINGS = ("queued", "lease", "disk", "vmm", "boot", "key", "setup", "launch", "start", "run", "collect", "erase", "total")
MOST_63 = (1 << 63) - 1
RESULT_MOST = result(
    id="I" + "d" * 63, outcome="failed", exit_code=255, signal=64, message="\u00e9" * 127 + "m", field="f" * 63,
    stdout={**SILENT, "bytes": MOST_63, "kept": MOST_63},
    files=[{"path": LONGEST_PATH, "data": b"\xff", "size": MOST_63, "mode": 0o7777, "sha256": "f" * 64, "error": "e" * 95}],
    timings_ms={stage: MOST_63 for stage in TIMINGS}, usage={"cpu_ms": MOST_63, "max_rss_kib": MOST_63},
    isolation={"vmm": "v" * 15, "accel": "a" * 15, "disk": "d" * 23, "net": "n" * 15, "start": "s" * 15}, host="h" * 64, worker="w" * 64,
    attempt=(1 << 32) - 1, token=(1 << 53) - 1, labels={f"l{i}": "v" * 129 for i in range(16)}, finished_ms=MOST_63,
    source={"topic": "t" * 127, "partition": (1 << 31) - 1, "offset": MOST_63})
RESULT_LEAST = result(
    id="", exit_code=0, signal=0, message="", field="", stdout=SILENT,
    files=[{"path": "p", "data": b"", "size": 0, "mode": 0, "sha256": EMPTY_SHA256, "error": ""}],
    timings_ms={stage: 0 for stage in TIMINGS}, usage={"cpu_ms": 0, "max_rss_kib": 0},
    isolation={"vmm": "", "accel": "", "disk": "", "net": "", "start": ""}, key_destroyed=False, host="", worker="", attempt=0, token=0,
    labels={"": ""}, finished_ms=0, source={"topic": "", "partition": 0, "offset": 0})
BARE = {"v": 1, "event": "started", "id": "t-1"}
BARE_MEANING = {**STARTED, "host": "", "worker": "", "attempt": 0, "token": 0, "finished_ms": 0,
                "source": {"topic": "", "partition": 0, "offset": 0}}


def good_others():
    for name, message in {
        "result-refused": {**REJECTED, "event": "refused", "id": "t-1", "field": "id"},
        "result-duplicate": {**STARTED, "event": "duplicate", "attempt": 0, "token": 0,
                             "same_as": {"topic": "mayfly.tasks", "partition": 0, "offset": 11}},
        "result-duplicate-most": {**STARTED, "event": "duplicate",
                                  "same_as": {"topic": "t" * 127, "partition": (1 << 31) - 1, "offset": MOST_63}},
        "result-started": STARTED, "result-finished": FINISHED, "result-rejected": REJECTED,
        "result-signal": result(outcome="failed", exit_code=None, signal=9), "result-lost": result(outcome="lost", ran="unknown"),
        "result-timed-out": result(outcome="timed_out", exit_code=None, signal=9, field="timeout_ms"),
        "result-cancelled": result(outcome="cancelled", exit_code=None),
        "result-expired": result(outcome="expired", ran="not_started", exit_code=None, field="queue_ms"),
        "result-expired-running": result(outcome="expired", exit_code=None, field="ttl_ms"),
        "result-most": RESULT_MOST, "result-least": RESULT_LEAST,
        "output-most": {**OUTPUT, "id": "o" * 64, "seq": MOST_63, "offset": MOST_63, "attempt": (1 << 32) - 1},
        "output-least": {**OUTPUT, "id": "o", "data": b""},
        "output-stdout": OUTPUT, "output-stderr": {**OUTPUT, "stream": "stderr", "seq": 3, "offset": 1 << 40, "data": b""},
        "control-cancel": CONTROL, "control-most": {**CONTROL, "id": "c" * 64, "created_ms": (1 << 53) - 1},
        "control-least": {**CONTROL, "id": "c", "created_ms": 0},
    }.items():
        yield name, pack(message), jsonable(message)
    yield "result-newer", pack(result(colour={"of": ["a", "newer", "worker"]})), jsonable(FINISHED)
    yield "result-newer-deep", pack(result(colour=Raw(b"\x91" * 6 + b"\x90"))), jsonable(FINISHED)
    yield "result-bare", pack(BARE), BARE_MEANING
    yield "result-bytes-as-str", pack(result(stdout={**SILENT, "head": "text"})), jsonable(result(stdout={**SILENT, "head": b"text"}))
    yield "output-newer", pack({**OUTPUT, "colour": "red"}), jsonable(OUTPUT)
    yield "output-newer-deep", pack({**OUTPUT, "colour": [[[]]]}), jsonable(OUTPUT)
    yield "output-newer-many", pack({**OUTPUT, "colour": [0] * 239}), jsonable(OUTPUT)


def bad_results():
    """(name, message, field, why)"""
    yield "version", result(v=2), "v", "another version"
    for field in BARE:
        yield f"no-{field}", without(FINISHED, field), field, f"{field} is missing"
    yield "no-outcome", without(FINISHED, "outcome"), "outcome", "finished without an outcome"
    yield "refused-no-outcome", {**without(FINISHED, "outcome"), "event": "refused"}, "outcome", "refused without an outcome"
    for field in ("event", "kind", "outcome", "ran"):
        yield f"{field}-unknown", result(**{field: "great"}), field, f"unknown {field}"
    yield "id-slash", result(id="a/b"), "id", "not an id"
    yield "id-long", result(id="i" * 65), "id", "65 characters"
    for field, most in (("exit_code", 255), ("signal", 64), ("attempt", (1 << 32) - 1), ("token", (1 << 53) - 1),
                        ("finished_ms", MOST_63)):
        name = field.replace("_", "-")
        yield f"{name}-below", result(**{field: -1}), field, "below 0"
        yield f"{name}-above", result(**{field: most + 1}), field, f"above {most}"
        yield f"{name}-text", result(**{field: "1"}), field, "text"
    for field in FINISHED:
        if field not in ("exit_code", "signal"):
            yield f"{field.replace('_', '-')}-nil", result(**{field: None}), field, "nil does not mean absent: leave the field out"
    for field, most in (("message", 255), ("field", 63), ("host", 64), ("worker", 64)):
        yield f"{field}-long", result(**{field: "x" * (most + 1)}), field, f"{most + 1} bytes"
        yield f"{field}-nul", result(**{field: "a\0"}), field, "a NUL byte"
    yield "message-bytes-long", result(message="\u00e9" * 128), "message", "128 characters, 256 bytes"
    yield "message-not-utf8", result(message=Raw(b"\xa1\xff")), "message", "not UTF-8"
    yield "message-bin", result(message=b"m"), "message", "bin where text is due"
    yield "key-destroyed-number", result(key_destroyed=1), "key_destroyed", "a number is no boolean"
    yield "key-twice", Pairs([*FINISHED.items(), ("id", "x")]), "id", "the same key twice"
    yield "key-number", Pairs([*FINISHED.items(), (1, 1)]), f"[{len(FINISHED)}]", "a key that is a number"
    yield "labels-many", result(labels={f"l{i}": "" for i in range(17)}), "labels", "17 labels"
    yield "label-number", result(labels={"l": 1}), "labels.l", "a number as value"
    yield "label-nul", result(labels={"l": "\0"}), "labels.l", "a NUL byte"
    yield "label-key-nul", result(labels={"l\0": ""}), "labels.l?", "a NUL byte in a key"
    yield "deep", result(colour=Raw(b"\x91" * 7 + b"\x90")), "colour", "the ninth level is empty, and counts"


def bad_result_maps():
    for stream in ("stdout", "stderr"):
        yield f"{stream}-array", result(**{stream: []}), stream, "an array"
    for name, fields, field, why in (
        ("sha256-short", {"sha256": "00"}, "sha256", "not 64 digits"),
        ("sha256-upper", {"sha256": "A" * 64}, "sha256", "upper case"),
        ("head-number", {"head": 1}, "head", "a number as bytes"),
        ("head-nil", {"head": None}, "head", "nil does not mean absent"),
        ("tail-nil", {"tail": None}, "tail", "nil does not mean absent"),
        ("bytes-below", {"bytes": -1}, "bytes", "below 0"),
        ("bytes-above", {"bytes": 1 << 63}, "bytes", "above 2^63 - 1"),
        ("kept-above", {"kept": 1 << 63}, "kept", "above 2^63 - 1"),
    ):
        yield name, result(stdout={**SILENT, **fields}), f"stdout.{field}", why
    file = FINISHED["files"][0]
    yield "files-map", result(files={}), "files", "a map of files"
    yield "file-text", result(files=["a"]), "files[0]", "a path alone"
    yield "file-no-path", result(files=[without(file, "path")]), "files[0].path", "a file without a path"
    for name, fields, field, why in (
        ("path-empty", {"path": ""}, "path", "no name"),
        ("path-long", {"path": "p" * 256}, "path", "256 bytes"),
        ("path-nul", {"path": "p\0"}, "path", "a NUL byte"),
        ("data-number", {"data": 1}, "data", "a number as bytes"),
        ("size-below", {"size": -1}, "size", "below 0"),
        ("size-above", {"size": 1 << 63}, "size", "above 2^63 - 1"),
        ("mode-nil", {"mode": None}, "mode", "nil does not mean absent"),
        ("mode-below", {"mode": -1}, "mode", "below 0"),
        ("mode-above", {"mode": 0o10000}, "mode", "above 4095"),
        ("sha256-nil", {"sha256": None}, "sha256", "absent, not nil, when it is not inline"),
        ("error-long", {"error": "e" * 96}, "error", "96 bytes"),
        ("error-nul", {"error": "e\0"}, "error", "a NUL byte"),
    ):
        yield f"file-{name}", result(files=[{**file, **fields}]), f"files[0].{field}", why
    for stage in TIMINGS:
        yield f"timing-{stage}-below", result(timings_ms={stage: -1}), f"timings_ms.{stage}", "below 0"
    yield "timing-above", result(timings_ms={"disk": 1 << 63}), "timings_ms.disk", "above 2^63 - 1"
    for field in ("cpu_ms", "max_rss_kib"):
        yield f"usage-{field.replace('_', '-')}-above", result(usage={field: 1 << 63}), f"usage.{field}", "above 2^63 - 1"
    for field, text in RESULT_MOST["isolation"].items():
        yield f"isolation-{field}-nul", result(isolation={field: "a\0"}), f"isolation.{field}", "a NUL byte"
        yield f"isolation-{field}-long", result(isolation={field: text + "x"}), f"isolation.{field}", f"{len(text) + 1} bytes"
    source = FINISHED["source"]
    for name, fields, field, why in (
        ("topic-long", {"topic": "t" * 128}, "topic", "128 bytes"),
        ("topic-nul", {"topic": "t\0"}, "topic", "a NUL byte"),
        ("partition-nil", {"partition": None}, "partition", "nil does not mean absent"),
        ("partition-below", {"partition": -1}, "partition", "below 0"),
        ("partition-above", {"partition": 1 << 31}, "partition", "beyond 31 bits"),
        ("offset-above", {"offset": 1 << 63}, "offset", "beyond 63 bits"),
    ):
        yield f"source-{name}", result(source={**source, **fields}), f"source.{field}", why
    duplicate = {**STARTED, "event": "duplicate"}
    yield "same-as-list", {**duplicate, "same_as": []}, "same_as", "no map"
    for name, fields, field, why in (
        ("topic-long", {"topic": "t" * 128}, "topic", "128 bytes"),
        ("topic-nul", {"topic": "t\0"}, "topic", "a NUL byte"),
        ("partition-nil", {"partition": None}, "partition", "nil does not mean absent"),
        ("partition-text", {"partition": "0"}, "partition", "a text"),
        ("partition-below", {"partition": -1}, "partition", "below 0"),
        ("partition-above", {"partition": 1 << 31}, "partition", "beyond 31 bits"),
        ("offset-above", {"offset": 1 << 63}, "offset", "beyond 63 bits"),
    ):
        place = {"topic": "t", "partition": 0, "offset": 0, **fields}
        yield f"same-as-{name}", {**duplicate, "same_as": place}, f"same_as.{field}", why


def bad_outputs():
    yield "version", {**OUTPUT, "v": 2}, "v", "another version"
    for field in OUTPUT:
        yield f"no-{field}", without(OUTPUT, field), field, f"{field} is missing"
    for name, fields, field, why in (
        ("id-empty", {"id": ""}, "id", "empty id"),
        ("seq-nil", {"seq": None}, "seq", "nil does not mean absent"),
        ("offset-nil", {"offset": None}, "offset", "nil does not mean absent"),
        ("attempt-nil", {"attempt": None}, "attempt", "nil does not mean absent"),
        ("id-nil", {"id": None}, "id", "nil does not mean absent"),
        ("id-long", {"id": "o" * 65}, "id", "65 characters"),
        ("id-slash", {"id": "a/b"}, "id", "not an id"),
        ("stream-number", {"stream": 1}, "stream", "a number"),
        ("stream-unknown", {"stream": "stdlog"}, "stream", "unknown stream"),
        ("seq-negative", {"seq": -1}, "seq", "below 0"),
        ("seq-above", {"seq": 1 << 63}, "seq", "above 2^63 - 1"),
        ("offset-negative", {"offset": -1}, "offset", "below 0"),
        ("offset-above", {"offset": 1 << 63}, "offset", "above 2^63 - 1"),
        ("attempt-zero", {"attempt": 0}, "attempt", "attempts count from 1"),
        ("attempt-wide", {"attempt": 1 << 32}, "attempt", "beyond 32 bits"),
        ("data-number", {"data": 1}, "data", "a number as bytes"),
        ("data-nil", {"data": None}, "data", "nil does not mean empty"),
        ("deep", {"colour": [[[[]]]]}, "colour", "the fifth level is empty, and counts"),
        ("many-values", {"colour": [0] * 240}, "colour", "more than 256 values"),
    ):
        yield name, {**OUTPUT, **fields}, field, why


def bad_others():
    yield "result-cut-short", pack(FINISHED)[:-1], "key_destroyed", "the last byte is missing"
    for kind, group in (("result", bad_results), ("result", bad_result_maps), ("output", bad_outputs)):
        for name, message, field, why in group():
            yield f"{kind}-{name}", pack(message), field, why
    for kind, message in (("result", FINISHED), ("output", OUTPUT), ("control", CONTROL)):
        yield f"{kind}-not-a-map", pack([[key, value] for key, value in message.items()]), "", "an array"
    for field in CONTROL:
        yield f"control-no-{field.replace('_', '-')}", pack(without(CONTROL, field)), field, f"{field} is missing"
        yield f"control-{field.replace('_', '-')}-nil", pack({**CONTROL, field: None}), field, "nil"
    for name, message, field, why in (
        ("control-unknown-field", {**CONTROL, "force": True}, "force", "a worker must understand all of it"),
        ("control-kind", {**CONTROL, "kind": "restart"}, "kind", "unknown kind"),
        ("control-version", {**CONTROL, "v": 2}, "v", "another version"),
        ("control-id-slash", {**CONTROL, "id": "a/b"}, "id", "not an id"),
        ("control-id-long", {**CONTROL, "id": "c" * 65}, "id", "65 characters"),
        ("control-created-above", {**CONTROL, "created_ms": 1 << 53}, "created_ms", "2^53"),
        ("control-created-below", {**CONTROL, "created_ms": -1}, "created_ms", "below 0"),
        ("control-padded", {**CONTROL, "id": "c" * 1024}, "id", "larger than any control message"),
    ):
        yield name, pack(message), field, why


LEASE = {"state": "running", "owner": "w1.abc", "token": 1795453739364000, "attempt": 1, "host": "h1", "slot": 0,
         "expires_ms": 1795454339364, "topic": "mayfly.tasks", "partition": 0, "offset": 12}
LEASE_MOST = {"state": "told", "owner": "O" + "w" * 127, "token": (1 << 53) - 1, "attempt": 1000000, "host": "H" + "h" * 63,
              "slot": (1 << 32) - 1, "expires_ms": (1 << 53) - 1, "topic": "t" * 249, "partition": (1 << 31) - 1,
              "offset": (1 << 63) - 2, "victim": "V" + "v" * 127, "key": "destroyed", "content": "f" * 32, "vm_id": "D" + "d" * 63,
              "tenant": "T" + "n" * 63}
LEASE_LEAST = {"state": "ended", "owner": "r", "token": 1, "attempt": 1, "host": "h", "slot": 0, "expires_ms": 0, "topic": "t",
               "partition": 0, "offset": 0, "victim": "v"}


LEASE_CONTENT = {**LEASE, "victim": "-", "key": "-", "content": "0123456789abcdef" * 2}
LEASE_VM = {**LEASE_CONTENT, "vm_id": "0b5c2b0e-6d0f-4f6e-9b0a-0c1d2e3f4a5b", "tenant": "-"}


def line(fields):
    return " ".join(str(value) for value in fields.values()).encode()


def good_leases():
    orphan = {**LEASE, "state": "orphan", "owner": "-", "expires_ms": (1 << 53) - 1}
    for name, fields in {
        "running": LEASE, "reaping": {**LEASE, "state": "reaping", "owner": "reaper.h1.xyz", "victim": "w1.abc"},
        "orphan": orphan, "orphan-reaped": {**orphan, "victim": "w1.abc", "key": "destroyed"},
        "orphan-no-key": {**orphan, "victim": "w1.abc", "key": "-"},
        "running-content": LEASE_CONTENT, "running-vm": LEASE_VM, "running-tenant": {**LEASE_VM, "tenant": "team-1"},
        "running-no-vm": {**LEASE_VM, "vm_id": "-"},
        "most": LEASE_MOST, "least": LEASE_LEAST, "names": {**LEASE, "owner": "0.-_Z", "host": "9._-", "topic": "._-9"},
    }.items():
        yield f"lease-{name}", line(fields), fields


def bad_leases():
    whole = line(LEASE)
    full = line(LEASE_VM)
    yield "empty", b"", "state", "no bytes at all"
    for i, field in enumerate(LEASE):
        yield f"cut-before-{field.replace('_', '-')}", b" ".join(whole.split(b" ")[:i]), field, f"ends before {field}"
    yield "more", full + b" -", "", "a sixteenth field"
    yield "space-first", b" " + whole, "state", "begins with a space"
    yield "space-last", whole + b" ", "victim", "ends with a space"
    yield "space-twice", whole.replace(b" ", b"  ", 1), "owner", "two spaces"
    yield "newline-last", whole + b"\n", "offset", "ends with a newline"
    yield "tab", whole.replace(b" ", b"\t", 1), "state", "a tab between fields"
    yield "nul", whole + b"\0", "", "a NUL byte"
    yield "huge", full + b"-" * 1024, "", "longer than any line"
    yield "json", json.dumps(LEASE).encode(), "state", "the JSON form"
    for name, fields, field, why in (
        ("state-unknown", {"state": "held"}, "state", "unknown state"),
        ("state-upper", {"state": "Running"}, "state", "upper case"),
        ("orphan-owned", {"state": "orphan"}, "owner", "nobody holds an orphan"),
        ("key-unknown", {"victim": "-", "key": "gone"}, "key", "unknown word"),
        ("content-short", {"victim": "-", "key": "-", "content": "0" * 31}, "content", "31 digits"),
        ("content-long", {"victim": "-", "key": "-", "content": "0" * 33}, "content", "33 digits"),
        ("content-upper", {"victim": "-", "key": "-", "content": "A" * 32}, "content", "upper case"),
        ("content-none", {"victim": "-", "key": "-", "content": "-"}, "content", "'-' is no digest"),
        ("vm-id-dot", {**LEASE_VM, "vm_id": ".."}, "vm_id", "must start with a letter or digit"),
        ("vm-id-long", {**LEASE_VM, "vm_id": "d" * 65}, "vm_id", "65 bytes"),
        ("vm-id-slash", {**LEASE_VM, "vm_id": "a/b"}, "vm_id", "'a/b' is no name"),
        ("tenant-empty", {**LEASE_VM, "tenant": ""}, "tenant", "ends with a space"),
        ("tenant-long", {**LEASE_VM, "tenant": "n" * 65}, "tenant", "65 bytes"),
        ("tenant-escape", {**LEASE_VM, "tenant": "w\x1b[2J"}, "tenant", "bytes that a terminal obeys"),
    ):
        yield name, line({**LEASE, **fields}), field, why
    for state in ("running", "reaping", "ended", "told"):
        yield f"{state}-owned-by-nobody", line({**LEASE, "state": state, "owner": "-"}), "owner", "'-' is for orphans"
    for field in ("owner", "host", "topic", "victim"):
        yield f"{field}-long", line({**LEASE, field: LEASE_MOST[field] + "x"}), field, f"{len(LEASE_MOST[field]) + 1} bytes"
        yield f"{field}-escape", line({**LEASE, field: "w\x1b[2J"}), field, "bytes that a terminal obeys"
    for name, text in {"slash": "w/1", "latin": "w\u00e9", "delete": "w\x7f", "newline": "w\n"}.items():
        yield f"owner-{name}", line({**LEASE, "owner": text}), "owner", f"{text!a} is no name"
    for field in ("owner", "host", "victim"):
        yield f"{field}-dot", line({**LEASE, field: ".w1"}), field, "must start with a letter or digit"
    yield "host-nobody", line({**LEASE, "host": "-"}), "host", "'-' is no host"
    for name, text, why in (("wraps", (1 << 64) + 1, "1 when cut to 64 bits"), ("plus", "+1", "a sign"),
                            ("zeros", "00", "a leading zero"), ("hex", "0x1", "hexadecimal"), ("float", "1.0", "a point"),
                            ("exponent", "1e3", "an exponent")):
        yield f"token-{name}", line({**LEASE, "token": text}), "token", why
    for field, least in LEASE_LEAST.items():
        if isinstance(least, int):
            yield from bad_lease_numbers(field, least)


def bad_lease_numbers(field, least):
    name = field.replace("_", "-")
    if least:
        yield f"{name}-below", line({**LEASE, field: least - 1}), field, f"below {least}"
    for what, text, why in (("above", LEASE_MOST[field] + 1, f"above {LEASE_MOST[field]}"), ("negative", -1, "a sign"),
                            ("padded", "01", "a leading zero"), ("nothing", "-", "no number")):
        yield f"{name}-{what}", line({**LEASE, field: text}), field, why


def bad_cases():
    """(name, bytes, field, why)"""
    for name, data, field, why in bad_task_bytes():
        yield f"task-{name}", data, field, why
    for group in (bad_task_heads, bad_task_names, bad_task_text, bad_task_files, bad_task_numbers):
        for name, message, field, why in group():
            yield f"task-{name}", pack(message), field, why
    yield from bad_others()
    yield from bad_frames()
    for name, data, field, why in bad_leases():
        yield f"lease-{name}", data, field, why


def good_cases():
    """(name, bytes, meaning)"""
    yield from good_tasks()
    yield from good_others()
    yield from good_frames()
    yield from good_leases()


def count(value):
    """Of the msgpack values in it, keys too."""
    inner = [part for pair in value.items() for part in pair] if isinstance(value, dict) else value if isinstance(value, list) else []
    return 1 + sum(count(part) for part in inner)


def large_cases():
    """(name, bytes, field) of what is too large to keep; the field is None when the message is good."""
    def padded(message, field, size):
        n = size - len(pack({**message, field: Raw()})) - 5
        return pack({**message, field: Raw(b"\xc6" + struct.pack(">I", n) + bytes(n))})

    yield "task-1000000-bytes", padded(MINIMAL, "stdin", 1000000), None
    yield "task-1000001-bytes", padded(MINIMAL, "stdin", 1000001), "stdin"
    yield "result-1000000-bytes", padded(FINISHED, "colour", 1000000), None
    yield "result-1000001-bytes", padded(FINISHED, "colour", 1000001), "colour"
    yield "output-263168-bytes", padded({**OUTPUT, "data": bytes(262144)}, "colour", 263168), None
    yield "output-263169-bytes", padded({**OUTPUT, "data": bytes(262144)}, "colour", 263169), "colour"
    yield "result-4096-values", pack(result(colour=[0] * (4096 - 2 - count(FINISHED)))), None
    yield "result-4097-values", pack(result(colour=[0] * (4097 - 2 - count(FINISHED)))), "colour"
    yield "task-args-most", pack(task(argv=["a", "b" * (131072 - 2 - 4 - 1)], env={"c": "d"})), None
    yield "task-args-above", pack(task(argv=["a", "b" * (131072 - 2 - 4)], env={"c": "d"})), "argv"
    yield "task-arg-alone", pack(task(argv=["b" * 131073])), "argv[0]"
    yield "output-data-most", pack({**OUTPUT, "data": bytes(262144)}), None
    yield "output-data-above", pack({**OUTPUT, "data": bytes(262145)}), "data"
    for part in ("head", "tail"):
        yield f"result-{part}-most", pack(result(stdout={**SILENT, part: bytes(131072)})), None
        yield f"result-{part}-above", pack(result(stdout={**SILENT, part: bytes(131073)})), f"stdout.{part}"
    yield "result-files-most", pack(result(files=[{"path": "p"}] * 256)), None
    yield "result-files-above", pack(result(files=[{"path": "p"}] * 257)), "files"


def files():
    """Every file of the folder: path below it -> bytes."""
    made = {}

    def add(folder, name, data, about):
        path = f"{folder}/{name}.{'line' if name.startswith('lease-') else 'msgpack'}"
        assert path not in made, name
        made[path] = data
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
