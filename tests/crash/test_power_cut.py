"""A power cut at every moment of an upgrade and a rollback, and before every act on the disk.

CRASH_TESTS=cover (`make crash`) takes every moment of an upgrade, some of a rollback, and of the
acts on the disk some of every kind by a printed seed; CRASH_TESTS=full takes all of them.
"""

from __future__ import annotations

import sys
import unittest

from hub_upgrade.domain import operation as op
from tests.crash import disks, full_disk, power_cut
from tests.crash.choice import HOW, crash, seed, wholly
from tests.crash.kills import Stories
from tests.crash.mortal import Point
from tests.e2e.moments import MOMENTS, NEXT_WRITTEN, STARTING, TOLD, all_of, one

OF_A_ROLLBACK = (
    op.ACCEPTED, op.VERIFYING, op.PREFLIGHT, op.HANDING_OVER, NEXT_WRITTEN, TOLD, STARTING,
    op.PROVING,
)  # fmt: skip
"""It stages nothing."""
SOME_OF_A_ROLLBACK = (op.VERIFYING, NEXT_WRITTEN, STARTING)
ACTS = 36


def setUpModule() -> None:
    if HOW != "sample":
        disks.need(disks.EXT4)


@crash
class PowerCutTest(unittest.TestCase):
    def test_at_each_moment(self) -> None:
        def run(moment: str, kind: str) -> None:
            with one(full_disk.Ext4Scene) as scene:
                power_cut.cut_at(scene, moment, kind)

        table = [(moment, op.UPGRADE) for moment in MOMENTS]
        back = OF_A_ROLLBACK if wholly() else SOME_OF_A_ROLLBACK
        all_of(self, [*table, *((moment, op.ROLLBACK) for moment in back)], run)

    def test_before_each_act_on_the_disk(self) -> None:
        stories = Stories()
        self.addCleanup(stories.close)
        stories.learn()

        missed = []

        def run(story: str, point: Point) -> None:
            if not power_cut.cut_before(stories.kits[story], point):
                missed.append(f"{story}: {point}")

        table = [
            (story, point)
            for story, places in stories.places.items()
            for point in power_cut.on_disk(places)
        ]
        chosen = table if wholly() else some(table)
        all_of(self, chosen, run, versions=())
        print(f"{len(chosen)} of {len(table)} acts; not come to: {missed}", file=sys.stderr)
        self.assertLess(len(missed), len(chosen) / 10, missed)


def some(table: list[tuple[str, Point]]) -> list[tuple[str, Point]]:
    """So many, each of another kind as long as there are kinds left."""
    kinds: dict[str, tuple[str, Point]] = {}
    shuffled = seed().sample(table, len(table))
    for story, point in shuffled:
        kinds.setdefault(point.act, (story, point))
    rest = [row for row in shuffled if row not in kinds.values()]
    return [*kinds.values(), *rest][:ACTS]


if __name__ == "__main__":
    unittest.main()
