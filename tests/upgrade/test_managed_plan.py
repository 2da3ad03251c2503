"""The dry run for a managed hub promises what its upgrade does, and refuses what it refuses."""

from __future__ import annotations

import os
import unittest
from typing import Any

from hub_upgrade.domain import operation as op
from hub_upgrade.domain.install import Decision, Place
from hub_upgrade.domain.managed import Managed
from hub_upgrade.domain.operation import Request
from hub_upgrade.domain.settle import Running
from hub_upgrade.upgrade.accept import Desk, Patience
from hub_upgrade.upgrade.managed_plan import make_managed_plan
from hub_upgrade.upgrade.survey_record import Survey
from tests.upgrade.managed_world import FakeRestarter, FakeRewriter, FakeWatch, ManagedCase


class ManagedPlanTest(ManagedCase):
    def plan(self, **request: Any) -> dict[str, Any]:
        seen = FakeWatch(self.world).look()
        decision = Decision("npm", op.IN_PLACE, "why", (), Place("package", "bun"))
        pid = int(seen.process or 0)
        survey = Survey(decision, seen.version, pid, "", "", seen.answered, seen.why)
        desk = Desk(
            self.home, self.store, Running("0", None, ""), None, None, lambda: survey,
            lambda: True, lambda _operation, _lock: os.getpid(), Patience(), True,
        )  # fmt: skip
        asked = Request(**request)
        return make_managed_plan(
            desk, survey, Managed(), FakeRewriter(self.world),
            FakeRestarter(self.world), None, asked.version, asked.allow_downgrade,
        )  # fmt: skip

    def same(self, **request: Any) -> list[str]:
        """What stops the plan: the same sentences with which the upgrade fails, if it does."""
        stops = [stop["error_description"] for stop in self.plan(**request)["stops"]]
        self.world.told = not self.world.down
        self.claim(request=Request(**request))
        self.go()
        error = self.record().error
        self.assertEqual(stops, [error] if error else [])
        return stops

    def test_a_newer_version_is_the_target_and_nothing_stops_it(self) -> None:
        made = self.plan()
        self.assertEqual((made["current"], made["target"]), ("1.0.0", "1.1.0"))
        self.assertEqual(self.same(), [])

    def test_a_disk_that_changed_to_something_else_is_to_be_restarted_first(self) -> None:
        self.world.disk = "1.0.5"
        (stop,) = self.same()
        self.assertIn("1.0.5 lies on the disk, and 1.0.0 runs", stop)

    def test_a_disk_that_holds_the_target_is_only_restarted(self) -> None:
        self.world.disk = "1.1.0"
        self.assertEqual(self.same(), [])

    def test_a_hub_that_is_down_is_to_be_started_first(self) -> None:
        self.world.down = True
        (stop,) = self.same()
        self.assertIn("does not answer at http://127.0.0.1:1939/health: start it first", stop)
        self.assertEqual(self.plan()["target"], "1.1.0")

    def test_a_hub_that_tells_no_version_is_judged_by_what_lies_on_the_disk(self) -> None:
        self.world.sick.add("1.0.0")
        (stop,) = self.same(version="0.9.0")
        self.assertIn("0.9.0 is below 1.0.0", stop)


if __name__ == "__main__":
    unittest.main()
