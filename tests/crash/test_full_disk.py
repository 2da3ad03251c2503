"""A full disk at every moment of an upgrade, at every size of what is left, and at the start.

CRASH_TESTS=cover (`make crash`) takes each moment and each step of the ladder once, on tmpfs or
ext4 in turn; CRASH_TESTS=full takes both.
"""

from __future__ import annotations

import unittest

from hub_upgrade.domain import operation as op
from tests.crash import disks, full_disk
from tests.crash.choice import HOW, crash, seed, wholly
from tests.e2e.moments import COMMITTED, MOMENTS, NEXT_WRITTEN, STARTING, all_of, one

AGAIN = (op.STAGING, NEXT_WRITTEN, STARTING, COMMITTED)
BEFORE, AFTER = 7, 9
STEPS = (
    *(f"{blocks} blocks" for blocks in range(BEFORE)),
    "half of it",
    *(f"all of it and {blocks} blocks" for blocks in range(AFTER)),
)
"""Room for the small files before the release is staged, one by one; for half of the release; and
for the whole of it with the small files after it, one by one."""


def room_at(step: str, scene: full_disk.FullScene) -> int:
    """The same in bytes."""
    release = full_disk.size_of_release(scene)
    if step.startswith("half"):
        return release // 2
    whole = release if step.startswith("all") else 0
    return whole + int(step.split()[-2]) * disks.BLOCKS[scene.kind]


def setUpModule() -> None:
    if HOW != "sample":
        disks.need(*disks.KINDS)


def on_disks(firsts: list[str]) -> list[tuple[str, str]]:
    """Each on one kind of disk or the other, by a printed seed; or on both."""
    kinds = list(disks.KINDS)
    if wholly():
        return [(first, kind) for first in firsts for kind in kinds]
    start = seed().randrange(2)
    return [(first, kinds[(start + number) % 2]) for number, first in enumerate(firsts)]


@crash
class FullDiskTest(unittest.TestCase):
    def test_at_each_moment(self) -> None:
        def run(moment: str, kind: str) -> None:
            with one(full_disk.SCENES[kind]) as scene:
                full_disk.at_moment(scene, moment)

        all_of(self, on_disks(list(MOMENTS)), run)

    def test_with_so_much_room_left(self) -> None:
        """The ladder: each write of the operation in turn is the one that fails."""

        def run(step: str, kind: str) -> None:
            with one(full_disk.SCENES[kind]) as scene:
                print(step, kind, full_disk.with_room(scene, room_at(step, scene)))

        all_of(self, on_disks(list(STEPS)), run)

    def test_without_inodes(self) -> None:
        def run(kind: str) -> None:
            with one(full_disk.SCENES[kind]) as scene:
                full_disk.without_inodes(scene)

        all_of(self, [(kind,) for kind in disks.KINDS], run)

    def test_served_on_a_full_disk(self) -> None:
        def first(fill: str, kind: str) -> None:
            with one(full_disk.SCENES[kind]) as scene:
                full_disk.served_first(scene, fill)

        def again(moment: str, kind: str) -> None:
            with one(full_disk.SCENES[kind]) as scene:
                full_disk.served_again(scene, moment)

        all_of(self, on_disks(["fill", "fill_inodes"]), first)
        moments = list(MOMENTS if wholly() else AGAIN)
        all_of(self, on_disks(moments), again)


if __name__ == "__main__":
    unittest.main()
