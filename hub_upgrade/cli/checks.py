"""What `hub.pyz doctor` looks at, one function a thing. They only read."""

from __future__ import annotations

import fcntl
import os
import stat
import sys
import time

from hub_upgrade.cli import client, follow
from hub_upgrade.domain.boot_record import BootRecord
from hub_upgrade.domain.operation import CHANNELS, IN_PLACE, SUCCEEDED, Operation
from hub_upgrade.domain.settle import NEXT_START
from hub_upgrade.host import files, releases
from hub_upgrade.host import interpreter as python
from hub_upgrade.host.files import Home
from hub_upgrade.host.status_store import StatusStore
from hub_upgrade.repository import read
from hub_upgrade.shapes import NamedTuple
from hub_upgrade.sources import pyz
from hub_upgrade.upgrade import accept
from hub_upgrade.wiring import command

OK, WARNING, PROBLEM = "ok", "warning", "problem"
CLOCK_SLACK_S = 60.0
STALE_S = 60.0
"""A temporary file that is younger may be somebody's who is writing it."""
SHOWN = 5

Answers = list[tuple[str, str, str]]
"""State, what was found, and what to do."""


class Patient(NamedTuple):
    """What several of the checks look at: the hub that answers, or why the one that is there does
    not; the PID of the launcher, 0 for none; the last record, and the launcher's own."""

    home: Home
    hub: client.Found | None
    trouble: str
    launcher: int
    record: Operation | None
    boot: BootRecord | None


def well(found: str) -> Answers:
    """Nothing is to be done."""
    return [(OK, found, "")]


def hub(patient: Patient) -> Answers:
    """Is there one, and can it be reached?"""
    if patient.trouble:
        found, _, advice = patient.trouble.rpartition("; ")
        return [(PROBLEM, found, advice)]
    if patient.hub is None:
        return [(WARNING, "none runs", "start it with: hub.pyz serve")]
    serving = patient.hub.serving
    does = "proves a release" if serving.get("proving") else "runs"
    return well(f"{patient.hub.version} {does} at {serving['address']} (process {serving['pid']})")


def home(patient: Patient) -> Answers:
    """Is it ours, and ours alone, and can it be written and locked?"""
    root = patient.home.root
    try:
        os.lstat(root)
    except FileNotFoundError:
        return [(WARNING, f"{root} is not there yet", "hub.pyz serve makes it")]
    except OSError as error:
        found, _, advice = client.unreached(error).partition(": ")
        return [(PROBLEM, f"{root} {found}", advice)]
    seen = os.stat(root)
    if not stat.S_ISDIR(seen.st_mode):
        return [(PROBLEM, f"{root} is no directory", "name another with --config-dir")]
    owner, user = client.user_name(seen.st_uid), client.user_name()
    mode = stat.S_IMODE(seen.st_mode)
    said = f"{root}, mode {mode:04o}, of {owner}"
    if seen.st_uid != os.geteuid():
        advice = f"run this as {owner}, or: chown -R {user} {root}"
        return [(PROBLEM, f"{said}; we are {user}", advice)]
    if not os.access(root, os.W_OK | os.X_OK):
        return [(PROBLEM, f"{said}: it cannot be written", f"chmod 700 {root}, or remount it")]
    why = _not_lockable(root)
    if why:
        return [(PROBLEM, f"{said}: it cannot be locked ({why})", "put it on a local file system")]
    if mode & 0o077:
        state = PROBLEM if mode & 0o022 else WARNING
        return [(state, f"{said}: open to others", f"chmod 700 {root}")]
    return well(said)


