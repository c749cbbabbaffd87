#!/usr/bin/python3
"""What no committed file may be called or hold. With --self-test: is each of these caught?"""
import os
import re
import subprocess
import sys

REPO = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
GIT = ["git", "-c", f"safe.directory={REPO}"]  # also in a tree of another user
BAD_NAME = re.compile(r"(^|/)(utils?|common|misc|helpers?|manager)(/|\.|$)")
# Split, so that this file does not name what it looks for.
LEFT_OPEN = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b")
MACHINE = re.compile(r"/wor" r"k/(main|shared|\.library)")
REGISTRY = re.compile(r"(registry\.npmjs|repo\.maven|repo1\.maven|pypi\.org|deb\.debian|crates\.io/api)")


def flaws(files):
    for path, text in files:
        if BAD_NAME.search(path):
            yield f"{path}: a name that does not say what it is for"
        if not path.endswith((".md", ".json")) and LEFT_OPEN.search(text):
            yield f"{path}: something is left open: {LEFT_OPEN.search(text).group(0)}"
        if MACHINE.search(text):
            yield f"{path}: names a path of somebody's machine"
        if REGISTRY.search(text):
            yield f"{path}: names a registry's host"


def tree():
    """(path, text) of every committed file; the text of binary ones is empty."""
    names = subprocess.run([*GIT, "ls-files", "-z"], cwd=REPO, check=True, capture_output=True).stdout
    for name in filter(None, names.decode().split("\0")):
        path = os.path.join(REPO, name)
        if not os.path.isfile(path):
            continue
        with open(path, "rb") as f:
            content = f.read()
        is_text = b"\0" not in content and not name.startswith("tests/fuzz/corpus/")
        yield name, content.decode("utf-8", "replace") if is_text else ""


def main():
    if sys.argv[1:] == ["--self-test"]:
        bad = [("lib/utils.c", ""), ("a/b.c", "// TO" "DO\n"), ("tools/script", "# FIX" "ME\n"), ("c.md", "/wor" "k/main"), ("d.json", "pypi" ".org")]
        return 0 if len(list(flaws(bad))) == len(bad) else 1
    found = list(flaws(tree()))
    print("\n".join(found) or "names and contents are as they should be")
    return 1 if found else 0


sys.exit(main())
