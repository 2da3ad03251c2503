"""The rows of rows.py for a hub that git installed."""

from __future__ import annotations

import unittest

from tests.outside.sources import rows
from tests.outside.sources.machine import clean_environment
from tests.outside.sources.place_git import GitPlace


def setUpModule() -> None:
    clean_environment()


class GitRows(rows.Rows):
    kind = GitPlace


if __name__ == "__main__":
    unittest.main()
