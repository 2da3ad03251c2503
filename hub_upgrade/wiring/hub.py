"""`hub.pyz run`: where the hub's real parts are put together. Started by the launcher only."""

from __future__ import annotations

import os
import signal
import sys

from hub_upgrade.domain.operation import SUCCEEDED, Operation
from hub_upgrade.domain.settle import Running
from hub_upgrade.errors import HubError, UsageError
from hub_upgrade.host import boot_store, files, log, processes, releases
from hub_upgrade.host.files import Home, Lock, Unreadable
from hub_upgrade.host.look import url_of
from hub_upgrade.host.loop import Loop
from hub_upgrade.host.status_store import (
    MemoryStatusStore,
    StatusStore,
    unreadable_history,
    unreadable_record,
)
from hub_upgrade.host.token_store import TokenStore
from hub_upgrade.hub.inherited import Inherited, take
from hub_upgrade.hub.main import Hub
from hub_upgrade.hub.welcome import Welcome, seed
from hub_upgrade.settings import RELEASES, Settings, load, public_origin
from hub_upgrade.shapes import Any
from hub_upgrade.upgrade import recovery
from hub_upgrade.upgrade.accept import Desk, Patience, StartHelper, helper_starter
from hub_upgrade.upgrade.ports import Store
from hub_upgrade.version import VERSION
from hub_upgrade.web.api import ROUTES, UPGRADE_FEED, App
from hub_upgrade.web.auth import bearer
from hub_upgrade.web.connections import Connections
from hub_upgrade.web.hosts import Hosts, names
from hub_upgrade.web.routes import Table, dispatch

RECHECK_S = 0.002
"""How old what a reading request sees may be: under load one look serves many."""


class OpenOperation:
    """The operation that is open, if any, as the hub's loop sees it (`hub.main.Operations`)."""

    def __init__(self, home: Home, store: Store, running: Running, loop: Loop) -> None:
        self._home = home
        self._store = store
        self._running = running
        self._loop = loop
        self._watch = recovery.Watch()
        self._started = ("", 0, "")
        self._unwritten = ""  # why the end of an operation could not be recorded: told with it
        record = store.read()
        self._told = record.operation_id if record is not None and record.finished else ""
        loop.on_late(self._watch.slept)

    def started(self, operation: Operation, pid: int) -> None:
        """Remember the helper that we started: it records itself only with its first step."""
        self._started = (operation.operation_id, pid, processes.start_time(pid) or "")
        what = f"{operation.kind} {operation.operation_id}"
        log.say("hub", f"{what} was asked for by {operation.requested_by}")

    def _tell(self, record: Operation | None) -> None:
        """A line in the log for each operation that has ended."""
        if record is None or not record.finished or record.operation_id == self._told:
            return
        self._told = record.operation_id
        good = record.phase == SUCCEEDED
        end = record.target_version if good else record.error or record.reason
        text = f"{record.kind} {record.operation_id} ended as {record.phase}: {end}"
        log.say("hub", text, log.INFO if good else log.WARNING, operation_id=record.operation_id)

    def _record(self) -> Operation | None:
        record = self._store.read()
        operation_id, pid, start_time = self._started
        if record is None or record.helper_pid is not None or record.operation_id != operation_id:
            return record
        return record._replace(helper_pid=pid, helper_start_time=start_time)

    def settle(self, reason: str | None = None) -> None:
        """Bring the record up to what is true, and end a helper that is over its time."""
        record = self._record()
        if self._watch.overdue(record, self._loop.now()):
            recovery.end_helper(record, signal.SIGKILL)
        ended = (reason or recovery.HELPER_DIED) + self._unwritten
        settled = recovery.settle_now(
            self._home, self._store, self._running, launcher_alive(), ended
        )
        self._tell(settled)
        waits = settled is not None and not settled.finished and settled.error
        self._unwritten = f" ({waits})" if waits else ""

    def helper(self) -> tuple[int, str | None]:
        """The helper that lives, with its start time; 0 for none."""
        record = self._record()
        if record is None or record.finished or record.helper_pid is None:
            return 0, None
        if not processes.alive(record.helper_pid, record.helper_start_time):
            return 0, None
        return record.helper_pid, record.helper_start_time

    def end_helper(self, number: int) -> bool:
        """Signal the helper with its group; whether there was one."""
        return recovery.end_helper(self._record(), number)


def launcher_alive() -> bool:
    """The launcher is our parent; when it dies, somebody else becomes that."""
    return os.getppid() == LAUNCHER_PID


LAUNCHER_PID = os.getppid()


def release_of(home: Home, program: str) -> str | None:
    """The name of the release directory that we run from, or None for a copy elsewhere."""
    directory = os.path.dirname(program)
    inside = os.path.dirname(directory) == os.path.realpath(home.releases)
    return os.path.basename(directory) if inside else None


