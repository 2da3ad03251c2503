"""The dry run: what would be done, and what would stop it."""

from __future__ import annotations

import unittest
from typing import Any

from hub_upgrade.host import files
from hub_upgrade.upgrade.plan import make_plan
from tests.upgrade.scene import Scene


class PlanTest(Scene):
    def plan(self) -> dict[str, Any]:
        return make_plan(self.desk(), self.source, None, None, False)

    def test_a_newer_release_is_the_target_and_nothing_stops_it(self) -> None:
        made = self.plan()
        self.assertEqual(("1.1.0", []), (made["target"], made["stops"]))

    def test_a_safety_that_cannot_be_read_stops_it(self) -> None:
        files.write_json(self.home.hub_json, {"hub": {"verify_signature": "yes"}})
        (stop,) = self.plan()["stops"]
        self.assertEqual("invalid_config", stop["error"])
        self.assertIn("hub.verify_signature must be true or false", stop["error_description"])


if __name__ == "__main__":
    unittest.main()
