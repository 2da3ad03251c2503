"""`systemctl kill`, of all of a unit and without a warning, at every step of an upgrade."""

from __future__ import annotations

import unittest

from tests.outside.restarters.own_steps import ASKED, WAYS, StepsCase


class Killed(StepsCase):
    def test_kills_of_all_of_it_or_without_a_warning_at_every_step(self) -> None:
        self.strike_at_every_step(*(way for way in WAYS if way not in ASKED))


if __name__ == "__main__":
    unittest.main()
