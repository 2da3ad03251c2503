"""Every file under `home`, in every state that it must not be in, and what must hold then."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from typing import Any, Callable, Iterator, NamedTuple

from tests.e2e.harness import (
    CONFIG,
    FINISHED,
    WAIT_S,
    Hub,
    RealCase,
    build,
    environment,
    running_on,
    wait_for,
)

NOBODY = 65534
BARE_PYTHON = "/usr/bin/python3"
"""An interpreter that another user can read."""
AS_NOBODY = (
    "import os, sys; os.setgroups([]); os.setgid(65534); os.setuid(65534); "
    f"os.execv({BARE_PYTHON!r}, [{BARE_PYTHON!r}, *sys.argv[2:]])"
)
FUTURE: dict[str, Any] = {"format": 2, "schema": 2, "a_field_of_tomorrow": {"deep": [1, None]}}
KINDS = ("nothing", "empty", "half", "random", "directory", "mode 000", "dangling", "future")
HANDED_OVER = {
    "format": 1, "operation_id": "11111111-2222-4333-8444-555555555555", "kind": "upgrade",
    "release": "9.9.9-0123456789abcdef", "digest": "0123456789abcdef" * 4, "named": False,
}  # fmt: skip


class Target(NamedTuple):
    """A file of home. `told` are the kinds that must be said on stderr."""

    name: str
    path: str
    told: tuple[str, ...] = ()


UNREADABLE = ("empty", "half", "random", "directory", "mode 000", "dangling", "future")
CURRENT, PREVIOUS, LEFT = "{1.1.0}", "{1.0.0}", "{1.2.0}"
TARGETS = (
    Target("serve.lock", "serve.lock", ("directory", "mode 000", "dangling")),
    Target("serve.json", "serve.json"),
    Target("operation.lock", "operation.lock"),
    Target("state.lock", "state.lock"),
    Target("status", "hub-upgrade-status.json", tuple(k for k in UNREADABLE if k != "future")),
    Target("history", "history.jsonl", ("directory", "mode 000", "dangling")),
    Target("tokens", "tokens.json", UNREADABLE),
    Target("hub.json", "hub.json", UNREADABLE),
    Target("services.json", "services.json"),
    Target("next.json", "releases/next.json", tuple(k for k in UNREADABLE if k != "half")),
    Target("boot.json", "releases/boot.json", ("nothing", *UNREADABLE)),
    Target("hub.pyz", f"releases/{CURRENT}/hub.pyz", ("nothing", *UNREADABLE)),
    Target("good", f"releases/{CURRENT}/good"),
    Target("bad", f"releases/{LEFT}.bad"),
    Target("upgrade log", "logs/{log}"),
    Target("release", f"releases/{CURRENT}", ("nothing", *UNREADABLE)),
    Target("releases", "releases", ("empty", "random", "mode 000", "dangling", "future")),
    Target("logs", "logs", ("empty", "random", "dangling", "future")),
)
BY_NAME = {target.name: target for target in TARGETS}

GONE = ("nothing", "empty", "random", "directory", "mode 000", "dangling", "future")
"""Of a directory; `half` of one is every second entry gone."""
NOT_IN_PLACE = {
    "releases": ("empty", "random", "mode 000", "dangling", "future"),
    "serve.lock": ("directory", "mode 000", "dangling"),
}
"""Where nothing can be written or locked any more: `redeploy-required`, with the reason."""
SLOW = frozenset({"hub.json"})
"""Without hub.json the probation takes ten seconds: no upgrade is made there."""


def expected_version(name: str, kind: str) -> str:
    """The best release that was ever proven, and is still there; the factory when none is."""
    lost = name in ("hub.pyz", "release") or (name == "releases" and kind in GONE)
    return "1.0.0" if lost else "1.1.0"


# --- the damage ---------------------------------------------------------------------------------


def strike(path: str, kind: str) -> None:
    """Replace what is there."""
    if kind == "half" and os.path.isdir(path):
        for name in sorted(os.listdir(path), reverse=True)[::2]:
            remove(os.path.join(path, name))
        return
    if kind == "mode 000":
        os.chmod(path, 0)
        return
    content = _content(path, kind)
    remove(path)
    if kind == "directory":
        os.mkdir(path, 0o700)
        with open(os.path.join(path, "something"), "w", encoding="utf-8") as file:
            file.write("that nobody put there")
    elif kind == "dangling":
        os.symlink(path + ".elsewhere", path)
    elif kind != "nothing":
        with open(path, "wb") as new:
            new.write(content)


def _content(path: str, kind: str) -> bytes:
    old = b""
    if os.path.isfile(path):
        with open(path, "rb") as file:
            old = file.read()
    if kind == "half":
        return old[: len(old) // 2]
    if kind == "random":
        return os.urandom(max(len(old), 64))
    if kind == "future":
        with contextlib.suppress(ValueError):
            value = json.loads(old)
            if isinstance(value, dict):
                return json.dumps({**value, **FUTURE}).encode()
        return json.dumps(FUTURE).encode()
    return b""


def remove(path: str) -> None:
    """Whatever it is, it goes."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


