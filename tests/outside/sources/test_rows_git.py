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
    # A commit is its content: there is no file that is corrupt, and no other version in its place.
    test_a_file_that_is_corrupt_leaves_what_was_there = None  # type: ignore[assignment]
    test_another_version_left_on_the_disk_is_no_upgrade = None  # type: ignore[assignment]


if __name__ == "__main__":
    unittest.main()
