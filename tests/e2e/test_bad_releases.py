"""Bad releases, a sample: refused before anything is touched, or tried and taken back.

The whole table is `tests.crash.test_bad_releases_all`, which `make crash` runs.
"""

from __future__ import annotations

import unittest

from tests.e2e import bad_stories
from tests.e2e.bad import BROKEN_BY_NAME, BY_NAME
from tests.e2e.bad_scene import table

Sample = table(
    {
        "another Python is refused": lambda scene: (
            scene.refused(BY_NAME["another Python for every command"])
        ),
        "other bytes than were published are refused": lambda scene: (
            scene.broken_in_repository(BROKEN_BY_NAME["other bytes"])
        ),
        "what answers 500 in the real home is taken back": lambda scene: (
            scene.taken_back(BY_NAME["answers 500"])
        ),
        "what dies at once in the real home is taken back without its helper": lambda scene: (
            scene.taken_back(BY_NAME["dies at once"], kill_helper=True)
        ),
        "a handoff record that the old one does not take": (
            bad_stories.a_handoff_record_that_the_old_one_does_not_take
        ),
    }
)

if __name__ == "__main__":
    unittest.main()
