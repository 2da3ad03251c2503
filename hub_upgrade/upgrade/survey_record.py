"""What is known of the managed hub: found out by a child that may wait, and read by the hub."""

from __future__ import annotations

from collections.abc import Mapping

from hub_upgrade.domain.install import Decision, Place
from hub_upgrade.shapes import Any, NamedTuple


class Survey(NamedTuple):
    """The managed hub: where an upgrade would go, and what runs. `version` is "" where it does not
    answer, `pid` 0 where its process is not known; `answered` and `why` are those of the look."""

    decision: Decision
    version: str
    pid: int
    git_head: str
    linked_path: str
    answered: bool = True
    why: str = ""


def to_wire(survey: Survey) -> dict[str, Any]:
    """As one JSON object."""
    place = survey.decision.place
    decision = survey.decision._replace(place=None)._asdict()
    place_told = None if place is None else place._asdict()
    return {**survey._asdict(), "decision": {**decision, "place": place_told}}


def from_wire(raw: Mapping[str, Any]) -> Survey:
    """As `to_wire` made it; raises ValueError, KeyError or TypeError for anything else."""
    decision = dict(raw["decision"])
    place = decision.pop("place")
    evidence = tuple(decision.pop("evidence"))
    found = Decision(**decision, evidence=evidence, place=None if place is None else Place(**place))
    return Survey(**{**raw, "decision": found})
