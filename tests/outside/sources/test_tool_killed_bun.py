"""bun, and its helper, killed at bun's renames."""

from __future__ import annotations

import unittest

from tests.outside.sources import tool_killed
from tests.outside.sources.machine import clean_environment
from tests.outside.sources.places import BunPlace


def setUpModule() -> None:
    clean_environment()


class BunKilled(tool_killed.ToolKilledCase):
    kind = BunPlace
    least = 6
    missing = "install/global/node_modules/@openparachute/hub/package.json"


if __name__ == "__main__":
    unittest.main()
