#!/usr/bin/python3
"""The Lua library of leases by itself, in a real redis-server: tables of what stands in Redis, a call, what it answers, and what
stands there afterwards. Both in a plain server, as the user of docs/operations.md, and in a cluster of one node.

The controls are the same tables over a library that was weakened in one place: the case that is about it has to fail."""
import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import unittest

REPO = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(REPO, "tests", "support"))
from ports import claim_ports  # noqa: E402

BUILD = os.path.abspath(os.environ.get("MAYFLY_BUILD", os.path.join(REPO, "build", "dev")))
PREFIX = "mayfly:{mayfly}:"
KEYS = [PREFIX + name for name in ("deadlines", "lease:", "token", "vms:")]
NEVER = (1 << 53) - 1
LEASE_MS, GRACE_MS = 3000, 60000
C1, C2 = "0123456789abcdef" * 2, "f" * 32
FAR = 32503680000000
TIME = "a time"  # of now plus LEASE_MS
TOKEN = "a token"  # the highest of all


def library():
    with open(os.path.join(BUILD, "lib", "bus", "lease_library_lua.lua"), encoding="utf-8") as f:
        return f.read()


class Redis:
    def __init__(self, *options):
        self.directory = tempfile.mkdtemp(prefix="mayfly-lua.")
        self.port = claim_ports(1)
        self.process = subprocess.Popen(
            ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir",
             self.directory, "--maxmemory-policy", "noeviction", *options], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        self.socket = None
        end = time.monotonic() + 60
        while self.socket is None:
            with contextlib.suppress(OSError):
                self.socket = socket.create_connection(("127.0.0.1", self.port), 20)
            assert self.process.poll() is None and time.monotonic() < end, "redis-server did not start"
            time.sleep(0.02)
        self.file = self.socket.makefile("rb")

    def close(self):
        self.file.close()
        self.socket.close()
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.directory)

    def __call__(self, *words):
        words = [str(word).encode() for word in words]
        self.socket.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words))
        return self.read()

    def read(self):
        line = self.file.readline()[:-2]
        kind, rest = line[:1], line[1:].decode()
        if kind == b"-":
            raise AssertionError(rest)
        if kind == b"$":
            return None if rest == "-1" else self.file.read(int(rest) + 2)[:-2].decode()
        if kind == b"*":
            return [self.read() for _ in range(int(rest))]
        return int(rest) if kind == b":" else rest


def line(state="running", owner="w1.a", token=7, attempt=1, host="h1", expires=FAR, place="t 3 100", victim="-", key="-",
         content=C1, vm="vm-1", tenant="-"):
    return f"{state} {owner} {token} {attempt} {host} 5 {expires} {place} {victim} {key} {content} {vm} {tenant}"


def claim(task="a", place="t 3 100", content=C1, answered="-", vm="vm-9", tenant="team-1", ttl=FAR):
    return [task, 5, ttl, answered, f"{place} - - {content} {vm} {tenant}"]


def claims(*rows, owner="w1.a", max_attempts=3):
    return ["claim", owner, "h1", LEASE_MS, max_attempts, "t u", *(word for row in rows for word in row)]


def granted(attempt=1, verdict="claimed"):
    return [f"{verdict} {TOKEN} {attempt}"]


def refused(verdict, place=""):
    return [f"{verdict} {place}".strip()]


GRANTED = line(token=TOKEN, vm="vm-9", tenant="team-1", expires="an end")
DUE, NOT_DUE = 1000, "later"  # scores: long ago; in an hour


class Case:
    """leases: id -> line, or (line, score). vms: vm_id -> id or hold, on h1. None in `after`: as before."""

    def __init__(self, about, leases, call, answer, after=None, vms=None, vms_after=None):
        self.about, self.leases, self.call, self.answer, self.after = about, leases, call, answer, after
        self.vms, self.vms_after = vms or {}, vms_after


