"""A world of plain values in which a managed hub is upgraded, and its helper killed at any act."""

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
from hub_upgrade.domain.operation import Operation, Undo
from hub_upgrade.domain.restart import EXIT, Choice
from hub_upgrade.errors import HostError, RefusedError
from hub_upgrade.host import hub_process
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
        self.dies: set[str] = set()
        self.down = False
        self.silent_for = 0
        self.fails: Callable[[], None] = lambda: None
        self.restarts = 0
        self.refuses = False
        self.owed = ""
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
        self.down = self.disk in self.dies


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

    def revert(self, undo: Undo, _sink: Callable[[bytes], None]) -> str:
        self._world.act("revert")
        if undo.value not in self._world.kept:
            raise HostError("what was kept is gone")
        self._world.disk = HALF
        self._world.act("half back")
        self._world.disk = self._world.kept.pop(undo.value)
        self._world.act("reverted")
        return self._world.owed

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
        self._world.silent_for -= 1
        if self._world.down or self._world.silent_for >= 0:
            return Seen("", False, "", False, "nobody answers")
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

    def mark(self) -> None:
        pass

    def ordered(self) -> str:
        return ""

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


class ManagedCase(unittest.TestCase):
    restarter: type[FakeRestarter] = FakeRestarter
    choice = Choice(EXIT, "a test")

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
        return process == str(self.world.process) and not self.world.down

    def write(self, path: str, data: bytes) -> None:
        self.world.act("record")
        with open(f"{path}.new", "wb") as file:  # what is not synced is lost by no kill
            file.write(data)
        os.replace(f"{path}.new", path)
        self.world.act("recorded")

    def claim(self, **fields: Any) -> Operation:
        operation = Operation("o1", current_version="1.0.0", install="package", started_at="t")
        return self.store.claim(operation._replace(**fields))

    def go(self, mode: str = op.IN_PLACE) -> int:
        """One helper's life on what the record says."""
        record = self.store.read()
        assert record is not None
        decision = Decision(
            "npm", mode, "why", ("seen",), Place("package", "bun", prefix=self.home.root)
        )
        parts = Parts(
            self.home, self.store, self.settings, Managed(), decision, FakeRewriter(self.world),
            FakeWatch(self.world), self.choice, self.restarter(self.world),  # type: ignore[arg-type]
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

    # --- killed at each act ---

    def life(self, kill_at: int, sick: bool, kind: str, dies: bool = False) -> bool:
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
        if dies:
            self.world.dies.add("1.1.0")
        self.world.acts, self.world.kill_at, self.world.restarts = [], kill_at, 0
        try:
            self.go()
        except Killed:
            pass
        reached = len(self.world.acts) > kill_at
        self.world.kill_at = -1
        if not self.record().finished:
            self.go()
        return reached

    def every_life(self, sick: bool, kind: str, restarts: int = 3, dies: bool = False) -> int:
        """Killed at each act in turn; how many acts there are."""
        for kill_at in range(100):
            if not self.life(kill_at, sick, kind, dies):
                return kill_at
            what = f"killed at {kill_at} ({self.world.acts[kill_at]})"
            if kind == op.UPGRADE:
                self.is_true(what)
            else:
                self.assertTrue(self.record().finished, what)
                self.assertEqual(self.world.disk, self.world.running, what)
                self.assertNotEqual(self.world.disk, HALF, what)
            self.assertLessEqual(self.world.restarts, restarts, what)
        raise AssertionError("it never ends")
