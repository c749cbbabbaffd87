"""Vectors of guest frames, each with its length prefix: good ones with what they mean, and bad ones."""
import struct

from vector_pack import Pairs, jsonable, pack


def frame(message):
    body = pack(message)
    return struct.pack(">I", len(body)) + body


FRAMES = {
    "hello": {"version": 4, "elapsed_ms": 900, "is_set_up": False, "is_mounted": False, "n_execs": 0},
    "warm": {"version": 4, "has_disk": True},
    "warmed": {"is_warm": True, "elapsed_ms": 300, "error": ""},
    "setup": {"version": 4, "data": bytes(range(64)), "realtime_ns": 1795453739364000000, "hostname": "t-1"},
    "mount": {},
    "clock": {"realtime_ns": 1795453799364000000},
    "attach": {"version": 4},
    "ready": {"elapsed_ms": 40},
    "put": {"exec": 1, "path": "in/data", "mode": 420, "offset": 0, "data": b"abc", "is_last": True},
    "run": {"exec": 1, "argv": ["sh", "-c", "exit 3"], "env": {"A": "b"}, "timeout_ms": 60000,
            "output_limit_bytes": 1 << 24, "window": 1 << 18, "oom_ends_one": False},
    "stdin": {"exec": 1, "offset": 0, "data": b"in", "is_last": True},
    "started": {"exec": 1},
    "out": {"exec": 1, "stream": 1, "offset": 0, "data": b"hi\n"},
    "ack": {"exec": 1, "stream": 1, "offset": 3},
    "kill": {"exec": 1, "signal": 15},
    "exit": {"exec": 1, "has_exit_code": True, "exit_code": 3, "signal": 0, "is_timed_out": False, "is_oom": False,
             "oom_kills": 0, "oom_pid": 0, "oom_process": "", "memory_kib": 172032,
             "stdout_bytes": 3, "stderr_bytes": 0, "cpu_ms": 1, "max_rss_kib": 900, "run_ms": 5},
    "collect": {"exec": 1, "paths": ["out"], "limit_bytes": 1 << 19},
    "file": {"exec": 1, "path": "out", "mode": 420, "size": 1, "offset": 0, "data": b"x", "is_last": True, "error": ""},
    "collected": {"exec": 1},
    "status": {"exec": 1, "is_running": True, "is_started": True, "stdin_bytes": 2, "stdout_bytes": 3, "stderr_bytes": 0},
    "resume": {"exec": 1, "stdout_bytes": 3, "stderr_bytes": 0},
    "end": {"exec": (1 << 32) - 1},
    "fail": {"exec": 0, "error": "no disk with the serial 'work'", "missing": ""},
}
FRAMES = {name: {**message, "t": name} for name, message in FRAMES.items()}  # the type comes last


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
        ("exec-none", {**FRAMES["run"], "exec": 0}, "exec", "0 is the whole guest, and only fail is about that"),
        ("exec-missing", {"t": "started"}, "exec", "a frame of no program"),
        ("exec-large", {**FRAMES["end"], "exec": 1 << 32}, "exec", "more than 32 bits"),
        ("kill-signal", {**FRAMES["kill"], "signal": 65}, "signal", "a signal that does not exist"),
        ("hello-execs", {**FRAMES["hello"], "n_execs": 17}, "n_execs", "more programs than an agent has"),
        ("run-window", {**FRAMES["run"], "window": (1 << 18) + 1}, "window", "more than an agent keeps"),
        ("warm-version-missing", {"has_disk": True, "t": "warm"}, "version", "an engine that does not say what it speaks"),
        ("mount-version", {"version": 4, "t": "mount"}, "version", "a mount follows a setup, which had the version"),
        ("clock-large", {"realtime_ns": 1 << 63, "t": "clock"}, "realtime_ns", "a time beyond what a clock can be set to"),
        ("setup-version-missing", {name: value for name, value in FRAMES["setup"].items() if name != "version"}, "version",
         "an engine that does not say what it speaks"),
        ("out-data-number", {**FRAMES["out"], "data": 5}, "data", "a number as data"),
    ):
        yield f"frame-{name}", frame(message), field, why
