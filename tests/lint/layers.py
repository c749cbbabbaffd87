#!/usr/bin/python3
"""Does every #include "..." keep to cmake/layers.txt? With --self-test: is a forbidden one caught?"""
import os
import re
import subprocess
import sys

REPO = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
GIT = ["git", "-c", f"safe.directory={REPO}"]  # also in a tree of another user
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.M)


def read_layers():
    layers = {}
    with open(os.path.join(REPO, "cmake", "layers.txt"), encoding="ascii") as f:
        for line in f:
            if line.strip() and not line.startswith("#"):
                name, _, allowed = line.partition(":")
                layers[name] = set(allowed.split()) | {name}
    return layers


def layer_of(path, layers):
    """The longest layer that is a prefix of the path."""
    fits = [name for name in layers if path.startswith(name + "/")]
    return max(fits, key=len) if fits else None


def flaws(files, layers):
    for path, text in files:
        mine = layer_of(path, layers)
        if mine is None:
            yield f"{path}: no layer; add its folder to cmake/layers.txt"
            continue
        for include in INCLUDE.findall(text):
            beside = os.path.join(os.path.dirname(path), include)
            rooted = next((p for p in ("lib/" + include, include, beside) if os.path.exists(os.path.join(REPO, p))), None)
            theirs = layer_of(rooted, layers) if rooted else None
            if theirs is None:
                yield f'{path}: "{include}" is not a file of any layer'
            elif theirs not in layers[mine]:
                yield f'{path}: layer {mine} may not include "{include}" of layer {theirs}'


def tree():
    names = subprocess.run([*GIT, "ls-files", "*.c", "*.h"], cwd=REPO, check=True, capture_output=True, text=True)
    for name in names.stdout.split():
        if os.path.exists(os.path.join(REPO, name)):
            with open(os.path.join(REPO, name), encoding="utf-8") as f:
                yield name, f.read()


def main():
    layers = read_layers()
    if sys.argv[1:] == ["--self-test"]:
        bad = [("lib/base/x.c", '#include "wire/task.h"\n'), ("lib/wire/x.c", '#include "worker/job.h"\n'),
               ("elsewhere/x.c", ""), ("lib/base/y.c", '#include "no/such.h"\n')]
        return 0 if len(list(flaws(bad, layers))) == len(bad) else 1
    found = list(flaws(tree(), layers))
    print("\n".join(found) or "every include keeps to the layers")
    return 1 if found else 0


sys.exit(main())
