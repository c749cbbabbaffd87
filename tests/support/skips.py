"""How a Python test says that something did not run, so that somebody counts it: ctest reports exit status 77 as skipped
(SKIP_RETURN_CODE), and a failure beside it still is one."""
import os
import sys
import unittest

SKIPPED = 77


def lacks(test, what):
    """The host lacks what the test needs: a failure where everything must run."""
    if os.environ.get("MAYFLY_MUST_RUN"):
        test.fail("this must run here: " + what)
    test.skipTest(what)


def is_too_good(test, what):
    """The test is about a weakness that this host does not have."""
    test.skipTest(what)


def main(argv=None):
    result = unittest.main(argv=argv, verbosity=2, exit=False).result
    if not result.wasSuccessful():
        sys.exit(1)
    sys.exit(SKIPPED if result.skipped else 0)
