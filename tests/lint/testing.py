#!/usr/bin/python3
"""Does docs/testing.md name the tests that are there: no other, and each of component, host and e2e? With --self-test: are planted
breaches caught?"""
import os
import re
import subprocess
import sys

REPO = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
GIT = ["git", "-c", f"safe.directory={REPO}"]  # also in a tree of another user
PAGE = "docs/testing.md"
FOREACH = re.compile(r"foreach\((\w+) ([^)]*)\)\n(.*?)endforeach\(\)", re.S)
NAMED = re.compile(r"(mayfly_test|mayfly_e2e|fuzz_target|add_test)\((?:NAME )?([\w${}]+)")
PREFIX = {"mayfly_e2e": "e2e_", "fuzz_target": "fuzz_"}
FUNCTION = re.compile(r"(?:def |static void )(test_\w+)\(")
CODE = re.compile(r"`([^`\n]+)`")
TEST = re.compile(r"test_\w+|\w+_(?:test|suite|fuzz|can_fail)|(?:e2e|fuzz)_\w+|vectors|agreement")
MUST_BE_NAMED = ("component", "host", "e2e")


def ctest_names(cmake):
    """What a CMakeLists.txt of tests registers."""
    def expand(match):
        return "".join(match.group(3).replace("${%s}" % match.group(1), value) for value in match.group(2).split())

    while FOREACH.search(cmake):
        cmake = FOREACH.sub(expand, cmake)
    found = {PREFIX.get(kind, "") + name for kind, name in NAMED.findall(cmake)}
    return {name for name in found if "$" not in name}


def flaws(page, ctests, functions, wanted):
    said = {word for span in CODE.findall(page) for word in [span.strip()] if TEST.fullmatch(word)}
    yield from (f"{PAGE}: names '{name}', which is no test" for name in sorted(said - ctests - functions))
    yield from (f"{PAGE}: does not name '{name}'" for name in sorted(wanted - said))


def read(path):
    with open(os.path.join(REPO, path), encoding="utf-8") as f:
        return f.read()


def main():
    if sys.argv[1:] == ["--self-test"]:
        cmake = "foreach(x a b)\n\tadd_test(NAME ${x}_test COMMAND y)\nendforeach()\nmayfly_e2e(c TIMEOUT 1)\n"
        names = ctest_names(cmake)
        bad = list(flaws("`a_test`, `e2e_c`, `test_gone`, `d_suite`", names, {"test_there"}, names))
        good = list(flaws("`a_test`, `b_test`, `e2e_c`: `test_there`, `tests/run`", names, {"test_there"}, names))
        return 0 if names == {"a_test", "b_test", "e2e_c"} and len(bad) == 3 and not good else 1
    folders = {kind: ctest_names(read(f"tests/{kind}/CMakeLists.txt")) for kind in ("unit", "fuzz", *MUST_BE_NAMED)}
    sources = subprocess.run([*GIT, "ls-files", "-co", "--exclude-standard", "tests/*.c", "tests/*.py"], cwd=REPO, check=True,
                             capture_output=True, text=True).stdout.split()
    functions = {name for path in sources if os.path.exists(os.path.join(REPO, path)) for name in FUNCTION.findall(read(path))}
    found = list(flaws(read(PAGE), set().union(*folders.values()), functions, set().union(*(folders[kind] for kind in MUST_BE_NAMED))))
    print("\n".join(found) or f"{PAGE} names the tests that are there")
    return 1 if found else 0


sys.exit(main())
