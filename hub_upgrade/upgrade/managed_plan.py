"""The dry run for a managed hub: what an upgrade would do now, and what would stop it."""

from __future__ import annotations

from hub_upgrade.domain.managed import GIT, Managed
from hub_upgrade.domain.operation import IN_PLACE, Request
from hub_upgrade.errors import HubError, RefusedError
from hub_upgrade.host import managed_store
from hub_upgrade.shapes import Any
from hub_upgrade.upgrade import accept
from hub_upgrade.upgrade.accept import Desk
from hub_upgrade.upgrade.managed_words import (
    is_there,
    name_of,
    not_to_be_proven,
    refuse_moved,
)
from hub_upgrade.upgrade.plan import add_stops, begun
from hub_upgrade.upgrade.ports import Restarter, Rewriter
from hub_upgrade.upgrade.survey_record import Survey
from hub_upgrade.upgrade.transaction import refuse_target


def make_managed_plan(
    desk: Desk,
    seen: Survey,
    managed: Managed,
    source: Rewriter | None,
    restarter: Restarter,
    channel: str | None,
    version: str | None,
    allow_downgrade: bool,
) -> dict[str, Any]:
    """As `make_plan`; `installed` is what lies on the disk, `current` what runs.

    `seen` is what `desk` knows of the hub.
    """
    subject = accept.subject_of(desk, itself=False)
    request = Request(accept.check_version(version), allow_downgrade)
    plan = begun(subject, channel, request)
    stops: list[HubError] = []
    plan["installed"] = ""
    if subject.decision.mode == IN_PLACE and not seen.pid:
        stops.append(not_to_be_proven(managed, seen.answered))
    try:
        if source is None:
            raise RefusedError("unknown_source", "where newer versions come from cannot be told")
        there = source.installed()
        plan["installed"] = there.version
        resolved = source.resolve(plan["channel"], request.version)
        plan.update(target=resolved.version, target_digest=resolved.digest, note=resolved.note)
        lies_there = is_there(resolved, there)
        plan["already_current"] = lies_there and seen.version == resolved.version
        if not plan["already_current"]:
            rejected = managed_store.read(desk.home).rejected
            name = name_of(subject.install, resolved.version, resolved.digest)
            tagged = subject.install == GIT
            running = seen.version or there.version
            refuse_target(running, request, resolved.version, name in rejected, tagged)
            if not lies_there:
                refuse_moved(seen.version, there)
            restarter.check()
    except HubError as error:
        stops.append(error)
    add_stops(plan, desk, subject.decision, stops)
    return plan
