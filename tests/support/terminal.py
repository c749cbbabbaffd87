"""A terminal for a command, and what the command has written there."""
import os
import pty
import select
import subprocess

from cli import MAYFLY, environment

SILENT_S = 120  # what says nothing for so long hangs


class Terminal:
    """A command that has a terminal, and what it has written there."""

    def __init__(self, fleet, *args, **env):
        self.fd, other = pty.openpty()
        self.process = subprocess.Popen([MAYFLY, *args], stdin=other, stdout=other, stderr=other,
                                        env=environment(fleet, **{"TERM": "xterm", "NO_COLOR": "", **env}))
        os.close(other)
        self.seen = b""

    def read(self, until=None):
        """What it has written until there, or until its end."""
        while until is None or until not in self.seen:
            if not select.select([self.fd], [], [], SILENT_S)[0]:
                raise AssertionError(f"nothing came for {SILENT_S} s after {self.seen}")
            try:
                self.seen += os.read(self.fd, 4096)
            except OSError:  # EIO: nobody has the other side any more
                break
        return self.seen

    def end(self):
        self.process.kill()
        self.process.wait()
        os.close(self.fd)
