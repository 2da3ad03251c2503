"""A helper leaves the control group of the unit that it restarts: systemd kills all that is in it.

A transient scope takes our process as it is, with the locked descriptor that is its standard input;
a new session does not leave a control group, and a transient service keeps no descriptor.
"""

from __future__ import annotations

import os

from hub_upgrade.domain.restart import BOOTED, SYSTEMD, Choice
from hub_upgrade.host import commands, control_group
from hub_upgrade.restarters.systemd import SHOW_S, environment, scoped

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
    stays = f"in the control group of {name}, and ended with it"
    if asked:
        return f"{stays}: {asked} did not take us"
    tool = scoped("systemd-run", scope, *OPTIONS)
    done = commands.run([*tool, "true"], SHOW_S, environment())
    if done.status != 0:
        return f"{stays}: systemd-run: {done.last_line() or f'status {done.status}'}"
    name = f"hub-upgrade-{operation_id[:8]}-{os.getpid()}.scope"
    os.dup2(lock, 0, inheritable=True)
    try:
        os.execvpe(
            tool[0], [*tool, f"--unit={name}", "--", *argv], {**environment(), LEFT: name}
        )
    except OSError as error:
        return f"{stays}: systemd-run: {error.strerror}"