# --- a home with a past -------------------------------------------------------------------------


class Past(RealCase):
    """A home in which 1.1.0 is current, 1.0.0 the factory and previous, 1.2.0 rolled back from."""

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
        base = tempfile.gettempdir() if not as_nobody else "/tmp"  # noqa: S108 - one he can reach
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
    words = [sys.executable, "-c", AS_NOBODY, "", "-c", "import http.server, sys; sys.version_info[:2] >= (3, 9) or 1/0"]
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
        self.hub = Hub(os.path.join(directory, "hub.pyz"), self.home, os.path.join(directory, "repository"))

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
        self.hub.start(prefix=self.prefix, **self.env)

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
        deadline = time.monotonic() + 15
        while True:
            status, answer = self.hub.request("POST", path, None, token)
            if status != 409 or time.monotonic() > deadline:
                return status, answer
            time.sleep(0.2)

    def status(self) -> dict[str, Any]:
        """The record as the hub tells it."""
        answer = self.hub.request("GET", "/api/hub/upgrade/status", None, self.token())[1]
        return answer if isinstance(answer, dict) else {}


# --- the check ----------------------------------------------------------------------------------


def check(template: Template, name: str, kind: str) -> None:
    """Damage one file of a stopped hub: the best release serves, says so, and can be upgraded."""
    target = BY_NAME[name]
    with template.copy(kind == "mode 000") as patient:
        patient.prepare(target)
        patient.damage(target, kind)
        patient.start()
        serves(patient, expected_version(name, kind))
        output = patient.hub.output()
        if kind in target.told:
            word = os.path.basename(patient_word(target, patient))
            assert_true(word in output, f"{word} is not named in: {output!r}")
        if name not in SLOW:
            upgraded(patient, in_place=kind not in NOT_IN_PLACE.get(name, ()))
        leaves(patient)


def patient_word(target: Target, patient: Patient) -> str:
    """What must be named: the file, or the release that it is of."""
    if target.name in ("hub.pyz", "release"):
        return "1.1.0-"
    return target.path


def check_live(template: Template, name: str, kind: str) -> None:
    """Damage one file under a running hub: it serves on, and can be upgraded."""
    target = BY_NAME[name]
    with template.copy(kind == "mode 000") as patient:
        patient.start()
        serves(patient, "1.1.0")
        process = patient.hub.hub_pid()
        if name == "next.json":
            patient.prepare(target)
        with contextlib.suppress(FileNotFoundError):  # what was handed over may be taken up by now
            patient.damage(target, kind)
        serves(patient, "1.1.0")
        upgraded(patient, in_place=True)
        assert_true(patient.hub.hub_pid() == process, "another process serves")
        leaves(patient)


def serves(patient: Patient, version: str) -> None:
    """It answers, and it is this one."""
    found = patient.hub.wait_healthy()
    assert_true(found["version"] == version, f"{found} and not {version}: {patient.hub.output()}")


def upgraded(patient: Patient, in_place: bool) -> None:
    """A new upgrade succeeds; or the record says why it cannot be one."""
    status, answer = patient.ask()
    assert_true(status == 202, f"{status} {answer} {patient.said} {patient.hub.output()}")
    if not in_place:
        assert_true(answer["mode"] == "redeploy-required", f"{answer}")
        assert_true(bool(answer["reason"]), f"{answer}")
        assert_true(patient.status()["phase"] == "redeploy-required", f"{patient.status()}")
        return

    def ended() -> Any:
        record = patient.hub.record()
        mine = record.get("operation_id") == answer["operation_id"]
        return record if mine and record.get("phase") in FINISHED else None

    record = wait_for(ended, f"an end of {answer}; {patient.hub.output()[-2000:]}", 40)
    assert_true(record["phase"] == "succeeded", f"{record} {patient.hub.output()}")
    serves(patient, "1.3.0")


def leaves(patient: Patient) -> None:
    """It stops when it is asked to, and nothing goes on."""
    code = patient.hub.stop()
    assert_true(code == 0, f"exit code {code}: {patient.hub.output()}")
    deadline = time.monotonic() + 5
    while running_on(patient.home) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert_true(running_on(patient.home) == [], "left running")
    output = patient.hub.output()
    assert_true("Traceback" not in output, output)


def assert_true(value: bool, why: str) -> None:
    """The test fails with `why`, unless."""
    if not value:
        raise AssertionError(why)


Check = Callable[[Template, str, str], None]
