"""`hub.pyz run`: where the hub's real parts are put together. Started by the launcher only."""

from __future__ import annotations

import os
import sys

from hub_upgrade.domain.operation import Operation
from hub_upgrade.domain.settle import Running
from hub_upgrade.errors import HubError, UsageError
from hub_upgrade.host import boot_store, files, log, releases
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
from hub_upgrade.hub.hook_runner import HookRunner
from hub_upgrade.hub.inherited import Inherited, take
from hub_upgrade.hub.main import Hub
from hub_upgrade.hub.managed_hub import ManagedHub
from hub_upgrade.hub.operations import OpenOperation
from hub_upgrade.hub.welcome import Welcome, seed
from hub_upgrade.settings import RELEASES, Settings, load, public_origin
from hub_upgrade.shapes import Any
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


def launcher_alive() -> bool:
    """The launcher is our parent; when it dies, somebody else becomes that."""
    return os.getppid() == LAUNCHER_PID


LAUNCHER_PID = os.getppid()


def release_of(home: Home, program: str) -> str | None:
    """The name of the release directory that we run from, or None for a copy elsewhere."""
    directory = os.path.dirname(program)
    inside = os.path.dirname(directory) == os.path.realpath(home.releases)
    return os.path.basename(directory) if inside else None


def whom_to_signal(operation: Operation, looked_after: ManagedHub | None) -> int:
    """Whom the helper of an operation may signal: the launcher, or the managed hub's process."""
    if operation.is_managed:
        return operation.hub_pid
    if looked_after is None or operation.request.itself:
        return LAUNCHER_PID
    return looked_after.survey().pid


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
    looked_after = ManagedHub(loop, home, settings.hub, program) if settings.hub else None
    start = helper_starter(home, program, lambda operation: whom_to_signal(operation, looked_after))

    def start_helper(operation: Operation, lock: Lock) -> int:
        pid = start(operation, lock)
        operations.started(operation, pid)
        hub.watch_helper(pid)
        return pid

    runner = HookRunner(loop, settings, program)
    operations = OpenOperation(home, store, running, loop, launcher_alive, start_helper, runner)
    operations.changed = looked_after.changed if looked_after is not None else None
    desk = desk_for(settings, serving, store, running, trouble, start_helper)
    if looked_after is not None:
        desk = desk._replace(survey=looked_after.survey)
        loop.call_later(0, looked_after.start)
    app = app_for(loop, settings, serving, desk, tokens, digest, program)
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
        survey=None,
        launcher_alive=launcher_alive,
        start_helper=start_helper,
        patience=Patience(),
        home_persists=settings.home_persists,
        hub=settings.hub,
    )


def app_for(
    loop: Loop,
    settings: Settings,
    serving: dict[str, Any],
    desk: Desk,
    tokens: TokenStore,
    digest: str,
    program: str,
) -> App:
    """What the routes answer from, for the life of this process."""
    return App(
        settings=settings,
        version=VERSION,
        digest=digest,
        instance=files.new_id(),
        started_at=files.now_rfc3339(),
        started=loop.now(),
        clock=loop.now,
        launcher_version=serving.get("launcher_version"),
        trouble=desk.trouble,
        program=program,
        status_store=desk.store,
        tokens=tokens,
        desk=desk,
        missing=list,  # modules come later
        build_time=os.environ.get("PARACHUTE_BUILD_TIME"),
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
