"""The command line's real parts, put together."""

from __future__ import annotations

import os
import sys
import time
import zipfile
from collections.abc import Callable

from hub_upgrade.domain.install import Place
from hub_upgrade.domain.managed import GIT, SOURCES, Managed
from hub_upgrade.domain.operation import Operation, with_line
from hub_upgrade.domain.settle import Running
from hub_upgrade.errors import HostError
from hub_upgrade.host import boot_store, files, interpreter, operation_log, releases
from hub_upgrade.host.children import environment
from hub_upgrade.host.files import Home, Lock, Unreadable
from hub_upgrade.host.operation_log import OperationLog
from hub_upgrade.host.processes import spawn
from hub_upgrade.host.status_store import StatusStore
from hub_upgrade.settings import RELEASES, Settings, load, read_config
from hub_upgrade.sources.git import GitSource
from hub_upgrade.sources.package import package_source
from hub_upgrade.sources.pyz import PyzSource
from hub_upgrade.upgrade import hooks, recovery
from hub_upgrade.upgrade.accept import LEAVING_S, Desk, Patience, StartHelper
from hub_upgrade.upgrade.hub_watch import HubWatch
from hub_upgrade.upgrade.ports import Rewriter
from hub_upgrade.upgrade.survey import survey
from hub_upgrade.upgrade.survey_record import Survey
from hub_upgrade.version import VERSION

LOCK_POLL_S = 0.02


def program() -> str:
    """The file that runs, which a launcher can be started from; raises HostError."""
    path = os.path.realpath(sys.argv[0])
    if not zipfile.is_zipfile(path):
        raise HostError("this runs from a built hub.pyz; make one with: python3 build_pyz.py")
    return path


def settings(home: Home, where: str | None) -> Settings:
    """What `serve` would make of this home; `where` is `--releases`."""
    flags = {"config-dir": home.root}
    if where:
        flags["releases"] = where
    return load(flags, {})


def running(home: Home, path: str) -> Running:
    """What runs, or, with no hub running, what the next start would run.

    A release of this home is itself; any other file is a factory, and stands behind the release
    that was proven last.
    """
    inside = os.path.dirname(os.path.dirname(path)) == os.path.realpath(home.releases)
    name = os.path.basename(os.path.dirname(path))
    if not inside:
        name = _current(home)
        if name:
            path = releases.path_of(home, name)
    digest = files.sha256_file(path)
    version = releases.version_of(name) or VERSION
    return Running(version, name or None, digest)


def _current(home: Home) -> str:
    """The release that was proven last, if it is whole."""
    try:
        boot = boot_store.read_boot(home)
    except Unreadable:
        return ""
    name = boot.current if boot is not None else None
    return name if name and releases.is_whole(home, name) else ""


def desk(
    home: Home,
    path: str,
    where: str | None,
    alive: Callable[[], bool],
    watch: Callable[[int], None],
) -> Desk:
    """What a request is judged by when no hub runs; `watch` is told the PID of the helper."""
    now = running(home, path)
    own = releases.path_of(home, now.release) if now.release else path
    start = helper_starter(home, own, where, watch)
    config = read_config(home)[0]
    persists, hub = config["home_persists"], config["hub"]
    survey_now = surveyor(home, hub, persists) if hub is not None else None
    patience = Patience(LEAVING_S)
    store = StatusStore(home)
    return Desk(home, store, now, where, None, survey_now, alive, start, patience, persists, hub)


def surveyor(home: Home, managed: Managed, persists: bool | None) -> Callable[[], Survey]:
    """Looks at the managed hub once, when it is asked to."""
    seen: list[Survey] = []

    def look() -> Survey:
        if not seen:
            seen.append(survey(home, managed, HubWatch(managed, None), persists))
        return seen[0]

    return look


def source_of(place: Place | None, managed: Managed, home: str = "") -> Rewriter | None:
    """What rewrites the managed hub, for this home; None where nobody knows how it was
    installed."""
    if place is None or place.source not in SOURCES:
        return None
    git = place.source == GIT
    found = GitSource(place.directory, managed) if git else package_source(place, managed)
    found.home = home
    return found