def build(loop: Loop, settings: Settings, inherited: Inherited, program: str) -> Hub:
    """The hub with all its real parts."""
    home = settings.home
    digest = files.sha256_file(program)
    running = Running(VERSION, release_of(home, program), digest)
    trouble = inherited.trouble or None
    store: Store = MemoryStatusStore() if trouble else StatusStore(home, recheck_s=RECHECK_S)
    tokens = TokenStore(home, RECHECK_S, memory=bool(trouble))
    settings = with_problem(settings, seed(tokens, os.environ))
    serving = boot_store.read_serve(home) or {}
    if serving.get("pid") != LAUNCHER_PID:
        serving = {}  # another launcher's: ours could not write its own
    start = helper_starter(home, program, LAUNCHER_PID)

    operations = OpenOperation(home, store, running, loop)

    def start_helper(operation: Operation, lock: Lock) -> int:
        pid = start(operation, lock)
        operations.started(operation, pid)
        hub.watch_helper(pid)
        return pid

    desk = desk_for(settings, serving, store, running, trouble, start_helper)
    app = App(
        settings=settings,
        version=VERSION,
        digest=digest,
        instance=files.new_id(),
        started_at=files.now_rfc3339(),
        started=loop.now(),
        clock=loop.now,
        launcher_version=serving.get("launcher_version"),
        trouble=trouble,
        program=program,
        status_store=store,
        tokens=tokens,
        desk=desk,
        missing=list,  # modules come later
        build_time=os.environ.get("PARACHUTE_BUILD_TIME"),
    )
    hosts = Hosts(names(settings.allowed_hosts, os.environ))
    table = Table(ROUTES, bearer(tokens), hosts)
    connections = Connections(
        loop,
        inherited.listener,
        lambda request: dispatch(table, request, app),
        feeds={UPGRADE_FEED: store.wire},
        known=tokens.known,
    )
    hub = Hub(loop, settings, inherited, connections, operations, digest)
    if inherited.handoff_fd < 0:
        log.say("hub", f"serving {VERSION} (sha256 {digest})", version=VERSION, release=digest)
        loop.call_later(0, lambda: tell_passed_over(home, tokens))
    origin = public_origin(os.environ, url_of(inherited.listener))
    welcome = Welcome(loop, tokens, origin, lambda: is_committed(home, running, inherited))
    loop.call_later(0, welcome.look)
    return hub


def desk_for(
    settings: Settings,
    serving: dict[str, Any],
    store: Store,
    running: Running,
    trouble: str | None,
    start_helper: StartHelper,
) -> Desk:
    """What a request is judged by; the launcher knows best which releases are followed."""
    return Desk(
        home=settings.home,
        store=store,
        running=running,
        releases=serving.get("releases") or os.environ.get(RELEASES) or settings.releases,
        trouble=trouble,
        launcher_alive=launcher_alive,
        start_helper=start_helper,
        patience=Patience(),
        home_persists=settings.home_persists,
    )


def with_problem(settings: Settings, problem: str | None) -> Settings:
    """The settings with one more thing that is wrong, which the log is told."""
    if not problem:
        return settings
    log.say("hub", problem, log.WARNING)
    told = "; ".join(filter(None, (settings.config_error, problem)))
    return settings._replace(config_error=told)


def is_committed(home: Home, running: Running, inherited: Inherited) -> bool:
    """Whether this release is trusted: what is only tried, on a spare socket or on trial, is not.

    Nobody judges a hub whose home is no use; one without the home's lock is a candidate.
    """
    if inherited.trouble:
        return True
    if inherited.lock_fd < 0:
        return False
    if running.release is None:
        return True
    try:
        boot = boot_store.read_boot(home)
    except Unreadable:
        return False
    return boot is not None and boot.trial is None and boot.current == running.release


def tell_passed_over(home: Home, tokens: TokenStore) -> None:
    """Say once, after the start, what lies in home and cannot be read."""
    for why in (unreadable_record(home), unreadable_history(home), tokens.unreadable()):
        if why:
            log.say("hub", f"passed over: {why}", log.WARNING)


HELP = """\
usage: hub.pyz run

The hub itself. The launcher starts it, and hands it the listening socket; by hand: hub.pyz serve.

example: hub.pyz serve
exit codes: 0 stopped, 1 it cannot serve, 2 wrong usage
files: all of home but what is the launcher's"""


def main(argv: list[str]) -> int:
    """Serve as the launcher's child until a stop; returns the exit code."""
    if "--help" in argv or "-h" in argv:
        print(HELP)
        return 0
    try:
        if argv:
            raise UsageError(f"unknown argument {argv[0][:100]!r}; see: hub.pyz run --help")
        inherited = take(os.environ)
        # The launcher listens: whatever PORT says, it must not keep a hub from serving.
        settings = load({"port": "0"}, os.environ)
        program = os.path.realpath(sys.argv[0])
        held = releases.hold(program)  # pruning takes no release that somebody runs
        loop = Loop()
        code = build(loop, settings, inherited, program).run()
    except HubError as error:
        print(f"hub.pyz run: {error.sentence}", file=sys.stderr)
        return error.exit_code
    if held is not None:
        held.release()
    return code
