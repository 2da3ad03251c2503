"""The helper alone, killed at each step and settled by `hub.pyz status`."""

from __future__ import annotations

import unittest

from tests.outside.sources.alone import AloneMachine
from tests.outside.sources.alone_killed import KilledCase
from tests.outside.sources.machine import clean_environment


def setUpModule() -> None:
    clean_environment()


class Killed(KilledCase):
    def settle(self, machine: AloneMachine, _op: str) -> None:
        machine.command("status")

    def test_on_the_way_to_a_good_version(self) -> None:
        self.good()

    def test_on_the_way_to_a_sick_version_and_back(self) -> None:
        self.sick()


if __name__ == "__main__":
    unittest.main()
