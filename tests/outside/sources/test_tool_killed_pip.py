"""pip, and its helper, killed at pip's renames."""

from __future__ import annotations

import unittest

from tests.outside.sources import tool_killed
from tests.outside.sources.machine import clean_environment
from tests.outside.sources.places import PipPlace
from tests.outside.sources.striking import HELPER, TOOL


def setUpModule() -> None:
    clean_environment()


class PipKilled(tool_killed.ToolKilledCase):
    kind = PipPlace
    least = 3
    numbers = {TOOL: (1, 3, 8, 9, 10, 12), HELPER: (2, 7, 10)}
    missing = "lib/python*/site-packages/parachute_test_hub-*.dist-info/METADATA"


if __name__ == "__main__":
    unittest.main()
