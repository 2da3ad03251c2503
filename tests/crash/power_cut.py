"""Lives with a power cut in them, on a disk that forgets what was not synced.

Whatever the moment: after mounting again a hub serves, the record becomes terminal and true, the
next upgrade succeeds, and nothing is left but what pruning takes (`tests.crash.lives`).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile

from hub_upgrade.domain.operation import ROLLBACK
from tests.crash import disks, full_disk, mortal
from tests.crash.acts import ALL
from tests.crash.lives import Kit, Life
from tests.crash.mortal import Place, Point
from tests.e2e.harness import Hub, running_on, wait_for
from tests.e2e.moments import PREPARING

ON_DISK = frozenset({"create", "write", "sync", "replace", "rename", "unlink", "mkdir", "rmdir"})
"""The acts between which a disk can tell a difference."""


def cut_at(scene: full_disk.FullScene, moment: str, kind: str) -> None:
    """The power is cut at that moment, under processes that are alive."""
    hub = scene.served()
    if kind == ROLLBACK:
        assert hub.finished(hub.upgrade())["phase"] == "succeeded", hub.record()
        hub.upgrade = hub.rollback  # type: ignore[assignment, method-assign]
    operation = scene.reach(hub, moment)
    power_cut(scene, hub)
    scene.go_on()
    hub.start(TEST_PAUSES=scene.pauses)
    record = hub.finished(operation)
    expected = "failed" if moment in PREPARING else "succeeded"
    scene.assertEqual(record["phase"], expected, f"{record}\n{hub.output()[-3000:]}")
    scene.assertNotIn("rolled_back_to", record)
    full_disk.true(scene, hub, record, kind)
    full_disk.upgraded(scene, hub)
    scene.assertEqual(hub.stop(), 0, hub.output()[-3000:])
    full_disk.tidy(scene)


def power_cut(scene: full_disk.FullScene, hub: Hub) -> None:
    """Off, everybody dead, and on again."""
    scene.disk.cut()
    hub.kill_all()
    wait_for(lambda: all_dead(scene.home), "the end of all")
    scene.disk.power_on()


def all_dead(home: str) -> bool:
    """Whether nobody lives; who does dies now, whosever child it is since the cut."""
    alive = running_on(home)
    for pid in alive:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return not alive


class PoweredLife(Life):
    """A life on such a disk, in which everybody dies by a power cut.

    Everybody is killed first: what is not synced is none the more so for that, and is lost with
    the cut. So the disk is as it was right before the act.
    """

    def __init__(self, kit: Kit, point: Point) -> None:
        super().__init__(kit, point, ALL)
        self._stack = contextlib.ExitStack()
        place = tempfile.mkdtemp(prefix="power-")
        self._stack.callback(shutil.rmtree, place, ignore_errors=True)
        self.disk = self._stack.enter_context(disks.ext4(place))
        home = os.path.join(self.disk.path, "home")
        shutil.copytree(self.home, home, symlinks=True)
        self.home = home
        self.disk.sync()
        mortal.write_plan(self.plan, self.home, self.acts, point, ALL)

    def wait_for_orphans(self) -> None:
        """There are none, once all are dead: off and on again."""
        super().wait_for_orphans()
        self.disk.cut()
        self.disk.power_on()

    def close(self) -> None:
        """Nothing of it is left, the disk neither."""
        try:
            super().close()
        finally:
            self._stack.close()


def cut_before(kit: Kit, point: Point) -> bool:
    """One life with a power cut right before an act; whether it came to that."""
    life = PoweredLife(kit, point)
    try:
        return life.live()
    finally:
        life.close()


def on_disk(places: list[Place]) -> list[Point]:
    """Those of the points that a disk can tell from each other."""
    points = [place.point for place in places]
    return [
        point
        for point in points
        if point.act.partition(": ")[2].split()[0] in ON_DISK and "memfd" not in point.act
    ]
