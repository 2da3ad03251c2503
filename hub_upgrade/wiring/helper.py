"""The helper's real parts, put together."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable

from hub_upgrade.domain.container import shown
from hub_upgrade.domain.install import Place
from hub_upgrade.domain.managed import Managed
from hub_upgrade.domain.operation import (
    FAILED,
    PENDING,
    REDEPLOY_REQUIRED,
    RESTARTING,
    UPGRADE,
    Operation,
)
from hub_upgrade.domain.restart import NONE, Choice, from_word
from hub_upgrade.domain.transitions import WHOLE_LIMIT_S
from hub_upgrade.errors import HostError, RefusedError, UsageError
from hub_upgrade.host import boot_store, interpreter, operation_log
from hub_upgrade.host.files import Home, Lock
from hub_upgrade.host.operation_log import OperationLog
from hub_upgrade.host.status_store import StatusStore
from hub_upgrade.restarters import chosen, scope
from hub_upgrade.restarters.own_launcher import OwnLauncher
from hub_upgrade.restarters.systemd import MOST_S as LONGEST_RESTART_S
from hub_upgrade.settings import RELEASES, Settings, marks_of, read_config, refuse_unsafe
from hub_upgrade.sources.pyz import PyzSource
from hub_upgrade.upgrade import hooks, recovery
from hub_upgrade.upgrade.hub_watch import HubWatch
from hub_upgrade.upgrade.journal import Journal
from hub_upgrade.upgrade.managed import ManagedTransaction
from hub_upgrade.upgrade.managed_back import Parts
from hub_upgrade.upgrade.managed_words import proof_limit_s
from hub_upgrade.upgrade.preflight import Preflight
from hub_upgrade.upgrade.survey import survey
from hub_upgrade.upgrade.transaction import Transaction
from hub_upgrade.wiring import command
from hub_upgrade.wiring.command import source_of

EXIT_IN_FLIGHT = 4
MOST_OF_RESULT = 10_000
STDIN = 0


def run(
    operation_id: str,
    channel: str,
    root: str,
    hub_pid: int | None,
    complain: Callable[[Exception], int],
) -> int:
    """Prepare the operation in the status file under `root`; returns the exit code.

    The locked descriptor of `operation.lock` is our standard input; run by hand we take the lock.
    """
    home = Home(root)
    store = StatusStore(home)
    try:
        record = _record(store, operation_id, channel)
    except UsageError as error:
        return complain(error)
    if record.finished:
        return _tell(record)
    try:
        lock = Lock.adopt(STDIN, home.operation_lock) or Lock.try_take(home.operation_lock)
    except OSError as error:
        print(f"{home.operation_lock} cannot be locked: {error.strerror}")
        return 1
    if lock is None:
        print(f"{record.kind} {operation_id} is owned by another process ({record.phase})")
        return EXIT_IN_FLIGHT
    settings = command.settings(home, None)
    restarts_s = 3 * LONGEST_RESTART_S
    signal.alarm(WHOLE_LIMIT_S + restarts_s + proof_limit_s(settings) + 3 * hooks.limit_s(settings))
    return _owned(home, store, operation_id, channel, settings, hub_pid, complain, lock)


def _record(store: StatusStore, operation_id: str, channel: str) -> Operation:
    record = store.read()
    if record is None:
        raise UsageError("the status file bears no operation")
    if record.operation_id != operation_id:
        raise UsageError(f"the status file is another operation's: {record.operation_id[:100]}")
    if record.channel != channel:
        raise UsageError(f"the operation's channel is {record.channel}, not {channel}")
    return record


def _owned(
    home: Home,
    store: StatusStore,
    operation_id: str,
    channel: str,
    settings: Settings,
    hub_pid: int | None,
    complain: Callable[[Exception], int],
    lock: Lock,
) -> int:
    try:
        record = _record(store, operation_id, channel)  # before the lock it was another's to change
    except UsageError as error:
        return complain(error)
    if record.finished:
        return _tell(record)
    log = OperationLog(operation_log.open_log(home, operation_id))
    if _refused(record, settings, store, log):
        launcher, code = OwnLauncher(home), 1
    elif _is_of_another(record, home, settings, hub_pid):
        launcher = OwnLauncher(home)
        code = _managed(record, home, store, settings, hub_pid, log, lock)
    else:
        launcher = OwnLauncher(home, hub_pid)
        if record.phase == RESTARTING:
            return _left_by_another(home, store, launcher)
        preflight = Preflight(home, log)
        source = _source(home)
        code = Transaction(record, home, store, source, preflight, launcher, log, settings).run()
    record = store.read() or record
    if record.operation_id != operation_id or not record.finished:
        return code
    if not launcher.alive():  # else its hub tells
        hooks.on_finish(settings, record, log.write)
    return _tell(record)


def _refused(record: Operation, settings: Settings, store: StatusStore, log: OperationLog) -> bool:
    """Whether one that has begun with nothing must not, as `hub.json` is now."""
    if record.is_managed or record.undo is not None:
        return False
    try:
        if record.accepted_by and record.accepted_by[0] != marks_of(settings.hub)[0]:
            again = "upgrade" if record.kind == UPGRADE else "roll back"
            raise RefusedError(
                "invalid_config",
                f"hub.json has changed since this was accepted: restart serve, then {again} again; "
                "nothing was changed",
            )
        if record.kind == UPGRADE:
            refuse_unsafe(settings.home)
    except RefusedError as error:
        with contextlib.suppress(HostError):  # else whoever settles says that it ended
            Journal(record, store, log).finish(FAILED, error.sentence)
        return True
    return False


def _is_of_another(record: Operation, home: Home, settings: Settings, hub_pid: int | None) -> bool:
    """Whether it is about a managed hub: accepted or begun so, named by `hub.json`, or by the
    process that started us on a home where no launcher ever was."""
    if record.accepted_by:
        return len(record.accepted_by) > 1
    if record.is_managed or record.request.itself or settings.hub is not None:
        return record.is_managed or not record.request.itself
    ours = (home.serve_json, home.boot_json)
    return hub_pid is not None and not any(os.path.lexists(path) for path in ours)


def _managed(
    record: Operation,
    home: Home,
    store: StatusStore,
    settings: Settings,
    hub_pid: int | None,
    log: OperationLog,
    lock: Lock,
) -> int:
    managed = hub_of(record, settings)
    if record.phase == PENDING and record.install is not None:
        # Accepted beside it, by who looked a moment ago: the hub may be another process by now.
        hub_pid = HubWatch(managed, hub_pid).pid() or hub_pid
    watch = HubWatch(managed, hub_pid)
    pid = watch.pid()
    choice = _choice(record, managed, pid)
    stays = choice.kind == NONE and record.is_managed  # it only looks, again and again
    unit = ("", "") if stays else scope.unit_of(choice, pid)
    note = scope.leave(unit, record.operation_id, _anew(), lock.fd)
    if choice.kind == NONE:
        watch.told = ""
    decision = survey(home, managed, watch, settings.home_persists, choice).decision
    if record.is_managed and len(record.place) == len(Place()):
        decision = decision._replace(place=Place(*record.place))
    source = source_of(decision.place, managed, home.root)
    parts = Parts(
        home, store, settings, managed, decision, source, watch, choice,
        chosen.made(choice, pid), log, note,
    )  # fmt: skip
    return ManagedTransaction(record, parts).run()


def hub_of(record: Operation, settings: Settings) -> Managed:
    """The managed hub: one that is rewritten already tells its version where it did when that was
    accepted, whatever `hub.json` says by now."""
    managed = settings.hub or Managed()
    if not record.is_managed or len(record.accepted_by) < 3:
        return managed
    _digest, url, field = record.accepted_by[:3]
    return managed._replace(health_url=url, version_field=field)


def _anew() -> list[str]:
    """What executes us once more."""
    return interpreter.command(os.path.realpath(sys.argv[0]), *sys.argv[1:])


def _choice(record: Operation, managed: Managed, pid: int) -> Choice:
    """Who restarts it: decided once."""
    if record.is_managed:
        return from_word(record.restarter or "")
    return chosen.look(managed, pid, ours=bool(record.requested_by))


def _left_by_another(home: Home, store: StatusStore, launcher: OwnLauncher) -> int:
    """A dead helper was about to hand it over, or has: only the truth about it can be told."""
    try:
        record = recovery.settle_locked(home, store, None, launcher.alive())
    except HostError as error:
        print(error.sentence)
        return 1
    if record is None or record.finished:
        return _tell(record) if record is not None else 1
    print(f"{record.kind} {record.operation_id} is the launcher's to decide")
    return 0


def _source(home: Home) -> PyzSource:
    """Where whoever accepted it follows releases: told by a command line that runs without a hub,
    else as `serve.json` says, else `hub.json`."""
    where = os.environ.pop(RELEASES, None) or (boot_store.read_serve(home) or {}).get("releases")
    if not isinstance(where, str) or not where:
        where = read_config(home)[0]["releases"]
    return PyzSource(home, where)


def _tell(record: Operation) -> int:
    """The result of a finished operation, and its exit code."""
    what = record.error or record.target_version or record.current_version
    if record.phase == REDEPLOY_REQUIRED:
        what = record.reason
    print(shown(f"{record.kind} {record.operation_id} {record.phase}: {what}", MOST_OF_RESULT))
    return record.exit_code or 0
