"""What every end-to-end test starts from: shared services for the file, a fleet of its own for each test."""
import os
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
REPO = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(REPO, "tests", "support"))

import audit  # noqa: E402
from stack import Fleet, Services, tell_story_of, wait_until  # noqa: E402,F401  (the tests import them from here)


class EndToEnd(unittest.TestCase):
    settings = {}

    @classmethod
    def setUpClass(cls):
        cls.services = Services()
        cls.services.__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.services.__exit__()

    def fleet(self, **settings):
        fleet = Fleet(self.services, **{**self.settings, **settings})
        self.addCleanup(fleet.close)
        self.addCleanup(tell_story_of, self, fleet)  # before it is closed
        return fleet

    def assert_told_once(self, found, ids):
        """Every id has one terminal result, and nobody else has one."""
        self.assertEqual(set(found), set(ids))
        twice = {i: len(r) for i, r in found.items() if len(r) != 1}
        self.assertEqual(twice, {})

    def assert_each_told_once(self, fleet, ids, seconds=120):
        """Counted when no lease is left of which a second answer could come. Answers {id: [result]}."""
        fleet.results(ids, seconds)
        wait_until("no lease is left", lambda: not audit.leases(fleet) or None)
        found = fleet.told()
        self.assert_told_once(found, ids)
        return found

    def assert_nothing_left(self, fleet, seconds=30):
        wait_until(f"nothing is left of {fleet.name}", lambda: not fleet.leftovers() or None, seconds)


class OneFleet(EndToEnd):
    """One fleet with one worker for the whole class: tasks do not see each other, so tests may share it."""
    shared_settings = {}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.shared = Fleet(cls.services, **cls.shared_settings)
        cls.worker = cls.shared.start_worker()

    def setUp(self):
        super().setUp()
        self.addCleanup(tell_story_of, self, self.shared)

    @classmethod
    def tearDownClass(cls):
        cls.shared.close()
        super().tearDownClass()
