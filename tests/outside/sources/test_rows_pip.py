"""The rows of rows.py for a hub that pip installed."""

from __future__ import annotations

import unittest

from tests.outside.sources import rows
from tests.outside.sources.machine import clean_environment
from tests.outside.sources.places import PipPlace


def setUpModule() -> None:
    clean_environment()


class PipRows(rows.Rows):
    kind = PipPlace


if __name__ == "__main__":
    unittest.main()
