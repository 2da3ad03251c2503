"""`hub.pyz plan`: what an upgrade would do, without doing it."""

from __future__ import annotations

import argparse
from urllib.parse import urlencode

from hub_upgrade.cli import client, entry
from hub_upgrade.domain.operation import CHANNELS, REDEPLOY_REQUIRED
from hub_upgrade.host.files import Home
from hub_upgrade.shapes import Any
from hub_upgrade.upgrade import accept
from hub_upgrade.upgrade.plan import make_plan
from hub_upgrade.wiring import command

EXIT_REDEPLOY = 3


def main(argv: list[str]) -> int:
    """Plan; returns the exit code."""
    made = entry.parser(
        "plan",
        "Tell what an upgrade would do now, and what would stop it. Changes nothing.",
        "hub.pyz plan --channel rc",
        "0 it would be done, or is current already; 1 something would stop it;\n"
        "            2 wrong usage; 3 redeploy required",
        "all of home, to be read, and the release source; a running hub is asked",
    )
    made.add_argument("--channel", choices=CHANNELS, help="(read off the running version)")
    made.add_argument("--version", metavar="V", help="this very version")
    made.add_argument(
        "--allow-downgrade", action="store_true", help="also to a version below the running one"
    )
    made.add_argument("--json", action="store_true", help="the plan as JSON")
    made.add_argument("--releases", metavar="DIR", help="the release repository, when no hub runs")
    made.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    made.add_argument("--trouble", help=argparse.SUPPRESS)
    return entry.run(made, argv, plan)


def plan(arguments: argparse.Namespace) -> int:
    """Ask the hub that runs, or find out here."""
    home = entry.home_in(arguments)
    accept.check_version(arguments.version)
    made = None if arguments.here else _asked(home, arguments)
    if made is None:
        made = _found_out(home, arguments)
    if arguments.json:
        entry.print_json(made)
    else:
        for line in lines(made):
            print(line)
    if made["mode"] == REDEPLOY_REQUIRED:
        return EXIT_REDEPLOY
    return entry.EXIT_FAILED if made["stops"] else 0


def _asked(home: Home, arguments: argparse.Namespace) -> dict[str, Any] | None:
    """The running hub's own plan; None when none runs, or another source is asked about."""
    if arguments.releases:
        return None
    given = {"channel": arguments.channel, "version": arguments.version}
    fields = {name: value for name, value in given.items() if value}
    if arguments.allow_downgrade:
        fields["allow_downgrade"] = "true"
    with client.connected(home) as hub:
        if hub is None:
            return None
        answer = hub.get(f"/api/hub/upgrade/plan?{urlencode(fields)}", client.PLAN_ANSWER_S)
        if answer.status != 200:
            raise client.refusal(answer)
        return dict(answer.value)


def _found_out(home: Home, arguments: argparse.Namespace) -> dict[str, Any]:
    path = command.program()
    where = command.settings(home, arguments.releases).releases
    desk = command.desk(home, path, where, lambda: client.launcher_holds(home), lambda _pid: None)
    desk = desk._replace(trouble=arguments.trouble)
    source = command.source(home, where)
    return make_plan(
        desk, source, arguments.channel, arguments.version, arguments.allow_downgrade
    )


def lines(made: dict[str, Any]) -> list[str]:
    """A plan in words."""
    target = made["target"] or "unknown"
    told = [
        f"current: {made['current']}",
        f"target:  {target} (channel {made['channel']})",
        f"mode:    {made['mode']}: {made['reason']}",
    ]
    told += [f"  {line}" for line in made["evidence"]]
    if made["note"]:
        told.append(f"note:    {made['note']}")
    told += [f"stop:    {stop['error_description']}" for stop in made["stops"]]
    if made["already_current"]:
        told.append("Nothing to do: that is what runs already.")
    elif not made["stops"]:
        told.append(f"An upgrade would go to {target}.")
    return told
