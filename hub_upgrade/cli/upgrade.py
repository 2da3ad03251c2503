"""`hub.pyz upgrade`: upgrade the hub, and follow it to its end."""

from __future__ import annotations

import os

from hub_upgrade.cli import alone, client, entry, follow, plan
from hub_upgrade.cli.arguments import JSON, Arguments, Command, Option
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
NO_WAIT = Option("--no-wait", "do not follow it: return once it is accepted")
COMMAND = Command(
    "upgrade",
    "Upgrade the hub, follow the operation to its end, and say how it went. With no hub running\n"
    "the new release is proven under a launcher of its own.",
    "hub.pyz upgrade --channel latest",
    EXITS,
    TOUCHES,
    (
        *plan.WHICH,
        Option("--dry-run", "only tell what would be done: the same as hub.pyz plan"),
        NO_WAIT,
        JSON._replace(does="the record at its end, or the plan, as JSON"),
    ),
)


def main(argv: list[str]) -> int:
    """Upgrade; returns the exit code."""
    return entry.run(COMMAND, argv, upgrade)


def upgrade(given: Arguments) -> int:
    """Through the hub that runs, or alone."""
    if given.dry_run:
        return plan.plan(given)
    home = entry.home_in(given)
    named = accept.check_version(given.version)
    with client.connected(home) as hub:
        if hub is not None:
            _same_source(given.releases, hub.serving.get("releases"))
            body: dict[str, Any] = {"allow_downgrade": given.allow_downgrade}
            if given.self:
                body["self"] = True
            if given.channel:
                body["channel"] = given.channel
            if named:
                body["version"] = named
            return follow.through_hub(home, hub, "/api/hub/upgrade", body, given)
    return alone.Alone(home, given).run(
        lambda desk: accept.accept_upgrade(
            desk, given.channel, named, given.allow_downgrade, client.local_user(), given.self
        )
    )


def _same_source(given: str | None, followed: object) -> None:
    """A running hub follows its own source; raises UsageError for another."""
    if given is None or given == followed or os.path.abspath(given) == followed:
        return
    raise UsageError(
        f"--releases is for when no hub runs; the one that runs follows {followed or 'no source'}"
    )
