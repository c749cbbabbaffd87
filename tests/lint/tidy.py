#!/usr/bin/python3
"""clang-tidy over every C file of ours, two at a time: tidy.py BUILD_DIR (with compile_commands.json). With --self-test: is a
planted bug caught?"""
import concurrent.futures
import json
import os
import subprocess
import sys
import tempfile

REPO = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PLANTED = "int planted(int *p);\nint planted(int *p)\n{\n\tif (*p);\n\t\treturn 1;\n\treturn 0;\n}\n"


def tidy(build, path):
    done = subprocess.run(["clang-tidy", "--quiet", f"--config-file={REPO}/.clang-tidy", "-p", build, path], capture_output=True,
                          text=True, check=False)
    return path, done.returncode, done.stdout


def self_test():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "planted.c")
        with open(path, "w", encoding="ascii") as f:
            f.write(PLANTED)
        with open(os.path.join(folder, "compile_commands.json"), "w", encoding="ascii") as f:
            json.dump([{"directory": folder, "file": path, "command": f"clang -c {path}"}], f)
        return 0 if tidy(folder, path)[1] != 0 else 1


def main():
    if sys.argv[1] == "--self-test":
        return self_test()
    build = sys.argv[1]
    commands = os.path.join(build, "compile_commands.json")
    if not os.path.exists(commands):
        print(f"{commands} is not there; make it: cmake --preset clang && cmake --build --preset clang")
        return 1
    with open(commands, encoding="utf-8") as f:
        files = sorted({os.path.realpath(os.path.join(c["directory"], c["file"])) for c in json.load(f)})
    files = [f for f in files if f.startswith(REPO + "/")]
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for path, code, out in pool.map(lambda p: tidy(build, p), files):
            if code:
                failed += 1
                print(f"{os.path.relpath(path, REPO)}:\n{out}")
    print(f"clang-tidy: {len(files)} files, {failed} with findings")
    return 1 if failed or not files else 0


sys.exit(main())
