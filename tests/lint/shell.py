#!/usr/bin/python3
"""shellcheck over every bash script that is committed, those that are sourced included, and a compile of every Python file. With --self-test: is a planted bug
caught?"""
import os
import subprocess
import sys
import tempfile

REPO = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
GIT = ["git", "-c", f"safe.directory={REPO}"]  # also in a tree of another user


# Variables of a sourced file (1090, 1091, 2154); lists of words on purpose (2046); paths that were just made (2115).
SWITCHED_OFF = ["SC1090", "SC1091", "SC2154", "SC2046", "SC2115"]


def shellcheck(paths):
    return subprocess.run(["shellcheck", "-s", "bash", "-S", "warning", "-e", ",".join(SWITCHED_OFF), *paths], check=False, cwd=REPO).returncode


def scripts():
    names = subprocess.run([*GIT, "ls-files", "-z"], cwd=REPO, check=True, capture_output=True).stdout.decode().split("\0")
    for name in filter(None, names):
        path = os.path.join(REPO, name)
        if os.path.isfile(path) and not os.path.islink(path):
            with open(path, "rb") as f:
                first = f.readline(80)
            yield path, first


def is_shell(path, first):
    return first.startswith((b"#!/bin/bash", b"#!/usr/bin/env bash", b"#!/bin/sh")) or path.endswith(".sh")


def main():
    if sys.argv[1:] == ["--self-test"]:
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "planted.sh")
            with open(path, "w", encoding="ascii") as f:
                f.write("cd $1\nrm -rf $2/*\nread x\n[ $x = a ] && echo ${undefined_variable}\nlocal y=1\n")
            return 0 if is_shell(path, b"cd $1\n") and shellcheck([path]) != 0 else 1
    shell, python = [], []
    for path, first in scripts():
        if is_shell(path, first):
            shell.append(path)
        elif path.endswith(".py") or first.startswith(b"#!/usr/bin/python3"):
            python.append(path)
    bad = shellcheck(shell)
    for path in python:
        with open(path, encoding="utf-8") as f:
            compile(f.read(), path, "exec")
    print(f"{len(shell)} shell scripts, {len(python)} Python files")
    return bad or not shell or not python


sys.exit(main())
