#!/usr/bin/python3
"""cppcheck over our C: cppcheck.py. With --self-test: is a planted bug caught?"""
import os
import subprocess
import sys
import tempfile

REPO = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ROOMS = ["lib", "lane", "worker", "reaper", "jail", "guest/agent", "tools"]
# What cppcheck cannot know: the cleanup attribute frees (memleak, resourceLeak), headers of libraries are not given to it.
SUPPRESSED = ["memleak", "resourceLeak", "missingInclude", "missingIncludeSystem", "unknownMacro", "normalCheckLevelMaxBranches",
              "unmatchedSuppression", "uninitvar:*/worker/intake.c", "uninitvar:*/worker/pool_give_up.c"]  # the last two: it does not see through TAILQ_FOREACH


def check(paths):
    command = ["cppcheck", "-j2", "--enable=warning,portability", "--inline-suppr", "--error-exitcode=1", "--quiet", "--std=c11",
               "-D_GNU_SOURCE", "-DCAP_LAST_CAP=40", f"-I{REPO}", f"-I{REPO}/lib", *(f"--suppress={s}" for s in SUPPRESSED), *paths]
    return subprocess.run(command, check=False).returncode


def main():
    if sys.argv[1:] == ["--self-test"]:
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "planted.c")
            with open(path, "w", encoding="ascii") as f:
                f.write("int planted(void)\n{\n\tint a[2] = { 0, 1 };\n\treturn a[2];\n}\n")
            return 0 if check([path]) != 0 else 1
    return check([os.path.join(REPO, room) for room in ROOMS])


sys.exit(main())
