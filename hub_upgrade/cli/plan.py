"""`hub.pyz plan`: what an upgrade would do, without doing it."""

from __future__ import annotations

from urllib.parse import urlencode

from hub_upgrade.cli import client, entry
from hub_upgrade.cli.arguments import JSON, Arguments, Command, Option
from hub_upgrade.domain.operation import CHANNELS, REDEPLOY_REQUIRED
from hub_upgrade.host.files import Home
from hub_upgrade.restarters import chosen
from hub_upgrade.shapes import Any
from hub_upgrade.upgrade import accept
from hub_upgrade.upgrade.managed_plan import make_managed_plan
from hub_upgrade.upgrade.plan import make_plan
from hub_upgrade.wiring import command

ITSELF = Option("--self", "hub.pyz itself, where hub.json names another hub to look after")
WHICH = (
    Option("--channel", "which one to follow (that of the running version)", "CHANNEL", CHANNELS),
    Option("--version", "this very version, also one that failed here before", "V"),
    Option("--allow-downgrade", "also to a version below the running one"),
    Option("--releases", "the release repository, when no hub runs", "DIR"),
    ITSELF,
)
COMMAND = Command(
    "plan",
    "Tell what an upgrade would do now, and what would stop it. Changes nothing.",
    "hub.pyz plan --channel rc",
    "0 it would be done, or is current already; 1 something would stop it; 2 wrong usage;\n"
    "            3 redeploy required",
    "all of home, to be read, and the release source; a running hub is asked",
    (
        *WHICH,
        JSON._replace(does="the plan as JSON"),
        Option("--here"),  # the hub's own child: it asks nobody
        Option("--trouble", value="WHY"),
    ),
)


def main(argv: list[str]) -> int:
    """Plan; returns the exit code."""
    return entry.run(COMMAND, argv, plan)


def plan(given: Arguments) -> int:
    """Ask the hub that runs, or find out here."""
    home = entry.home_in(given)
    accept.check_version(given.version)
    made = None if getattr(given, "here", False) else _asked(home, given)
    if made is None:
        made = _found_out(home, given)
    if given.json:
        entry.print_json(made)
    else:
        for line in lines(made):
            print(entry.printable(line))
    if made["mode"] == REDEPLOY_REQUIRED:
        return entry.EXIT_REDEPLOY
    return entry.EXIT_FAILED if made["stops"] else 0


def _asked(home: Home, given: Arguments) -> dict[str, Any] | None:
    """The running hub's own plan; None when none runs, or another source is asked about."""
    if given.releases:
        return None
    named = {"channel": given.channel, "version": given.version}
    fields = {name: value for name, value in named.items() if value}
    for name in ("allow_downgrade", "self"):
        if getattr(given, name):
            fields[name] = "true"
    with client.connected(home) as hub:
        if hub is None:
            return None
        answer = hub.get(f"/api/hub/upgrade/plan?{urlencode(fields)}", client.PLAN_ANSWER_S)
        if answer.status != 200:
            raise client.refusal(answer)
        return dict(answer.value)


def _found_out(home: Home, given: Arguments) -> dict[str, Any]:
    path = command.program()
    settings = command.settings(home, given.releases)
    where = settings.releases
    if not given.here:
        entry.warn(given, settings.config_error)
    desk = command.desk(home, path, where, lambda: client.launcher_holds(home), lambda _pid: None)
    desk = desk._replace(trouble=getattr(given, "trouble", None))
    source = command.source(home, where)
    asked = (given.channel, given.version, given.allow_downgrade)
    if desk.survey is None or given.self:
        return make_plan(desk, source, *asked)
    seen, managed = desk.survey(), command.managed_of(home)
    rewriter = command.source_of(seen.decision.place, managed)
    restarter = chosen.made(chosen.look(managed, seen.pid, ours=True), seen.pid)
    return make_managed_plan(desk, seen, managed, rewriter, restarter, *asked)


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
    stops = [stop["error_description"] for stop in made["stops"]]
    told += [f"stop:    {stop}" for stop in stops if stop != made["reason"]]
    if made["already_current"]:
        told.append("Nothing to do: that is what runs already.")
    elif not stops:
        told.append(f"An upgrade would go to {target}.")
    return told
