"""A managed hub in a unit that is well: upgraded and taken back, by each of the three who may ask.
The same under the system's manager and a user's own."""

from __future__ import annotations

from typing import Any

from tests.outside.restarters.managed_boot import FEW
from tests.outside.restarters.managed_case import ManagedCase
from tests.outside.restarters.managed_hub import SICK
from tests.outside.restarters.managed_machine import NEW, NEXT, OLD, SERVE

LOOKED_AT_S = 6
"""A probation that lasts while two programs are run on the machine."""
STOPS = "/bin/sh -c 'kill $MAINPID; while kill -0 $MAINPID 2>/dev/null; do sleep 0.02; done'"


def killed_by(mode: str) -> dict[str, Any]:
    """A unit's settings; where systemd kills nothing, its author has to."""
    return {"KillMode": mode, **({"ExecStop": STOPS} if mode == "none" else {})}


class Stories(ManagedCase):
    """Not collected by itself: `scope` is for the one that inherits it."""

    def by_the_command_line(self) -> None:
        """Up, already there, up to what is no good, and back by request."""
        self.hub.begin()
        self.hub.publish(NEW)
        self.upgrade()
        record = self.assert_ended("succeeded", NEW, (OLD, NEW))
        self.assertEqual(record["restarter"], f"systemd {self.scope} {self.hub.unit}")
        self.upgrade()
        self.assert_ended("succeeded", NEW, (OLD, NEW))  # none for none
        self.hub.publish(NEXT, SICK)
        self.upgrade(code=5)
        record = self.assert_ended("failed", NEW, (OLD, NEW, NEXT, NEW))
        self.assertEqual(record["rolled_back_to"], NEW)
        self.assert_says(record, "it answers 500")
        done = self.hub.hub_pyz("rollback")
        self.assertEqual(done.returncode, 0, f"{done}\n{self.hub.told()}")
        record = self.assert_ended("succeeded", OLD, (OLD, NEW, NEXT, NEW, OLD))
        self.assertEqual(record["kind"], "rollback")

    def beside_serve(self) -> None:
        """Asked over HTTP; `serve` is in a unit of its own, and nobody restarts that."""
        self.hub.begin()
        self.hub.serve()
        ours = self.hub.obeyed("show", "--property=MainPID,InvocationID", SERVE)
        self.hub.publish(NEW)
        self.hub.over(self.hub.post())
        self.assert_ended("succeeded", NEW, (OLD, NEW))
        self.hub.over(self.hub.post("/api/hub/rollback"))
        self.assert_ended("succeeded", OLD, (OLD, NEW, OLD))
        self.hub.publish(NEXT)
        self.hub.over(self.hub.post())
        self.assert_ended("succeeded", NEXT, (OLD, NEW, OLD, NEXT))
        self.assertEqual(self.hub.obeyed("show", "--property=MainPID,InvocationID", SERVE), ours)

    def from_inside(self, mode: str) -> None:
        """The hub starts a helper inside its own unit, which survives the restart by a scope."""
        self.hub.begin(**killed_by(mode))
        self.hub.configure(probation_s=LOOKED_AT_S)
        self.hub.publish(NEW)
        operation = self.hub.ask()
        record = self.hub.reaches("proving")
        groups = self.machine.sh(f"cat /proc/{record['helper_pid']}/cgroup")
        scope = f"hub-upgrade-{operation[:8]}-{record['helper_pid']}.scope"
        self.assertIn(f"/{scope}\n", groups)
        self.assertNotIn(self.hub.unit, groups)
        self.assertIn(scope, self.hub.scopes())
        self.hub.over(operation)
        record = self.assert_ended("succeeded", NEW, (OLD, NEW))
        # Seen before anything was done: no line is older.
        self.assertEqual(record["log"][:1], [f"in a control group of our own: {scope}"])
        self.assert_no_scope_is_left()
        printed = self.hub.path(f"{self.hub.home}/helper.out").read_text()
        self.assertEqual(printed, f"upgrade {operation} succeeded: {NEW}\n")
        self.goes_on(NEXT, OLD, NEW)

    def from_inside_without_a_scope(self, mode: str, dies: bool) -> None:
        """Where systemd-run is not to be had, the helper may die with the unit; whoever starts
        next brings it to its end, and restarts nothing again."""
        self.hub.begin(**killed_by(mode))
        self.hub.publish(NEW)
        operation = self.hub.ask(PATH=FEW)
        if dies:
            self.hub.until(NEW)
            helper = self.hub.record()["helper_pid"]
            self.hub.wait(lambda: not self.hub.lives(helper), "the helper's end")
            self.assertEqual(self.hub.record()["phase"], "restarting", self.hub.told())
            self.hub.hub_pyz("status")
        self.hub.over(operation)
        record = self.assert_ended("succeeded", NEW, (OLD, NEW))
        self.assert_says(record, "systemd-run")
        self.goes_on(NEXT, OLD, NEW)
