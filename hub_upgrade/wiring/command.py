"""The command line's real parts, put together."""

from __future__ import annotations

import os
import sys
import zipfile
from collections.abc import Callable

from hub_upgrade.domain.operation import Operation
from hub_upgrade.domain.settle import Running
from hub_upgrade.errors import HostError
from hub_upgrade.host import boot_store, files, interpreter, operation_log, releases
from hub_upgrade.host.children import environment
from hub_upgrade.host.files import Home, Lock, Unreadable
from hub_upgrade.host.processes import spawn
from hub_upgrade.host.status_store import StatusStore
from hub_upgrade.settings import RELEASES, Settings, load, read_config
from hub_upgrade.sources.pyz import PyzSource
from hub_upgrade.upgrade.accept import Desk, Patience, StartHelper
from hub_upgrade.version import VERSION


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
    persists = read_config(home)[0]["home_persists"]
    return Desk(home, StatusStore(home), now, where, None, alive, start, Patience(), persists)


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


def source(home: Home, where: str | None) -> PyzSource:
    """Where releases come from."""
    return PyzSource(home, where)
