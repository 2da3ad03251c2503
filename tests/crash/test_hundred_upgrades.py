"""A hundred upgrades in a row: nothing grows."""

from __future__ import annotations

import unittest

from tests.crash.choice import crash
from tests.e2e import test_handoff


@crash
class HundredTest(test_handoff.ManyTest):
    many = 100


if __name__ == "__main__":
    unittest.main()
