"""How a Python test says that something did not run, so that somebody counts it: ctest reports exit status 77 as skipped
(SKIP_RETURN_CODE), and a failure beside it still is one."""
import sys
import unittest

SKIPPED = 77


def is_too_good(test, what):
    """The test is about a weakness that this host does not have."""
    test.skipTest(what)


def main(argv=None):
    result = unittest.main(argv=argv, verbosity=2, exit=False).result
    if not result.wasSuccessful():
        sys.exit(1)
    sys.exit(SKIPPED if result.skipped else 0)
