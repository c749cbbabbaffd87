"""The mayfly command as a user has it, against a Fleet of a test."""
import os
import subprocess

import stack

MAYFLY = os.path.join(stack.BUILD, "tools", "mayfly")


def environment(fleet=None, **more):
    env = {**os.environ, "LC_ALL": "C.UTF-8", **more}
    if fleet:
        env.update(MAYFLY_BROKERS=fleet.services.brokers, MAYFLY_REDIS=f"127.0.0.1:{fleet.services.redis_port}",
                   MAYFLY_PREFIX=fleet.name, MAYFLY_STATE=fleet.state)
    return env


def mayfly(fleet, *args, stdin=b"", stdout=subprocess.PIPE, seconds=180, cwd=None, **env):
    """Runs it to its end; the answer has returncode, stdout, stderr (bytes)."""
    return subprocess.run([MAYFLY, *map(str, args)], input=stdin, stdout=stdout, stderr=subprocess.PIPE, timeout=seconds,
                          check=False, cwd=cwd, env=environment(fleet, **env))


def begin(fleet, *args, cwd=None):
    """Starts it with pipes, unbuffered: what readline() leaves is there for communicate()."""
    return subprocess.Popen([MAYFLY, *map(str, args)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            bufsize=0, cwd=cwd, env=environment(fleet))
