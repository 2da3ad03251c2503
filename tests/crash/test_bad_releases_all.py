"""Every bad release, as built and misbehaving only in the real home.

CRASH_TESTS=cover (`make crash`) kills the helper in every second row that is tried;
CRASH_TESTS=full plays each such row both with the helper alive and with it killed.
"""

from __future__ import annotations

import unittest
from functools import partial

from tests.crash.choice import HOW, crash
from tests.e2e.bad import BROKEN, REFUSED, TAKEN_BACK
from tests.e2e.bad_scene import Case, Scene, table
from tests.e2e.bad_stories import STORIES


def every_case() -> dict[str, Case]:
    """The cases by name; those that wait for a time limit come first."""
    cases: dict[str, Case] = {}
    for row in sorted(REFUSED, key=lambda row: not row.slow):
        cases[f"as built {row.name}"] = partial(Scene.refused, row=row)
    for number, row in enumerate(TAKEN_BACK):
        for kill in (False, True) if HOW == "full" else (number % 2 == 1,):
            how = " with its helper killed" if kill else ""
            cases[f"in the real home {row.name}{how}"] = partial(
                Scene.taken_back, row=row, kill_helper=kill
            )
    for broken in BROKEN:
        if broken.as_published:
            as_published = partial(Scene.broken_as_published, row=broken)
            cases[f"as published {broken.name}"] = as_published
        in_repository = partial(Scene.broken_in_repository, row=broken)
        cases[f"in the repository {broken.name}"] = in_repository
        cases[f"in the home {broken.name}"] = partial(Scene.broken_in_home, row=broken)
    for story in STORIES:
        cases[story.__name__] = story
    return cases


Every = crash(table(every_case()))

if __name__ == "__main__":
    unittest.main()
