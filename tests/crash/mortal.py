"""Releases whose processes die at a chosen act: the real file, with `tests.crash.acts` in it.

Every process imports it first, at the end of `host/files.py`. It does nothing without a plan.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import build_pyz
from tests.crash import acts
from tests.e2e import harness

HUB = build_pyz.ROOT / "hub_upgrade"
SHORT_WATCH = (b"WATCH_S = 1.5", b"WATCH_S = 0.2")
"""Of preflight: it is not what is tested here, and every case waits for it twice."""


class Point(NamedTuple):
    """The n-th occurrence (from 0) of one act in the life that is tried."""

    act: str
    occurrence: int

    def __str__(self) -> str:
        return f"{self.act} #{self.occurrence + 1}"


class Place(NamedTuple):
    """A point, and who lived there: launcher, hub, helper."""

    point: Point
    roles: tuple[str, ...]


def overlay() -> dict[str, bytes]:
    """The members that make a release mortal."""
    files = (HUB / "host" / "files.py").read_bytes()
    preflight = (HUB / "upgrade" / "preflight.py").read_bytes()
    if SHORT_WATCH[0] not in preflight:
        raise AssertionError("preflight's WATCH_S is written otherwise now")
    return {
        "hub_upgrade/acts.py": Path(acts.__file__).read_bytes(),
        "hub_upgrade/host/files.py": files + b"\nfrom hub_upgrade import acts as acts\n",
        "hub_upgrade/upgrade/preflight.py": preflight.replace(*SHORT_WATCH),
    }


def build(version: str, *, sick: bool = False) -> str:
    """A mortal release; a sick one is well in preflight, and dies in the real home when ready."""
    members = overlay()
    if sick:
        main = (HUB / "hub" / "main.py").read_bytes()
        says = b"        self._ready()\n"
        dies = (
            b'        if ".staging-" not in os.environ["PARACHUTE_HOME"]:\n'
            b'            print("sick", flush=True)\n'
            b"            signal.signal(signal.SIGALRM, lambda *_: os._exit(3))\n"
            b"            signal.setitimer(signal.ITIMER_REAL, 0.1)  # however late the loop is\n"
        )
        if main.count(says) != 1:
            raise AssertionError("the hub becomes ready otherwise now")
        members["hub_upgrade/hub/main.py"] = main.replace(says, says + dies)
    return harness.build(version, members)


def write_plan(path: str, home: str, record: str, point: Point | None, victim: str) -> None:
    """Where the processes started under this plan record their acts, and where they strike."""
    plan: dict[str, object] = {"home": home, "acts": record}
    if point is not None:
        plan.update(act=point.act, occurrence=point.occurrence, victim=victim)
    Path(path).write_text(json.dumps(plan))


def ended(path: str) -> None:
    """The story is over: what is done from now on is no place to strike."""
    with open(path, "a", encoding="utf-8") as file:
        file.write(f"{acts.END}\n")


def places(path: str) -> list[Place]:
    """Every act of a life that nobody struck, up to the story's end, as a place to strike."""
    lines = _lines(path)
    seen: dict[str, int] = {}
    found = []
    for line in lines[: lines.index(acts.END)]:
        act, _, roles = line.partition("\t")
        found.append(Place(Point(act, seen.get(act, 0)), tuple(roles.split())))
        seen[act] = seen.get(act, 0) + 1
    return found


def struck(path: str) -> list[int] | None:
    """Whom the plan has struck; None while it has not come to its point."""
    for line in _lines(path):
        word, *pids = line.split()
        if word == acts.STRUCK:
            return [int(pid) for pid in pids]
    return None


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []


def environment(plan: str) -> dict[str, str]:
    """What makes a `serve` mortal."""
    return {"CRASH_PLAN": plan} if plan else {}
