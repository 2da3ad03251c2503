"""Every stop and every suspension at every moment of an upgrade: a covering set, or all of them."""

from __future__ import annotations

import unittest

from tests.crash.choice import crash, seed, wholly
from tests.e2e import stops
from tests.e2e.moments import MOMENTS, TRIAL, all_of, one

TIGHT = {"ready_timeout_s": 4, "probation_s": 2.0, "probation_max_s": 4, "drain_s": 1, "stop_s": 8}
LONGER_THAN_ALL_S = 8.0


def covering(firsts: tuple[str, ...], seconds: tuple[str, ...]) -> list[tuple[str, str]]:
    """Each of the first, each of the second, the pairing by a printed seed; or all pairs."""
    if wholly():
        return [(first, second) for first in firsts for second in seconds]
    order = seed().sample(seconds, len(seconds))
    return [(first, order[number % len(order)]) for number, first in enumerate(firsts)]


@crash
class AllStopsTest(unittest.TestCase):
    def test_a_stop_at_any_moment_is_no_failure(self) -> None:
        all_of(self, covering(MOMENTS, tuple(stops.WAYS)), stops.stopped)

    def test_a_suspension_at_any_moment_is_no_failure(self) -> None:
        table = stops.suspensions()
        if not wholly():
            table = seed().sample(table, len(MOMENTS))
        all_of(self, table, stops.suspended)

    def test_a_launcher_that_slept_past_every_deadline_blames_nobody(self) -> None:
        def run(moment: str) -> None:
            with one(stops.StopScene) as scene:
                scene.configure(**TIGHT)
                stops.suspend_at(moment, "launcher", scene, LONGER_THAN_ALL_S)

        moments = TRIAL if wholly() else TRIAL[1:5]
        all_of(self, [(moment,) for moment in moments], run)
