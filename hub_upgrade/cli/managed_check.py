"""What `hub.pyz doctor` looks at where `hub.json` names another hub to look after."""

from __future__ import annotations

from hub_upgrade.cli.checks import PROBLEM, WARNING, Answers, Patient, well
from hub_upgrade.domain.operation import IN_PLACE
from hub_upgrade.errors import HubError
from hub_upgrade.restarters import chosen
from hub_upgrade.settings import read_config
from hub_upgrade.wiring import command


def managed_hub(patient: Patient) -> Answers:
    """Does it answer, is what runs what lies on the disk, and would an upgrade of it last?"""
    config = read_config(patient.home)[0]
    managed = config["hub"]
    if managed is None:
        return well("none: hub.pyz looks after itself alone")
    seen = command.surveyor(patient.home, managed, config["home_persists"])()
    if not seen.version:
        told = f"nothing at {managed.health_url} tells its {managed.version_field}"
        return [(PROBLEM, told, "start the hub, or correct hub.health_url or hub.version_field")]
    decision = seen.decision
    what = f"{seen.version} runs (process {seen.pid}), installed as {decision.source}"
    if seen.why:
        return [(WARNING, f"{what}, but {seen.why}", "look at what it prints")]
    if decision.mode != IN_PLACE:
        told = f"{what}: upgrades need a redeploy ({'; '.join(decision.evidence)})"
        return [(WARNING, told, decision.reason)]
    try:
        chosen.made(chosen.look(managed, seen.pid, ours=True), seen.pid).check()
    except HubError as error:
        return [(WARNING, f"{what}: an upgrade would be refused", error.sentence)]
    source = command.source_of(decision.place, managed)
    there = source.installed().version if source is not None else ""
    if there != seen.version:
        told = f"{what}, and {there or 'nothing'} lies on the disk"
        return [(WARNING, told, "restart it, so that what lies there runs")]
    return well(f"{what}: upgrades are done in place ({'; '.join(decision.evidence)})")
