"""Where the lives of each story can be struck, and which deaths are tried."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import NamedTuple

from hub_upgrade.domain import operation as op
from tests.crash.acts import ALL
from tests.crash.choice import covering
from tests.crash.lives import STORIES, Kit, Life
from tests.crash.mortal import Place, Point, places
from tests.e2e import moments

MOMENTS = {
    op.ACCEPTED: "hub: replace hub-upgrade-status.json pending/accepted",
    **{
        step: f"helper: replace hub-upgrade-status.json running/{step}"
        for step in (op.RESOLVING, op.STAGING, op.VERIFYING, op.PREFLIGHT)
    },
    op.HANDING_OVER: "helper: replace hub-upgrade-status.json restarting/handing-over",
    moments.NEXT_WRITTEN: "helper: replace next.json",
    "taken-up": "launcher: replace boot.json trial",
    moments.TOLD: "hub's child: exec version",
    op.PROVING: "helper: replace hub-upgrade-status.json restarting/proving",
    moments.STARTING: "hub: exec run",
    moments.PROBATION: "hub: say READY=1",
    "good": "launcher: replace release/good",
    moments.COMMITTED: "launcher: replace boot.json committed",
    "bad": "launcher: replace release.bad",
    "rejected": "launcher: replace boot.json rejected",
    "succeeded": "hub: replace hub-upgrade-status.json succeeded/proving",
    "failed": "hub: replace hub-upgrade-status.json failed/proving",
}
"""Every step and every moment of the trial, by the act that begins it; who it was dies next."""

COVERED = 240
FEW = 50
"""One death in so many may be missed: on a slow machine things go in another order."""


class Death(NamedTuple):
    """One that a life can have; `at_once`: a launcher that died is followed by the next at once."""

    story: str
    point: Point
    victim: str
    at_once: bool


class Stories:
    """The kits, and the places of each: learned from a life in which nobody dies."""

    def __init__(self, names: tuple[str, ...] = STORIES) -> None:
        self.kits = {name: Kit(name) for name in names}
        self.places: dict[str, list[Place]] = {}
        self.missed: list[str] = []
        """Deaths that did not come: things went in another order, as they may."""

    def learn(self) -> None:
        """Live each story once."""
        for story, kit in self.kits.items():
            life = Life(kit)
            try:
                life.live()
                self.places[story] = places(life.acts)
            finally:
                life.close()

    def close(self) -> None:
        for kit in self.kits.values():
            kit.close()

    def live(self, story: str, point: Point, victim: str, at_once: bool) -> None:
        """One life with a death."""
        life = Life(self.kits[story], point, victim)
        try:
            if not life.live(at_once=at_once):
                self.missed.append(f"{story}: {victim} at {point}")
        finally:
            life.close()

    def everything(self) -> list[Death]:
        """Each place with everyone who can die there."""
        return [
            Death(story, place.point, victim, number % 2 == 0)
            for story in STORIES
            for number, place in enumerate(self.places[story])
            for victim in victims(place)
        ]

    def covering(self, choice: random.Random) -> list[Death]:
        """Everyone at every moment, every kind of act once, and more of them up to a number."""
        more = covering(self.everything(), lambda death: death.point.act, COVERED, choice)
        return list(dict.fromkeys([*self.at_moments(choice), *more]))

    def at_moments(self, choice: random.Random) -> Iterable[Death]:
        """Everyone right after every moment, in one of the stories that have it."""
        for act in MOMENTS.values():
            having = [(story, place) for story in STORIES for place in self.following(story, act)]
            story, place = choice.choice(having)
            for victim in victims(place):
                yield Death(story, place.point, victim, choice.random() < 0.5)

    def following(self, story: str, act: str) -> list[Place]:
        """What the one who did this does next: the moment has come, and no more."""
        acts = [place.point.act for place in self.places[story]]
        after = acts.index(act) + 1 if act in acts else len(acts)
        who = act.partition("'")[0].partition(":")[0]
        later = [place for place in self.places[story][after:] if place.point.act.startswith(who)]
        return later[:1]


def victims(place: Place) -> tuple[str, ...]:
    """Who can die there; all of them is no other death where there is only one."""
    return (*place.roles, ALL) if len(place.roles) > 1 else place.roles
