"""A machine with somebody else's hub on it: installed for real, kept alive, and looked after.

The directory is a mount of its own: on a machine that is itself a container, nothing else survives.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hub_upgrade.domain.versions import told
from hub_upgrade.host import processes
from tests.e2e.harness import CONFIG, FINISHED, Hub, build, wait_for
from tests.e2e.ports import held_port

MARGIN = 1 << 18
"""What a file system takes for itself, to note where a file lies."""
IDLE = '#!/bin/sh\ncase " $* " in *" add "*|*" install "*) exit 0;; esac'
IDLE_PIP = b"""\
import sys
if "install" in sys.argv and "--dry-run" not in sys.argv:
    sys.exit(0)
"""
ANSWER_S = 10.0
KEPT_ALIVE_S = 0.1
"""How long the runtime waits before it runs the command again."""


def version_at(port: int) -> str:
    """The version that a hub tells there, "" for none."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_S)
    try:
        connection.request("GET", "/health")
        return told(json.loads(connection.getresponse().read()).get("version"))
    except (OSError, http.client.HTTPException, ValueError):
        return ""
    finally:
        connection.close()


class Runtime:
    """Runs a hub's command, and again whenever it has ended: as a container's runtime does."""

    def __init__(self, argv: list[str], env: dict[str, str], log: Path) -> None:
        self.argv = argv
        self.starts = 0
        self.on_restart: Callable[[], None] = lambda: None
        self._env = env
        self._log = log
        self._over = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.is_set():
            with open(self._log, "ab") as log:
                try:
                    self._process = subprocess.Popen(
                        self.argv, env=self._env, stdin=subprocess.DEVNULL, stdout=log,
                        stderr=log, start_new_session=True,
                    )  # fmt: skip
                except OSError as error:
                    log.write(f"{error}\n".encode())
                else:
                    self.starts += 1
                    if self.starts == 2:
                        self.on_restart()
                    self._process.wait()
            self._over.wait(KEPT_ALIVE_S)

    @property
    def pid(self) -> int:
        """The process that runs now, or ran last."""
        return self._process.pid if self._process is not None else 0

    def stop(self) -> None:
        """End it for good."""
        self._over.set()
        while self._thread.is_alive():  # it may be starting another one at this moment
            if self._process is not None:
                with contextlib.suppress(ProcessLookupError):
                    self._process.kill()
            self._thread.join(0.1)


