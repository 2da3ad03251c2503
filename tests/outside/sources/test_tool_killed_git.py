"""git, and its helper, killed at git's renames."""

from __future__ import annotations

import unittest

from tests.outside.sources import tool_killed
from tests.outside.sources.machine import clean_environment
from tests.outside.sources.place_git import GitPlace


def setUpModule() -> None:
    clean_environment()


class GitKilled(tool_killed.ToolKilledCase):
    kind = GitPlace
    least = 3
    # A checkout's files go one by one.
    test_a_package_left_missing_is_put_back_by_status = None  # type: ignore[assignment]
    test_a_package_left_missing_is_put_back_by_serve = None  # type: ignore[assignment]


if __name__ == "__main__":
    unittest.main()
