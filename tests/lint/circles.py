#!/usr/bin/python3
"""Does the picture of includes have a circle: of files, of modules, or of folders? With --self-test: is each kind caught?

A module is a header and the .c files whose own header it is: the first one that they include, of their own folder. Where a module
has a header for its own files alone, that is their own one, and the one for others is included by it. A file with a
main() is a module of its own. A folder includes another when one of its files does."""
import os
import re
import subprocess
import sys

REPO = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
GIT = ["git", "-c", f"safe.directory={REPO}"]  # also in a tree of another user
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.M)
MAIN = re.compile(r"^(?:int\s+main\(|int\n+main\()", re.M)


def includes(files):
    """path -> the paths of `files` that it includes, in order."""
    return {path: [found for name in INCLUDE.findall(text)
                   if (found := next((p for p in ("lib/" + name, name, os.path.join(os.path.dirname(path), name)) if p in files), None))]
            for path, text in files.items()}


def module_of(path, text, included):
    """The header whose declarations the file defines, else the file itself."""
    own = included[0] if included else None
    if path.endswith(".c") and own and os.path.dirname(own) == os.path.dirname(path) and not MAIN.search(text):
        return own
    return path


def folder_of(path):
    return os.path.dirname(path)


def merge(edges, name_of):
    merged = {}
    for path, targets in edges.items():
        merged.setdefault(name_of(path), set()).update(name_of(t) for t in targets)
    return {name: targets - {name} for name, targets in merged.items()}


def circles(edges):
    """Sets of names that reach each other (strongly connected components of more than one)."""
    def reach(start):
        seen, todo = set(), [start]
        while todo:
            for target in edges.get(todo.pop(), ()):
                if target not in seen:
                    seen.add(target)
                    todo.append(target)
        return seen

    reached = {name: reach(name) for name in edges}
    found = {frozenset(other for other in reached[name] if name in reached.get(other, ())) for name in edges if name in reached[name]}
    return sorted(sorted(circle) for circle in found)


def shortest(edges, circle):
    """One way around a circle, as text."""
    start, inside = circle[0], set(circle)
    ways = [[start]]
    for way in ways:
        for target in sorted(edges[way[-1]] & inside):
            if target == start:
                return " -> ".join([*way, start])
            if target not in way:
                ways.append([*way, target])
    return " -> ".join(circle)


def flaws(files):
    edges = includes(files)
    modules = {path: module_of(path, text, edges[path]) for path, text in files.items()}
    pictures = (("files", {p: set(t) for p, t in edges.items()}), ("modules", merge(edges, modules.get)), ("folders", merge(edges, folder_of)))
    for kind, picture in pictures:
        for circle in circles(picture):
            yield f"{kind} in a circle: {shortest(picture, circle)} ({len(circle)} together: {', '.join(circle)})"


def tree():
    names = subprocess.run([*GIT, "ls-files", "-co", "--exclude-standard", "*.c", "*.h"], cwd=REPO, check=True, capture_output=True, text=True)
    files = {}
    for name in names.stdout.split():
        if os.path.exists(os.path.join(REPO, name)):
            with open(os.path.join(REPO, name), encoding="utf-8") as f:
                files[name] = f.read()
    return files


def self_test():
    def say(*names):
        return "".join(f'#include "{name}"\n' for name in names)

    headers = {"w/a.h": say("w/b.h"), "w/b.h": say("w/c.h"), "w/c.h": say("w/a.h")}
    pair = {"w/a.h": "", "w/a.c": say("w/a.h", "w/b.h"), "w/b.h": "", "w/b.c": say("w/b.h", "w/a.h")}
    part = {"w/a.h": "", "w/a.c": say("w/a.h", "w/b.h"), "w/b.h": "", "w/b_rest.c": say("w/b.h", "w/a.h")}
    rooms = {"lib/x/a.h": say("y/a.h"), "lib/y/a.h": "", "lib/y/b.h": say("x/b.h"), "lib/x/b.h": ""}
    sound = {"w/a.h": "", "w/a.c": say("w/a.h", "w/b.h"), "w/b.h": "", "w/b.c": say("w/b.h"), "w/main.c": say("w/a.h", "w/b.h") + "int main(void)\n",
             "tests/unit/t.c": say("w/a.h", "tests/support/s.h"), "tests/support/s.h": ""}
    caught = [("files", headers), ("modules", headers), ("modules", pair), ("modules", part), ("folders", rooms)]
    missed = [kind for kind, files in caught if not any(flaw.startswith(kind) for flaw in flaws(files))]
    return 0 if not missed and not list(flaws(sound)) else 1


def main():
    if sys.argv[1:] == ["--self-test"]:
        return self_test()
    found = list(flaws(tree()))
    print("\n".join(found) or "no circle of files, modules or folders")
    return 1 if found else 0


sys.exit(main())
