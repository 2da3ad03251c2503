"""The same deaths on the real, unmodified file, by strace.

CRASH_TESTS=cover (`make crash`): every kind of call of launcher, hub and helper once, and as many
more as a printed seed chooses; CRASH_TESTS=full: every call, whoever dies at it.
"""

from __future__ import annotations

import unittest
from typing import NamedTuple

from tests.crash.acts import ALL
from tests.crash.choice import covering, crash, seed, wholly
from tests.crash.kills import FEW
from tests.crash.lives import STORIES, Kit
from tests.crash.traced import ACTORS, Call, TracedLife, there_is_strace
from tests.e2e.moments import all_of

COVERED = 52
"""Lives, when it is not all of them: a good two minutes."""


class Row(NamedTuple):
    """A death by one call."""

    story: str
    call: Call
    victim: str
    at_once: bool


def kind(row: Row) -> tuple[str, str]:
    """What every covering set has at least one of."""
    return row.call.actor, row.call.name


@crash
class RealKillsTest(unittest.TestCase):
    def setUp(self) -> None:
        if not there_is_strace():
            self.skipTest("needs strace that can inject signals")
        self.missed: list[str] = []

    def learned(self) -> list[Row]:
        """Every call of every story with everyone who may die at it."""
        self.kits = {story: Kit(story, real=True) for story in STORIES}
        rows = []
        for story, kit in self.kits.items():
            self.addCleanup(kit.close)
            life = TracedLife(kit)
            try:
                life.live()
            finally:
                life.close()
            rows += [(story, call, who) for call in life.calls for who in (*ACTORS, ALL)]
        return [Row(*row, number // 4 % 2 == 0) for number, row in enumerate(rows)]

    def live(self, story: str, call: Call, victim: str, at_once: bool) -> None:
        """One life with a death."""
        life = TracedLife(self.kits[story], call, victim)
        try:
            if not life.live(at_once=at_once):
                self.missed.append(f"{story}: {victim} at {call}")
        finally:
            life.close()

    def test_after_any_death_a_hub_works_and_the_record_is_true(self) -> None:
        rows = self.learned()
        table = rows if wholly() else covering(rows, kind, COVERED, seed())
        all_of(self, table, self.live, versions=())
        self.assertLessEqual(len(self.missed), len(table) // FEW, self.missed)


if __name__ == "__main__":
    unittest.main()
