"""`hub.pyz rollback`: go back to the previous good release."""

from __future__ import annotations

from hub_upgrade.cli import alone, client, entry, follow
from hub_upgrade.cli.arguments import JSON, Arguments, Command
from hub_upgrade.cli.plan import ITSELF
from hub_upgrade.cli.upgrade import EXITS, NO_WAIT, TOUCHES
from hub_upgrade.upgrade import accept

COMMAND = Command(
    "rollback",
    "Go back to the previous good release, which is proven like an upgrade. The one that is left\n"
    "is not tried again until it is named.",
    "hub.pyz rollback",
    EXITS,
    TOUCHES,
    (ITSELF, NO_WAIT, JSON._replace(does="the record at its end, as JSON")),
)


def main(argv: list[str]) -> int:
    """Roll back; returns the exit code."""
    return entry.run(COMMAND, argv, rollback)


def rollback(given: Arguments) -> int:
    """Through the hub that runs, or alone."""
    home = entry.home_in(given)
    with client.connected(home) as hub:
        if hub is not None:
            body = {"self": True} if given.self else {}
            return follow.through_hub(home, hub, "/api/hub/rollback", body, given)
    return alone.Alone(home, given).run(
        lambda desk: accept.accept_rollback(desk, client.local_user(), given.self)
    )
