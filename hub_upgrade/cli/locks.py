"""Who holds which lock, and whether that is right. Read off /proc: no lock is taken that somebody
else could miss."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from hub_upgrade.cli.checks import PROBLEM, WARNING, Answers, Patient, well
from hub_upgrade.domain.operation import ACCEPTED
from hub_upgrade.host.status_store import LOCK_WAIT_S

Look = Callable[[Patient, list[int]], Answers]
AGAIN = "look again; end that process if it stays so"


def holders(path: str) -> list[int]:
    """The processes that hold a file's lock, as far as they can be seen (Linux)."""
    try:
        wanted = os.stat(path)
        pids = [int(name) for name in os.listdir("/proc") if name.isdecimal()]
    except OSError:
        return []
    return [pid for pid in pids if _holds(pid, (wanted.st_dev, wanted.st_ino))]


def _holds(pid: int, wanted: tuple[int, int]) -> bool:
    try:
        for number in os.listdir(f"/proc/{pid}/fd"):
            try:
                seen = os.stat(f"/proc/{pid}/fd/{number}")
            except FileNotFoundError:
                continue
            if (seen.st_dev, seen.st_ino) == wanted:
                with open(f"/proc/{pid}/fdinfo/{number}", encoding="ascii") as file:
                    if "FLOCK" in file.read():
                        return True
    except OSError:
        pass  # another user's process, or one that has just ended
    return False


def _look(path: str, patient: Patient, look: Look) -> Answers:
    if os.path.lexists(path) and (os.path.islink(path) or not os.path.isfile(path)):
        advice = "hub.pyz serve moves it aside when it starts"
        return [(PROBLEM, f"{path} is no file that can be locked", advice)]
    return look(patient, holders(path))


def _who(pids: list[int]) -> str:
    return f"process {' and '.join(map(str, pids))}"


def serve(patient: Patient) -> Answers:
    """The launcher's, as long as it or its hub lives."""
    return _look(patient.home.serve_lock, patient, _serve)


def _serve(patient: Patient, pids: list[int]) -> Answers:
    if pids and patient.launcher not in pids:
        said = f"{_who(pids)} has it, and serve.json names another launcher, or none"
        return [(PROBLEM, said, "hub.pyz serve waits for it, and ends it if its launcher is dead")]
    if not patient.launcher:
        return well("free: no hub runs")
    return well(f"the launcher has it ({_who(pids or [patient.launcher])})")


def operation(patient: Patient) -> Answers:
    """The helper's, as long as it prepares an operation; for a moment the launcher's."""
    return _look(patient.home.operation_lock, patient, _operation)


def _operation(patient: Patient, pids: list[int]) -> Answers:
    record = patient.record
    if record is None or record.finished:
        if pids and patient.launcher not in pids:
            return [(WARNING, f"{_who(pids)} has it, and no operation is open", AGAIN)]
        return well("the launcher tidies up" if pids else "free")
    what = f"{record.kind} {record.operation_id} ({record.step})"
    if record.helper_pid in pids or (pids and record.step == ACCEPTED):
        return well(f"{_who(pids)} prepares {what}")
    if pids and patient.launcher not in pids:
        return [(WARNING, f"{_who(pids)} has it, and is not the helper of {what}", AGAIN)]
    if patient.launcher:
        return well(f"free: the launcher's turn in {what}")
    return [(WARNING, f"free, and {what} is open", "hub.pyz status settles it, or says what will")]


def state(patient: Patient) -> Answers:
    """Anybody's, for the moment in which something is recorded."""
    return _look(patient.home.state_lock, patient, _state)


def _state(patient: Patient, pids: list[int]) -> Answers:
    if pids:
        time.sleep(LOCK_WAIT_S)
        pids = [pid for pid in holders(patient.home.state_lock) if pid in pids]
    if pids:
        said = f"{_who(pids)} has had it for {LOCK_WAIT_S:g} s: nothing can be recorded"
        return [(PROBLEM, said, "end that process")]
    return well("free")
