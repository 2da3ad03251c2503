"""Which systemd service a process is in, by its control group: service_of(). Never raises.

Version 2 of control groups, and the hierarchy that systemd keeps for itself in version 1.
"""

from __future__ import annotations

from hub_upgrade.domain.managed import SERVICE
from hub_upgrade.domain.restart import SYSTEM, USER
from hub_upgrade.host import hub_process
from hub_upgrade.host.reading import text_of

UNITS = (SERVICE, ".scope")


def path_of(pid: int) -> str:
    """The control group that systemd put a process in, "" where that cannot be told."""
    found = {}
    for line in text_of(f"{hub_process.PROC}/{pid}/cgroup").splitlines():
        _number, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        found[names] = path
    return found.get("name=systemd") or found.get("", "")


def service_of(pid: int) -> tuple[str, str]:
    """The service, and whose manager's it is (SYSTEM or USER); "" for none, as in a scope.

    The innermost counts: a user's manager is a service of the system's.
    """
    parts = path_of(pid).split("/")
    units = [part for part in parts if part.endswith(UNITS)]
    if not units or not units[-1].endswith(SERVICE) or _is_manager(units[-1]):
        return "", ""
    by_user = any(_is_manager(unit) for unit in units) or _has_user_manager(pid)
    return units[-1].removeprefix("_"), USER if by_user else SYSTEM  # as systemd escapes names


def _is_manager(unit: str) -> bool:
    return unit.startswith("user@")


def _has_user_manager(pid: int) -> bool:
    """Whether the systemd that it descends from is a user's: one may run without the system's."""
    for parent in hub_process.ancestors(pid):
        if hub_process.name_of(parent) in ("systemd", "(systemd)"):
            return "--user" in text_of(f"{hub_process.PROC}/{parent}/cmdline").split("\0")
    return False
