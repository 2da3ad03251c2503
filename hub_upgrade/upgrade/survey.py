"""Looks at the managed hub: its process, its version, and where an upgrade of it would go."""

from __future__ import annotations

import os

from hub_upgrade.domain import place
from hub_upgrade.domain.managed import GIT, Managed
from hub_upgrade.host import checkout, hub_process, place_facts
from hub_upgrade.host.files import Home
from hub_upgrade.upgrade.hub_watch import HubWatch
from hub_upgrade.upgrade.survey_record import Survey


def survey(home: Home, managed: Managed, watch: HubWatch, persists: bool | None) -> Survey:
    """What is to be seen now; may run git, and wait for the hub's answer. Never raises.

    `persists` is the operator's word on whether home survives a restart, None for none.
    """
    seen = _survey(home, managed, watch, persists)
    came_up = seen.version and not seen.pid  # or its process is not for us to see
    return _survey(home, managed, watch, persists) if came_up else seen


def _survey(home: Home, managed: Managed, watch: HubWatch, persists: bool | None) -> Survey:
    pid = watch.pid()
    process = hub_process.look(pid) if pid else None
    decision = place.decide_managed(
        place_facts.probe_managed(home, managed, process, os.environ, persists)
    )
    found = decision.place
    is_git = found is not None and found.source == GIT
    return Survey(
        decision=decision,
        version=watch.look().version,
        pid=pid,
        git_head=checkout.git_head(found.directory) if is_git and found else "",
        linked_path=found.directory if is_git and found and found.linked_from else "",
    )
