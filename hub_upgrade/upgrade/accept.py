"""A request becomes a claimed operation and a helper, or a refusal. Nothing slow happens here.

`operation.lock` is taken first, without waiting, and given to the helper as its standard input:
there is no instant at which an accepted operation is unowned.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from hub_upgrade.domain import install, versions
from hub_upgrade.domain.boot_record import BootRecord
from hub_upgrade.domain.install import PYZ, UNKNOWN, Decision, Place
from hub_upgrade.domain.managed import GIT, Managed
from hub_upgrade.domain.operation import (
    CHANNELS,
    FAILED,
    REDEPLOY_REQUIRED,
    ROLLBACK,
    UPGRADE,
    Operation,
    Request,
)
from hub_upgrade.domain.settle import Running
from hub_upgrade.domain.transitions import finish
from hub_upgrade.errors import HostError, RefusedError
from hub_upgrade.host import (
    boot_store,
    facts,
    files,
    interpreter,
    managed_store,
    operation_log,
    releases,
)
from hub_upgrade.host.children import environment
from hub_upgrade.host.files import Home, Lock, Unreadable
from hub_upgrade.host.processes import spawn, start_time
from hub_upgrade.settings import marks_of, refuse_unsafe
from hub_upgrade.shapes import NamedTuple
from hub_upgrade.upgrade.ports import Store
from hub_upgrade.upgrade.recovery import settle_locked
from hub_upgrade.upgrade.survey_record import Survey

TIDYING_S = 0.2
"""How long a lock is waited for that no open operation explains: a launcher prunes under it, and
a helper that has written its last word holds it for the moment of its exit."""
TIDYING_POLL_S = 0.01
TIDYING_REST_S = 2.0
LEAVING_S = 5.0
"""How long, without a loop to hold up, for the helper of an operation that has ended: it removes
what had been kept."""
ECHO_CHARACTERS = 100
EXIT_IN_FLIGHT = 4

StartHelper = Callable[[Operation, Lock], int]
SurveyNow = Callable[[], Survey]
"""What is known of the managed hub; raises RefusedError while that is nothing yet."""


class Patience:
    """The wait for such a lock holds up the hub's one loop: however many ask, that is TIDYING_S
    at once, and again only TIDYING_REST_S after it was in vain. Where an operation has ended it
    is `ended_s`, in seconds."""

    def __init__(self, ended_s: float = TIDYING_S) -> None:
        self._ended_s = ended_s
        self._in_vain_at = float("-inf")

    def over(self, since: float, ended: bool) -> bool:
        """Whether who waits since this moment has waited for long enough; monotonic seconds."""
        now = time.monotonic()
        if now - since > (self._ended_s if ended else TIDYING_S):
            self._in_vain_at = now
        return now - self._in_vain_at < TIDYING_REST_S


class Desk(NamedTuple):
    """What a request is judged by. `trouble` says why home is no use, `releases` where releases
    come from; `survey` tells of the managed hub, None where there is none; `start_helper` starts
    one that owns the lock, and returns its PID; `home_persists` is the operator's word on that,
    None for none; `hub` is what `hub.json` said of the managed hub."""

    home: Home
    store: Store
    running: Running
    releases: str | None
    trouble: str | None
    survey: SurveyNow | None
    launcher_alive: Callable[[], bool]
    start_helper: StartHelper
    patience: Patience
    home_persists: bool | None
    hub: Managed | None = None


def accept_upgrade(
    desk: Desk,
    channel: object,
    version: object,
    allow_downgrade: bool,
    requested_by: str,
    itself: bool = False,
) -> Operation:
    """The accepted operation, its helper started; or a finished one in `redeploy-required`.

    `itself`: of `hub.pyz`, also beside a managed hub. Raises RefusedError with the wire's code,
    nothing changed.
    """
    subject = subject_of(desk, itself)
    channel = check_channel(channel, subject.version)
    named = check_version(version)
    operation = _new(UPGRADE, subject, channel, requested_by)._replace(
        target_version=named,
        request=Request(named, allow_downgrade, itself),
        accepted_by=_accepted_by(desk, itself),
    )
    if operation.mode == REDEPLOY_REQUIRED:
        return _record_redeploy(desk, operation)
    refuse_unsafe(desk.home)
    if not desk.releases and subject.release is not None:
        raise RefusedError(
            "no_release_source",
            'no release source is configured: set "releases" in '
            f"{desk.home.hub_json}, or start the hub with serve --releases DIR",
        )
    return _begin(desk, lambda _boot: operation)


def accept_rollback(desk: Desk, requested_by: str, itself: bool = False) -> Operation:
    """The accepted rollback to the previous good release. Raises RefusedError, nothing changed."""
    subject = subject_of(desk, itself)
    channel = versions.channel_of(subject.version)
    operation = _new(ROLLBACK, subject, channel, requested_by)
    operation = operation._replace(
        request=Request(itself=itself), accepted_by=_accepted_by(desk, itself)
    )
    if operation.mode == REDEPLOY_REQUIRED:
        return _record_redeploy(desk, operation)

    def target(boot: BootRecord | None) -> Operation:
        if subject.release is None:
            return operation._replace(target_version=_kept(desk.home, subject))
        name = boot.previous if boot is not None else None
        digest = releases.digest_of(desk.home, name) if name else None
        if name is None or digest is None or name != releases.name_of(_version(name), digest):
            raise RefusedError(
                "nothing_to_roll_back", f"there is no release before {desk.running.version}"
            )
        return operation._replace(
            target_version=_version(name), target_release=name, target_digest=digest
        )

    return _begin(desk, target)


def _accepted_by(desk: Desk, itself: bool) -> tuple[str, ...]:
    return () if itself else marks_of(desk.hub)


def _kept(home: Home, subject: Subject) -> str:
    """The version of a managed hub that was kept aside; raises RefusedError."""
    previous = managed_store.read(home).previous
    if previous is None:
        tag = ", and one below it needs the tag vV at its commit" if subject.install == GIT else ""
        sentence = f"there is no version kept before {subject.version}{tag}"
        raise RefusedError("nothing_to_roll_back", sentence)
    return previous.version


def _version(name: str) -> str:
    return releases.version_of(name) or ""


def check_channel(channel: object, running_version: str) -> str:
    """One of the closed set; without one it is read off the running version."""
    if channel is None:
        return versions.channel_of(running_version)
    if isinstance(channel, str) and channel in CHANNELS:
        return channel
    shown = str(channel)[:ECHO_CHARACTERS]
    raise RefusedError(
        "invalid_channel", f"the channel must be latest or rc, not {shown!r}", 400, 2
    )


def check_version(version: object) -> str | None:
    """An exact version without its leading `v`, or None for none."""
    if version is None:
        return None
    if isinstance(version, str) and versions.is_version(version):
        return versions.normal(version)
    shown = str(version)[:ECHO_CHARACTERS]
    raise RefusedError(
        "invalid_version", f"the version must be an exact one such as 1.2.3, not {shown!r}", 400, 2
    )


def decide(desk: Desk) -> Decision:
    """In place or not for `hub.pyz` itself, from evidence."""
    return install.decide(facts.probe(desk.home, desk.trouble, desk.home_persists))


class Subject(NamedTuple):
    """What an operation is about: its running version ("unknown" where it does not say), where it
    would be rewritten, and its release, None for a managed hub."""

    version: str
    decision: Decision
    release: str | None
    install: str


def subject_of(desk: Desk, itself: bool) -> Subject:
    """The managed hub, or `hub.pyz` itself."""
    if desk.survey is not None and not itself:
        seen = desk.survey()
        source = (seen.decision.place or Place()).source
        return Subject(seen.version or UNKNOWN, seen.decision, None, source)
    running = desk.running
    name = running.release or releases.name_of(running.version, running.digest)
    return Subject(running.version, decide(desk), name, PYZ)


def _new(kind: str, subject: Subject, channel: str, requested_by: str) -> Operation:
    decision = subject.decision
    return Operation(
        operation_id=files.new_id(),
        kind=kind,
        mode=decision.mode,
        current_version=subject.version,
        channel=channel,
        started_at=files.now_rfc3339(),
        source=decision.source,
        reason=decision.reason,
        evidence=decision.evidence,
        requested_by=requested_by,
        current_release=subject.release,
        install=subject.install,
    )


# --- under the lock -----------------------------------------------------------------------------


def _begin(desk: Desk, target: Callable[[BootRecord | None], Operation]) -> Operation:
    lock = take_operation(desk)
    try:
        boot = _free(desk)
        operation = _claim(desk, target(boot))
        return _start(desk, operation, lock)
    finally:
        lock.release()


def _record_redeploy(desk: Desk, operation: Operation) -> Operation:
    """A finished record, and no helper: nothing that this hub writes would be run."""
    operation = finish(operation, REDEPLOY_REQUIRED, files.now_rfc3339())
    if desk.trouble:
        return desk.store.claim(operation)
    lock = take_operation(desk)
    try:
        _free(desk, needs_boot=False)
        return _claim(desk, operation)
    finally:
        lock.release()


def take_operation(desk: Desk) -> Lock:
    """`operation.lock`; raises RefusedError naming who has it."""
    since = time.monotonic()
    while True:
        try:
            lock = Lock.try_take(desk.home.operation_lock)
        except OSError as error:
            raise _cannot_record(f"{desk.home.operation_lock}: {error.strerror}") from error
        if lock is not None:
            return lock
        record = desk.store.read()
        if record is not None and not record.finished:
            raise _in_flight(f"{record.kind} {record.operation_id} is in flight ({record.phase})")
        if desk.patience.over(since, record is not None):
            raise _in_flight("another process holds operation.lock; try again in a moment")
        time.sleep(TIDYING_POLL_S)


def _free(desk: Desk, needs_boot: bool = True) -> BootRecord | None:
    """Nothing is pending, and a dead record is settled; raises RefusedError.

    Read in the order in which an operation travels: `next.json`, then `boot.json`. An operation
    that ends at once needs neither to be there, nor to be readable.
    """
    home = desk.home
    try:
        nxt = boot_store.read_next(home)
        boot = boot_store.read_boot(home)
    except Unreadable as error:
        nxt = boot = None
        if needs_boot:
            raise _in_flight(f"{error}; the launcher mends it: try again in a moment") from error
    if nxt is not None:
        raise _in_flight(f"{nxt.kind} {nxt.operation_id} is handed over, and not decided yet")
    if boot is None and needs_boot and desk.launcher_alive():
        raise _in_flight("boot.json is missing; the launcher writes it again in a moment")
    if boot is not None and boot.trial is not None:
        trial = boot.trial
        what = f"{trial.kind} {trial.operation_id}" if trial.operation_id else "the factory's trial"
        raise _in_flight(f"{what} is not decided yet: {trial.release} is on trial")
    try:
        record = settle_locked(home, desk.store, desk.running, desk.launcher_alive())
    except HostError as error:
        raise _cannot_record(error.sentence) from error
    if record is not None and not record.finished:
        raise _in_flight(f"{record.kind} {record.operation_id} is not decided yet")
    return boot


def _claim(desk: Desk, operation: Operation) -> Operation:
    try:
        return desk.store.claim(operation)
    except HostError as error:
        raise _cannot_record(error.sentence) from error


def _start(desk: Desk, operation: Operation, lock: Lock) -> Operation:
    try:
        pid = desk.start_helper(operation, lock)
    except OSError as error:
        return _not_started(desk, operation, error.strerror or str(error))
    # The helper records its PID with its first step: to do it here would double the time to 202.
    return operation._replace(helper_pid=pid, helper_start_time=start_time(pid))


def _not_started(desk: Desk, operation: Operation, why: str) -> Operation:
    """Best effort: where it cannot be recorded, whoever settles finds no helper."""
    now = files.now_rfc3339()
    failed = finish(operation, FAILED, now, f"the helper could not be started: {why}")
    try:
        desk.store.update(operation.operation_id, lambda _record: failed)
    except HostError:
        pass
    return failed


def _in_flight(sentence: str) -> RefusedError:
    return RefusedError("upgrade_in_flight", sentence, 409, EXIT_IN_FLIGHT)


def _cannot_record(why: str) -> RefusedError:
    sentence = f"the operation cannot be recorded ({why}); nothing was changed"
    return RefusedError("cannot_record", sentence, 507)


# --- the helper's process -----------------------------------------------------------------------


def helper_starter(home: Home, own_path: str, hub_pid: Callable[[Operation], int]) -> StartHelper:
    """A starter of helpers that run the hub's own release, `own_path`; raises OSError.

    `hub_pid` tells whom the helper may signal: the launcher, or the managed hub; 0 for nobody.
    """

    def start(operation: Operation, lock: Lock) -> int:
        argv = interpreter.command(
            own_path,
            *("helper", "--op", operation.operation_id, "--channel", operation.channel),
            *("--config-dir", home.root),
        )
        pid = hub_pid(operation)
        if pid > 0:
            argv += ["--hub-pid", str(pid)]
        log = operation_log.open_log(home, operation.operation_id)
        try:
            return spawn(argv, environment(os.environ), {0: lock.fd, 1: log, 2: log})
        finally:
            os.close(log)

    return start
