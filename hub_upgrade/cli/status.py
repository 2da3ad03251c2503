"""`hub.pyz status`: what the last operation did or is doing, with a hub and without."""

from __future__ import annotations

import argparse
import os

from hub_upgrade.cli import client, entry, follow
from hub_upgrade.domain.operation import Operation, to_wire
from hub_upgrade.domain.settle import NEXT_START
from hub_upgrade.host.files import Home
from hub_upgrade.host.status_store import StatusStore
from hub_upgrade.shapes import Any
from hub_upgrade.upgrade import recovery

LAST_LINES = 10


def main(argv: list[str]) -> int:
    """Tell; returns the exit code."""
    made = entry.parser(
        "status",
        "Tell which hub runs, and what the last operation did or is doing.",
        "hub.pyz status --json",
        "0 whenever it could answer, also when there was never an operation; 2 wrong usage",
        "hub-upgrade-status.json, serve.json and releases/boot.json in home, to be read; with no\n"
        "       hub running the record of an operation that nobody will finish is settled",
    )
    made.add_argument("--json", action="store_true", help="the record as JSON, with the hub in it")
    return entry.run(made, argv, status)


def status(arguments: argparse.Namespace) -> int:
    """Read the record, and look whether a hub runs."""
    home = entry.home_in(arguments)
    hub, launcher = _hub(home)
    record = _record(home, launcher)
    note = ""
    if record is not None and not record.finished and not launcher and not _helper(home):
        note = NEXT_START
    if arguments.json:
        wire: dict[str, Any] = {"operation_id": None} if record is None else to_wire(record)
        entry.print_json({**wire, "hub": hub, **({"note": note} if note else {})})
        return 0
    print(_hub_line(hub))
    for line in _lines(record, note):
        print(line)
    return 0


def _hub(home: Home) -> tuple[dict[str, Any], bool]:
    """The hub that runs, and whether a launcher is there at all."""
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
    return recovery.settle_now(home, store, None, False)


def _helper(home: Home) -> bool:
    """Whether a live process owns the operation."""
    record = StatusStore(home).read()
    return record is not None and client.helper_lives(record)


def _hub_line(hub: dict[str, Any]) -> str:
    if hub["running"]:
        proving = ", proving a release" if hub["proving"] else ""
        return f"hub {hub['version']} runs at {hub['address']} (process {hub['pid']}{proving})"
    return str(hub.get("trouble") or "no hub runs")


def _lines(record: Operation | None, note: str) -> list[str]:
    if record is None:
        return ["there was never an operation"]
    if record.finished:
        head = f"{record.kind} {record.operation_id}, {record.phase} at {record.finished_at}"
        return [head, follow.conclusion(record)]
    lines = [f"{record.kind} {record.operation_id} is {record.phase} ({record.step})"]
    lines += [f"  {line}" for line in record.log[-LAST_LINES:]]
    return [*lines, note] if note else lines
