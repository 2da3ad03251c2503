"""What hangs is found by whoever watches it: the launcher its hub, and systemd the launcher."""

from __future__ import annotations

import os
import signal
import unittest
from typing import Callable

from tests.e2e import bad
from tests.e2e.harness import build, wait_for
from tests.outside.restarters.own_unit import OwnCase, OwnUnit, upgraded

WATCHED = ("WatchdogSec=12", "RestartSec=100ms")
"""Less than the time that a hub may be silent, or a manager could not be content meanwhile."""
SILENT_S = 14
HANGING = """
def hang(hub):
    marker = os.environ["PARACHUTE_HOME"] + "/hang"
    if os.path.exists(marker):
        os.unlink(marker)
        time.sleep(3600)
    hub._loop.call_later(0.1, lambda: hang(hub))
later(0.1, hang)
"""
"""Its loop hangs as soon as it finds a file of that name in home."""
HANGS_AT_START = """
_good_main = main
def main(argv):
    if os.path.exists(os.environ["PARACHUTE_HOME"] + "/hang-at-start"):
        time.sleep(3600)
    return _good_main(argv)
"""


def hub_that(name: str, code: str, version: str) -> str:
    """A release with that code at its end."""
    return bad.build(version, {bad.HUB: bad.spoilt(name, code, bad.EVERYWHERE)})


class Hanging(OwnCase):
    def watched(self, story: Callable[[OwnUnit], None]) -> None:
        """Under both managers; it ends with an upgrade."""
        old, new = hub_that("hangs when told", HANGING, "1.0.0"), build("1.1.0")

        def run(unit: OwnUnit) -> None:
            unit.drop_in(*WATCHED)
            unit.lay(old, watchdog_s=SILENT_S)
            unit.install()
            story(unit)
            upgraded(unit, "1.1.0", new)

        self.together(run)

    def test_a_hub_that_hangs_is_replaced_and_the_unit_stays_active(self) -> None:
        self.watched(self.rescued)

    def rescued(self, unit: OwnUnit) -> None:
        """By the launcher, when its loop hangs, and when it is stopped."""
        with self.steady(unit):
            self.replaced(unit, lambda _hub: self.touch(unit, "hang"))
        with self.steady(unit):
            self.replaced(unit, lambda hub: os.kill(hub, signal.SIGSTOP))

    def replaced(self, unit: OwnUnit, hang: Callable[[int], None]) -> None:
        """Another hub serves, and the one that hangs is gone."""
        before, hub = unit.wait_healthy()["instance"], unit.hub_pid()
        hang(hub)
        wait_for(lambda: not os.path.exists(f"/proc/{hub}"), "the end of what hangs")
        self.assertNotEqual(unit.wait_healthy()["instance"], before)
        self.assertIn("no sign of life", unit.output())

    def touch(self, unit: OwnUnit, name: str) -> None:
        """Make an empty file in home, of its owner."""
        self.machine.sh(f"touch {unit.inside}/{name}", unit.owner)

    def test_a_launcher_that_hangs_is_killed_by_systemd_and_started_again(self) -> None:
        self.watched(self.begun_anew)

    def begun_anew(self, unit: OwnUnit) -> None:
        """By its manager."""
        launcher, hub = unit.launcher_pid, unit.hub_pid()
        os.kill(launcher, signal.SIGSTOP)
        wait_for(lambda: unit.show("NRestarts") == {"NRestarts": "1"}, "systemd's watchdog")
        unit.wait_healthy()
        self.assertIn("Watchdog timeout", unit.output())
        for pid in (launcher, hub):
            self.assertFalse(os.path.exists(f"/proc/{pid}"))
        self.assertEqual(len(unit.processes()), 2, unit.processes())

    def test_a_start_that_needs_a_rescue_may_take_longer_than_a_start(self) -> None:
        """Three attempts of five seconds, and only then the release before it."""
        unit = self.unit()
        unit.drop_in("TimeoutStartSec=5")
        unit.lay(build("1.0.0"))
        unit.install()
        unit.publish(hub_that("hangs at start", HANGS_AT_START, "1.1.0"))
        self.assertEqual(unit.finished(unit.upgrade())["phase"], "succeeded")
        self.touch(unit, "hang-at-start")
        unit.configure(ready_timeout_s=2)
        unit.systemctl("restart")
        self.assertEqual(unit.version(), "1.0.0")
        self.assertEqual(
            unit.show("ActiveState", "NRestarts"), {"ActiveState": "active", "NRestarts": "0"}
        )

    def test_a_stop_may_take_the_time_that_hub_json_grants_whatever_the_unit_says(self) -> None:
        unit = self.unit()
        unit.drop_in("TimeoutStopSec=2")
        unit.lay(hub_that("ignores SIGTERM", "Hub.stop = lambda self: None", "1.0.0"), stop_s=5)
        unit.install()
        unit.systemctl("stop")
        shown = unit.show("Result", "ExecMainStatus", "ActiveState")
        self.assertEqual(
            shown, {"Result": "success", "ExecMainStatus": "0", "ActiveState": "inactive"}
        )


if __name__ == "__main__":
    unittest.main()