RENEW = ["renew", "w1.a", "h1", LEASE_MS]
TAKE = ["take", "r1.b", LEASE_MS, GRACE_MS]
SETTLE = ["settle", "r1.b", LEASE_MS, 60000]
ORPHAN = line("orphan", "-", expires=NEVER)
REAPING = line("reaping", "r1.b", victim="w1.a")
FOREIGN = ("junk", "told", "orphan - 7", "orphan - 7 x h1 0 9 t 3 100", line(place="t 3 x"), line(place="other 3 100"),
           line("walking"))

CASES = [
    # A claim: what no line, or each state of the same record, answers.
    Case("claim: free", {}, claims(claim()), granted(), {"a": (GRANTED, TIME)}),
    Case("claim: no workspace", {}, claims(claim(vm="-", tenant="-")), granted(),
         {"a": (line(token=TOKEN, vm="-", expires="an end"), TIME)}),
    Case("claim: running", {"a": line()}, claims(claim()), refused("running")),
    Case("claim: reaping", {"a": REAPING}, claims(claim()), refused("reaping")),
    Case("claim: ended", {"a": line("ended", "r1.b")}, claims(claim()), refused("ended")),
    Case("claim: told", {"a": line("told", "r1.b")}, claims(claim()), refused("told")),
    Case("claim: orphan", {"a": ORPHAN}, claims(claim()), granted(2),
         {"a": (line(token=TOKEN, attempt=2, vm="vm-9", tenant="team-1", expires="an end"), TIME)}),
    Case("claim: exhausted", {"a": line("orphan", "-", attempt=3)}, claims(claim()), granted(4, "exhausted"),
         {"a": (line(token=TOKEN, attempt=4, vm="vm-9", tenant="team-1", expires="an end"), TIME)}),
    # Another record has the id.
    *[Case(f"claim: another's, {state}: {verdict}", {"a": line(state, owner)}, claims(claim(place="t 4 7", content=content)),
           refused(verdict, "t 3 100"))
      for state, owner in (("running", "w2.a"), ("reaping", "r1.b"), ("orphan", "-"), ("ended", "r1.b"))
      for content, verdict in ((C1, "duplicate"), (C2, "conflict"))],
    Case("claim: another's, told", {"a": line("told", "r1.b")}, claims(claim(place="t 4 7")), granted(),
         {"a": (line(token=TOKEN, place="t 4 7", vm="vm-9", tenant="team-1", expires="an end"), TIME)}),
    Case("claim: an answered one's orphan", {"a": ORPHAN}, claims(claim(place="t 4 7", answered="t 3 100")), granted(),
         {"a": (line(token=TOKEN, place="t 4 7", vm="vm-9", tenant="team-1", expires="an end"), TIME)}),
    Case("claim: not the answered one's orphan", {"a": ORPHAN}, claims(claim(place="t 4 7", answered="t 3 101")),
         refused("duplicate", "t 3 100")),
    Case("claim: an answered one that runs", {"a": line()}, claims(claim(place="t 4 7", answered="t 3 100")),
         refused("duplicate", "t 3 100")),
    *[Case(f"claim: {text!r}", {"a": text}, claims(claim()), refused("foreign")) for text in FOREIGN],
    Case("claim: twice in one call", {}, claims(claim(), claim(), claim(place="t 3 101"), claim(place="t 3 101", content=C2)),
         granted() + refused("running") + refused("duplicate", "t 3 100") + refused("conflict", "t 3 100"), {"a": (GRANTED, TIME)}),
    Case("claim: another topic's record of the same numbers", {"a": line(place="u 3 100")}, claims(claim()),
         refused("duplicate", "u 3 100")),
    Case("claim: another topic's orphan", {"a": line("orphan", "-", place="u 3 100")}, claims(claim(answered="t 3 100")),
         refused("duplicate", "u 3 100")),
    Case("claim: another fleet's, told", {"a": line("told", "r1.b", place="other 3 100")}, claims(claim()), refused("foreign")),
    Case("claim: many", {"b": line("told", "r1.b")}, claims(claim(), claim("b"), claim("c")),
         granted() + refused("told") + granted(), {"a": (GRANTED, TIME), "b": line("told", "r1.b"), "c": (GRANTED, TIME)}),
    # A renewal writes the deadline and the entry in the VM table, and nothing else.
    Case("renew", {"a": (line(), DUE)}, [*RENEW, "a", 7], ["done"], {"a": (line(), TIME)}, {}, {"vm-1": "a"}),
    Case("renew: a lost entry, a planted one", {"a": (line(), DUE)}, [*RENEW, "a", 7], ["done"], {"a": (line(), TIME)},
         {"vm-1": "another", "vm-2": "a"}, {"vm-1": "a", "vm-2": "a"}),
    Case("renew: no workspace", {"a": (line(vm="-"), DUE)}, [*RENEW, "a", 7], ["done"], {"a": (line(vm="-"), TIME)}, {}, {}),
    Case("renew: beyond its life", {"a": (line(expires=12345), DUE)}, [*RENEW, "a", 7], ["done"],
         {"a": (line(expires=12345), 12345 + 3 * LEASE_MS)}, {}, {"vm-1": "a"}),
    *[Case(f"renew: {about}", {"a": (text, DUE)}, [*RENEW, task, token], ["gone"]) for about, text, task, token in (
        ("another token", line(), "a", 8), ("another owner", line(owner="w1.b"), "a", 7), ("missing", line(), "b", 7),
        ("reaping", REAPING, "a", 7), ("an orphan", ORPHAN, "a", 7))],
    # A finish removes; its entry is left to the reaper's tidying.
    Case("finish", {"a": (line(), DUE), "b": (line(), DUE)}, ["finish", "w1.a", "a", 7], ["done"], {"b": (line(), DUE)},
         {"vm-1": "a"}, {"vm-1": "a"}),
    *[Case(f"finish: {about}", {"a": (text, DUE)}, ["finish", "w1.a", task, token], ["gone"]) for about, text, task, token in (
        ("another token", line(), "a", 70), ("a token's beginning", line(token=70), "a", 7), ("another owner", line(owner="w1"), "a", 7),
        ("missing", line(), "b", 7), ("reaping", REAPING, "a", 7))],
    # Given back.
    Case("give back: it never ran", {"a": (line(), DUE)}, ["give_back", "w1.a", 1, "a", 7, "-"], ["done"], {}),
    Case("give back: a second attempt that never ran", {"a": (line(attempt=2), DUE)}, ["give_back", "w1.a", 1, "a", 7, "-"], ["done"],
         {"a": (ORPHAN, NEVER)}),
    Case("give back: it may have run", {"a": (line(), DUE)}, ["give_back", "w1.a", 0, "a", 7, "destroyed"], ["done"],
         {"a": (line("orphan", "-", expires=NEVER, key="destroyed"), NEVER)}),
    Case("give back: another's", {"a": (line(owner="w2.a"), DUE)}, ["give_back", "w1.a", 0, "a", 7, "-"], ["gone"]),
    # A claim whose answer got lost.
    Case("undo", {"a": (line(), DUE)}, ["undo", *claims(claim())[1:]], ["done"], {}),
    Case("undo: it was not granted", {"a": (line(owner="w2.a"), DUE)}, ["undo", *claims(claim())[1:]], ["gone"]),
    Case("undo: another record", {"a": (line(place="t 3 99"), DUE)}, ["undo", *claims(claim())[1:]], ["gone"]),
    Case("undo: a second attempt", {"a": (line(attempt=2), DUE)}, ["undo", *claims(claim())[1:]], ["done"], {"a": (ORPHAN, NEVER)}),
    # A reaper takes what is due.
    Case("take: running", {"a": (line(), DUE)}, [*TAKE, "a", 7, 999], [TOKEN],
         {"a": (line("reaping", "r1.b", token=TOKEN, expires=999, victim="w1.a"), TIME)}, {}, {"vm-1": "a"}),
    Case("take: an orphan", {"a": (ORPHAN, DUE)}, [*TAKE, "a", 7, NEVER], [TOKEN],
         {"a": (line("ended", "r1.b", token=TOKEN, expires=NEVER), TIME)}, {}, {"vm-1": "a"}),
    *[Case(f"take: {state}", {"a": (line(state, "r0.x", victim="w1.a"), DUE)}, [*TAKE, "a", 7, 999], [TOKEN],
           {"a": (line(state, "r1.b", token=TOKEN, expires=999, victim="w1.a"), TIME)}, {}, {"vm-1": "a"})
      for state in ("reaping", "ended", "told")],
    Case("take: claimed anew meanwhile", {"a": (line(token=8), DUE)}, [*TAKE, "a", 7, 999], [0]),
    Case("take: renewed meanwhile", {"a": (line(), NOT_DUE)}, [*TAKE, "a", 7, 999], [0]),
    Case("take: within the grace", {"a": (line(), "just due")}, [*TAKE, "a", 7, 999], [0]),
    Case("take: finished meanwhile", {}, [*TAKE, "a", 7, 999], [0]),
    # And settles it.
    Case("settle: delete", {"a": (REAPING, DUE)}, [*SETTLE, "a", 7, "delete", "-"], [1], {}),
    Case("settle: orphan", {"a": (REAPING, DUE)}, [*SETTLE, "a", 7, "orphan", "destroyed"], [1],
         {"a": (line("orphan", "-", victim="w1.a", key="destroyed"), "in a minute")}),
    Case("settle: ended", {"a": (REAPING, DUE)}, [*SETTLE, "a", 7, "ended", "-"], [1], {"a": (line("ended", "r1.b", victim="w1.a"), TIME)}),
    Case("settle: what was seen of the key stays", {"a": (line("reaping", "r1.b", key="destroyed"), DUE)},
         [*SETTLE, "a", 7, "ended", "-"], [1], {"a": (line("ended", "r1.b", key="destroyed"), TIME)}),
    Case("settle: told", {"a": (line("ended", "r1.b"), DUE)}, [*SETTLE, "a", 7, "told", "-"], [1],
         {"a": (line("told", "r1.b", expires="now"), "three leases")}),
    Case("settle: told, again", {"a": (line("told", "r1.b", expires=5), DUE)}, [*SETTLE, "a", 7, "told", "-"], [1],
         {"a": (line("told", "r1.b", expires=5), "three leases")}),
    *[Case(f"settle: {verb} of {about}", {"a": (text, DUE)}, [*SETTLE, "a", 7, verb, "destroyed"], [0])
      for verb in ("delete", "orphan", "ended", "told")
      for about, text in (("another token", line("reaping", "r1.b", token=8)), ("another reaper's", line("reaping", "r2.b")))],
    # What a sweep finds.
    Case("find: running", {"a": line()}, ["find", "h1", GRACE_MS, 0, "vm-1"], ["0", "held", "a"], vms={"vm-1": "a"}),
    Case("find: reaping", {"a": REAPING}, ["find", "h1", GRACE_MS, 0, "vm-1"], ["0", "held", "a"], vms={"vm-1": "a"}),
    *[Case(f"find: {state}", {"a": line(state, owner)}, ["find", "h1", GRACE_MS, 0, "vm-1"], ["0", "free", "a"], vms={"vm-1": "a"})
      for state, owner in (("orphan", "-"), ("ended", "r1.b"), ("told", "r1.b"))],
    Case("find: no entry", {"a": line()}, ["find", "h1", GRACE_MS, 0, "vm-1"], ["0", "free", ""]),
    Case("find: a stale entry", {}, ["find", "h1", GRACE_MS, 0, "vm-1"], ["0", "free", ""], vms={"vm-1": "a"}, vms_after={}),
    Case("find: another attempt's", {"a": line(vm="vm-2")}, ["find", "h1", GRACE_MS, 0, "vm-1", "vm-2"], ["0", "free", "", "held", "a"],
         vms={"vm-1": "a", "vm-2": "a"}, vms_after={"vm-2": "a"}),
    Case("find: a planted entry", {"b": line(vm="vm-2")}, ["find", "h1", GRACE_MS, 0, "vm-1"], ["0", "free", ""], vms={"vm-1": "b", "vm-2": "b"},
         vms_after={"vm-2": "b"}),
    Case("find: it runs on another host", {"a": line(host="h2")}, ["find", "h1", GRACE_MS, 0, "vm-1"], ["0", "free", ""], vms={"vm-1": "a"},
         vms_after={}),
    Case("find: a line that is none", {"a": "junk"}, ["find", "h1", GRACE_MS, 0, "vm-1"], ["0", "free", ""], vms={"vm-1": "a"}, vms_after={}),
    Case("find: nothing; tidy", {"a": line()}, ["find", "h1", GRACE_MS, 0], ["0"], vms={"vm-1": "a", "vm-2": "b"}, vms_after={"vm-1": "a"}),
    # What is made ahead of any task: its worker says that it holds it, and until when.
    Case("hold", {"a": line()}, ["hold", "w1.a", "h1", LEASE_MS, "vm-8", "vm-9"], ["done", "done"], vms={"vm-1": "a", "vm-8": f"{DUE} w1.a"},
         vms_after={"vm-1": "a", "vm-8": "a time w1.a", "vm-9": "a time w1.a"}),
    Case("let go", {"a": line()}, ["let_go", "w1.a", "h1", "vm-8", "vm-9"], ["done", "gone"], vms={"vm-1": "a", "vm-8": f"{FAR} w1.a"},
         vms_after={"vm-1": "a"}),
    Case("let go: a lease names it by now", {"a": line()}, ["let_go", "w1.a", "h1", "vm-1"], ["gone"], vms={"vm-1": "a"}),
    Case("let go: another's", {}, ["let_go", "w1.a", "h1", "vm-8"], ["gone"], vms={"vm-8": f"{FAR} w2.a"}),
    Case("find: a hold", {}, ["find", "h1", GRACE_MS, 0, "vm-8"], ["0", "held", ""], vms={"vm-8": f"{FAR} w1.a"}),
    Case("find: a hold within the grace", {}, ["find", "h1", GRACE_MS, 0, "vm-8"], ["0", "held", ""], vms={"vm-8": "just due"}),
    Case("find: a hold that is over", {}, ["find", "h1", 100, 0, "vm-8"], ["0", "over", ""], vms={"vm-8": "just due"}),
    Case("find: a hold that is stale", {}, ["find", "h1", GRACE_MS, 0, "vm-8"], ["0", "free", ""], vms={"vm-8": f"{DUE} w1.a"}, vms_after={}),
    Case("find: a lease's entry instead of the hold", {"a": line()}, ["find", "h1", GRACE_MS, 0, "vm-1"], ["0", "held", "a"],
         vms={"vm-1": "a"}),
    # What became of a key later.
    Case("note", {"a": ORPHAN}, ["note", "h1", "vm-1"], [1], {"a": line("orphan", "-", expires=NEVER, key="destroyed")}, {"vm-1": "a"}),
    Case("note: another attempt's", {"a": line(vm="vm-2")}, ["note", "h1", "vm-1"], [0], vms={"vm-1": "a"}),
    Case("note: another host's", {"a": line(host="h2")}, ["note", "h1", "vm-1"], [0], vms={"vm-1": "a"}),
    Case("note: no entry, no lease", {"a": ORPHAN}, ["note", "h1", "vm-1", "vm-2"], [0, 0], vms={"vm-2": "b"}),
    # What is due.
    Case("scan", {"a": (line(), DUE), "b": (line(), NOT_DUE), "c": (line(), "just due")}, ["scan", GRACE_MS, 10],
         ["now", 3, 1, "a", DUE, line()]),
    *[Case(f"scan: {about} goes behind the leases", {"a": (text, DUE)}, ["scan", GRACE_MS, 10], ["now", 1, 1, "a", DUE, text],
           {"a": (text, "now")})
      for about, text in (("no line", "junk"), ("a state to come", line("walking")), ("a field more", line() + " more"))],
    Case("scan: the longest due first", {"a": (line(), 2000), "b": (line(), DUE)}, ["scan", GRACE_MS, 1], ["now", 2, 2, "b", DUE, line()]),
]

