"""A hundred upgrades in a row: nothing grows."""

from __future__ import annotations

import os
import unittest

from tests.e2e import test_handoff


@unittest.skipIf(os.environ.get("CRASH_TESTS", "sample") == "sample", "make crash")
class HundredTest(test_handoff.ManyTest):
    many = 100


if __name__ == "__main__":
    unittest.main()