def managed_of(home: Home) -> Managed:
    """The managed hub of this home; all defaults where `hub.json` names none."""
    found: Managed = read_config(home)[0]["hub"] or Managed()
    return found


def hub_pid(home: Home, operation: Operation) -> int:
    """Whom a helper of this operation may signal: the managed hub's process; 0 for nobody."""
    if operation.is_managed:
        return operation.hub_pid
    managed = read_config(home)[0]["hub"]
    if managed is None or operation.request.itself:
        return 0
    return HubWatch(managed, None).pid()


def helper_starter(
    home: Home, own: str, where: str | None, watch: Callable[[int], None]
) -> StartHelper:
    """A starter of helpers with no launcher above: where releases come from is told to them."""

    def start(operation: Operation, lock: Lock) -> int:
        argv = interpreter.command(
            own,
            *("helper", "--op", operation.operation_id, "--channel", operation.channel),
            *("--config-dir", home.root),
        )
        process = hub_pid(home, operation)
        if process:
            argv += ["--hub-pid", str(process)]
        env = environment(os.environ)
        if where:
            env[RELEASES] = where
        log = operation_log.open_log(home, operation.operation_id)
        try:
            pid = spawn(argv, env, {0: lock.fd, 1: log, 2: log})
        finally:
            os.close(log)
        watch(pid)
        return pid

    return start


def settle(home: Home) -> Operation | None:
    """Bring the record up to what is true with no launcher alive, hooks included; the record then.

    What a dead helper had begun to rewrite is gone on with by another one.
    """
    store = StatusStore(home)
    before = store.read()
    if before is None or before.finished:
        return before
    if recovery.wants_restoring(home, before):
        log = OperationLog(operation_log.open_log(home, before.operation_id))
        restore(settings(home, None), store, before, log)
    record = recovery.settle_now(home, store, None, False)
    if record is not None and record.finished and record.operation_id == before.operation_id:
        ended(home, record)
    elif record is not None and record.is_managed:
        go_on(home, record)
    return record


def ended(home: Home, record: Operation) -> None:
    """An operation has ended, and no hub runs that would run `on_finish`."""
    log = OperationLog(operation_log.open_log(home, record.operation_id))
    hooks.on_finish(settings(home, None), record, log.write)


def restore(
    config: Settings,
    store: StatusStore,
    operation: Operation,
    log: OperationLog,
    again: bool = False,
) -> str:
    """Run `after_rollback` for an operation, once unless it is to be run `again`; a line on how it
    went, "" where there was nothing to do. Raises HostError.

    Under `operation.lock`: nobody restores at the same time, and nobody upgrades meanwhile.
    """
    lock = _operation_lock(config)
    try:
        record = store.read()
        mine = record is not None and record.operation_id == operation.operation_id
        if not again and (not mine or record is None or record.finished or hooks.has_run(record)):
            return ""
        line = hooks.after_rollback(config, operation, log.write)
        if line:
            store.update(operation.operation_id, lambda record: with_line(record, line))
        return line
    finally:
        lock.release()


def _operation_lock(config: Settings) -> Lock:
    """Waited for as long as another may be at the same hook; raises HostError."""
    deadline = time.monotonic() + hooks.limit_s(config)
    while True:
        lock = _try_lock(config.home)
        if lock is not None:
            return lock
        if time.monotonic() > deadline:
            raise HostError(f"another process holds {config.home.operation_lock}")
        time.sleep(LOCK_POLL_S)


def _try_lock(home: Home) -> Lock | None:
    """None while another holds it; raises HostError."""
    try:
        return Lock.try_take(home.operation_lock)
    except OSError as error:
        why = f"{home.operation_lock} cannot be locked: {error.strerror}"
        raise HostError(why) from error


def go_on(home: Home, record: Operation) -> None:
    """Start a helper for a managed hub's operation, if nobody has it; raises HostError."""
    lock = _try_lock(home)
    if lock is None:
        return
    try:
        helper_starter(home, program(), None, lambda _pid: None)(record, lock)
    finally:
        lock.release()


def source(home: Home, where: str | None) -> PyzSource:
    """Where releases come from."""
    return PyzSource(home, where)
