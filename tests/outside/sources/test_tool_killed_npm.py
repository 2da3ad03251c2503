"""npm, and its helper, killed at npm's renames."""

from __future__ import annotations

import unittest

from tests.outside.sources import tool_killed
from tests.outside.sources.machine import clean_environment
from tests.outside.sources.places import NpmPlace
from tests.outside.sources.striking import HELPER


def setUpModule() -> None:
    clean_environment()


class NpmKilled(tool_killed.ToolKilledCase):
    kind = NpmPlace
    least = 3
    numbers = {HELPER: (2, 4, 5)}
    missing = "lib/node_modules/@openparachute/hub/package.json"


if __name__ == "__main__":
    unittest.main()