# name: (what is taken out of the library, what stands there instead, the case that must see it)
WEAKER = {
    "a lease is held without its token": ("' ' .. token .. ' '\n  return line", "' '\n  return line", "finish: another token"),
    "a token matches by its beginning": ("token .. ' '\n  return line", "token\n  return line", "finish: a token's beginning"),
    "a renewal leaves the VM table alone": ("if #vms > 0", "if #vms < 0", "renew"),
    "a life has no end": ("math.min(now_ms + lease_ms, last)", "now_ms + lease_ms", "renew: beyond its life"),
    "contents are alike": ("content == its_content and", "true and", "claim: another's, running"),
    "an ended one's id is free": ("if state == 'told' or", "if state == 'told' or state == 'ended' or", "claim: another's, ended"),
    "attempts are not counted": ("attempt > max_attempts and", "false and", "claim: exhausted"),
    "one call grants twice": ("local before, line = granted[id], lines[n]", "local before, line = nil, lines[n]", "claim: twice in one call"),
    "taken before the grace": ("score + tonumber(ARGV[4]) < now_ms", "score < now_ms", "take: within the grace"),
    "taken with an old token": ("if field[3] == token and score", "if score", "take: claimed anew meanwhile"),
    "a line of another version hides leases": ("elseif not is_lease(line)", "elseif not string.find(line, lease)", "scan: a field more goes behind the leases"),
    "settled by anybody": ("field[2] == owner and field[3] == token", "field[3] == token", "settle: told of another reaper's"),
    "held in any state": ("or fields[n][1] == 'reaping'", "or true", "find: orphan"),
    "a stale entry stays": ("if #stale > 0", "if #stale < 0", "find: a stale entry"),
    "found on any host": ("field[14] == vm_id and field[5] == host", "field[14] == vm_id", "find: it runs on another host"),
    "a hold has no end": ("until_ms + grace_ms < now_ms and", "false and", "find: a hold that is over"),
    "a hold has no grace": ("until_ms + grace_ms < now_ms", "until_ms < now_ms", "find: a hold within the grace"),
    "a hold is no entry": ("local is_stale = until_ms and until_ms + stale_ms < now_ms", "local is_stale = until_ms", "find: a hold"),
    "let go by anybody": ("if whose == owner then", "if whose then", "let go: another's"),
    "noted for any attempt": ("field[14] == vm_id and", "", "note: another attempt's"),
}


