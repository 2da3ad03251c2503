"""The real thing under test: real files built, a real `serve`, real requests, real signals."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import marshal
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Callable

import build_pyz
from tests.e2e.ports import held_port

WAIT_S = 60.0
"""No test waits longer than this for anything; none asserts a time."""
CONFIG = {
    "ready_timeout_s": 15,
    "probation_s": 0.4,
    "probation_max_s": 30,
    "drain_s": 2,
    "stop_s": 8,
    "home_persists": True,  # a test's home does, whatever else is true of the machine it runs on
}
SHARED = "TESTS_BUILT"
"""The variable that names the directory of what was built already."""
FINISHED = ("succeeded", "failed", "redeploy-required")
TIDYING = "another process holds operation.lock; try again in a moment"


def wait_for(what: Callable[[], Any], why: str, limit_s: float = WAIT_S) -> Any:
    """The first true value of `what()`; fails the test after `limit_s` seconds."""
    deadline = time.monotonic() + limit_s
    while True:
        value = what()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {limit_s:g} s in vain for: {why}")
        time.sleep(0.02)


def answered(post: Callable[[], tuple[int, Any]]) -> tuple[int, Any]:
    """The answer to a POST, given at once or, as it advises itself, as soon as whoever wrote the
    last word of the operation before has ended too."""

    def asked() -> tuple[int, Any] | None:
        status, answer = post()
        tidying = status == 409 and TIDYING in str(answer.get("error_description"))
        return None if tidying else (status, answer)

    status, answer = wait_for(asked, "the end of whoever wrote the last word")
    return status, answer


def accepted(post: Callable[[], tuple[int, Any]]) -> dict[str, Any]:
    """The same for one that must be accepted."""
    status, answer = answered(post)
    if status != 202:
        raise AssertionError(f"{status} {answer}")
    return dict(answer)


_built: dict[Any, str] = {}


def build(version: str, overlay: Mapping[str, bytes] | None = None) -> str:
    """A real hub.pyz of that version; `overlay` replaces members, to make it misbehave."""
    key = (version, tuple(sorted((overlay or {}).items())))
    if key not in _built:
        shared = os.environ.get(SHARED)  # one run of all tests builds each but once
        directory = os.path.join(
            shared or tempfile.mkdtemp(prefix="built-"),
            hashlib.sha256(repr((sys.version, key)).encode()).hexdigest(),
        )
        _built[key] = os.path.join(directory, "hub.pyz")
        if not os.path.exists(_built[key]):
            with _work_of_others(shared):
                build_pyz.build(_built[key], version, overlay=dict(overlay or {}))
    return _built[key]


@contextlib.contextmanager
def _work_of_others(shared: str | None) -> Iterator[None]:
    """A module that builds what none has built yet compiles only what no other has compiled."""
    work = Path(shared or os.devnull, "work")
    if not build_pyz._lean and work.exists():
        lean, compiled = marshal.loads(work.read_bytes())
        build_pyz._lean.update(lean)
        build_pyz._compiled.update(compiled)
    before = len(build_pyz._lean) + len(build_pyz._compiled)
    yield
    if shared and len(build_pyz._lean) + len(build_pyz._compiled) > before:
        new = Path(f"{work}.{os.getpid()}")
        new.write_bytes(marshal.dumps((build_pyz._lean, build_pyz._compiled)))
        new.replace(work)


def environment(**more: str) -> dict[str, str]:
    """This environment without anything that would steer a hub."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PARACHUTE_", "LISTEN_"))}
    for name in ("PORT", "NOTIFY_SOCKET", "BUN_INSTALL"):
        kept.pop(name, None)
    kept.update(more)
    return kept


def cli(
    program: str, *argv: str, timeout_s: float = WAIT_S, **env: str
) -> subprocess.CompletedProcess[str]:
    """Run one command of a hub.pyz to its end."""
    return subprocess.run(
        [sys.executable, program, *argv],
        env=environment(**env),
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
        stdin=subprocess.DEVNULL,
    )


