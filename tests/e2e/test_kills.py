"""A sample of deaths; `tests.crash.test_kills_all` has everyone who can die, at every act."""

from __future__ import annotations

import unittest

from hub_upgrade.domain.operation import UPGRADE
from tests.crash.acts import ALL
from tests.crash.kills import Death, Stories
from tests.crash.lives import SICK
from tests.crash.mortal import Point
from tests.e2e.moments import all_of

SAMPLE = (
    Death(UPGRADE, Point("helper: sync .staging", 0), "helper", at_once=False),
    Death(UPGRADE, Point("helper: replace next.json", 0), ALL, at_once=True),
    Death(UPGRADE, Point("launcher: unlink next.json", 0), "launcher", at_once=False),
    Death(UPGRADE, Point("hub: exec run", 0), "hub", at_once=False),
    Death(UPGRADE, Point("launcher: replace boot.json committed", 0), "launcher", at_once=True),
    Death(SICK, Point("launcher: replace boot.json rejected", 0), ALL, at_once=True),
)


class KillsTest(unittest.TestCase):
    def test_after_any_death_a_hub_works_and_the_record_is_true(self) -> None:
        stories = Stories((UPGRADE, SICK))
        self.addCleanup(stories.close)
        all_of(self, SAMPLE, stories.live, versions=())
        self.assertEqual(stories.missed, [])


if __name__ == "__main__":
    unittest.main()
