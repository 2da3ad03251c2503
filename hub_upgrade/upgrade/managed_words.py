"""A managed hub's operation: by what things are known, how long they take, and what is said."""

from __future__ import annotations

from hub_upgrade.domain import operation as op
from hub_upgrade.domain.installed import Installed
from hub_upgrade.domain.managed import GIT, Managed
from hub_upgrade.domain.operation import Operation
from hub_upgrade.errors import RefusedError
from hub_upgrade.settings import Settings
from hub_upgrade.shapes import Any

PROOF_MARGIN_S = 60
"""Time of a proof beside what the settings say of it."""
STEP_MARGIN_S = 90
"""Time of a restart beside what the manager may take for it."""
RESOLVING_S = 900
"""How long it may take to know the target: a checkout fetches it, all of it where it is shallow."""
REVERT_S = 2400
"""How long putting back may take: a checkout's install command is run again."""


def proof_limit_s(settings: Settings) -> int:
    """How long a proof may take, in seconds."""
    return int(settings.ready_timeout_s + settings.probation_max_s) + PROOF_MARGIN_S


def name_of(install: str | None, version: str, digest: str | None) -> str:
    """By what it is known as rejected: a checkout's version may stay the same for long."""
    return (digest or version) if install == GIT else version


def is_there(resolved: Any, there: Installed) -> bool:
    """Whether what lies on the disk is what was resolved."""
    same = not there.digest or there.digest == resolved.digest
    return bool(same and there.version == resolved.version)


def not_to_be_proven(managed: Managed, answered: bool) -> RefusedError:
    """Success is a new process: without knowing the old one, nobody could tell."""
    if not answered:
        sentence = f"the hub does not answer at {managed.health_url}: start it first"
        return RefusedError("not_running", sentence)
    return RefusedError(
        "not_running",
        f"which process answers at {managed.health_url} cannot be told: run this as its user",
    )


def refuse_moved(running: str, there: Installed) -> None:
    """Raise RefusedError where what lies on the disk is not what runs ("" for nothing)."""
    if running and there.version != running:
        raise RefusedError(
            "restart_first",
            f"{there.version or 'nothing'} lies on the disk, and {running} runs: the way back "
            "would not be open; restart the hub first; nothing was changed",
        )


def taken_back(operation: Operation, why: str) -> str:
    """What was taken back, and why."""
    what = "rollback to" if operation.kind == op.ROLLBACK else "upgrade to"
    return f"the {what} {operation.target_version} was taken back: {why}"
