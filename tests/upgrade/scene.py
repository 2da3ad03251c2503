"""A home with releases in it, and a source and a launcher that do what a test tells them."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
import unittest
import zipfile
from typing import Any, Callable, NamedTuple

from hub_upgrade.domain.boot_record import BootRecord, Next
from hub_upgrade.domain.operation import Operation
from hub_upgrade.domain.settle import Running
from hub_upgrade.errors import RefusedError
from hub_upgrade.host import boot_store, files, releases
from hub_upgrade.host.files import Home, Lock
from hub_upgrade.host.operation_log import OperationLog
from hub_upgrade.host.status_store import StatusStore
from hub_upgrade.upgrade.accept import Desk, Patience
from hub_upgrade.upgrade.preflight import Says


class Resolved(NamedTuple):
    version: str
    digest: str
    note: str = ""


def zipapp(code: str) -> bytes:
    """The bytes of an archive whose `__main__.py` is `code`."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("__main__.py", code)
    return packed.getvalue()


class FakeSource:
    """Releases from memory."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self.files: dict[str, bytes] = {}
        self.channels: dict[str, str] = {}
        self.before_staging: Callable[[], None] = lambda: None

    def resolve(self, channel: str, version: str | None) -> Resolved:
        found = version or self.channels.get(channel)
        if found not in self.files:
            raise RefusedError("no_such_release", f"there is no {found}")
        return Resolved(found, files.sha256(self.files[found]), "a note")

    def stage(self, resolved: Any, progress: Callable[[int, int], None]) -> str:
        self.before_staging()
        data = self.files[resolved.version]
        progress(len(data), len(data))
        return releases.add(self._home, resolved.version, data)


class FakeLauncher:
    """Takes up what it is handed, or does what `on_hand_over` does."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self.handed: list[Next] = []
        self.speaks = 1
        self.runs = True
        self.on_hand_over: Callable[[Next], bool] = lambda _nxt: True

    def alive(self) -> bool:
        return self.runs

    def protocol(self) -> int:
        return self.speaks

    def factory(self) -> str:
        return "/opt/hub.pyz"

    def hand_over(self, nxt: Next) -> bool:
        self.handed.append(nxt)
        return self.on_hand_over(nxt)


class FakePreflight:
    """Lets everything pass, or does what `on_prove` does."""

    def __init__(self) -> None:
        self.tried: list[str] = []
        self.needs = 1
        self.on_prove: Callable[[], None] = lambda: None

    def ask(self, _path: str, version: str) -> Says:
        return Says(version, self.needs, self.needs)

    def prove(self, path: str, _version: str, _digest: str) -> None:
        self.tried.append(path)
        self.on_prove()


class Scene(unittest.TestCase):
    """Home with the running release 1.0.0, committed, and 0.9.0 before it."""

    def setUp(self) -> None:
        root = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, root, ignore_errors=True)
        self.home = Home(root)
        os.mkdir(self.home.releases)
        self.store = StatusStore(self.home)
        self.source = FakeSource(self.home)
        self.launcher = FakeLauncher(self.home)
        self.log_path = os.path.join(root, "log")
        descriptor = os.open(self.log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.addCleanup(os.close, descriptor)
        self.log = OperationLog(descriptor)
        self.before = self.release("0.9.0", b"before")
        self.current = self.release("1.0.0", b"running")
        self.boot = BootRecord(current=self.current, previous=self.before)
        boot_store.write_boot(self.home, self.boot)
        self.running = Running("1.0.0", self.current, files.sha256(b"running"))
        self.source.files = {"0.9.0": b"before", "1.0.0": b"running", "1.1.0": b"newer"}
        self.source.channels = {"latest": "1.1.0"}
        self.preflight = FakePreflight()

    def release(self, version: str, data: bytes) -> str:
        name = releases.add(self.home, version, data)
        releases.mark_good(self.home, name, files.sha256(data))
        return name

    def desk(self, start: Callable[[Operation, Lock], int] | None = None, **changes: Any) -> Desk:
        desk = Desk(
            home=self.home,
            store=self.store,
            running=self.running,
            releases="/srv/releases",
            trouble=None,
            survey=None,
            launcher_alive=lambda: True,
            start_helper=start or (lambda _operation, _lock: os.getpid()),
            patience=Patience(),
            home_persists=True,
        )
        return desk._replace(**changes)

    def take(self) -> Lock:
        lock = Lock.try_take(self.home.operation_lock)
        assert lock is not None
        self.addCleanup(lock.release)
        return lock

    def record(self) -> Operation:
        found = self.store.read()
        assert found is not None
        return found

    def read_log(self) -> str:
        with open(self.log_path, encoding="utf-8") as file:
            return file.read()
