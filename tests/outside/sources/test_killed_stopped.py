"""Stopped at each moment of killed.py: nothing: serve is stopped, as its operator does it."""

from __future__ import annotations

import unittest

from tests.e2e.harness import Hub
from tests.outside.sources import killed
from tests.outside.sources.machine import clean_environment


def setUpModule() -> None:
    clean_environment()


class Stopped(killed.KilledCase):
    def end_it(self, hub: Hub) -> None:
        self.assertEqual(hub.stop(), 0, hub.output())


if __name__ == "__main__":
    unittest.main()
