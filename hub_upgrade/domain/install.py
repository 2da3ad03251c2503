"""Will the file that the next start executes be the one that this upgrade writes? Pure."""

from __future__ import annotations

from hub_upgrade.domain.operation import IN_PLACE, REDEPLOY_REQUIRED
from hub_upgrade.shapes import NamedTuple

PYZ = "pyz"
UNKNOWN = "unknown"


class Facts(NamedTuple):
    """What was seen on the machine.

    `trouble` says why home is of no use; `releases_writable` is the answer of a write probe (None
    where none was made), `volatile` says why what is written there is gone after a restart, and
    `container` by which sign this is one.
    """

    source: str = UNKNOWN
    releases: str = ""
    trouble: str = ""
    releases_writable: bool | None = None
    volatile: str = ""
    container: str = ""


class Decision(NamedTuple):
    """The mode of an upgrade, why, and from what that was told."""

    source: str
    mode: str
    reason: str
    evidence: tuple[str, ...]


def decide(facts: Facts) -> Decision:
    """In place only when nothing speaks against it; every doubt means redeploy."""
    evidence = _evidence(facts)
    against = _against(facts)
    if against:
        return Decision(facts.source, REDEPLOY_REQUIRED, f"{against}. {_there(facts)}", evidence)
    reason = f"{facts.releases} is writable, and a release put there is what the next start runs"
    return Decision(facts.source, IN_PLACE, reason, evidence)


def _against(facts: Facts) -> str:
    if facts.trouble:
        return f"this hub keeps no releases: {facts.trouble}"
    if facts.source != PYZ:
        return "how this hub was installed cannot be told"
    if facts.volatile:
        return f"what is written to {facts.releases} does not survive a restart: {facts.volatile}"
    if facts.releases_writable is not True:
        return f"{facts.releases} cannot be written"
    return ""


def _there(facts: Facts) -> str:
    if facts.container:
        return "Redeploy a newer image, or mount a volume at the hub's home."
    return "Mend that, or replace the installed hub.pyz by a newer one and restart it."


def _evidence(facts: Facts) -> tuple[str, ...]:
    lines = [f"installed as: {facts.source}"]
    if facts.trouble:
        lines.append(f"home: {facts.trouble}")
    if facts.releases_writable is not None:
        word = "writable" if facts.releases_writable else "not writable"
        lines.append(f"{facts.releases}: {word}")
    if facts.volatile:
        lines.append(f"storage: {facts.volatile}")
    if facts.container:
        lines.append(f"container: {facts.container}")
    return tuple(lines)
