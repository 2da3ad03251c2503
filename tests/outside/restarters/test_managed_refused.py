"""A managed hub's unit that its manager will not restart: the old hub runs on, and the next upgrade
works once that is mended."""

from __future__ import annotations

from typing import Any

from tests.e2e.harness import FINISHED
from tests.outside.restarters.machines import USER
from tests.outside.restarters.managed_case import ManagedCase
from tests.outside.restarters.managed_hub import DYING, ENDLESS, UNIT
from tests.outside.restarters.managed_machine import NEW, NEXT, OLD

ELSEWHERE = f"/home/{USER}/.local/share/systemd/user"
"""Where a user's own units lie that can be masked: not where the mask would."""


class IsRefused(ManagedCase):
    """The old process runs on, and was never asked to stop."""

    def untouched(self, *words: str) -> None:
        """Refused before anything was touched."""
        record = self.refused(*words)
        self.assertNotIn("undo", record, self.hub.told())
        self.assertNotIn("handing-over", self.hub.told())
        self.assertIn("nothing was changed", record["error"])

    def refused(self, *words: str) -> dict[str, Any]:
        before = self.hub.starts()
        self.hub.publish(NEW)
        self.upgrade(code=1)
        record = self.hub.record()
        self.assertEqual(record["phase"], FINISHED[1], self.hub.told())
        self.assert_says(record, *words)
        self.assertEqual((self.hub.version(), self.hub.head()), (OLD, OLD))
        self.assertEqual(self.hub.starts(), before)
        return record

    def test_a_unit_that_is_masked(self) -> None:
        self.hub.begin()
        self.hub.obeyed("mask", UNIT)
        self.untouched("masked")
        self.hub.obeyed("unmask", UNIT)
        self.upgrade()
        self.assert_ended("succeeded", NEW, (OLD, NEW))

    def test_a_unit_that_is_masked_while_it_is_rewritten(self) -> None:
        self.hub.begin()
        mask = self.machine.systemctl_of(self.scope, "mask", UNIT)
        self.hub.configure(before_upgrade=["sh", "-c", mask])
        record = self.refused("NOT restarted", f"Unit {UNIT} is masked", f"restart {UNIT}")
        self.assertIn("undo", record)
        self.hub.obeyed("unmask", UNIT)
        self.hub.configure()
        self.upgrade()  # it was never tried, and is not rejected
        self.assert_ended("succeeded", NEW, (OLD, NEW))

    def test_a_unit_that_is_not_there(self) -> None:
        self.hub.begin(hub={"unit": "nothing.service"})
        self.untouched("nothing.service", "not")
        self.hub.configure()
        self.upgrade()
        self.assert_ended("succeeded", NEW, (OLD, NEW))

    def test_what_hub_json_says_is_systemds_is_not_asked_to_stop_while_it_has_no_unit(self) -> None:
        self.hub.begin(hub={"restart": "systemd"}, run=False)
        self.machine.sh(f"rm {self.hub.units}/{UNIT}")
        self.hub.obeyed("daemon-reload")
        self.hub.run_bare()
        self.untouched(UNIT, "not")
        self.hub.kill_all()
        self.hub.write_unit()
        self.hub.obeyed("start", UNIT)
        self.hub.until(OLD)
        self.upgrade()
        record = self.assert_ended("succeeded", NEW, (OLD, OLD, NEW))
        self.assertEqual(record["restarter"], f"systemd {self.scope} {UNIT}")

    def test_a_hub_that_runs_outside_of_its_installed_unit(self) -> None:
        self.hub.begin(run=False)
        self.hub.run_bare()
        self.assertIn("hub.restart", self.hub.hub_pyz("plan").stdout)
        self.untouched(UNIT, "hub.restart")
        self.hub.kill_all()
        self.hub.obeyed("start", UNIT)
        self.hub.until(OLD)
        self.upgrade()
        self.assert_ended("succeeded", NEW, (OLD, OLD, NEW))


class IsRefusedByAUsers(IsRefused):
    scope = "user"

    def setUp(self) -> None:
        super().setUp()
        self.hub.units = ELSEWHERE


class IsDenied(ManagedCase):
    """A unit of the system's, whose user may not restart it."""

    user = USER

    def test_a_helper_that_may_not(self) -> None:
        self.hub.begin()
        self.hub.publish(NEW)
        self.hub.over(self.hub.ask())
        record = self.assert_ended("failed", OLD, (OLD,))
        self.assert_says(record, "NOT restarted", "denied", f"systemctl restart {UNIT}")
        self.assert_says(record, f"still in the control group of {UNIT}")
        self.assertIsNone(record.get("rolled_back_to"))
        self.hub.obeyed("restart", UNIT)
        self.assertEqual(self.hub.version(), OLD)

    def test_its_unit_starts_again_what_ends_by_itself(self) -> None:
        self.hub.begin(hub={"restart": "exit"}, **ENDLESS)
        self.hub.publish(NEW)
        self.upgrade()
        self.assert_ended("succeeded", NEW, (OLD, NEW))
        self.hub.publish(NEXT, DYING)
        self.upgrade(code=5)
        starts = tuple(one.version for one in self.hub.starts())
        record = self.assert_ended("failed", NEW, starts)
        self.assertEqual((starts[:3], starts[-1]), ((OLD, NEW, NEXT), NEW))
        self.assertEqual(record["rolled_back_to"], NEW)
