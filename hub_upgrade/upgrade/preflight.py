"""The candidate on a spare socket with a scratch home: tried where it can do no harm.

It is started as a launcher starts it, descriptors in place, with an alarm that survives the exec:
a candidate that hangs dies without us. It never sees the real home.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Mapping

from hub_upgrade.domain import probation
from hub_upgrade.domain.probation import Expected, Probation
from hub_upgrade.errors import RefusedError
from hub_upgrade.host import commands, files, interpreter, processes, releases
from hub_upgrade.host.children import environment
from hub_upgrade.host.files import Home
from hub_upgrade.host.operation_log import OperationLog
from hub_upgrade.shapes import Any, NamedTuple
from hub_upgrade.upgrade.candidate import Candidate

VERSION_S = 20.0
"""How long `version --json` may take, on a loaded machine too."""
READY_S = 30.0
ANSWER_S = 5.0
PROOF_S = 15.0
WATCH_S = 1.5
"""How long it must stay healthy here: what dies after a second is found before it is tried."""
LOOK_EVERY_S = 0.25
STOP_S = 10.0
ALARM_S = 60
DIRECTORY_TRIES = 3
OVERLOADED = "it was overloaded all the time"


class Says(NamedTuple):
    """What `version --json` of a candidate says."""

    version: str
    launcher_protocol: int
    needs_launcher_protocol: int


class Preflight:
    """Tries releases; what they print goes into `log`. The caller holds `operation.lock`."""

    def __init__(self, home: Home, log: OperationLog) -> None:
        self._home = home
        self._log = log

    def ask(self, path: str, version: str) -> Says:
        """What the file says of itself; raises RefusedError, also for another version."""
        return ask(path, version, self._log)

    def prove(self, path: str, version: str, digest: str) -> None:
        """Start it as a launcher would, on a spare socket with a scratch home.

        Raises RefusedError with a sentence that bears its last words, or OSError.
        """
        scratch = _scratch(self._home)
        try:
            _copy(self._home.hub_json, os.path.join(scratch, "hub.json"))
            _prove(path, Expected(version, digest), scratch, self._log)
        finally:
            _remove(scratch)


def ask(path: str, version: str, log: OperationLog) -> Says:
    """Which version the file is, by its own word; raises RefusedError."""
    argv = interpreter.command(path, "version", "--json")
    result = commands.run(argv, VERSION_S, environment(os.environ), sink=log.write)
    if result.status is None:
        raise _refused(f"it did not tell its version within {VERSION_S:g} s")
    if result.status != 0:
        last = result.last_line()
        raise _refused("it does not start" + (f": {last}" if last else ""))
    try:
        said = json.loads(result.stdout.decode("utf-8"))
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict) or not isinstance(said.get("version"), str):
        raise _refused("it does not tell its version")
    if said["version"] != version:
        raise _refused(f"it says it is version {said['version'][:100]!r}, and not {version}")
    speaks, needs = (_number(said, f"{word}launcher_protocol") for word in ("", "needs_"))
    return Says(version, speaks, needs)


def _number(said: Mapping[str, Any], name: str) -> int:
    value = said.get(name, 1)
    return value if isinstance(value, int) and not isinstance(value, bool) else 1


def _refused(why: str) -> RefusedError:
    return RefusedError("preflight", f"the release is refused: {why}")


# --- started as a launcher starts it ------------------------------------------------------------


def _prove(path: str, expected: Expected, scratch: str, log: OperationLog) -> None:
    candidate = Candidate(
        interpreter.command(path, "run"), _environment(scratch), scratch, ALARM_S, log
    )
    try:
        _wait_until_ready(candidate)
        _watch(candidate, expected)
        _stop(candidate)
    finally:
        candidate.close()


def _environment(scratch: str) -> dict[str, str]:
    env = environment(os.environ)
    env.update({"PARACHUTE_HOME": scratch, "HOME": scratch})
    return env


def _wait_until_ready(candidate: Candidate) -> None:
    deadline = time.monotonic() + READY_S
    while not candidate.ready:
        _must_live(candidate, "before it was ready")
        if time.monotonic() > deadline:
            raise _refused(f"it was not ready within {READY_S:g} s{candidate.last_words()}")
        candidate.turn(LOOK_EVERY_S)


def _must_live(candidate: Candidate, when: str) -> None:
    status = candidate.exit_status()
    if status is not None:
        how = processes.describe_exit(status)
        raise _refused(f"it {how} {when}{candidate.last_words()}")


def _watch(candidate: Candidate, expected: Expected) -> None:
    """Healthy at every look that was answered, in one unchanging process.

    A look without an answer may be a loaded machine's: it is made again, within PROOF_S.
    """
    seen = Probation(time.monotonic())
    while True:
        answer = candidate.look(ANSWER_S)
        now = time.monotonic()
        seen, unhealthy = probation.looked(seen, expected, answer, now)
        if probation.proven(seen, now, WATCH_S):
            return
        candidate.turn(LOOK_EVERY_S)
        _must_live(candidate, "soon after it was ready")
        if unhealthy or probation.unprovable(seen, now, PROOF_S):
            raise _refused(f"{unhealthy or answer[2] or OVERLOADED}{candidate.last_words()}")


def _stop(candidate: Candidate) -> None:
    """It must stop when it is asked to: else it would have to be killed at every upgrade."""
    candidate.signal(signal.SIGTERM)
    deadline = time.monotonic() + STOP_S
    while candidate.exit_status() is None:
        if time.monotonic() > deadline:
            raise _refused(f"it did not stop within {STOP_S:g} s{candidate.last_words()}")
        candidate.turn(0.05)


# --- the scratch home ---------------------------------------------------------------------------


def _scratch(home: Home) -> str:
    """Named so that whoever settles for a helper that died takes it away."""
    path = os.path.join(home.releases, f"{releases.STAGING}preflight-{os.urandom(6).hex()}")
    os.mkdir(path, 0o700)
    return path


def _copy(source: str, target: str) -> None:
    """A hub.json that cannot be read is void in the real home as well."""
    try:
        files.write_new(target, files.read_regular(source))
    except (FileNotFoundError, PermissionError, files.Unreadable):
        pass


def _remove(directory: str) -> None:
    """Remove the scratch home with all that the candidate made in it; links are not followed.

    Again when it fails: a grandchild may write on for the moment until its kill arrives.
    """
    for _ in range(DIRECTORY_TRIES):
        for root, directories, names in os.walk(directory, topdown=False):
            for name in names + directories:
                _drop(os.path.join(root, name))
        _drop(directory)
        if not os.path.lexists(directory):
            return
        time.sleep(LOOK_EVERY_S)


def _drop(path: str) -> None:
    try:
        if os.path.isdir(path) and not os.path.islink(path):
            os.rmdir(path)
        else:
            os.unlink(path)
    except OSError:
        pass
