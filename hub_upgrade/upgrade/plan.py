"""The dry run: what an upgrade would do now, and what would stop it. Touches nothing."""

from __future__ import annotations

from hub_upgrade.domain.boot_record import BootRecord
from hub_upgrade.domain.install import Decision
from hub_upgrade.domain.operation import IN_PLACE, Request
from hub_upgrade.domain.settle import Unknown
from hub_upgrade.errors import HubError, RefusedError
from hub_upgrade.host import releases
from hub_upgrade.settings import refuse_unsafe
from hub_upgrade.shapes import Any
from hub_upgrade.upgrade import accept, recovery
from hub_upgrade.upgrade.accept import Desk, Subject
from hub_upgrade.upgrade.ports import Source
from hub_upgrade.upgrade.transaction import is_proven, refuse_target


def make_plan(
    desk: Desk, source: Source, channel: str | None, version: str | None, allow_downgrade: bool
) -> dict[str, Any]:
    """What an upgrade with these arguments would do. Raises RefusedError for wrong arguments.

    May wait for the release source; `stops` is empty when the upgrade would be tried.
    """
    subject = accept.subject_of(desk, itself=True)
    request = Request(accept.check_version(version), allow_downgrade)
    plan = begun(subject, channel, request)
    stops: list[HubError] = []
    boot = recovery.read_boot(desk.home)
    try:
        _add_target(plan, desk, source, request, None if isinstance(boot, Unknown) else boot)
    except HubError as error:
        stops.append(error)
    add_stops(plan, desk, subject.decision, stops)
    return plan


def begun(subject: Subject, channel: str | None, request: Request) -> dict[str, Any]:
    """A plan that knows of no target yet; raises RefusedError for a wrong channel."""
    decision = subject.decision
    return {
        "current": subject.version,
        "target": request.version,
        "channel": accept.check_channel(channel, subject.version),
        "mode": decision.mode,
        "source": decision.source,
        "reason": decision.reason,
        "evidence": list(decision.evidence),
        "already_current": False,
        "note": "",
        "stops": [],
    }


def add_stops(plan: dict[str, Any], desk: Desk, decision: Decision, stops: list[HubError]) -> None:
    """Whatever would stop the upgrade: its mode, another operation, hub.json, and these."""
    try:
        refuse_unsafe(desk.home)
    except RefusedError as error:
        stops.append(error)
    if decision.mode != IN_PLACE:
        stops.insert(0, RefusedError(decision.mode, decision.reason))
    elif recovery.busy(desk.home):
        stops.insert(0, RefusedError("upgrade_in_flight", "another operation is not decided yet"))
    plan["stops"] = [_stop(error) for error in stops]


def _add_target(
    plan: dict[str, Any], desk: Desk, source: Source, request: Request, boot: BootRecord | None
) -> None:
    resolved = source.resolve(plan["channel"], request.version)
    name = releases.name_of(resolved.version, resolved.digest)
    plan.update(
        target=resolved.version,
        target_digest=resolved.digest,
        note=resolved.note,
        already_current=name == desk.running.release and is_proven(name, boot),
    )
    if not plan["already_current"]:
        rejected = boot is not None and resolved.digest in boot.rejected
        refuse_target(desk.running.version, request, resolved.version, rejected)


def _stop(error: HubError) -> dict[str, str]:
    code = error.code if isinstance(error, RefusedError) else "failed"
    return {"error": code, "error_description": error.sentence}