class Table(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.redis = Redis()
        cls.addClassCleanup(cls.redis.close)
        cls.library = library()

    def run_case(self, case, redis, sha):
        redis("FLUSHALL")
        now = self.now(redis)
        scores = {NOT_DUE: now + 3600000, "just due": now - 1000}
        for task, lease in case.leases.items():
            text, score = lease if isinstance(lease, tuple) else (lease, 77)
            redis("SET", KEYS[1] + task, text)
            redis("ZADD", KEYS[0], scores.get(score, score), task)
        for vm_id, entry in case.vms.items():
            redis("HSET", KEYS[3] + "h1", vm_id, f"{now - 1000} w1.a" if entry == "just due" else entry)
        before = self.snapshot(redis)
        answer = redis("EVALSHA", sha, len(KEYS), *KEYS, *case.call)
        after, later = self.snapshot(redis), self.now(redis)
        self.check_answer(case, answer, (now, later), redis)
        self.check_table(after[1], before[1] if case.vms_after is None else case.vms_after, (now, later))
        if case.after is None:
            self.assertEqual(after[0], before[0], "nothing was to be changed")
        else:
            self.check_leases(case, after[0], (now, later), redis)

    @staticmethod
    def now(redis):
        seconds, micros = redis("TIME")
        return int(seconds) * 1000 + int(micros) // 1000

    @staticmethod
    def snapshot(redis):
        scores = redis("ZRANGE", KEYS[0], 0, -1, "WITHSCORES")
        scores = {task: int(score) for task, score in zip(scores[::2], scores[1::2])}
        vms = redis("HGETALL", KEYS[3] + "h1")
        tasks = [key[len(KEYS[1]):] for key in redis("KEYS", KEYS[1] + "*")]
        return {task: (redis("GET", KEYS[1] + task), scores.get(task)) for task in {*tasks, *scores}}, dict(zip(vms[::2], vms[1::2]))

    def check_answer(self, case, answer, span, redis):
        """What a worker's calls answer is a line for each lease."""
        answer = answer.split("\n") if isinstance(answer, str) else answer
        self.assertEqual(len(answer), len(case.answer), answer)
        tokens = []
        for said, expected in zip(answer, case.answer):
            if TOKEN in str(expected):
                at = expected.split(TOKEN)[0]
                self.assertTrue(str(said).startswith(at), said)
                tokens.append(int(str(said)[len(at):].split()[0]))
                self.assertEqual(str(said), expected.replace(TOKEN, str(tokens[-1])))
                self.assertGreaterEqual(tokens[-1], span[0] * 1000)
            elif expected == "now":
                self.assertTrue(span[0] <= said <= span[1], said)
            else:
                self.assertEqual(said, expected, answer)
        self.assertEqual(tokens, sorted(set(tokens)), "tokens grow")
        if tokens:
            self.assertEqual(int(redis("GET", KEYS[2])), tokens[-1], "the highest token is kept")

    def check_table(self, table, expected, span):
        for vm_id, entry in expected.items():
            if entry.startswith(TIME + " ") and vm_id in table:
                until, owner = table[vm_id].split(" ")
                self.assertTrue(span[0] + LEASE_MS <= int(until) <= span[1] + LEASE_MS, until)
                table = {**table, vm_id: f"{TIME} {owner}"}
        self.assertEqual(table, expected, "the VM table")

    def check_leases(self, case, leases, span, redis):
        self.assertEqual(set(leases), set(case.after))
        for task, expected in case.after.items():
            text, score = expected if isinstance(expected, tuple) else (expected, 77)
            self.check_score(leases[task][1], score, span)
            self.assertRegex(leases[task][0], self.pattern(text))
            if TOKEN in text:
                self.assertLessEqual(int(leases[task][0].split()[2]), int(redis("GET", KEYS[2])))
            if " now " in text:
                self.assertTrue(span[0] <= int(leases[task][0].split()[6]) <= span[1])
            if "an end" in text:
                self.assertTrue(span[0] + FAR <= int(leases[task][0].split()[6]) <= span[1] + FAR)

    def check_score(self, score, expected, span):
        ahead = {"now": 0, TIME: LEASE_MS, "in a minute": 60000, "three leases": 3 * LEASE_MS}
        if expected in ahead:
            self.assertTrue(span[0] + ahead[expected] <= score <= span[1] + ahead[expected], f"{score} is not {expected}")
        else:
            self.assertEqual(score, expected)

    @staticmethod
    def pattern(text):
        text = re.escape(text)
        for word in (TOKEN, "an end", "now"):
            text = re.sub(rf"(?<![\w]){re.escape(re.escape(word))}(?![\w])", "[0-9]+", text)
        return f"^{text}$"

    def run_table(self, redis, text):
        """The cases that fail."""
        sha, failed = redis("SCRIPT", "LOAD", text), {}
        for case in CASES:
            try:
                self.run_case(case, redis, sha)
            except AssertionError as e:
                failed[case.about] = str(e)
        return failed

    def test_every_case(self):
        self.assertEqual(self.run_table(self.redis, self.library), {})
        self.assertEqual(len({case.about for case in CASES}), len(CASES), "names of cases")

    def test_in_a_cluster(self):
        cluster = Redis("--cluster-enabled", "yes")
        self.addCleanup(cluster.close)
        cluster("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        end = time.monotonic() + 60
        while "cluster_state:ok" not in cluster("CLUSTER", "INFO"):
            self.assertLess(time.monotonic(), end)
            time.sleep(0.05)
        self.assertEqual(self.run_table(cluster, self.library), {})

    def test_a_weaker_library_is_seen(self):
        for name, (strong, weak, about) in WEAKER.items():
            with self.subTest(name):
                self.assertIn(strong, self.library)
                failed = self.run_table(self.redis, self.library.replace(strong, weak))
                self.assertTrue(any(case.startswith(about) for case in failed), f"{about}: {failed}")

    def test_a_function_that_is_none(self):
        with self.assertRaisesRegex(AssertionError, "the lease library has no function nothing"):
            self.redis("EVAL", self.library, len(KEYS), *KEYS, "nothing")

    def test_tokens(self):
        """They grow when Redis forgot the highest, and when its clock went back."""
        sha = self.redis("SCRIPT", "LOAD", self.library)
        ahead = self.now(self.redis) * 1000 + 31536000000000
        self.redis("FLUSHALL")
        first = self.redis("EVALSHA", sha, len(KEYS), *KEYS, *claims(claim())).split()[1]
        self.redis("FLUSHALL")
        self.assertGreater(int(self.redis("EVALSHA", sha, len(KEYS), *KEYS, *claims(claim())).split()[1]), int(first))
        self.redis("SET", KEYS[2], ahead)
        answer = self.redis("EVALSHA", sha, len(KEYS), *KEYS, *claims(claim("b"), claim("c")))
        self.assertEqual(answer, f"claimed {ahead + 1} 1\nclaimed {ahead + 2} 1")
        for ahead in (2**53 - 3, 1999999999999999):  # a line has all their digits
            self.redis("SET", KEYS[2], ahead)
            self.assertEqual(self.redis("EVALSHA", sha, len(KEYS), *KEYS, *claims(claim(f"at-{ahead}"))), f"claimed {ahead + 1} 1")

    def test_tidying_goes_through_a_large_table(self):
        sha = self.redis("SCRIPT", "LOAD", self.library)
        self.redis("FLUSHALL")
        for i in range(2000):
            self.redis("HSET", KEYS[3] + "h1", f"vm-{i}", f"task-{i}")
        self.redis("HSET", KEYS[3] + "h1", "vm-held", f"{FAR} w1.a")
        self.redis("SET", KEYS[1] + "task-7", line(vm="vm-7"))
        cursor, calls = "0", 0
        while calls == 0 or cursor != "0":
            cursor, = self.redis("EVALSHA", sha, len(KEYS), *KEYS, "find", "h1", GRACE_MS, cursor)
            calls += 1
        table = self.redis("HGETALL", KEYS[3] + "h1")
        self.assertEqual(dict(zip(table[::2], table[1::2])), {"vm-7": "task-7", "vm-held": f"{FAR} w1.a"})
        self.assertGreater(calls, 5)

    def rights(self, without=""):
        """The page's words for a worker."""
        with open(os.path.join(REPO, "docs", "operations.md"), encoding="utf-8") as f:
            rule = re.search(r"^user worker on #<[^>]*> (.*)$", f.read(), re.M)[1]
        return [word for word in rule.split() if word != without]

    def run_as_user(self, words):
        self.redis("ACL", "SETUSER", "user", "reset", "on", ">pass", *words)
        sha = self.redis("SCRIPT", "LOAD", self.library)
        user = Redis.__new__(Redis)
        user.socket = socket.create_connection(("127.0.0.1", self.redis.port), 20)
        user.file = user.socket.makefile("rb")
        try:
            user("AUTH", "user", "pass")
            return self.table_as(user, sha)
        finally:
            user.file.close()
            user.socket.close()

    def table_as(self, user, sha):
        """Everything but the calls is done by the default user."""
        def either(*words):
            return (user if words[0] == "EVALSHA" else self.redis)(*words)

        failed = []
        for case in CASES:
            try:
                self.run_case(case, either, sha)
            except AssertionError:
                failed.append(case.about)
        return failed

    def test_the_pages_rights_are_enough_and_needed(self):
        self.assertEqual(self.run_as_user(self.rights()), [])
        other = {"+auth", "+eval", "+script|load", "+info"}  # of the connection, not of the library
        for word in self.rights():
            if word[0] == "+" and word not in other:
                self.assertNotEqual(self.run_as_user(self.rights(without=word)), [], word)


if __name__ == "__main__":
    unittest.main(verbosity=2)
