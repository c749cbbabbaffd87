"""What tests of the command on a queue start from: one worker that runs nothing (null VMM) for the whole class."""
import json

from case import OneFleet
from cli import mayfly

RESULT_KEYS = set(("v id kind outcome ran exit_code signal stdout stderr timings_ms isolation key_destroyed message field files labels "
                   "host attempt usage stdout_bytes stderr_bytes stdout_sha256 stdout_truncated "
                   "stdout_encoding stderr_encoding").split())


def lines_of(text):
    return [json.loads(line) for line in text.splitlines()]


def task(**fields):
    return json.dumps({"image": "base", "argv": ["true"], **fields}) + "\n"


def end(process):
    if process.poll() is None:
        process.kill()
        process.communicate()


class QueueCase(OneFleet):
    shared_settings = {"vmm": "null", "allow_null_vmm": "yes", "slots": 50}

    def mayfly(self, *args, code=0, **more):
        done = mayfly(self.shared, *args, **more)
        self.assertEqual(done.returncode, code, done.stderr.decode())
        return done
