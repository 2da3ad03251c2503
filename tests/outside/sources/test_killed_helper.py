"""Killed at each moment of killed.py: the helper alone."""

from __future__ import annotations

import unittest

from tests.e2e.harness import Hub
from tests.outside.sources import killed
from tests.outside.sources.killed import helper_of, kill
from tests.outside.sources.machine import clean_environment


def setUpModule() -> None:
    clean_environment()


class Killed(killed.KilledCase):
    def end_it(self, hub: Hub) -> None:
        kill(helper_of(hub))


if __name__ == "__main__":
    unittest.main()
