#!/usr/bin/python3
"""What the documents say exists: every path and link, every command of ours with its options, every preset. With --self-test:
are planted breaches caught?"""
import glob
import json
import os
import re
import subprocess
import sys

REPO = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
GIT = ["git", "-c", f"safe.directory={REPO}"]  # also in a tree of another user
DOCUMENTS = ["README.md", "CONTRIBUTING.md", "docs/architecture.md", "docs/operations.md", "docs/benchmarks.md"]
MOST_LINES = {"docs/architecture.md": 200, "CONTRIBUTING.md": 60}
CODE = re.compile(r"```\w*\n(.*?)```|`([^`\n]+)`", re.S)
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")
ROOMS = ("lib/", "lane/", "worker/", "reaper/", "guest/", "jail/", "schemas/", "tools/", "tests/", "docs/", "deploy/", "cmake/", ".ci/")
PATH = re.compile(r"(?<![\w/.<-])((?:%s)[\w./*{},<>-]*)" % "|".join(map(re.escape, ROOMS)))
SUDO = re.compile(r"\bsudo +(?:mayfly\b|\S*[/.$-])")  # a command to be typed; a bare Debian has no sudo, so they are written for root
SAID = ["tests/run", "tools/quickstart", "tools/bench", "tools/install-deps", *sorted(glob.glob("tools/*.c", root_dir=REPO))]
MAYFLY = re.compile(r"(?:^|[\s|/;(])mayfly +((?:--\w+ +\S+ +)*)(\w+)([^\n|]*)")
BRACES = re.compile(r"(.*)\{([^{}]*)\}(.*)")


def expand(path):
    found = BRACES.fullmatch(path)
    if not found:
        return [path]
    return [whole for part in found.group(2).split(",") for whole in expand(found.group(1) + part + found.group(3))]


def is_there(path):
    return bool(glob.glob(os.path.join(REPO, path.rstrip("/."))))


def presets():
    with open(os.path.join(REPO, "CMakePresets.json"), encoding="ascii") as f:
        return {p["name"] for p in json.load(f)["configurePresets"]}


def usage_of(command):
    """The usage texts that a subcommand prints, from the sources, so that nothing has to be built; empty if there is none."""
    path = os.path.join(REPO, "tools", f"cmd_{command}.c")
    if not os.path.exists(path):
        return ""
    with open(path, encoding="utf-8") as f:
        source = f.read()
    shared = ["target.c"] + (["order.h"] if '"tools/order.h"' in source else [])
    for name in shared:
        with open(os.path.join(REPO, "tools", name), encoding="utf-8") as f:
            source += f.read()
    return source


def command_flaws(name, code):
    for _, command, rest in MAYFLY.findall(code):
        usage = usage_of(command)
        if not usage:
            yield f"{name}: `mayfly {command}`: there is no tools/cmd_{command}.c"
        for option in re.findall(r"(?<!\S)--([a-z][\w-]*)", rest.split(" -- ")[0]):
            if usage and f"--{option}" not in usage:
                yield f"{name}: `mayfly {command}` has no option --{option}"
    for script, rest in re.findall(r"(?:^|\s)((?:tools|tests)/(?:quickstart|run|install-deps|bench)\b(?!/))([^\n]*)", code):
        with open(os.path.join(REPO, script), encoding="utf-8") as f:
            text = f.read()
        for option in re.findall(r"(?<!\S)--([a-z][\w-]*)", rest):
            if f"--{option}" not in text:
                yield f"{name}: {script} has no option --{option}"
    for preset in re.findall(r"--preset[ =](\w+)", code):
        if preset not in presets():
            yield f"{name}: there is no preset {preset}"


def flaws(name, text):
    if text.count("\n") >= MOST_LINES.get(name, 1000):
        yield f"{name}: {text.count(chr(10))} lines, at most {MOST_LINES[name]} are wanted"
    for target in LINK.findall(text):
        if not is_there(os.path.join(os.path.dirname(name), target)):
            yield f"{name}: links to '{target}', which is not there"
    for block, span in CODE.findall(text):
        code = block or span
        for path in PATH.findall(code):
            yield from (f"{name}: names '{p}', which is not there" for p in expand(re.sub("<[^>]*>", "*", path).rstrip(".,"))
                        if not is_there(p))
        yield from command_flaws(name, code)
    yield from sudo_flaws(name, text)


def sudo_flaws(name, text):
    for found in SUDO.finditer(text):
        yield f"{name}: '{found.group(0)}...': write commands without sudo, which a bare Debian lacks"


def main():
    if sys.argv[1:] == ["--self-test"]:
        bad = ["`tools/no-such-tool`", "`lib/wire/task.{c,nope}`", "```sh\nmayfly frobnicate\n```", "`mayfly run --no-such -- true`",
               "`tests/run --no-such`", "as root: `sudo tests/run`", "`cmake --preset nope`", "[x](no/such.md)"]
        found = [list(flaws("README.md", text)) for text in bad]
        print(found)
        return 0 if all(len(f) == 1 for f in found) else 1
    tracked = subprocess.run([*GIT, "ls-files", "*.md"], cwd=REPO, check=True, capture_output=True, text=True).stdout.split()
    documents = DOCUMENTS + [d for d in tracked if d.startswith("docs/decisions/")]
    found = []
    for name in documents:
        with open(os.path.join(REPO, name), encoding="utf-8") as f:
            found += flaws(name, f.read())
    for name in SAID:
        with open(os.path.join(REPO, name), encoding="utf-8") as f:
            found += sudo_flaws(name, f.read())
    print("\n".join(found) or f"{len(documents)} documents say what is there")
    return 1 if found else 0


sys.exit(main())
