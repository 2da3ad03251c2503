"""Homes with a past, copied to be damaged, and the hubs that then must serve on them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

from tests.e2e.damage import HANDED_OVER, Target, strike
from tests.e2e.harness import CONFIG, WAIT_S, Hub, RealCase, build, environment

NOBODY = 65534
BARE_PYTHON = "/usr/bin/python3"
"""An interpreter that another user can read."""
AS_NOBODY = (
    "import os, sys; os.setgroups([]); os.setgid(65534); os.setuid(65534); "
    f"os.execv({BARE_PYTHON!r}, [{BARE_PYTHON!r}, *sys.argv[2:]])"
)
OLD_ENOUGH = "import http.server, sys; sys.version_info[:2] >= (3, 9) or sys.exit(1)"


class Past(RealCase):
    """A home in which 1.1.0 is current, 1.0.0 the factory, 1.2.0 rolled back from."""

    config = {**CONFIG, "probation_s": 0.2}

    def runTest(self) -> None:  # noqa: N802 - it is a fixture
        """Nothing."""

    def lived(self) -> None:
        """Make all of it by real operations."""
        self.old = plain("1.0.0")
        hub = self.hub(self.old).start()
        for version in ("1.1.0", "1.2.0"):
            self.publish(plain(version))
            assert hub.finished(hub.upgrade())["phase"] == "succeeded", hub.record()
        assert hub.finished(hub.rollback())["phase"] == "succeeded", hub.record()
        hub.stop()
        self.publish(plain("1.3.0"))
        assert hub.boot()["rejected"], hub.boot()


def plain(version: str) -> str:
    """A real release, whose preflight does not look for so long."""
    with open(os.path.join(ROOT, PREFLIGHT), "rb") as file:
        return build(version, {PREFLIGHT: file.read() + b"\nWATCH_S = 0.2\n"})


ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PREFLIGHT = "hub_upgrade/upgrade/preflight.py"


class Template:
    """The home with a past, made once and copied for every case."""

    def __init__(self) -> None:
        self._past = Past()
        self._past.setUp()
        self._past.lived()

    def close(self) -> None:
        self._past.doCleanups()

    @contextlib.contextmanager
    def copy(self, as_nobody: bool) -> Iterator[Patient]:
        """A copy, which may belong to another user, that is removed afterwards."""
        base = tempfile.gettempdir() if not as_nobody else "/tmp"
        directory = os.path.realpath(tempfile.mkdtemp(prefix="damage-", dir=base))
        patient = Patient(directory, as_nobody)
        try:
            for name in ("home", "repository", "hub.pyz"):
                source = os.path.join(self._past.directory, name)
                copy = shutil.copytree if os.path.isdir(source) else shutil.copy2
                copy(source, os.path.join(directory, name), **LINKS.get(name, {}))
            if as_nobody:
                give_away(directory)
            yield patient
        finally:
            patient.hub.kill_all()
            shutil.rmtree(directory, ignore_errors=True)


LINKS: dict[str, dict[str, Any]] = {"home": {"symlinks": True}}


def give_away(directory: str) -> None:
    """All of it belongs to nobody from now on."""
    os.chmod(directory, 0o700)
    for root, directories, names in os.walk(directory):
        for name in (".", *directories, *names):
            os.chown(os.path.join(root, name), NOBODY, NOBODY, follow_symlinks=False)


def can_be_nobody() -> bool:
    """Whether a test can see a file of mode 000 for what it is: not as root alone."""
    if os.geteuid() != 0:
        return True
    words = [sys.executable, "-c", AS_NOBODY, "", "-c", OLD_ENOUGH]
    done = subprocess.run(words, capture_output=True, check=False, stdin=subprocess.DEVNULL)
    return done.returncode == 0


class Patient:
    """One copy, its hub, and what is done to it."""

    def __init__(self, directory: str, as_nobody: bool) -> None:
        self.home = os.path.join(directory, "home")
        self.directory = directory
        changes = as_nobody and os.geteuid() == 0
        self.prefix = (sys.executable, "-c", AS_NOBODY) if changes else ()
        self.env = {"TMPDIR": directory, "HOME": directory} if changes else {}
        program, repository = (os.path.join(directory, n) for n in ("hub.pyz", "repository"))
        self.hub = Hub(program, self.home, repository)

    def path(self, target: Target) -> str:
        """Where a target lies in this home."""
        path = target.path
        releases = os.path.join(self.home, "releases")
        for name in os.listdir(releases):
            if not name.endswith(".bad"):
                path = path.replace("{" + name.rpartition("-")[0] + "}", name)
        logs = sorted(os.listdir(os.path.join(self.home, "logs")))
        return os.path.join(self.home, path.replace("{log}", logs[-1]))

    def prepare(self, target: Target) -> None:
        """What is not always there is put there, to be damaged."""
        path = self.path(target)
        if not os.path.lexists(path):
            value = HANDED_OVER if target.name == "next.json" else {"services": []}
            with open(path, "w", encoding="utf-8") as file:
                json.dump(value, file)
            self._hand(path)

    def configure(self, **more: Any) -> None:
        """Other times in `hub.json`."""
        path = os.path.join(self.home, "hub.json")
        with open(path, encoding="utf-8") as file:
            value = json.load(file)
        with open(path, "w", encoding="utf-8") as file:
            json.dump({**value, **more}, file)

    def _hand(self, path: str) -> None:
        if self.prefix:
            for root, directories, names in os.walk(path):
                for name in (*directories, *names):
                    os.chown(os.path.join(root, name), NOBODY, NOBODY, follow_symlinks=False)
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)

    def damage(self, target: Target, kind: str) -> None:
        """Do it to one file."""
        path = self.path(target)
        strike(path, kind)
        if os.path.lexists(path):
            self._hand(path)

    def start(self) -> None:
        """Serve as the home's user."""
        if self.env:
            self.hub.start(prefix=self.prefix, TMPDIR=self.directory, HOME=self.directory)
        else:
            self.hub.start()

    def token(self) -> str:
        """A new token, made as the home's user; "" where it cannot be."""
        words = [*self.prefix, sys.executable, self.hub.program, "token", "create"]
        done = subprocess.run(
            [*words, "--scope", "hub:admin", "--config-dir", self.home],
            env=environment(**self.env), capture_output=True, text=True, timeout=WAIT_S,
            stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
        self.said = done.stderr
        return done.stdout.strip()

    said = ""

    def ask(self, path: str = "/api/hub/upgrade") -> tuple[int, dict[str, Any]]:
        """POST, again while the launcher mends something: the last answer."""
        token = self.token()
        deadline = time.monotonic() + WAIT_S
        while True:
            status, answer = self.hub.request("POST", path, None, token)
            if status != 409 or time.monotonic() > deadline:
                return status, answer
            time.sleep(0.2)

    def status(self) -> dict[str, Any]:
        """The record as the hub tells it."""
        answer = self.hub.request("GET", "/api/hub/upgrade/status", None, self.token())[1]
        return answer if isinstance(answer, dict) else {}
