"""The dry run for a managed hub: what an upgrade would do now, and what would stop it."""

from __future__ import annotations

from hub_upgrade.domain.managed import GIT
from hub_upgrade.domain.operation import Request
from hub_upgrade.errors import HubError, RefusedError
from hub_upgrade.host import managed_store
from hub_upgrade.shapes import Any
from hub_upgrade.upgrade import accept
from hub_upgrade.upgrade.accept import Desk
from hub_upgrade.upgrade.managed_words import is_there, name_of
from hub_upgrade.upgrade.plan import add_stops, begun
from hub_upgrade.upgrade.ports import Restarter, Rewriter
from hub_upgrade.upgrade.transaction import refuse_target


def make_managed_plan(
    desk: Desk,
    source: Rewriter | None,
    restarter: Restarter,
    channel: str | None,
    version: str | None,
    allow_downgrade: bool,
) -> dict[str, Any]:
    """As `make_plan`; `installed` is what lies on the disk, `current` what runs."""
    subject = accept.subject_of(desk, itself=False)
    request = Request(accept.check_version(version), allow_downgrade)
    plan = begun(subject, channel, request)
    stops: list[HubError] = []
    plan["installed"] = ""
    try:
        if source is None:
            raise RefusedError("unknown_source", "where newer versions come from cannot be told")
        there = source.installed()
        plan["installed"] = there.version
        resolved = source.resolve(plan["channel"], request.version)
        plan.update(target=resolved.version, target_digest=resolved.digest, note=resolved.note)
        same = is_there(resolved, there) and subject.version == resolved.version
        plan["already_current"] = same
        if not same:
            rejected = managed_store.read(desk.home).rejected
            name = name_of(subject.install, resolved.version, resolved.digest)
            tagged = subject.install == GIT
            refuse_target(subject.version, request, resolved.version, name in rejected, tagged)
            restarter.check()
    except HubError as error:
        stops.append(error)
    add_stops(plan, desk, subject.decision, stops)
    return plan
