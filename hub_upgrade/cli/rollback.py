"""`hub.pyz rollback`: go back to the previous good release."""

from __future__ import annotations

import argparse

from hub_upgrade.cli import alone, client, entry, follow
from hub_upgrade.cli.upgrade import EXITS, TOUCHES
from hub_upgrade.upgrade import accept


def main(argv: list[str]) -> int:
    """Roll back; returns the exit code."""
    made = entry.parser(
        "rollback",
        "Go back to the previous good release, which is proven like an upgrade. The one that is\n"
        "left is not tried again until it is named.",
        "hub.pyz rollback",
        EXITS,
        TOUCHES,
    )
    made.add_argument("--no-wait", action="store_true", help="do not follow it")
    made.add_argument("--json", action="store_true", help="the record at the end, as JSON")
    made.set_defaults(prog=made.prog)
    return entry.run(made, argv, rollback)


def rollback(arguments: argparse.Namespace) -> int:
    """Through the hub that runs, or alone."""
    home = entry.home_in(arguments)
    with client.connected(home) as hub:
        if hub is not None:
            return follow.through_hub(home, hub, "/api/hub/rollback", {}, arguments)
    return alone.Alone(home, arguments).run(
        lambda desk: accept.accept_rollback(desk, client.local_user())
    )
