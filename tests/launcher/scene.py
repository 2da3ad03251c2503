"""What the launcher's tests share: a home of their own, and a standard error of their own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import tempfile
import unittest
from typing import Any, Callable

from hub_upgrade.host import processes, releases
from hub_upgrade.host.files import Home
from hub_upgrade.launcher import place
from hub_upgrade.launcher.place import Place
from hub_upgrade.settings import Settings, load

PATIENCE_S = 20.0


class Scene(unittest.TestCase):
    """Standard error is a pipe that nobody reads unless `said` is asked."""

    def setUp(self) -> None:
        self.directory = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.directory, True)
        self.home = Home(os.path.join(self.directory, "home"))
        self.stderr, end = os.pipe()
        self.addCleanup(os.close, self.stderr)
        os.set_blocking(self.stderr, False)
        before = os.dup(2)
        os.dup2(end, 2)
        os.close(end)

        def back() -> None:
            os.dup2(before, 2)
            os.close(before)

        self.addCleanup(back)

    def said(self) -> str:
        """What was written to standard error since the last time."""
        pieces = []
        while True:
            try:
                pieces.append(os.read(self.stderr, 65536))
            except BlockingIOError:
                return b"".join(pieces).decode()

    def fill_stderr(self) -> None:
        """As when whoever reads it has stopped: there is no room for a single byte."""
        os.set_blocking(2, False)
        for size in (65536, 4096, 1):
            try:
                while True:
                    os.write(2, b"x" * size)
            except BlockingIOError:
                pass
        os.set_blocking(2, True)

    def settings(self, **changes: Any) -> Settings:
        return load({"config-dir": self.home.root}, {})._replace(**changes)

    def place(self, trouble: str = "", factory: bytes = b"the factory") -> Place:
        """A place as `settle_in` makes it, on a socket of its own."""
        original = self.put("installed.pyz", factory)
        usable = not trouble
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)
        release, path, spare = place.keep_factory(self.home, usable, original)
        if spare >= 0:
            self.addCleanup(os.close, spare)
        self.addCleanup(place.drop_private, path)
        return Place(self.home, None, trouble, listener, release, path, original, spare)

    def put(self, name: str, data: bytes) -> str:
        path = os.path.join(self.directory, name)
        with open(path, "wb") as file:
            file.write(data)
        return path

    def add(self, version: str, data: bytes, good: bool = False) -> tuple[str, str]:
        """A release in home: its name and digest."""
        name = releases.add(self.home, version, data)
        digest = releases.digest_of(self.home, name) or ""
        if good:
            releases.mark_good(self.home, name, digest)
        return name, digest

    def fork(self, act: Callable[[], object]) -> tuple[int, str]:
        """A process that does this, says so, and waits to be killed; its PID and start time."""
        ready, tell = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                act()
                os.write(tell, b".")
                while True:
                    signal.pause()
            finally:
                os._exit(1)
        self.addCleanup(self.end, pid)
        os.read(ready, 1)
        os.close(ready)
        os.close(tell)
        return pid, processes.start_time(pid) or ""

    def end(self, pid: int) -> int:
        """Kill it if it lives; its wait status, -1 where it was reaped already."""
        try:
            os.kill(pid, signal.SIGKILL)
            return os.waitpid(pid, 0)[1]
        except (ProcessLookupError, ChildProcessError):
            return -1

    def dead(self) -> tuple[int, str]:
        """A PID that nobody has any more, and its start time."""
        pid, started = self.fork(lambda: None)
        self.end(pid)
        return pid, started


