"""A managed hub's operation in a world of plain values, killed before and after each act of it."""

from __future__ import annotations

import os
import shutil
import tempfile
import unittest
from pathlib import Path
from typing import Any, Callable
from unittest import mock

from hub_upgrade.domain import operation as op
from hub_upgrade.domain.install import Decision, Place
from hub_upgrade.domain.installed import Installed
from hub_upgrade.domain.managed import Managed
from hub_upgrade.domain.operation import Operation, Request, Undo
from hub_upgrade.domain.restart import EXIT, Choice
from hub_upgrade.errors import HostError, RefusedError
from hub_upgrade.host import hub_process, managed_store
from hub_upgrade.host.files import Home
from hub_upgrade.host.operation_log import OperationLog
from hub_upgrade.host.status_store import StatusStore
from hub_upgrade.settings import load
from hub_upgrade.upgrade import hub_watch
from hub_upgrade.upgrade.hub_watch import Seen
from hub_upgrade.upgrade.managed import ManagedTransaction
from hub_upgrade.upgrade.managed_back import Parts
from tests.upgrade.scene import Resolved

HALF = "half-written"
CHOICE = Choice(EXIT, "a test")
SETTINGS = """{"probation_s": 0.01, "ready_timeout_s": 0.1, "probation_max_s": 5, "hub": {},
"before_upgrade": ["sh", "-c", "echo backup >> $PARACHUTE_HOME/hooks"],
"after_rollback": ["sh", "-c", "echo restore >> $PARACHUTE_HOME/hooks"]}"""


class Killed(BaseException):
    """The helper is killed here."""


class World:
    """The registry, the disk, and the process that runs; `acts` counts what was done to them."""

    def __init__(self) -> None:
        self.registry = {"latest": "1.1.0", "rc": "1.0.0"}
        self.disk = "1.0.0"
        self.kept: dict[str, str] = {}
        self.running, self.process = "1.0.0", 1
        self.sick: set[str] = set()
        self.fails: Callable[[], None] = lambda: None
        self.restarts = 0
        self.refuses = False
        self.told = True
        self.acts: list[str] = []
        self.kill_at = -1

    def act(self, name: str) -> None:
        self.acts.append(name)
        if len(self.acts) - 1 == self.kill_at:
            raise Killed

    def start(self) -> None:
        """The runtime runs the command again."""
        self.running, self.process = self.disk, self.process + 1


class FakeRewriter:
    def __init__(self, world: World) -> None:
        self._world = world

    def installed(self) -> Installed:
        return Installed("" if self._world.disk == HALF else self._world.disk)

    def resolve(self, channel: str, version: str | None) -> Resolved:
        found = version or self._world.registry.get(channel)
        if found is None:
            raise RefusedError("no_such_version", f"there is nothing for {channel}")
        return Resolved(found, f"sha512-{found}")

    def keep(self, name: str, wanted: Undo | None = None) -> Undo:
        self._world.act("keep")
        self._world.kept[name] = self._world.disk
        self._world.act("kept")
        return Undo(op.TREE, name)

    def swap(self, resolved: Any, sink: Callable[[bytes], None]) -> None:
        sink(b"installing\n")
        self._world.act("swap")
        self._world.disk = HALF
        self._world.fails()
        self._world.act("half")
        self._world.disk = resolved.version
        self._world.act("swapped")

    def revert(self, undo: Undo, _sink: Callable[[bytes], None]) -> None:
        self._world.act("revert")
        if undo.value not in self._world.kept:
            raise HostError("what was kept is gone")
        self._world.disk = HALF
        self._world.act("half back")
        self._world.disk = self._world.kept.pop(undo.value)
        self._world.act("reverted")

    def has(self, undo: Undo) -> bool:
        return undo.value in self._world.kept

    def discard(self, undo: Undo) -> None:
        self._world.act("discard")
        self._world.kept.pop(undo.value, None)


