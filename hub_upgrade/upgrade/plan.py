"""The dry run: what an upgrade would do now, and what would stop it. Touches nothing."""

from __future__ import annotations

from hub_upgrade.domain.boot_record import BootRecord
from hub_upgrade.domain.operation import IN_PLACE, Request
from hub_upgrade.domain.settle import Unknown
from hub_upgrade.errors import HubError, RefusedError
from hub_upgrade.host import releases
from hub_upgrade.shapes import Any
from hub_upgrade.upgrade import accept, recovery
from hub_upgrade.upgrade.accept import Desk
from hub_upgrade.upgrade.ports import Source
from hub_upgrade.upgrade.transaction import is_proven, refuse_target


def make_plan(
    desk: Desk, source: Source, channel: str | None, version: str | None, allow_downgrade: bool
) -> dict[str, Any]:
    """What an upgrade with these arguments would do. Raises RefusedError for wrong arguments.

    May wait for the release source; `stops` is empty when the upgrade would be tried.
    """
    chosen = accept.check_channel(channel, desk.running.version)
    request = Request(accept.check_version(version), allow_downgrade)
    decision = accept.decide(desk)
    running = desk.running
    plan: dict[str, Any] = {
        "current": running.version,
        "target": request.version,
        "channel": chosen,
        "mode": decision.mode,
        "source": decision.source,
        "reason": decision.reason,
        "evidence": list(decision.evidence),
        "already_current": False,
        "note": "",
        "stops": [],
    }
    stops: list[HubError] = []
    if decision.mode != IN_PLACE:
        stops.append(RefusedError(decision.mode, decision.reason))
    elif recovery.busy(desk.home):
        stops.append(RefusedError("upgrade_in_flight", "another operation is not decided yet"))
    boot = recovery.read_boot(desk.home)
    try:
        _add_target(plan, desk, source, request, None if isinstance(boot, Unknown) else boot)
    except HubError as error:
        stops.append(error)
    plan["stops"] = [_stop(error) for error in stops]
    return plan


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
        refuse_target(desk.running.version, request, resolved.version, resolved.digest, boot)


def _stop(error: HubError) -> dict[str, str]:
    code = error.code if isinstance(error, RefusedError) else "failed"
    return {"error": code, "error_description": error.sentence}
