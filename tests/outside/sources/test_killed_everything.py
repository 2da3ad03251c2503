"""Killed at each moment of killed.py: all of it at one moment, tool and guard too."""

from __future__ import annotations

import unittest

from tests.e2e.harness import Hub
from tests.outside.sources import killed
from tests.outside.sources.machine import clean_environment


def setUpModule() -> None:
    clean_environment()


class Killed(killed.KilledCase):
    def end_it(self, hub: Hub) -> None:
        hub.kill_all()


if __name__ == "__main__":
    unittest.main()
