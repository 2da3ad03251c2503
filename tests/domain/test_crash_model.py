"""The model with more faults than `make test` has time for.

CRASH_TESTS=cover takes two faults of every kind in turn; CRASH_TESTS=full three at once.
"""

from __future__ import annotations

import os
import unittest

from tests.domain.explore import Exploration
from tests.domain.model import Limits

HOW = os.environ.get("CRASH_TESTS", "sample")
COVER = (
    Limits(faults=2, stops=0, second=("named",), new_factory=False),
    Limits(faults=2, stops=0, second=("rollback",), new_factory=False, kinds=("power", "full")),
    Limits(faults=2, stops=1, second=("again",), new_factory=False, kinds=("lose", "asked")),
    Limits(faults=2, stops=1, second=(), new_factory=True, kinds=("power", "full", "lose")),
)
FULL = (
    Limits(faults=2, stops=1, second=("rollback", "named", "again")),
    Limits(faults=3, stops=1, second=("named",), new_factory=False),
    Limits(faults=3, stops=0, second=("rollback", "other", "again"), new_factory=False),
    Limits(faults=3, stops=1, second=(), new_factory=True),
)


class MoreFaults(unittest.TestCase):
    def explore(self, every: tuple[Limits, ...]) -> None:
        total = 0
        for limits in every:
            with self.subTest(limits=limits):
                found = Exploration(limits).run()
                total += found.states
                self.assertIsNone(found.violation, found.violation)
        print(f"domain.boot and domain.settle: {total} states, every sentence holds in each")

    @unittest.skipUnless(HOW == "cover", "make crash")
    def test_the_nine_sentences_hold_with_two_faults(self) -> None:
        self.explore(COVER)

    @unittest.skipUnless(HOW == "full", "make crash FULL=1")
    def test_the_nine_sentences_hold_with_three_faults(self) -> None:
        self.explore(FULL)


if __name__ == "__main__":
    unittest.main()
