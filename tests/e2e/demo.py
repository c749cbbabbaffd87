#!/usr/bin/python3
"""The demo of tools/quickstart does what it says; and it notices when it does not."""
import os
import subprocess
import unittest

from case import REPO, EndToEnd
from cli import MAYFLY, environment

SHOW = os.path.join(REPO, "tools", "demo", "show")


class Demo(EndToEnd):
    def show(self, **settings):
        fleet = self.fleet(**settings)
        fleet.start_worker()
        done = subprocess.run([SHOW, MAYFLY], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=400, check=False,
                              env=environment(fleet))
        return fleet, done

    def test_every_program_ends_as_it_should(self):
        fleet, done = self.show(slots=2)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("9 of 9 as expected.", done.stdout)
        self.assertNotIn("\033", done.stdout)
        self.assert_nothing_left(fleet)

    def test_programs_that_never_ran_are_noticed(self):
        _, done = self.show(vmm="null", allow_null_vmm="yes")
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertIn("0 of 9 as expected.", done.stdout)


if __name__ == "__main__":
    unittest.main()
