"""Who restarts the managed hub, found out on this machine: look() -> Choice, made() -> its part."""

from __future__ import annotations

import os
import sys

from hub_upgrade.domain import restart
from hub_upgrade.domain.managed import Managed
from hub_upgrade.domain.restart import (
    AUTO,
    BOOTED,
    LABEL,
    LAUNCHD,
    NONE,
    SYSTEM,
    SYSTEMD,
    UNIT,
    USER,
    Choice,
    RestartFacts,
)
from hub_upgrade.errors import HostError
from hub_upgrade.host import control_group, hub_process
from hub_upgrade.restarters.container import ContainerRestarter, NobodyRestarter
from hub_upgrade.restarters.launchd import LaunchdRestarter, domain_with
from hub_upgrade.restarters.systemd import SystemdRestarter, show
from hub_upgrade.shapes import Any

LOOK_S = 4.0
"""How long a manager may take to answer that may have nothing to do with the hub."""
ITSELF = "hub.pyz"
SHELLS = frozenset({"sh", "bash", "dash", "ash", "busybox", "zsh"})
WAITING = frozenset(
    {"npm", "npx", "pnpm", "yarn", "corepack", "sudo", "su", "runuser", "setpriv", "env", "tini",
     "dumb-init", "docker-init", "podman-init", "catatonit"}
)  # fmt: skip
"""What starts a hub, waits for it, and ends with it; a shell may start it again."""
WRAPPERS = SHELLS | WAITING | {"bun", "node", "deno", "uv", "poetry"}
"""What starts a hub and waits for it, and nothing else beside it."""


def look(managed: Managed, pid: int, ours: bool) -> Choice:
    """Who restarts the hub whose process that is (0 for none); `ours`: hub.pyz accepted the
    operation. May ask managers; never raises."""
    return restart.choose(managed, _facts(managed, pid, ours))


def made(choice: Choice, pid: int = 0) -> Any:
    """The Restarter that does it; `pid` is the hub's process, where that is known."""
    if choice.kind == LAUNCHD:
        return LaunchdRestarter(choice.name, choice.scope, pid)
    kinds: dict[str, Any] = {SYSTEMD: SystemdRestarter, NONE: NobodyRestarter}
    return kinds.get(choice.kind, ContainerRestarter)(choice)


def _facts(managed: Managed, pid: int, ours: bool) -> RestartFacts:
    facts = RestartFacts(
        pid, booted=os.path.isdir(BOOTED), darwin=sys.platform == "darwin", uid=os.getuid(),
        ours=ours, alone=ours and _is_alone(pid),
    )  # fmt: skip
    if managed.restart == LAUNCHD or (managed.restart == AUTO and facts.darwin):
        return facts._replace(domain=domain_with(managed.label or LABEL, pid))
    if managed.restart == SYSTEMD or (managed.restart == AUTO and facts.booted):
        return _by_systemd(managed, pid, facts)
    return facts


def _by_systemd(managed: Managed, pid: int, facts: RestartFacts) -> RestartFacts:
    service, scope = control_group.service_of(pid) if pid else ("", "")
    units = (_unit(managed, one) for one in (SYSTEM, USER))
    return facts._replace(
        service=service, scope=scope, main=bool(service) and _is_main(pid, service, scope),
        units=tuple(found for found in units if found),
    )  # fmt: skip


def _is_main(pid: int, service: str, scope: str) -> bool:
    """Whether the service is there for that process, and not one of many of a supervisor's. A
    manager that does not answer is to be asked before anything is touched: then it is."""
    main = _seen(service, scope).get("MainPID", str(pid))
    if main == str(pid):
        return True
    parents = hub_process.ancestors(pid)
    between = parents[: parents.index(int(main)) + 1] if main in map(str, parents) else []
    return bool(between) and all(_is_named(one, WRAPPERS) for one in between)


def _is_alone(pid: int) -> bool:
    """Whether every process above it waits for it alone, up to process 1."""
    below = pid
    for parent in hub_process.ancestors(pid):
        if not _is_named(parent, WAITING) or hub_process.children(parent) != [below]:
            return False
        below = parent
    return below == 1


def _is_named(pid: int, names: frozenset[str]) -> bool:
    return hub_process.name_of(pid).split(" ", maxsplit=1)[0] in names


def _unit(managed: Managed, scope: str) -> tuple[str, str] | None:
    """The unit that hub.json names, or the usual one where that is not hub.pyz's own."""
    seen = _seen(managed.unit or UNIT, scope)
    states = ("loaded",) if managed.unit is None else ("loaded", "masked", "bad-setting", "error")
    if seen.get("LoadState") not in states:
        return None
    if managed.unit is None and f"/{ITSELF} " in seen.get("ExecStart", "").replace(";", " "):
        return None
    return scope, seen.get("Id") or managed.unit or UNIT


def _seen(unit: str, scope: str) -> dict[str, str]:
    try:
        return show(unit, scope, LOOK_S)
    except HostError:
        return {}