class FakeWatch:
    def __init__(self, world: World) -> None:
        self._world = world
        self.command = ""
        self.hub_pid = 1 if world.told else None
        self.told = str(world.process) if world.told else ""

    def look(self) -> Seen:
        version, process = self._world.running, str(self._world.process)
        well = version not in (*self._world.sick, HALF)
        return Seen(version if well else "", well, process, True, "" if well else "it answers 500")

    def is_the_hub(self, _process: str, _place: Place | None) -> bool:
        return True


class FakeRestarter:
    """Signals a process."""

    by_manager = False
    limit_s = 0

    def __init__(self, world: World) -> None:
        self._world = world

    def check(self) -> str:
        return "restarted by: a test"

    def tell(self) -> list[str]:
        return []

    def restart(self, process: str, again: bool, back: bool = False) -> str:
        if not process:
            return "nobody is signalled"
        if self._world.refuses:
            raise HostError("NOT restarted: it does not end")
        self._world.act("restart")
        if process == str(self._world.process):
            self._world.restarts += 1
            self._world.start()
        self._world.act("restarted")
        return f"{process} was restarted"


class ManagedTest(unittest.TestCase):
    def setUp(self) -> None:
        self.world = World()
        root = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, root, ignore_errors=True)
        self.home = Home(root)
        Path(self.home.hub_json).write_text(SETTINGS)
        self.settings = load({"config-dir": root}, {})
        self.store = StatusStore(self.home, self.write)
        for patched in (
            mock.patch.object(hub_watch, "POLL_S", 0.001),
            mock.patch.object(os, "sync"),
            mock.patch.object(hub_process, "lives", self.lives),
            mock.patch.object(hub_process, "age_s", lambda _process: 0.0),
        ):
            patched.start()
            self.addCleanup(patched.stop)

    def lives(self, process: str) -> bool:
        return process == str(self.world.process)

    def write(self, path: str, data: bytes) -> None:
        self.world.act("record")
        with open(f"{path}.new", "wb") as file:  # what is not synced is lost by no kill
            file.write(data)
        os.replace(f"{path}.new", path)
        self.world.act("recorded")

    def claim(self, **fields: Any) -> Operation:
        operation = Operation("o1", current_version="1.0.0", install="package", started_at="t")
        return self.store.claim(operation._replace(**fields))

    def go(self) -> int:
        """One helper's life on what the record says."""
        record = self.store.read()
        assert record is not None
        decision = Decision("npm", op.IN_PLACE, "why", ("seen",), Place("package", "bun"))
        parts = Parts(
            self.home, self.store, self.settings, Managed(), decision, FakeRewriter(self.world),
            FakeWatch(self.world), CHOICE, FakeRestarter(self.world),  # type: ignore[arg-type]
            OperationLog(-1),
        )  # fmt: skip
        return ManagedTransaction(record, parts).run()

    def record(self) -> Operation:
        found = self.store.read()
        assert found is not None
        return found

    def hooks(self) -> list[str]:
        path = Path(self.home.root, "hooks")
        return path.read_text().split() if path.exists() else []

    def is_true(self, what: str) -> None:
        """What the record says of an operation that has ended is so."""
        record, world = self.record(), self.world
        self.assertTrue(record.finished, (what, record))
        self.assertNotEqual(world.disk, HALF, what)
        if record.phase == op.SUCCEEDED:
            self.assertEqual((world.disk, world.running), (record.target_version,) * 2, what)
        else:
            self.assertEqual((world.disk, world.running), ("1.0.0", "1.0.0"), (what, record))

    # --- one by one ---

    def test_an_upgrade_is_proven_by_a_new_process(self) -> None:
        self.claim()
        self.assertEqual(self.go(), 0)
        record = self.record()
        self.assertEqual((record.phase, record.target_version), (op.SUCCEEDED, "1.1.0"))
        self.assertEqual(record.integrity, "sha512-1.1.0")
        self.assertEqual(self.hooks(), ["backup"])
        self.assertIn("| installing", record.log)
        self.is_true("upgrade")
        previous = managed_store.read(self.home).previous
        self.assertEqual(previous and previous.version, "1.0.0")

    def test_what_runs_already_is_not_restarted(self) -> None:
        self.world.registry["latest"] = "1.0.0"
        self.claim()
        self.assertEqual(self.go(), 0)
        self.assertEqual((self.record().phase, self.world.restarts), (op.SUCCEEDED, 0))
        self.assertIsNone(self.record().undo)

    def test_a_disk_that_changed_under_the_hub_is_only_restarted(self) -> None:
        self.world.disk = "1.1.0"
        self.claim()
        self.assertEqual(self.go(), 0)
        self.assertEqual((self.world.restarts, self.hooks()), (1, []))
        self.assertEqual(self.record().undo, Undo(op.NOTHING, "-"))

    def test_a_disk_that_changed_to_something_else_is_to_be_restarted_first(self) -> None:
        self.world.disk = "1.0.5"
        self.claim()
        self.assertEqual(self.go(), 1)
        self.assertIn("1.0.5 lies on the disk, and 1.0.0 runs", self.record().error or "")
        self.assertEqual((self.world.disk, self.world.restarts), ("1.0.5", 0))

    def test_a_downgrade_is_refused_with_the_command_that_forces_it(self) -> None:
        self.claim(request=Request("0.9.0"))
        self.assertEqual(self.go(), 1)
        force = "hub.pyz upgrade --version 0.9.0 --allow-downgrade"
        self.assertIn(force, self.record().error or "")
        self.assertEqual(self.hooks(), [])
        self.is_true("downgrade")

    def test_a_sick_version_is_taken_back_and_not_tried_again(self) -> None:
        self.world.sick.add("1.1.0")
        self.claim()
        self.assertEqual(self.go(), 5)
        record = self.record()
        self.assertEqual(record.rolled_back_to, "1.0.0")
        self.assertIn("it answers 500", record.error or "")
        self.assertEqual(self.hooks(), ["backup", "restore"])
        self.assertEqual(self.world.kept, {})
        self.is_true("sick")
        self.claim(operation_id="o2")
        self.assertEqual(self.go(), 1)
        self.assertIn("failed here before", self.record().error or "")
        self.world.sick.clear()
        self.claim(operation_id="o3", request=Request("1.1.0"))
        self.assertEqual(self.go(), 0)
        self.assertEqual(managed_store.read(self.home).rejected, ())

    def test_a_tool_that_fails_is_put_back_without_a_restart(self) -> None:
        def fails() -> None:
            raise HostError("bun failed: no space left on device")

        self.world.fails = fails
        self.claim()
        self.assertEqual(self.go(), 1)
        self.assertIn("no space left on device", self.record().error or "")
        self.assertEqual((self.world.restarts, self.record().rolled_back_to), (0, None))
        self.is_true("tool")

    def test_before_upgrade_that_fails_stops_before_anything_is_rewritten(self) -> None:
        self.settings = self.settings._replace(before_upgrade=("sh", "-c", "echo full >&2; exit 3"))
        self.claim()
        self.assertEqual(self.go(), 1)
        error = "before_upgrade failed (exit 3): full; nothing was changed"
        self.assertEqual(self.record().error, error)
        self.assertNotIn("swap", self.world.acts)
        self.assertEqual(self.world.kept, {})
        self.is_true("hook")

    def test_a_rollback_goes_to_what_was_kept_and_is_proven(self) -> None:
        self.claim()
        self.go()
        self.claim(operation_id="o2", kind=op.ROLLBACK, current_version="1.1.0")
        self.assertEqual(self.go(), 0)
        record = self.record()
        self.assertEqual((record.phase, record.target_version), (op.SUCCEEDED, "1.0.0"))
        self.assertEqual((self.world.disk, self.world.running), ("1.0.0", "1.0.0"))
        self.assertEqual(self.hooks(), ["backup", "restore"])
        self.assertEqual(self.world.kept, {})
        self.assertEqual(managed_store.read(self.home).rejected, ("1.1.0",))
        self.claim(operation_id="o3", kind=op.ROLLBACK)
        self.go()
        self.assertIn("no version kept", self.record().error or "")

    def test_without_a_pid_the_record_waits_for_whoever_restarts_the_hub(self) -> None:
        self.world.told = False
        self.claim()
        self.go()
        self.assertEqual((self.record().phase, self.world.restarts), (op.RESTARTING, 0))
        self.go()
        self.assertEqual(self.record().phase, op.RESTARTING)
        self.world.start()
        self.go()
        self.assertEqual(self.record().phase, op.SUCCEEDED)
        self.is_true("waited")

    def test_redeploy_required_touches_nothing(self) -> None:
        self.claim()
        record = self.store.read()
        assert record is not None
        decision = Decision("container", op.REDEPLOY_REQUIRED, "deploy it", ("seen",), Place())
        parts = Parts(
            self.home, self.store, self.settings, Managed(), decision, FakeRewriter(self.world),
            FakeWatch(self.world), CHOICE, FakeRestarter(self.world),  # type: ignore[arg-type]
            OperationLog(-1),
        )  # fmt: skip
        self.assertEqual(ManagedTransaction(record, parts).run(), 3)
        self.assertEqual((self.record().reason, self.record().source), ("deploy it", "container"))
        self.assertEqual(set(self.world.acts), {"record", "recorded"})

    def test_a_restart_that_is_refused_leaves_the_old_one_running_and_nothing_is_rejected(
        self,
    ) -> None:
        self.world.refuses = True
        self.claim()
        self.assertEqual(self.go(), 1)
        record = self.record()
        self.assertIn("NOT restarted: it does not end", record.error or "")
        self.assertIn("1.0.0 runs on", record.error or "")
        self.assertIsNone(record.rolled_back_to)
        self.assertEqual(managed_store.read(self.home).rejected, ())
        self.assertEqual((self.world.restarts, self.hooks()), (0, ["backup"]))
        self.is_true("refused")

    def test_what_was_kept_and_is_gone_is_told_and_nothing_waits_for_it(self) -> None:
        def fails() -> None:
            self.world.kept.clear()
            raise HostError("bun failed")

        self.world.fails = fails
        self.claim()
        self.assertEqual(self.go(), 1)
        self.assertIn("what was kept of 1.0.0 is gone", self.record().error or "")

    # --- killed at each act ---

    def life(self, kill_at: int, sick: bool, kind: str) -> bool:
        """One operation whose first helper is killed at an act; whether there was such an act."""
        self.doCleanups()
        self.setUp()
        self.settings = self.settings._replace(before_upgrade=None, after_rollback=None)
        if kind == op.ROLLBACK:
            self.claim(operation_id="o0")
            self.go()
            self.claim(kind=op.ROLLBACK, current_version="1.1.0")
        else:
            self.claim()
        if sick:
            self.world.sick.add("1.1.0")
        self.world.acts, self.world.kill_at = [], kill_at
        try:
            self.go()
        except Killed:
            pass
        reached = len(self.world.acts) > kill_at
        self.world.kill_at = -1
        if not self.record().finished:
            self.go()
        return reached

    def every_life(self, sick: bool, kind: str) -> int:
        for kill_at in range(100):
            if not self.life(kill_at, sick, kind):
                return kill_at
            what = f"killed at {kill_at} ({self.world.acts[kill_at]})"
            if kind == op.UPGRADE:
                self.is_true(what)
            else:
                self.assertTrue(self.record().finished, what)
                self.assertEqual(self.world.disk, self.world.running, what)
                self.assertNotEqual(self.world.disk, HALF, what)
            self.assertLessEqual(self.world.restarts, 3, what)
        raise AssertionError("it never ends")

    def test_a_helper_killed_at_any_act_of_an_upgrade_leaves_the_truth(self) -> None:
        self.assertGreater(self.every_life(sick=False, kind=op.UPGRADE), 20)

    def test_a_helper_killed_at_any_act_of_taking_back_leaves_the_truth(self) -> None:
        self.assertGreater(self.every_life(sick=True, kind=op.UPGRADE), 25)

    def test_a_helper_killed_at_any_act_of_a_rollback_leaves_the_truth(self) -> None:
        self.assertGreater(self.every_life(sick=False, kind=op.ROLLBACK), 20)


if __name__ == "__main__":
    unittest.main()
