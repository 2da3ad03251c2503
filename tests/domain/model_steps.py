"""What may happen in each state: hub, helper and requests, time, faults; and what must hold.

A hub starts, serves, hands over, settles (the very code of `domain.settle`) and dies; a helper
stages, records and hands over; files are refused or lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Callable

from hub_upgrade.domain import boot, operation, settle, transitions
from hub_upgrade.domain.boot import Event, Mind
from hub_upgrade.domain.boot_record import BootRecord, Next
from hub_upgrade.domain.operation import Operation
from tests.domain.model import (
    FLUSH,
    OPS,
    RELEASES,
    TRIES,
    B,
    C,
    Helper,
    Hub,
    Limits,
    State,
    Violation,
    busy,
    feed,
    launch,
    trusted,
    unknown_next,
    unseen,
    work,
    world_of,
    written,
)  # fmt: skip

Step = tuple[str, "Callable[[], State]"]


# --- hub and helper -----------------------------------------------------------------------------


def hand_over(state: State) -> State:
    """A hub that was told becomes what `boot.json` names."""
    assert state.hub is not None
    assert state.boot is not None
    assert state.boot.trial is not None
    assert state.launcher is not None
    name = state.boot.trial.release
    if state.launcher.mind.state != boot.HANDING:
        raise Violation(6, f"the hub leaves for {name}, and no try is charged")
    state = feed(state, Event("reloading"))
    return state._replace(hub=Hub(name), settling=None)


def hand_over_fails(state: State) -> State:
    assert state.hub is not None
    ready = state.hub._replace(phase="ready")
    state = feed(state, Event("reloading"))
    return feed(state._replace(hub=ready), Event("handoff-failed"))


def settle_write(state: State) -> State:
    """The second half of settling: `boot.json` is read after `next.json`, the record written."""
    assert state.settling is not None
    assert state.hub is not None
    release = RELEASES[state.hub.image]
    running = settle.Running(release.version, release.name, release.digest)
    settled = settle.settle(state.status, state.boot, state.settling[0], running, True, "")
    state = state._replace(settling=None)
    record = settled.record
    if record == state.status or record is None or state.full:
        return state
    return ended(state, record)


def ended(state: State, record: Operation) -> State:
    """A terminal record is written: is it true?"""
    ghost, op = state.ghost, record.operation_id
    before = ghost.ended[OPS.index(op)]
    if before is not None and before != record.phase:
        raise Violation(3, f"{op} was {before}, and is {record.phase} now")
    current = state.boot.current if state.boot is not None else None
    proven = op in ghost.committed or current == record.target_release
    if record.phase == operation.SUCCEEDED and not proven:
        raise Violation(3, f"{op} succeeded, and was never committed")
    if record.phase == operation.FAILED and current and current == record.target_release:
        raise Violation(3, f"{op} failed, and its target is current")
    marks = tuple(record.phase if name == op else mark for name, mark in zip(OPS, ghost.ended))
    short = record._replace(log=(), error=None, rolled_back_to=None)
    return state._replace(status=short, ghost=ghost._replace(ended=marks))


def claimable(state: State) -> bool:
    """Whether a request would be accepted, as `upgrade.accept` looks at it."""
    if state.hub is None or state.hub.phase not in ("ready", "told") or state.helper is not None:
        return False
    if state.settling is not None or state.full or state.nxt is not None:
        return False
    if state.boot is None or state.boot.trial is not None:
        return False  # one that is missing is no answer while a launcher lives
    return state.status is None or state.status.finished


def claim(state: State, what: str) -> State:
    """A new operation is recorded and its helper started with the lock."""
    mind = state.launcher.mind if state.launcher is not None else Mind()
    older = [t.operation_id for t in (mind.record.trial, mind.wanted and mind.wanted.trial) if t]
    if state.helper or state.nxt or any(older):
        raise Violation(5, "an operation was accepted beside another")
    op = OPS[state.claims]
    target = {"named": B, "again": B, "other": C}.get(what, B)
    if what == "rollback":
        assert state.boot is not None
        target = RELEASES[state.boot.previous or ""]
    kind = "rollback" if what == "rollback" else "upgrade"
    request = operation.Request(target.version if what == "named" else None)
    status = Operation(
        op, kind=kind, target_release=target.name, target_digest=target.digest, request=request
    )
    return state._replace(status=status, helper=Helper(op, 0), claims=state.claims + 1)


def help_on(state: State) -> State:
    """One step of the helper: stage, record `restarting`, hand over."""
    helper, status = state.helper, state.status
    assert helper is not None
    mine = status is not None and status.operation_id == helper.op and not status.finished
    if not mine or state.full:
        return state._replace(helper=None)  # what cannot be recorded stops before its act
    assert status is not None
    name = status.target_release or ""
    if helper.stage == 0:
        if name not in state.dirs and status.kind == "rollback":
            return state._replace(helper=None)
        status = transitions.advance(status, phase=operation.RUNNING)
        return state._replace(status=status, dirs=state.dirs | {name}, helper=Helper(helper.op, 1))
    if helper.stage == 1:
        status = transitions.advance(status, phase=operation.RESTARTING)
        status = status._replace(boot_rebuilt=state.boot.rebuilt if state.boot else None)
        return state._replace(status=status, helper=Helper(helper.op, 2))
    named = status.request.version is not None or status.kind == "rollback"
    nxt = Next(helper.op, status.kind, name, status.target_digest or "", named)
    return state._replace(nxt=nxt, helper=None)


# --- every step that may come next --------------------------------------------------------------


def steps(state: State, limits: Limits) -> Iterator[Step]:
    """What may happen in this state, each as a name and a function."""
    launcher = state.launcher
    if state.full:
        yield "room again", lambda: state._replace(full=False)
    if launcher is None:
        yield from _without_launcher(state, limits)
    elif launcher.queue:
        yield "work", lambda: work(state)
    else:
        yield from _events(state, launcher.mind, limits)
    if state.helper is not None:
        yield "help", lambda: help_on(state)
    if launcher is not None and state.hub is not None and state.hub.phase in ("ready", "told"):
        yield from _requests(state, limits)
    if state.faults < limits.faults:
        for name, fault in _faults(state, limits):
            yield name, lambda fault=fault: fault()._replace(faults=state.faults + 1)  # type: ignore[misc]


def _without_launcher(state: State, limits: Limits) -> Iterator[Step]:
    if state.hub is not None:  # its standard input is at its end
        yield "hub leaves", lambda: state._replace(hub=None, settling=None)
    else:
        yield "launch", lambda: launch(state)
        if limits.new_factory and state.installed == 0:
            yield "new factory", lambda: state._replace(installed=1)


def _events(state: State, mind: Mind, limits: Limits) -> Iterator[Step]:
    hub = state.hub
    if hub is not None and hub.phase in ("dead", "asked"):
        asked = hub.phase == "asked"
        yield "exited", lambda: feed(state._replace(hub=None), Event("exited", asked=asked))
    elif hub is not None:
        yield from _about_hub(state, hub, mind)
    if state.stops < limits.stops and mind.state not in (boot.STOPPING, boot.GONE):
        yield "stop", lambda: feed(state._replace(stops=state.stops + 1), Event("stop"))
    yield from _time(state, mind)


def _about_hub(state: State, hub: Hub, mind: Mind) -> Iterator[Step]:
    trial = mind.on_trial
    if hub.phase == "up":
        ready = state._replace(hub=hub._replace(phase="ready"))
        yield "ready", lambda: feed(ready, Event("ready"))
        if trial:
            yield "not-ready", lambda: feed(state, Event("not-ready"))
    if hub.phase == "ready" and trial:
        yield "healthy", lambda: feed(state, Event("healthy"))
        yield "unhealthy", lambda: feed(state, Event("unhealthy"))
    if hub.phase == "told":
        pending = state.boot.trial if state.boot is not None else None
        if pending is not None and pending.release in state.dirs:
            yield "hand over", lambda: hand_over(state)
        if pending is not None:
            yield "handoff-failed", lambda: hand_over_fails(state)
        else:
            yield "not-handed", lambda: feed(state, Event("not-handed"))
    if trial:
        yield "trial dies", lambda: state._replace(hub=hub._replace(phase="dead"), settling=None)


def _time(state: State, mind: Mind) -> Iterator[Step]:
    if mind.state == boot.DOWN and mind.resting:
        yield "again", lambda: feed(state, Event("again"))
    if mind.state == boot.PUZZLED:
        yield "alone", lambda: feed(state, Event("alone"))
    if mind.state in (boot.STOPPING, boot.GONE):
        return
    if mind.todo and not state.full:
        yield "write again", lambda: busy(state, mind, (FLUSH,))
    assert state.launcher is not None
    if state.boot is None and state.launcher.known and not mind.todo and not state.full:
        yield "keep", lambda: written(state, mind.record)
    if state.nxt is not None and mind.record.knows(state.nxt.operation_id):
        if boot.RECORD not in mind.todo and not state.full:
            yield "sweep", lambda: state._replace(nxt=None)
    elif state.nxt is not None or (mind.record.trial is not None and not mind.on_trial):
        yield "tick", lambda: feed(state, Event("tick", nxt=unknown_next(state)))
    if prunable(state, mind):
        yield "prune", lambda: prune(state)


def prunable(state: State, mind: Mind) -> bool:
    if state.helper is not None or state.nxt is not None or state.settling is not None:
        return False
    return not mind.todo and mind.record.trial is None and mind.wanted is None


def prune(state: State) -> State:
    """What is not kept goes, but never the file of a process that runs: it holds its own lock."""
    launcher = state.launcher
    assert launcher is not None
    running = {state.hub.image} if state.hub is not None else set()
    world = world_of(state, launcher.factory)
    keep = boot.kept(launcher.mind.record, (), world) | running
    after = state._replace(dirs=state.dirs & keep, good=state.good & keep)
    record = launcher.mind.record
    for name in {record.current, record.previous, *running} - {None}:
        if name in state.dirs and name not in after.dirs:
            raise Violation(9, f"{name} was pruned")
    sound = {name for name in state.good if RELEASES[name].digest not in state.bad}
    if sound and not sound & after.good:
        raise Violation(9, "the only good release was pruned")
    return after


def _requests(state: State, limits: Limits) -> Iterator[Step]:
    status = state.status
    if state.settling is not None:
        yield "settled", lambda: settle_write(state)
    elif status is not None and not status.finished and state.helper is None:
        yield "settle", lambda: state._replace(settling=(state.nxt,))
    if state.claims < len(OPS) and claimable(state):
        previous = state.boot.previous if state.boot is not None else None
        for what in ("other first",) if state.claims == 0 else limits.second:
            if what != "rollback" or previous in RELEASES:
                yield f"claim {what}", lambda what=what: claim(state, what)  # type: ignore[misc]


# --- faults -------------------------------------------------------------------------------------


def _faults(state: State, limits: Limits) -> Iterator[Step]:
    alive = state.launcher is not None or state.hub is not None or state.helper is not None
    if "power" in limits.kinds and alive:
        yield "power cut", lambda: die(state)._replace(hub=None, helper=None)
    if "kill launcher" in limits.kinds and state.launcher is not None:
        yield "launcher killed", lambda: die(state)
    hub = state.hub
    if hub is not None and hub.phase not in ("dead", "asked"):
        if "kill hub" in limits.kinds:
            yield "hub killed", lambda: state._replace(hub=Hub(hub.image, "dead"), settling=None)
        if "asked" in limits.kinds and state.launcher is not None:
            yield "hub stopped", lambda: state._replace(hub=Hub(hub.image, "asked"), settling=None)
        idle = state.launcher is not None and not state.launcher.queue
        if "kill hub" in limits.kinds and hub.phase == "up" and idle:
            yield "hub hangs", lambda: feed(state, Event("not-ready"))
    if "kill helper" in limits.kinds and state.helper is not None:
        yield "helper killed", lambda: state._replace(helper=None)
    if "full" in limits.kinds and not state.full:
        yield "disk full", lambda: state._replace(full=True)
    if "lose" in limits.kinds:
        yield from _losses(state)


def die(state: State) -> State:
    """The launcher ends, and nobody saw how its trial did."""
    launcher, ghost = state.launcher, state.ghost
    if launcher is not None and state.boot is not None and state.boot.trial is not None:
        state = unseen(state)
        ghost = state.ghost
    return state._replace(
        launcher=None, settling=None, ghost=ghost._replace(doomed=frozenset())
    )


def _losses(state: State) -> Iterator[Step]:
    if state.boot is not None:
        ghost = state.ghost._replace(
            rebuilt=state.ghost.rebuilt + 1, factories_tried=frozenset(), unseen=TRIES
        )
        yield "boot.json lost", lambda: state._replace(boot=None, ghost=ghost)
    idle = state.launcher is None or not state.launcher.queue
    if state.nxt is not None and idle:  # nothing lies between the launcher's look and its charge
        yield "next.json lost", lambda: state._replace(nxt=None)
    if state.status is not None:
        yield "status lost", lambda: state._replace(status=None)
    for name in sorted(state.good):
        yield f"good {name} lost", lambda name=name: state._replace(good=state.good - {name})  # type: ignore[misc]
    for name in sorted(state.dirs):
        yield f"{name} lost", lambda name=name: state._replace(  # type: ignore[misc]
            dirs=state.dirs - {name}, good=state.good - {name}
        )


# --- the sentences, in every state --------------------------------------------------------------


def check(state: State) -> None:
    """Sentences 2 and 5 of the state itself; the others are checked where something happens."""
    ghost = state.ghost
    if state.boot is not None:
        _check_record(state, state.boot, ghost.shunned)
    if state.launcher is not None:
        _check_record(state, state.launcher.mind.record, ghost.shunned | ghost.doomed)
    for name in state.good:
        if not trusted(name, state):
            raise Violation(2, f"{name} is marked good, and was never proven")
    ops = {state.helper.op} if state.helper is not None else set()
    ops |= {state.nxt.operation_id} if state.nxt is not None else set()
    if state.helper is not None and len(ops) > 1:
        raise Violation(5, "two operations at a time")


def _check_record(state: State, record: BootRecord, shunned: frozenset[str]) -> None:
    for name in (record.current, record.previous):
        if name is not None and RELEASES[name].digest in shunned:
            raise Violation(2, f"{name} was rejected or left, and is current or previous")
        if name is not None and not trusted(name, state):
            raise Violation(2, f"{name} was never proven, and is current or previous")
    trial = record.trial
    if trial is not None and trial.digest in shunned:
        raise Violation(2, f"{trial.release} was rejected or left, and is on trial")


# --- with the faults over -----------------------------------------------------------------------

LATER = {
    "launch": 2, "hub leaves": 1, "exited": 2, "write again": 3, "keep": 3, "work": 0,
    "room again": 0, "again": 4, "alone": 4, "ready": 4, "hand over": 4, "handoff-failed": 6,
    "not-handed": 6, "sweep": 4, "tick": 7, "healthy": 5, "unhealthy": 8, "not-ready": 8,
    "trial dies": 9, "help": 7, "settle": 8, "settled": 3,
}  # fmt: skip
NO_FAULTS = Limits(faults=0, stops=0, second=(), new_factory=False)


def resolved(state: State) -> bool:
    """A hub serves, the record is terminal, and a new request would be accepted."""
    return state.launcher is not None and not state.launcher.queue and claimable(state)


def goes_on(state: State, good: bool) -> State | None:
    """The next state when everything works, and the trial is healthy (or, else, is not)."""
    order = dict(LATER, healthy=5 if good else 10)
    if not good:
        order["unhealthy"] = 4
    possible = [(order[name], name, step) for name, step in steps(
        state._replace(faults=0), NO_FAULTS) if name in order]  # fmt: skip
    for _rank, _name, step in sorted(possible, key=lambda item: item[:2]):
        after = step()
        if after != state:
            return after
    return None
