"""`hub.pyz upgrade`: upgrade the hub, and follow it to its end."""

from __future__ import annotations

import argparse
import os

from hub_upgrade.cli import alone, client, entry, follow
from hub_upgrade.domain.operation import CHANNELS
from hub_upgrade.errors import UsageError
from hub_upgrade.shapes import Any
from hub_upgrade.upgrade import accept

EXITS = (
    "0 done, or current already; 1 failed; 2 wrong usage; 3 redeploy required;\n"
    "            4 another operation is in flight; 5 tried and taken back;\n"
    "            130 following was interrupted (the operation goes on)"
)
TOUCHES = (
    "through the running hub: tokens.json in home (a token of 15 minutes, removed again);\n"
    "       without one: all that hub.pyz helper and hub.pyz serve touch"
)


def main(argv: list[str]) -> int:
    """Upgrade; returns the exit code."""
    made = entry.parser(
        "upgrade",
        "Upgrade the hub, follow the operation to its end, and say how it went. With no hub\n"
        "running the new release is proven under a launcher of its own.",
        "hub.pyz upgrade --channel latest",
        EXITS,
        TOUCHES,
    )
    made.add_argument("--channel", choices=CHANNELS, help="(read off the running version)")
    made.add_argument("--version", metavar="V", help="this very version")
    made.add_argument(
        "--allow-downgrade", action="store_true", help="also to a version below the running one"
    )
    made.add_argument("--no-wait", action="store_true", help="do not follow it")
    made.add_argument("--json", action="store_true", help="the record at the end, as JSON")
    made.add_argument(
        "--releases", metavar="DIR", help="the release repository, when no hub runs"
    )
    made.set_defaults(prog=made.prog)
    return entry.run(made, argv, upgrade)


def upgrade(arguments: argparse.Namespace) -> int:
    """Through the hub that runs, or alone."""
    home = entry.home_in(arguments)
    named = accept.check_version(arguments.version)
    with client.connected(home) as hub:
        if hub is not None:
            _same_source(arguments.releases, hub.serving.get("releases"))
            body: dict[str, Any] = {"allow_downgrade": arguments.allow_downgrade}
            if arguments.channel:
                body["channel"] = arguments.channel
            if named:
                body["version"] = named
            return follow.through_hub(home, hub, "/api/hub/upgrade", body, arguments)
    return alone.Alone(home, arguments).run(
        lambda desk: accept.accept_upgrade(
            desk, arguments.channel, named, arguments.allow_downgrade, client.local_user()
        )
    )


def _same_source(given: str | None, followed: object) -> None:
    """A running hub follows its own source; raises UsageError for another."""
    if given is None or given == followed or os.path.abspath(given) == followed:
        return
    raise UsageError(
        f"--releases is for when no hub runs; the one that runs follows {followed or 'no source'}"
    )
