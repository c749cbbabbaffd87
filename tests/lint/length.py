#!/usr/bin/python3
"""Is a file of code too long to be one room? With --self-test: is one line too many caught?"""
import os
import subprocess
import sys

REPO = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
GIT = ["git", "-c", f"safe.directory={REPO}"]  # also in a tree of another user
MAX_LINES = 500
CODE = (".c", ".h", ".py", ".lua", ".sh", ".cmake", "CMakeLists.txt")


def is_code(path, text):
    return path.endswith(CODE) or text.startswith("#!")


def flaws(files):
    for path, text in files:
        n = text.count("\n")
        if is_code(path, text) and n > MAX_LINES:
            yield f"{path}: {n} lines, at most {MAX_LINES} are wanted: which second thing in it wants a file of its own?"


def tree():
    names = subprocess.run([*GIT, "ls-files", "-co", "--exclude-standard", "-z"], cwd=REPO, check=True, capture_output=True).stdout
    for name in filter(None, names.decode().split("\0")):
        path = os.path.join(REPO, name)
        if os.path.isfile(path) and not name.startswith("tests/fuzz/corpus/"):
            with open(path, "rb") as f:
                yield name, f.read().decode("utf-8", "replace")


def main():
    if sys.argv[1:] == ["--self-test"]:
        long = "\n" * (MAX_LINES + 1)
        bad = [("a.c", long), ("b.py", long), ("tools/script", "#!/bin/sh" + long), ("lib/CMakeLists.txt", long)]
        good = [("a.c", long[1:]), ("d.json", long), ("e.md", long)]
        return 0 if len(list(flaws(bad))) == len(bad) and not list(flaws(good)) else 1
    found = list(flaws(tree()))
    print("\n".join(found) or f"no file of code has more than {MAX_LINES} lines")
    return 1 if found else 0


sys.exit(main())
