#!/usr/bin/python3
"""What lib/base/logfmt.c asks of the formats of log lines: fields of key=value, one space between two, quotes in pairs and around whole
values, no conversion that it does not know, no text that is not literal. With --self-test: is each of these caught?"""
import os
import re
import subprocess
import sys

REPO = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CALL = re.compile(r"\blog_(?:debug|info|warn|error|event)\(")
STRING = re.compile(r'"((?:[^"\\]|\\.)*)"\s*')
CONVERSION = r"%(?:(?:\.\*)?s|(?:hh|h|ll|l|z)?[diux]|c|%)"
BARE, QUOTED = rf"(?:{CONVERSION}|[^\s\"%=\\])+", rf"\"(?:{CONVERSION}|[^\"%\\])*\""
FIELDS = re.compile(rf"[a-z0-9_]+=(?:{BARE}|{QUOTED})(?: [a-z0-9_]+=(?:{BARE}|{QUOTED}))*")


def arguments(text, at):
    """The text of a call's arguments, from behind its bracket on."""
    depth, end, is_string = 1, at, False
    while depth:
        c = text[end]
        if is_string:
            end += c == "\\"
            is_string = c != '"'
        elif c == '"':
            is_string = True
        depth += 0 if is_string else (c == "(") - (c == ")")
        end += 1
    return text[at:end - 1]


def flaws(path, text):
    for call in CALL.finditer(text):
        given = arguments(text, call.end())
        if call.group(0) == "log_event(":
            given = given.partition(",")[2].strip()
        where = f"{path}:{text.count(chr(10), 0, call.start()) + 1}"
        event = STRING.match(given)
        rest = given[event.end():].lstrip(", \n\t") if event else ""
        literal = ""
        while (piece := STRING.match(rest)):
            literal += piece.group(1)
            rest = rest[piece.end():]
        if not event or not re.fullmatch(r"[a-z.]+", event.group(1)) or (rest and not rest.startswith(",")):
            yield f"{where}: event and format of a log line are literal text"
        elif not FIELDS.fullmatch(literal.replace('\\"', '"')):
            yield f"{where}: not key=value fields of logfmt: {literal}"


def main():
    if sys.argv[1:] == ["--self-test"]:
        bad = ['log_info("a", text);', "log_info(name, \"a=%d\", 1);", r'log_info("a", "a=%f", 1);',
               r'log_warn("a", "some text");', r'log_error("a", "a=1  b=2");', r'log_debug("a", "a=\"%s");', r'log_info("a", "a=%#x", 1);']
        good = [r'log_info("a.b", "id=%s message=\"%s: (%.*s)\" n=%llu", f(x), "a", 1, y, n);', r'log_event(l, "a", "a=0x%x", 1);']
        missed = [text for text in bad if not list(flaws("x.c", text))]
        wrong = [text for text in good if list(flaws("x.c", text))]
        print("\n".join(missed + wrong) or "every breach was seen")
        return 1 if missed or wrong else 0
    names = subprocess.run(["git", "-c", f"safe.directory={REPO}", "ls-files", "*.c"], cwd=REPO, check=True, capture_output=True, text=True)
    found = []
    for name in names.stdout.split():
        if name in ("lib/base/log.c", "tests/unit/log_test.c"):
            continue
        with open(os.path.join(REPO, name), encoding="utf-8") as f:
            found += flaws(name, f.read())
    print("\n".join(found) or "log lines are as they should be")
    return 1 if found else 0


sys.exit(main())