def _not_lockable(root: str) -> str:
    """Why nothing there can be locked. The directory itself is tried: nobody else locks that."""
    descriptor = os.open(root, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        pass
    except OSError as error:
        return str(error.strerror)
    finally:
        os.close(descriptor)
    return ""


def config(patient: Patient) -> Answers:
    """Is hub.json what it should be?"""
    wrong = command.settings(patient.home, None).config_error
    if wrong:
        return [(WARNING, wrong, f"mend {patient.home.hub_json}, and restart the hub")]
    return well("no mistakes; see: hub.pyz config")


def storage(patient: Patient) -> Answers:
    """Will an upgrade still be there after a restart?"""
    desk = command.desk(patient.home, command.program(), None, lambda: True, lambda _pid: None)
    decision = accept.decide(desk)
    evidence = "; ".join(decision.evidence)
    if decision.mode == IN_PLACE:
        return well(f"upgrades are done in place ({evidence})")
    return [(WARNING, f"upgrades need a redeploy ({evidence})", decision.reason)]


def interpreter(patient: Patient) -> Answers:
    """Which Python runs a release, and is the one that runs the hub still there?"""
    path = python.find()
    if not path:
        return [(PROBLEM, "no Python is there for the next start", "install python3")]
    try:
        gone = os.readlink(f"/proc/{patient.launcher}/exe").endswith(" (deleted)")
    except OSError:
        gone = False
    if gone:
        return [(WARNING, "the Python that runs the hub was replaced", "restart the hub")]
    return well(f"Python {'.'.join(map(str, sys.version_info[:3]))}, {path}")


def source(patient: Patient) -> Answers:
    """Where do releases come from, and what is there?"""
    config = command.settings(patient.home, None)
    where = config.releases
    if patient.hub is not None:
        where = patient.hub.serving.get("releases") or where
    if not where and config.hub is not None:
        return well("none: hub.pyz itself cannot be upgraded (--self)")
    if not where:
        return [(WARNING, "none: nothing can be upgraded", pyz.NONE.partition(": ")[2])]
    directory = pyz.followed(where, patient.home)
    published = read(directory)
    heads = [(name, published.channel(name)) for name in CHANNELS]
    told = ", ".join(f"{name} is {head.version if head else 'none'}" for name, head in heads)
    return well(f"{directory}: {told}")


def clock(patient: Patient) -> Answers:
    """Is it later than all that was written here?"""
    past = StatusStore(patient.home).history()
    seen = [(str(one.get("finished_at")), "the last operation's end") for one in past]
    seen += [(files.rfc3339(at), os.path.join(*place)) for place, at in _entries(patient.home)]
    newest, what = max((one for one in seen if one[0][:2] == "20"), default=("", ""))
    now = files.now_rfc3339()
    if newest > files.rfc3339(time.time() + CLOCK_SLACK_S):
        return [(WARNING, f"it is {now}, and {what} is of {newest}", "set the clock")]
    if not time.get_clock_info("monotonic").monotonic:
        return [(PROBLEM, "there is no monotonic clock", "use another machine")]
    return well(f"{now}, after all that was written here")


def _entries(home: Home) -> list[tuple[tuple[str, str], float]]:
    """Every directory and name in home, its releases and its logs, with when it was written."""
    found: list[tuple[tuple[str, str], float]] = []
    for directory in (home.root, home.releases, home.logs):
        try:
            names = [(directory, name) for name in sorted(os.listdir(directory))]
            found += [(place, os.lstat(os.path.join(*place)).st_mtime) for place in names]
        except OSError:
            continue  # it is not there, or something in it went this moment
    return found


def leftovers(patient: Patient) -> Answers:
    """What lies about that nobody needs, or waits for a hub?"""
    lying: dict[str, list[str]] = {}
    for (directory, name), written in _entries(patient.home):
        what = _leftover(patient, directory, name, time.time() - written)
        if what:
            lying.setdefault(what, []).append(os.path.join(directory, name))
    answers = [
        (WARNING, f"{what}: {', '.join(paths[:SHOWN])}", ADVICE[what])
        for what, paths in lying.items()
    ]
    waits = os.path.lexists(patient.home.next_json) or (patient.boot and patient.boot.trial)
    if waits and not patient.launcher:
        said = f"a release was handed over, and is {NEXT_START}"
        answers.append((WARNING, said, "start a hub with: hub.pyz serve"))
    return answers or well("none")


ASIDE = "set aside because it could not be read"
DEAD = "half written by a process that died"
DAMAGED = "damaged, and passed over"
STRANGE = "nobody knows it"
ADVICE = {
    ASIDE: "look into it, then remove it",
    DEAD: "the next upgrade removes it",
    DAMAGED: "remove it when the hub is stopped",
    STRANGE: "remove it",
}


def _leftover(patient: Patient, directory: str, name: str, age_s: float) -> str:
    """What is wrong with a file's being there, if anything."""
    if ".corrupt" in name:
        return ASIDE
    if name.startswith(releases.STAGING) or (name[:1] == "." and name.endswith(".tmp")):
        busy = patient.record is not None and not patient.record.finished
        return "" if busy or age_s < STALE_S else DEAD
    if directory != patient.home.releases or name in ("boot.json", "next.json"):
        return ""
    if releases.version_of(name):
        return "" if releases.is_whole(patient.home, name) else DAMAGED
    return "" if releases.version_of(name.partition(releases.BAD)[0]) else STRANGE


def last(patient: Patient) -> Answers:
    """How did the last operation end?"""
    record = patient.record
    if record is None:
        return well("there was none")
    said = follow.conclusion(record)
    if not record.finished or record.phase == SUCCEEDED:
        return well(said)
    advice = "; ".join(follow.advice(patient.home, record)) or "see: hub.pyz status"
    return [(WARNING, f"{said} ({record.finished_at})", advice)]
