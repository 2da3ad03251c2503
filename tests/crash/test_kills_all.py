"""`kill -9` of helper, hub, launcher or all of them, at every act of the stories of an operation.

CRASH_TESTS=cover (`make crash`): every kind of act once, with a victim chosen by the printed
seed, and everyone at every step and every moment of the trial. CRASH_TESTS=full: everyone at
every act.
"""

from __future__ import annotations

import unittest

from tests.crash.choice import crash, seed, wholly
from tests.crash.kills import FEW, Stories
from tests.e2e.moments import all_of


@crash
class AllKillsTest(unittest.TestCase):
    def test_after_any_death_a_hub_works_and_the_record_is_true(self) -> None:
        stories = Stories()
        self.addCleanup(stories.close)
        stories.learn()
        table = stories.everything() if wholly() else stories.covering(seed())
        all_of(self, table, stories.live, versions=())
        self.assertLessEqual(len(stories.missed), len(table) // FEW, stories.missed)


if __name__ == "__main__":
    unittest.main()
