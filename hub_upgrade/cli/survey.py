"""`hub.pyz survey`: what is to be seen of the managed hub, for the hub that asks for it."""

from __future__ import annotations

from hub_upgrade.cli import entry
from hub_upgrade.cli.arguments import Arguments, Command
from hub_upgrade.errors import HostError
from hub_upgrade.settings import read_config
from hub_upgrade.upgrade.hub_watch import HubWatch
from hub_upgrade.upgrade.survey import survey
from hub_upgrade.upgrade.survey_record import to_wire

COMMAND = Command(
    "survey",
    "Tell, as JSON, what is to be seen of the hub that hub.json names: how it got onto the disk,\n"
    "what runs, and whether an upgrade of it is done in place. Changes nothing.",
    "hub.pyz survey",
    "0 told; 1 hub.json names no hub; 2 wrong usage",
    "hub.json in home, and what is installed, to be read",
    (),
)


def main(argv: list[str]) -> int:
    """Tell; returns the exit code."""
    return entry.run(COMMAND, argv, told)


def told(given: Arguments) -> int:
    """Look, and print."""
    home = entry.home_in(given)
    config = read_config(home)[0]
    managed = config["hub"]
    if managed is None:
        raise HostError(f"{home.hub_json} names no hub to look after: there is nothing to tell")
    seen = survey(home, managed, HubWatch(managed, None), config["home_persists"])
    entry.print_json(to_wire(seen))
    return 0
