"""Looks at the managed hub: its process, its version, and where an upgrade of it would go."""

from __future__ import annotations

import os

from hub_upgrade.domain import place
from hub_upgrade.domain.managed import GIT, Managed
from hub_upgrade.domain.restart import Choice, evidence_of
from hub_upgrade.host import checkout, hub_process, place_facts
from hub_upgrade.host.files import Home
from hub_upgrade.restarters import chosen
from hub_upgrade.upgrade.hub_watch import HubWatch
from hub_upgrade.upgrade.survey_record import Survey


def survey(
    home: Home,
    managed: Managed,
    watch: HubWatch,
    persists: bool | None,
    choice: Choice | None = None,
) -> Survey:
    """What is to be seen now; may run git, and wait for the hub's answer. Never raises.

    `persists` is the operator's word on whether home survives a restart, None for none. `choice` is
    who restarts it, where that is decided already.
    """
    seen = _survey(home, managed, watch, persists)
    if seen.version and not seen.pid:  # it came up, or its process is not for us to see
        seen = _survey(home, managed, watch, persists)
    choice = choice or chosen.look(managed, seen.pid, ours=True)
    evidence = (*seen.decision.evidence, evidence_of(choice))
    return seen._replace(decision=seen.decision._replace(evidence=evidence))


def _survey(home: Home, managed: Managed, watch: HubWatch, persists: bool | None) -> Survey:
    pid = watch.pid()
    process = hub_process.look(pid) if pid else None
    decision = place.decide_managed(
        place_facts.probe_managed(home, managed, process, os.environ, persists)
    )
    found, seen = decision.place, watch.look()
    is_git = found is not None and found.source == GIT
    return Survey(
        decision=decision,
        version=seen.version,
        pid=process.pid if process else 0,  # it may have ended since it was found
        git_head=checkout.git_head(found.directory) if is_git and found else "",
        linked_path=found.directory if is_git and found and found.linked_from else "",
        answered=seen.answered,
        why=seen.why,
    )
