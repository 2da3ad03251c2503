"""`hub.pyz status`: what the last operation did or is doing, with a hub and without."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from hub_upgrade.cli import client, entry, follow
from hub_upgrade.cli.arguments import JSON, Arguments, Command, Option
from hub_upgrade.domain.operation import Operation, from_wire, to_wire
from hub_upgrade.domain.settle import NEXT_START
from hub_upgrade.errors import HostError
from hub_upgrade.host.files import Home
from hub_upgrade.host.status_store import StatusStore
from hub_upgrade.settings import read_config
from hub_upgrade.shapes import Any
from hub_upgrade.upgrade.hub_watch import HubWatch
from hub_upgrade.wiring import command

LAST_LINES = 10
COMMAND = Command(
    "status",
    "Tell which hub runs, and what the last operation did or is doing.",
    "hub.pyz status --watch",
    "0 whenever it could answer, also when there was never an operation; 1 what was\n"
    "            watched is lost, or home cannot be read; 2 wrong usage; 130 watching was\n"
    "            interrupted",
    "hub-upgrade-status.json, serve.json and releases/boot.json in home, to be read; with no\n"
    "       hub running the record of an operation that nobody will finish is settled",
    (
        Option("--watch", "follow the operation that is open to its end"),
        JSON._replace(does="the record as JSON, with the hub in it"),
    ),
)


class _NobodyFinishes(Exception):  # noqa: N818 - an answer: there is nothing to wait for
    """The operation that was watched is decided at the next start."""


def main(argv: list[str]) -> int:
    """Tell; returns the exit code."""
    return entry.run(COMMAND, argv, status)


def status(given: Arguments) -> int:
    """Read the record, and look whether a hub runs."""
    home = entry.home_in(given)
    client.ensure_readable(home)
    hub, launcher = _hub(home)
    try:
        record = _record(home, launcher)
    except (HostError, OSError) as error:  # nobody can settle it now: it is told as it stands
        print(f"{given.prog}: warning: {entry.one_line(str(error))}", file=sys.stderr)
        record = StatusStore(home).read()
    if given.watch and record is not None and not record.finished and not _waits(home, record):
        return _watch(home, hub, record, given)
    return _told(home, hub, record, given)


def _told(home: Home, hub: dict[str, Any], record: Operation | None, given: Arguments) -> int:
    note = NEXT_START if record is not None and _waits(home, record) else ""
    if given.json:
        wire: dict[str, Any] = {"operation_id": None} if record is None else to_wire(record)
        entry.print_json({**wire, "hub": hub, **({"note": note} if note else {})})
        return 0
    for line in (_hub_line(hub), *_lines(home, record, note)):
        print(entry.printable(line))
    return 0


def _watch(home: Home, hub: dict[str, Any], record: Operation, given: Arguments) -> int:
    teller = follow.teller_for(given)
    if not given.json:
        for line in (_hub_line(hub), _head(record)):
            print(entry.printable(line), flush=True)
    try:
        end = follow.to_the_end(_reader(home, record.operation_id), record.operation_id, teller)
    except KeyboardInterrupt:
        return follow.interrupted(given.prog, "goes on")
    except _NobodyFinishes:
        return _told(home, _hub(home)[0], StatusStore(home).read(), given)
    if given.json:
        return _told(home, _hub(home)[0], end, given)
    for line in (follow.conclusion(end), *follow.advice(home, end)):
        print(entry.printable(line))
    return 0


def _reader(home: Home, operation_id: str) -> Callable[[], Operation | None]:
    def read() -> Operation | None:
        try:
            record = _record(home, client.launcher_holds(home))
        except (HostError, OSError):  # that was told when the watching began
            record = StatusStore(home).read()
        if record is None or record.operation_id != operation_id:
            past = [from_wire(item) for item in StatusStore(home).history()]
            return next((op for op in past if op and op.operation_id == operation_id), None)
        if _waits(home, record):
            raise _NobodyFinishes
        return record

    return read


def _waits(home: Home, record: Operation) -> bool:
    """Whether an open operation has nobody who works on it now."""
    if record.finished or record.is_managed or client.launcher_holds(home):
        return False
    return not client.helper_lives(StatusStore(home).read() or record)


def _hub(home: Home) -> tuple[dict[str, Any], bool]:
    """The hub that runs, with the managed one, and whether a launcher is there at all."""
    told, launcher = _own(home)
    managed = read_config(home)[0]["hub"]
    if managed is not None:
        version = HubWatch(managed, None).look().version
        told["managed"] = {"health_url": managed.health_url, "version": version}
    return told, launcher


def _own(home: Home) -> tuple[dict[str, Any], bool]:
    try:
        found = client.locate(home)
    except client.NoAnswerError as error:
        return {"running": False, "trouble": error.sentence}, True
    if found is None:
        return {"running": False}, False
    names = ("address", "pid", "releases", "proving")
    told = {name: found.serving.get(name) for name in names}
    return {"running": True, "version": found.version, **told}, True


def _record(home: Home, launcher: bool) -> Operation | None:
    """The record; what nobody will finish is settled, but only where no launcher is alive."""
    store = StatusStore(home)
    mine = os.access(home.root, os.W_OK) and client.owner(home) == os.geteuid()
    if launcher or not mine:
        return store.read()
    return command.settle(home)


def _hub_line(hub: dict[str, Any]) -> str:
    line = str(hub.get("trouble") or "no hub runs")
    if hub["running"]:
        proving = ", proving a release" if hub["proving"] else ""
        line = f"hub {hub['version']} runs at {hub['address']} (process {hub['pid']}{proving})"
    managed = hub.get("managed")
    if managed is None:
        return line
    version = managed["version"]
    does = f"is {version}" if version else "tells no version"
    return f"{line}; the managed hub at {managed['health_url']} {does}"


def _head(record: Operation) -> str:
    when = f"at {record.finished_at}" if record.finished else f"({record.step})"
    asked = f", asked by {record.requested_by}" if record.requested_by else ""
    return f"{record.kind} {record.operation_id}: {record.phase} {when}{asked}"


def _lines(home: Home, record: Operation | None, note: str) -> list[str]:
    if record is None:
        return ["there was never an operation"]
    if record.finished:
        return [_head(record), follow.conclusion(record), *follow.advice(home, record)]
    lines = [_head(record), *(f"  {line}" for line in record.log[-LAST_LINES:])]
    return [*lines, f"It is {note}: hub.pyz serve"] if note else lines
