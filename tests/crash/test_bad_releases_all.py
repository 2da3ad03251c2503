"""Every bad release, as built and misbehaving only in the real home.

CRASH_TESTS=cover (`make crash`) kills the helper in every second row that is tried, FULL_BAD=1 is
the same; CRASH_TESTS=full plays each such row both with the helper alive and with it killed.
"""

from __future__ import annotations

import os
import unittest
from functools import partial

from tests.e2e import bad_scene
from tests.e2e.bad import BROKEN, REFUSED, TAKEN_BACK
from tests.e2e.bad_stories import STORIES

HOW = "cover" if os.environ.get("FULL_BAD") else os.environ.get("CRASH_TESTS", "sample")


def every_case() -> dict[str, bad_scene.Case]:
    """The cases by name; those that wait for a time limit come first."""
    cases: dict[str, bad_scene.Case] = {}
    for row in sorted(REFUSED, key=lambda row: not row.slow):
        cases[f"as built {row.name}"] = partial(bad_scene.Scene.refused, row=row)
    for number, row in enumerate(TAKEN_BACK):
        for kill in (False, True) if HOW == "full" else (number % 2 == 1,):
            how = " with its helper killed" if kill else ""
            cases[f"in the real home {row.name}{how}"] = partial(
                bad_scene.Scene.taken_back, row=row, kill_helper=kill
            )
    for broken in BROKEN:
        if broken.as_published:
            cases[f"as published {broken.name}"] = partial(bad_scene.Scene.broken_as_published, row=broken)
        cases[f"in the repository {broken.name}"] = partial(bad_scene.Scene.broken_in_repository, row=broken)
        cases[f"in the home {broken.name}"] = partial(bad_scene.Scene.broken_in_home, row=broken)
    for story in STORIES:
        cases[story.__name__] = story
    return cases


Every = unittest.skipIf(HOW == "sample", "make crash, or FULL_BAD=1")(bad_scene.table(every_case()))

if __name__ == "__main__":
    unittest.main()