class Hub:
    """One `serve` on a home of its own."""

    def __init__(self, program: str, home: str, releases: str | None = None) -> None:
        self.program = program
        self.home = home
        self.releases = releases
        self.process: subprocess.Popen[bytes] | None = None
        self.url = ""
        self.host = "127.0.0.1"
        self.port = 0
        self.log = os.path.join(os.path.dirname(home), os.path.basename(home) + ".log")
        self._token = ""

    # --- life ---

    def own_port(self) -> int:
        """The port of all its starts, which nobody else is given in between."""
        self.port = self.port or held_port(self)
        return self.port

    def start(
        self,
        *argv: str,
        prefix: tuple[str, ...] = (),
        ready: bool = True,
        port: int | None = None,
        **env: str,
    ) -> Hub:
        """Start `serve` and wait until it answers; `prefix` is a command to run it under."""
        words = [*prefix, sys.executable, self.program, "serve", "--config-dir", self.home]
        words += ["--port", str(self.own_port() if port is None else port)]
        if self.releases:
            words += ["--releases", self.releases]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [*words, *argv], env=environment(**env), stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=log, start_new_session=True,
            )  # fmt: skip
        assert self.process.stdout is not None
        line = self.process.stdout.readline().decode()
        if not line.startswith("listening on http://"):
            self.process.wait(WAIT_S)
            raise AssertionError(f"serve printed {line!r}; its log: {self.output()}")
        self.url = line.split()[2]
        self.port = int(self.url.rpartition(":")[2])
        if ready:
            self.wait_healthy()
        return self

    def output(self) -> str:
        """All that every start of this hub has printed on stderr."""
        with contextlib.suppress(OSError):
            return Path(self.log).read_text(encoding="utf-8", errors="replace")
        return ""

    @property
    def launcher_pid(self) -> int:
        return self.process.pid if self.process is not None else 0

    def hub_pid(self) -> int:
        """The launcher's child that serves, by parenthood; 0 for none."""
        for pid in children_of(self.launcher_pid):
            if command_of(pid)[-1:] == ["run"]:
                return pid
        return 0

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Signal the launcher and wait for its end; returns its exit code."""
        if self.process is None:
            return 0
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)
        code = self.process.wait(WAIT_S)
        if self.process.stdout is not None:
            self.process.stdout.close()
        self.process = None
        return code

    def kill_all(self) -> None:
        """SIGKILL for the launcher, its hub and its helpers, at one moment."""
        if self.process is None:
            return
        pids = [self.launcher_pid, *descendants(self.launcher_pid)]
        for number in (signal.SIGSTOP, signal.SIGKILL):  # or one saw the end of another
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
        self.stop(signal.SIGKILL)

    # --- asking ---

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        token: str | None = None,
        timeout_s: float = WAIT_S,
    ) -> tuple[int, Any]:
        """One request on a connection of its own: the status and the JSON answer."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout_s)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            payload = body if isinstance(body, (bytes, type(None))) else json.dumps(body)
            connection.request(method, path, payload, headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read() or b"null")
        finally:
            connection.close()

    def health(self) -> dict[str, Any] | None:
        """What answers on /health now; None for no answer."""
        try:
            status, body = self.request("GET", "/health", timeout_s=10)
        except (OSError, http.client.HTTPException, ValueError):
            return None
        return body if status == 200 and isinstance(body, dict) else None

    def wait_healthy(self) -> dict[str, Any]:
        found = wait_for(self.health, f"a healthy hub; its log: {self.output()[-3000:]}")
        return dict(found)

    def token(self) -> str:
        """A token for everything, made by the command line once."""
        if not self._token:
            words = ("token", "create", "--scope", "hub:admin", "--config-dir", self.home)
            made = cli(self.program, *words)
            if made.returncode:
                raise AssertionError(made.stderr)
            self._token = made.stdout.strip()
        return self._token

    def upgrade(self, **body: Any) -> str:
        """POST an upgrade that must be accepted; returns the operation's id."""
        asked = ("POST", "/api/hub/upgrade", body or None, self.token())
        return str(accepted(lambda: self.request(*asked))["operation_id"])

    def rollback(self) -> str:
        asked = ("POST", "/api/hub/rollback", None, self.token())
        return str(accepted(lambda: self.request(*asked))["operation_id"])

    def record(self) -> dict[str, Any]:
        """The status file as it lies there; {} for none."""
        try:
            with open(os.path.join(self.home, "hub-upgrade-status.json"), encoding="utf-8") as file:
                value = json.load(file)
        except (OSError, ValueError):
            return {}
        return value if isinstance(value, dict) else {}

    def finished(self, operation_id: str | None = None, limit_s: float = WAIT_S) -> dict[str, Any]:
        """The terminal record (of that operation), waited for."""

        def look() -> dict[str, Any] | None:
            record = self.record()
            mine = operation_id in (None, record.get("operation_id"))
            return record if mine and record.get("phase") in FINISHED else None

        def why() -> str:
            return f"a terminal record; it is {self.record()}; log: {self.output()[-4000:]}"

        try:
            return dict(wait_for(look, "", limit_s))
        except AssertionError as error:
            raise AssertionError(f"{error} {why()}") from None

    def boot(self) -> dict[str, Any]:
        """The launcher's record."""
        with open(os.path.join(self.home, "releases", "boot.json"), encoding="utf-8") as file:
            return dict(json.load(file))


