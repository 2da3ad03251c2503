"""A helper leaves the control group of the unit that it restarts: systemd kills all that is in it.

A transient scope takes our process as it is, with the locked descriptor that is its standard input;
a new session does not leave a control group, and a transient service keeps no descriptor.
"""

from __future__ import annotations

import os

from hub_upgrade.domain.restart import BOOTED, SYSTEMD, Choice
from hub_upgrade.host import commands, control_group
from hub_upgrade.restarters.systemd import SHOW_S, environment, scoped, way_to_manager

LEFT = "HUB_UPGRADE_SCOPE"
"""The scope that we asked for before we were executed anew."""
OPTIONS = ("--scope", "--collect", "--quiet", "--no-ask-password")


def unit_of(choice: Choice, pid: int) -> tuple[str, str]:
    """The service that ends when the hub, process `pid`, does, and whose manager's it is; "" for
    none. One that is asked to stop by a SIGTERM may be a service's as well."""
    if choice.refused or not (choice.kind == SYSTEMD or os.path.isdir(BOOTED)):
        return "", ""
    if choice.kind == SYSTEMD:
        return choice.name, choice.scope
    return control_group.service_of(pid) if pid else ("", "")


def leave(unit: tuple[str, str], operation_id: str, argv: list[str], lock: int) -> str:
    """Be executed anew (`argv`) in a scope of our own where the end of a unit would end us too,
    `lock` as standard input; does not return then. Else a line for the log, "" for none.

    What refuses is not in the way: we end with the unit then, and whoever starts next goes on.
    """
    asked = os.environ.pop(LEFT, "")
    name, scope = unit
    if not name or control_group.service_of(os.getpid()) != unit:
        return f"in a control group of our own: {asked}" if asked else ""
    stays = f"still in the control group of {name}, whose end is ours, and the next one goes on"
    if asked:
        return f"{stays}: {asked} did not take us"
    tool = scoped("systemd-run", scope, *OPTIONS)
    done = commands.run([*tool, "true"], SHOW_S, environment())
    if done.status != 0:
        return f"{stays}: systemd-run: {done.last_line() or f'status {done.status}'}"
    asked = f"hub-upgrade-{operation_id[:8]}-{os.getpid()}.scope"
    if lock != 0:
        os.dup2(lock, 0)
    os.set_inheritable(0, True)  # dup2 of 0 to 0 does nothing, and it is closed else
    try:
        os.execvpe(
            tool[0], [*tool, f"--unit={asked}", "--", *argv], {**way_to_manager(), LEFT: asked}
        )
    except OSError as error:
        os.set_inheritable(0, False)
        return f"{stays}: systemd-run: {error.strerror}"
