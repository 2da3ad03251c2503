"""An upgrade in a container that is killed or stopped at each moment of it, and started again."""

from __future__ import annotations

import os
import unittest
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Callable

from hub_upgrade.domain import operation as op
from tests.e2e.harness import build, wait_for
from tests.e2e.moments import (
    COMMITTED,
    MOMENTS,
    NEXT_WRITTEN,
    PREPARING,
    PROBATION,
    STARTING,
    TOLD,
    pausing,
)
from tests.outside.restarters.containers_engine import Engine
from tests.outside.restarters.containers_scene import GIVEN, EngineCase, set_up_images

AT_A_TIME = 6
TAG = "pausing"
WAITS = (*PREPARING, NEXT_WRITTEN)
"""Who comes to one of these waits there; to the later ones the way leads over handing-over."""


def images(engine: Engine) -> None:
    """1.0.0, with the pauses in it; all that is built is built before there are threads."""
    for make in (build, pausing):
        make("1.1.0")
    set_up_images(engine, **{TAG: pausing("1.0.0")})


class Killed(EngineCase):
    """One container, that its engine starts again."""

    def runTest(self) -> None:  # noqa: N802 - a scene is made by hand, and needs a name of a test
        """Nothing."""

    def publish(self, path: str) -> None:
        super().publish(pausing("1.1.0"))

    def reach(self, moment: str) -> str:
        """A hub whose upgrade stands at the moment; the operation."""
        self.configure(probation_s=1, stop_s=5)  # well within what the engine grants
        options = (self.mount, f"--env=TEST_PAUSES={GIVEN}/pauses", "--restart=always")
        self.one.run(*options, tag=TAG)
        self.serves()
        first = moment if moment in WAITS else op.HANDING_OVER
        self.hold(first)
        operation = str(self.post(self.token_known)["operation_id"])
        self.held(first)
        if first != moment:
            self.go_on_to(moment, first)
        return operation

    def go_on_to(self, moment: str, first: str) -> None:
        if moment in (TOLD, STARTING, op.PROVING):
            self.hold(moment)
        Path(self.pauses, first).unlink()
        if moment == PROBATION:
            self.serves("1.1.0")
        elif moment == COMMITTED:
            wait_for(lambda: self.boot()["current"].startswith("1.1.0-"), "the commit")
        else:
            self.held(moment)

    def hold(self, moment: str) -> None:
        Path(self.pauses, moment).touch()
        os.chmod(self.pauses, 0o777)

    def held(self, moment: str) -> None:
        reached = Path(self.pauses, f"{moment}.reached")
        wait_for(reached.exists, f"{moment}: {self.record_there()} {self.output()}")

    def go_on(self) -> None:
        """Nobody waits any more."""
        for name in os.listdir(self.pauses):
            Path(self.pauses, name).unlink()

    def killed(self, moment: str) -> None:
        """All of it dies at once, and whoever waits; the engine starts it again."""
        starts = self.starts()
        self.one.kill()
        self.go_on()
        wait_for(lambda: self.starts() > starts, "another start")

    def stopped(self, moment: str) -> None:
        """As asked, in time and with 0, though somebody waits in there; and started by hand."""
        self.assertEqual(self.one.stop(), 0, moment)
        self.go_on()
        self.one.start()

    def starts(self) -> int:
        """How often the hub was started in this container."""
        return self.output().count("serving 1.")

    def comes_to_an_end(self, moment: str, operation: str) -> None:
        """Prepared only, it has failed and can be asked for again; handed over, it succeeds."""
        record = self.ended(operation)
        wanted = "failed" if moment in PREPARING else "succeeded"
        self.assertEqual(record["phase"], wanted, f"{moment}: {record}\n{self.output()}")
        self.serves("1.0.0" if wanted == "failed" else "1.1.0")
        if moment == op.HANDING_OVER:
            self.upgraded()
        self.assertEqual(self.boot()["rejected"], [])


class Kills(unittest.TestCase):
    """Every moment, a few at a time."""

    scene: type[Killed]

    def live(self, moment: str, act: Callable[[Killed, str], None]) -> None:
        """One life: to the moment, through the act, and on to the end."""
        scene = self.scene()
        try:
            scene.setUp()
            operation = scene.reach(moment)
            act(scene, moment)
            scene.comes_to_an_end(moment, operation)
        finally:
            scene.doCleanups()

    def all_of(self, moments: Iterable[str], act: Callable[[Killed, str], None]) -> None:
        """A life for each of the moments; each that fails is one failed subtest."""
        with ThreadPoolExecutor(AT_A_TIME) as pool:
            lives = {moment: pool.submit(self.live, moment, act) for moment in moments}
            for moment, life in lives.items():
                with self.subTest(moment):
                    life.result()

    def test_killed_at_any_moment_it_comes_to_its_end_by_itself(self) -> None:
        self.all_of(MOMENTS, lambda scene, moment: scene.killed(moment))

    def test_stopped_at_any_moment_it_stops_in_time_and_goes_on_later(self) -> None:
        self.all_of(MOMENTS, lambda scene, moment: scene.stopped(moment))