class RealCase(unittest.TestCase):
    """A test with a directory, a home and a release repository of its own."""

    config: dict[str, Any] = CONFIG

    def setUp(self) -> None:
        self.directory = tempfile.mkdtemp(prefix="case-")
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)
        self.home = os.path.join(self.directory, "home")
        os.mkdir(self.home, 0o700)
        self.configure()
        self.repository = os.path.join(self.directory, "repository")
        self.old = build("1.0.0")

    def configure(self, **more: Any) -> None:
        Path(self.home, "hub.json").write_text(json.dumps({**self.config, **more}))

    def publish(self, path: str, channel: str = "latest") -> None:
        done = cli(self.old, "release", "publish", self.repository, "--channel", channel, path)
        if done.returncode:
            raise AssertionError(done.stderr)

    def hub(self, program: str | None = None) -> Hub:
        """A hub of version 1.0.0 that is stopped with the test, and not started yet."""
        installed = os.path.join(self.directory, "hub.pyz")
        shutil.copyfile(program or self.old, installed)
        hub = Hub(installed, self.home, self.repository)
        self.addCleanup(hub.kill_all)
        return hub


# --- processes ----------------------------------------------------------------------------------


def _parents() -> Iterator[tuple[int, int]]:
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                fields = Path("/proc", name, "stat").read_text().rsplit(")", 1)[1].split()
                if fields[0] not in "ZX":
                    yield int(name), int(fields[1])


def zombies_parents() -> list[int]:
    """For every zombie there is, the parent that has not reaped it."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                fields = Path("/proc", name, "stat").read_text().rsplit(")", 1)[1].split()
                if fields[0] == "Z":
                    found.append(int(fields[1]))
    return found


def children_of(pid: int) -> list[int]:
    return [child for child, parent in _parents() if parent == pid]


def descendants(pid: int) -> list[int]:
    found, waiting = [], [pid]
    pairs = list(_parents())
    while waiting:
        parent = waiting.pop()
        for child, its_parent in pairs:
            if its_parent == parent:
                found.append(child)
                waiting.append(child)
    return found


def without_children(pids: list[int]) -> list[int]:
    """Those of them that live, and whose parent is none of them: not what one of them forks, which
    bears its command line until it executes something."""
    return [pid for pid, parent in _parents() if pid in pids and parent not in pids]


def command_of(pid: int) -> list[str]:
    with contextlib.suppress(OSError):
        return Path("/proc", str(pid), "cmdline").read_text().split("\0")[:-1]
    return []


def running_on(home: str) -> list[int]:
    """Every process that works on a home: by its environment (hubs) or its arguments."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            words = Path("/proc", name, "cmdline").read_bytes().split(b"\0")
            values = Path("/proc", name, "environ").read_bytes().split(b"\0")
            state = Path("/proc", name, "stat").read_text().rsplit(")", 1)[1].split()[0]
            ours = home.encode() in words or b"PARACHUTE_HOME=" + home.encode() in values
            if ours and state not in "ZX":
                found.append(int(name))
    return found
