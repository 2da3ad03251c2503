"""`hub.pyz history`: the last operations, newest first."""

from __future__ import annotations

import argparse

from hub_upgrade.cli import entry
from hub_upgrade.host.status_store import StatusStore
from hub_upgrade.shapes import Any


def main(argv: list[str]) -> int:
    """List; returns the exit code."""
    made = entry.parser(
        "history",
        "List the operations that ended, newest first.",
        "hub.pyz history --json",
        "0 done, 1 failed, 2 wrong usage",
        "history.jsonl and hub-upgrade-status.json in home, to be read",
    )
    made.add_argument("--json", action="store_true", help="whole records, as JSON")
    return entry.run(made, argv, history)


def history(arguments: argparse.Namespace) -> int:
    """Read and print."""
    past = StatusStore(entry.home_in(arguments)).history()
    if arguments.json:
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
    text = (
        f"{record.get('finished_at') or '?'} {record['kind']} "
        f"{record['current_version']} -> {target} {record['phase']}"
    )
    if record.get("error"):
        text += f": {record['error']}"
    return entry.one_line(text)