class Machine:
    """A place (see places.py) whose hub runs, and a home for what looks after it."""

    def __init__(self, kind: Any, size_mb: int = 0, **config: Any) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="machine-")).resolve()
        self._disk = f"{self.directory}.disk" if size_mb else ""
        self._mount(size_mb)
        self.place = kind(self.directory / "place")
        self.port = held_port()
        self.home = Path(f"{self.directory}-home")  # on another disk than the hub
        self.home.mkdir(0o700)
        self.program = build("1.0.0")
        self.runtime: Runtime | None = None
        self.hub: Hub | None = None
        self.told: dict[str, str] = {}  # by their environment, both of them
        self.configure(**config)

    def _mount(self, size_mb: int) -> None:
        if not self._disk:
            subprocess.run(["mount", "--bind", self.directory, self.directory], check=True)
            return
        with open(self._disk, "wb") as disk:
            disk.truncate(size_mb << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", self._disk], check=True)
        subprocess.run(["mount", "-o", "loop", self._disk, self.directory], check=True)

    def fill(self, but_mb: int) -> None:
        """Leave so much room on the disk."""
        free = os.statvfs(self.directory)
        room = free.f_bavail * free.f_frsize - (but_mb << 20)
        with open(self.directory / "filler", "wb", buffering=0) as filler:
            os.posix_fallocate(filler.fileno(), 0, max(room - MARGIN, 1))

    def empty(self) -> None:
        """Give the room back."""
        (self.directory / "filler").unlink()

    def configure(self, hub: dict[str, Any] | None = None, **more: Any) -> None:
        """Write hub.json: what is not said of the hub is to be found out."""
        said = {"health_url": f"http://127.0.0.1:{self.port}/health", **(hub or {})}
        if self.place.package:
            said.setdefault("package", self.place.package)
        times = {**CONFIG, "ready_timeout_s": 6, **more}
        (self.home / "hub.json").write_text(json.dumps({**times, "hub": said}))

    def start(self, version: str = "1.0.0") -> Machine:
        """Publish and install a version, and run it."""
        self.place.publish(version)
        self.place.install(version)
        self.run()
        wait_for(lambda: self.runs() == version, f"{version}: {self.log()}")
        return self

    def run(self) -> None:
        """Have the runtime run it."""
        env = {**self.place.environment, "PORT": str(self.port), **self.told}
        self.runtime = Runtime(self.place.program, env, self.directory / "hub.log")

    @contextlib.contextmanager
    def without_the_tool(self) -> Iterator[str]:
        """The tool is not on the machine meanwhile; gives the PATH to use."""
        path = self.directory / "few tools"
        path.mkdir(exist_ok=True)
        if not (path / "sh").exists():
            (path / "sh").symlink_to("/bin/sh")
        pip = [*self.directory.glob("place/prefix/lib/python*/site-packages/pip")]
        for found in pip:
            found.rename(self.directory / "pip")
        try:
            yield str(path)
        finally:
            for found in pip:
                (self.directory / "pip").rename(found)

    @contextlib.contextmanager
    def with_a_tool_that_does_nothing(self) -> Iterator[str]:
        """The tool says that it has installed, and has not; gives the PATH to use."""
        path = self.directory / "odd tools"
        path.mkdir()
        for tool in ("bun", "npm"):
            real = shutil.which(tool, path=self.environment["PATH"])
            (path / tool).write_text(f'{IDLE}\nexec {real} "$@"\n')
            (path / tool).chmod(0o755)
        kept = {}
        for pip in self.directory.glob("place/prefix/lib/python*/site-packages/pip/__main__.py"):
            kept[pip] = pip.read_bytes()
            pip.write_bytes(IDLE_PIP + kept[pip])
        try:
            yield f"{path}:{self.environment['PATH']}"
        finally:
            for pip, content in kept.items():
                pip.write_bytes(content)

    def break_down(self, fault: str) -> None:
        """The registry or remote does this from now on."""
        getattr(self.place, "registry", self.place).break_down(fault)

    def mend(self) -> None:
        """It is well again."""
        getattr(self.place, "registry", self.place).mend()

    def settled(self) -> dict[str, Any]:
        """The terminal record, whatever is left to be done for it done by `hub.pyz status`."""

        def look() -> bool:
            self.command("status")
            return self.record().get("phase") in FINISHED and not self.helper_lives()

        wait_for(look, f"the record's end; it is {self.record()}")
        return self.record()

    def helper_lives(self) -> bool:
        """Whether the operation's helper is still there: it tidies up when all is told."""
        record = self.record()
        pid, started = record.get("helper_pid", 0), record.get("helper_start_time")
        return bool(pid) and processes.alive(pid, started)

    def log(self) -> str:
        """What the hub has printed."""
        path = self.directory / "hub.log"
        return path.read_text(errors="replace")[-2000:] if path.exists() else ""

    def runs(self) -> str:
        """The version that answers now, "" for none."""
        return version_at(self.port)

    @property
    def environment(self) -> dict[str, str]:
        """What whoever looks after it finds."""
        return {**self.place.environment, "PARACHUTE_HOME": str(self.home), **self.told}

    def command(
        self, *argv: str, under: tuple[str, ...] = (), **env: str
    ) -> subprocess.CompletedProcess[str]:
        """Run one command of hub.pyz to its end, `under` another program."""
        return subprocess.run(
            [*under, sys.executable, self.program, *argv], env={**self.environment, **env},
            cwd=self.directory, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            check=False, timeout=120,
        )  # fmt: skip

    def serve(self) -> Hub:
        """`hub.pyz serve` beside it."""
        hub = Hub(self.program, str(self.home))
        hub.start(**self.environment)  # type: ignore[arg-type]
        self.hub = hub
        return hub

    def record(self) -> dict[str, Any]:
        """The status file as it lies there; {} for none."""
        try:
            value = json.loads((self.home / "hub-upgrade-status.json").read_text())
        except (OSError, ValueError):
            return {}
        return dict(value)

    def close(self) -> None:
        """Stop everything, and remove it."""
        if self.hub is not None:
            self.hub.kill_all()
        if self.runtime is not None:
            self.runtime.stop()
        self.place.close()
        deadline = time.monotonic() + 10
        while subprocess.call(["umount", self.directory], stderr=subprocess.DEVNULL):
            if time.monotonic() > deadline:
                subprocess.run(["umount", "-l", self.directory], check=False)
                break
            time.sleep(0.1)
        for directory in (self.directory, self.home):
            shutil.rmtree(directory, ignore_errors=True)
        if self._disk:
            os.unlink(self._disk)


class MachineCase(unittest.TestCase):
    """A test on a machine of its own."""

    kind: Any = None

    def machine(self, start: bool = True, size_mb: int = 0, **config: Any) -> Machine:
        """A machine that is taken down with the test, its hub 1.0.0 running."""
        made = Machine(self.kind, size_mb, **config)
        self.addCleanup(made.close)
        return made.start() if start else made

    def assert_record(self, machine: Machine, **expected: Any) -> dict[str, Any]:
        """The record bears these values; the record."""
        record = machine.record()
        found = {name: record.get(name) for name in expected}
        self.assertEqual(found, expected, json.dumps(record, indent=1))
        return record


def clean_environment() -> None:
    """Nothing of whoever runs the tests steers a hub."""
    for name in list(os.environ):
        if name.startswith(("PARACHUTE_", "BUN_", "npm_", "PIP_", "GIT_")):
            del os.environ[name]
