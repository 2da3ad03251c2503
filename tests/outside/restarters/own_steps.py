"""`systemctl stop`, `restart` and `kill` at every step of an upgrade: what was begun ends with the
truth, the hub serves again, and the next upgrade works."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

from tests.e2e.harness import wait_for
from tests.e2e.moments import MOMENTS, PREPARING, TRIAL, Scene, pausing
from tests.outside.restarters.machines import BOTH
from tests.outside.restarters.own_unit import OwnCase, OwnUnit, became

CONFIG = {"probation_s": 1.5}
"""Long enough to strike while it lasts."""
VERSIONS = [f"1.{number}.0" for number in range(len(MOMENTS) + 2)]
SOONER = ("RestartSec=100ms", "TimeoutStopSec=20")
WAYS: dict[str, tuple[str, ...]] = {
    "stop": ("stop", "--no-block"),
    "restart": ("restart", "--no-block"),
    "SIGTERM to the main process": ("kill", "--kill-whom=main", "--signal=TERM"),
    "SIGTERM to all of it": ("kill", "--kill-whom=all", "--signal=TERM"),
    "SIGKILL to the main process": ("kill", "--kill-whom=main", "--signal=KILL"),
    "SIGKILL to all of it": ("kill", "--kill-whom=all", "--signal=KILL"),
}
"""The words of systemctl, none of which waits."""
ASKED = ("stop", "restart", "SIGTERM to the main process")
"""An operator's stop, that the launcher sees and that is no failure."""


class Steps(Scene):
    """One unit whose hub can be held at each moment of its upgrades."""

    def __init__(self, unit: OwnUnit) -> None:
        super().__init__()
        self.unit = unit
        self.old = pausing(VERSIONS[0])
        self.pauses = os.path.join(unit.home, "pauses")

    def setUp(self) -> None:
        unit = self.unit
        unit.drop_in(*SOONER, f"Environment=TEST_PAUSES={unit.inside}/pauses")
        unit.lay(self.old, **CONFIG)
        os.mkdir(self.pauses)
        os.chmod(self.pauses, 0o777)
        unit.install()

    def offer(self, version: str) -> None:
        self.unit.publish(pausing(version))

    def strike(self, way: str, moment: str) -> None:
        """At that moment of an upgrade to the next version; all of it must be well afterwards."""
        unit, serving = self.unit, self.unit.version()
        wanted = VERSIONS[MOMENTS.index(moment) + 1]
        self.offer(wanted)
        unit.systemctl("reset-failed")  # what a test does is no reason for a start limit
        before = unit.show("InvocationID")
        operation = self.reach(unit, moment, wanted)
        unit.systemctl(*WAYS[way])
        if moment in TRIAL and not way.startswith("SIGKILL"):
            self.go_on()  # or a hub could not stop; a helper would only run a race with its end
        if way == "stop":
            self.stopped()
        else:
            wait_for(lambda: unit.show("InvocationID") != before, "another start")
        started = unit.show("InvocationID")
        self.go_on()
        unit.wait_healthy()
        self.afterwards(way, moment, operation, wanted, serving)
        became(unit, "active")
        self.assertEqual(unit.show("InvocationID"), started, unit.output()[-3000:])

    def stopped(self) -> None:
        """All of it is down, and stays so until somebody starts it."""
        became(self.unit, "inactive")
        self.assertEqual(self.unit.processes(), [])
        shown = self.unit.show("Result", "ExecMainStatus")
        self.assertEqual(shown, {"Result": "success", "ExecMainStatus": "0"}, self.unit.output())
        self.unit.systemctl("start")

    def afterwards(
        self, way: str, moment: str, operation: str, wanted: str, serving: str
    ) -> None:  # fmt: skip
        unit, record = self.unit, self.unit.finished(operation)
        told = f"{record}\n{unit.output()[-3000:]}"
        fails = moment in PREPARING
        self.assertEqual(record["phase"], "failed" if fails else "succeeded", told)
        self.assertNotIn("rolled_back_to", record)
        if fails and way in ASKED:
            self.assertIn("the hub was stopped", record["error"])
        expected = serving if fails else wanted
        wait_for(lambda: unit.version() == expected, f"{expected}: {told}")
        boot = unit.boot()
        self.assertEqual((boot["rejected"], boot["trial"]), ([], None), told)


class StepsCase(OwnCase):
    """Several units on one machine, by name: one of the system's and one of USER's for each way."""

    def strike_at_every_step(self, *ways: str) -> None:
        for version in VERSIONS:
            pausing(version)  # before there are threads: each is built only once
        cases = [(scope, way) for scope in BOTH for way in ways]
        with ThreadPoolExecutor(len(cases)) as pool:
            began = [
                pool.submit(
                    self.one_after_the_other, self.unit(f"hub-{n}", 2000 + n, "", scope), way
                )
                for n, (scope, way) in enumerate(cases)
            ]
            for case, future in zip(cases, began):
                with self.subTest(" ".join(case)):
                    future.result()

    def one_after_the_other(self, unit: OwnUnit, way: str) -> None:
        """Each upgrade shows, too, that one still works after what befell the one before it."""
        scene = Steps(unit)
        scene.setUp()
        for moment in MOMENTS:
            try:
                scene.strike(way, moment)
            except Exception as error:
                told = f"{error}\n{unit.record()}\n{unit.output()[-2000:]}"
                raise AssertionError(f"{way} at {moment}: {told}") from error
        scene.offer(VERSIONS[-1])
        self.assertEqual(unit.finished(unit.upgrade())["phase"], "succeeded", way)
