"""`hub.pyz history`: the last operations, newest first."""

from __future__ import annotations

from hub_upgrade.cli import client, entry
from hub_upgrade.cli.arguments import JSON, Arguments, Command
from hub_upgrade.domain.operation import SUCCEEDED
from hub_upgrade.host.status_store import StatusStore
from hub_upgrade.shapes import Any

COMMAND = Command(
    "history",
    "List the operations that ended, newest first: when, what, how, and who asked.",
    "hub.pyz history --json",
    "0 done, 1 failed, 2 wrong usage",
    "history.jsonl and hub-upgrade-status.json in home, to be read",
    (JSON._replace(does="whole records, as JSON"),),
)


def main(argv: list[str]) -> int:
    """List; returns the exit code."""
    return entry.run(COMMAND, argv, history)


def history(given: Arguments) -> int:
    """Read and print."""
    home = entry.home_in(given)
    client.ensure_readable(home)
    past = StatusStore(home).history()
    if given.json:
        entry.print_json({"operations": past})
    elif not past:
        print("no operation has ended yet")
    else:
        for record in past:
            print(line(record))
    return 0


def line(record: dict[str, Any]) -> str:
    """One operation in one line."""
    target = record.get("target_version") or "?"
    way = f"{record['current_version']} -> {target}"
    if record["phase"] == SUCCEEDED and not record.get("undo"):
        way = f"{record['current_version']}, current already,"
    text = f"{record.get('finished_at') or '?'} {record['kind']} {way} {record['phase']}"
    if record.get("requested_by"):
        text += f", asked by {record['requested_by']}"
    if record.get("error"):
        text += f": {record['error']}"
    return entry.one_line(text)
