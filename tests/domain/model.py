"""The launcher, its hub, a helper, the disk and their faults as one machine of small steps.

The decisions are the very code of `domain.boot` and `domain.settle`. What is modelled is the rest:
a driver that writes `todo` in order and then carries out the actions, one durable write a step, so
that a crash falls between any two; a hub that starts, serves, hands over, settles and dies; a
helper that stages, records and hands over; and files that are refused or lost.
"""

from __future__ import annotations

from typing import Callable, Iterator, NamedTuple

from hub_upgrade.domain import boot, operation, settle, transitions
from hub_upgrade.domain.boot import Action, Event, Mind, World
from hub_upgrade.domain.boot_record import BootRecord, Next, Release
from hub_upgrade.domain.operation import Operation

TRIES = 2
FLUSH = Action("flush")
END = Action("end of launcher")
REMOVE_NEXT = Action("remove next")


def _release(version: str, letter: str) -> Release:
    return Release(f"{version}-{letter * 16}", version, letter * 64)


F0, B, F1, C = (
    _release(version, letter)
    for version, letter in (("1.0.0", "a"), ("1.1.0", "b"), ("1.2.0", "f"), ("1.3.0", "c"))
)
RELEASES = {release.name: release for release in (F0, B, F1, C)}
FACTORIES = (F0, F1)
OPS = ("op1", "op2")


class Hub(NamedTuple):
    """`phase`: up, ready, told, dead, asked (dead after a SIGTERM that was not the launcher's)."""

    image: str
    phase: str = "up"


class Launcher(NamedTuple):
    """`known`: it has read or written `boot.json`, so that it would notice its loss."""

    mind: Mind
    queue: tuple[Action, ...]
    factory: int
    known: bool


class Helper(NamedTuple):
    op: str
    stage: int


class Ghost(NamedTuple):
    """What really happened, kept apart from the code under test."""

    ended: tuple[str | None, ...] = (None, None)
    committed: frozenset[str] = frozenset()
    proven: frozenset[str] = frozenset()
    shunned: frozenset[str] = frozenset()  # as the disk must know
    doomed: frozenset[str] = frozenset()  # decided, and not yet on the disk
    factories_tried: frozenset[str] = frozenset()
    unseen: int = 0
    rebuilt: int = 0


class State(NamedTuple):
    boot: BootRecord | None = None
    nxt: Next | None = None
    status: Operation | None = None
    good: frozenset[str] = frozenset()
    bad: frozenset[str] = frozenset()
    dirs: frozenset[str] = frozenset()
    installed: int = 0
    launcher: Launcher | None = None
    hub: Hub | None = None
    helper: Helper | None = None
    settling: tuple[Next | None] | None = None  # `next.json` as the settler read it
    full: bool = False
    faults: int = 0
    stops: int = 0
    claims: int = 0
    ghost: Ghost = Ghost()


class Limits(NamedTuple):
    """How much may go wrong, and which requests may come."""

    faults: int = 1
    stops: int = 1
    second: tuple[str, ...] = ("rollback", "named")
    kinds: tuple[str, ...] = (
        "power", "kill launcher", "kill hub", "kill helper", "full", "asked", "lose"
    )  # fmt: skip
    new_factory: bool = True


class Violation(Exception):  # noqa: N818 - what the model is looking for
    """A sentence that does not hold, by its number in the architecture."""

    def __init__(self, sentence: int, why: str) -> None:
        super().__init__(f"sentence {sentence}: {why}")
        self.sentence = sentence


Step = tuple[str, "Callable[[], State]"]
_worlds: dict[tuple[object, ...], World] = {}


def world_of(state: State, factory: int) -> World:
    key = (state.dirs, state.good, factory)
    found = _worlds.get(key)
    if found is None:
        releases = {
            name: RELEASES[name]._replace(good=name in state.good) for name in sorted(state.dirs)
        }
        found = _worlds[key] = World(releases, FACTORIES[factory], TRIES)
    return found


# --- the launcher -------------------------------------------------------------------------------


def feed(state: State, event: Event) -> State:
    """One decision, and its writes and actions queued."""
    launcher = state.launcher
    assert launcher is not None
    before = launcher.mind
    mind, actions = boot.decide(before, event, world_of(state, launcher.factory))
    if mind.deaths > 1:
        mind = mind._replace(deaths=1)
    queue = tuple(a._replace(text=a.text if a.verb == "charge" else "") for a in actions
                  if a.verb != "log")  # fmt: skip
    if mind.todo:
        queue = (FLUSH, *queue)
    state = state._replace(launcher=launcher._replace(mind=mind, queue=launcher.queue + queue))
    return _remember(state, before, mind, event)


def _remember(state: State, before: Mind, mind: Mind, event: Event) -> State:
    """What this decision means, told from the event and not from the record's own words."""
    if event.kind == "alone":
        state = _unseen(state)
    ghost, trial = state.ghost, before.record.trial
    if trial is not None and mind.record.trial is None:
        if event.kind == "healthy" and mind.record.current == trial.release:
            ghost = ghost._replace(proven=ghost.proven | {trial.release})
            left = before.record.current
            if trial.kind == "rollback" and left and left != trial.release:
                ghost = ghost._replace(doomed=ghost.doomed | {RELEASES[left].digest})
        else:
            ghost = ghost._replace(doomed=ghost.doomed | {trial.digest})
            _check_blame(state, before, mind, event)
    wanted = mind.wanted
    if wanted is not None and wanted.trial is not None and before.record.trial is None:
        named = {wanted.trial.digest} if event.nxt is not None and event.nxt.named else set()
        ghost = ghost._replace(shunned=ghost.shunned - named, doomed=ghost.doomed - named, unseen=0)
    return state._replace(ghost=ghost)


def _check_blame(state: State, before: Mind, mind: Mind, event: Event) -> None:
    verdict = mind.record.verdicts[len(before.record.verdicts) :]
    if bool(verdict) and "missing or damaged" in verdict[0].reason:
        return
    if event.kind == "stop" or (event.kind == "exited" and event.asked):
        raise Violation(6, f"{event.kind} rejected a trial")
    out_of_tries = bool(verdict) and "as often as allowed" in verdict[0].reason
    if out_of_tries and state.ghost.unseen < TRIES:
        raise Violation(6, f"tries ran out after {state.ghost.unseen} ends that nobody saw")


def written(state: State, record: BootRecord) -> State:
    """`boot.json` is replaced durably."""
    ghost = state.ghost
    for verdict in record.verdicts:
        op = verdict.operation_id or ""
        if verdict.verdict == "committed" and op not in ghost.committed:
            if ghost.ended[OPS.index(op)] == operation.FAILED:
                raise Violation(3, f"{op} failed, and is committed now")
            ghost = ghost._replace(committed=ghost.committed | {op})
    if record.trial is None:
        ghost = ghost._replace(unseen=0)
    ghost = ghost._replace(shunned=ghost.shunned | ghost.doomed, doomed=frozenset())
    trial = record.trial
    if trial is not None and trial.kind == "factory":
        assert state.launcher is not None
        known = state.launcher.mind.record.trial is not None
        if not known and trial.digest in ghost.factories_tried:
            raise Violation(8, "a factory that was tried is tried again")
    assert state.launcher is not None
    return state._replace(
        boot=record, ghost=ghost, launcher=state.launcher._replace(known=True)
    )


def _with(state: State, mind: Mind | None = None, queue: tuple[Action, ...] = ()) -> State:
    launcher = state.launcher
    assert launcher is not None
    return state._replace(launcher=launcher._replace(mind=mind or launcher.mind, queue=queue))


def work(state: State) -> State:
    """The next small step of a launcher that is busy: at most one durable write."""
    launcher = state.launcher
    assert launcher is not None
    mind, action, rest = launcher.mind, launcher.queue[0], launcher.queue[1:]
    if action == FLUSH:
        return _flush(state, rest)
    if action.verb == "charge":
        return _charge(state, mind, action, rest)
    state = _with(state, mind, rest)
    if action.verb in ("charged", "uncharged"):
        return feed(state, Event(action.verb, action.text))
    if action.verb == "start":
        return _start(state, action.release)
    if action.verb == "exit":
        return _with(state, mind, (FLUSH, END))
    if action == REMOVE_NEXT:
        return _remove_next(state, mind)
    return _leave(state, mind) if action == END else _signal(state, action.verb)


def _remove_next(state: State, mind: Mind) -> State:
    assert mind.wanted is not None
    trial = mind.wanted.trial
    if state.nxt is None or trial is None or state.nxt.operation_id != trial.operation_id:
        return state  # it is another operation's, and none of this trial's
    if state.full:
        return _with(state, mind, (Action("uncharged"),))  # not told before it is gone
    return state._replace(nxt=None)


def _leave(state: State, mind: Mind) -> State:
    trial = state.boot.trial if state.boot is not None else None
    if trial != mind.record.trial:
        state = _unseen(state)  # the try could not be given back
    return state._replace(launcher=None, ghost=state.ghost._replace(doomed=frozenset()))


def _signal(state: State, verb: str) -> State:
    hub = state.hub
    if hub is None:
        return state
    if verb == "tell":
        return state._replace(hub=hub._replace(phase="told")) if hub.phase == "ready" else state
    dead = verb in ("end", "kill", "signal")
    return state._replace(hub=hub._replace(phase="dead"), settling=None) if dead else state


def _flush(state: State, rest: tuple[Action, ...]) -> State:
    launcher = state.launcher
    assert launcher is not None
    mind = launcher.mind
    if not mind.todo or state.full:
        return _with(state, mind, rest)
    action = mind.todo[0]
    if action == boot.RECORD:
        state = written(state, mind.record)
    elif action.verb == "good":
        if action.release in state.dirs:
            state = state._replace(good=state.good | {action.release})
    elif action.verb == "unmark":
        state = state._replace(good=state.good - {action.release})
    elif action.verb == "bad":
        state = state._replace(bad=state.bad | {action.digest})
    elif action.verb == "unbad":
        state = state._replace(bad=state.bad - {RELEASES[action.release].digest})
    mind = boot.done(mind, action)
    state = _with(state, mind, (FLUSH, *rest) if mind.todo else rest)
    hub = state.hub
    if not mind.todo and hub is not None and hub.phase == "ready" and boot.may_tell(mind):
        trial = state.boot.trial if state.boot is not None else None
        if trial is not None and trial.release != hub.image:
            state = state._replace(hub=hub._replace(phase="told"))
    return state


def _charge(state: State, mind: Mind, action: Action, rest: tuple[Action, ...]) -> State:
    assert mind.wanted is not None
    if state.full:
        return _with(state, mind, (*rest, Action("uncharged")))
    state = written(state, mind.wanted)
    return _with(state, mind, (*rest, REMOVE_NEXT, Action("charged", text=action.text)))


def _start(state: State, name: str) -> State:
    launcher = state.launcher
    assert launcher is not None
    if state.hub is not None:
        raise Violation(7, f"{name} is started beside {state.hub.image}")
    mind = launcher.mind
    if mind.on_trial:
        trial = state.boot.trial if state.boot is not None else None
        if state.boot is not None and trial != mind.record.trial:
            raise Violation(6, "a trial is started, and its try is not on the disk")
        if mind.record.trial is not None and mind.record.trial.kind == "factory":
            tried = state.ghost.factories_tried | {mind.record.trial.digest}
            state = state._replace(ghost=state.ghost._replace(factories_tried=tried))
    elif not trusted(name, state):
        raise Violation(2, f"{name} is started as if it were proven")
    whole = name in state.dirs or name == FACTORIES[launcher.factory].name
    return state._replace(hub=Hub(name, "up" if whole else "dead"))


def trusted(name: str, state: State) -> bool:
    return name in state.ghost.proven or RELEASES[name] in FACTORIES


def launch(state: State) -> State:
    """A launcher starts, with the factory file that is installed now."""
    factory = FACTORIES[state.installed]
    if not state.full:
        state = state._replace(dirs=state.dirs | {factory.name})
    record = state.boot
    if record is None:
        bad = tuple(sorted(state.bad))
        releases = world_of(state, state.installed).releases
        record = boot.rebuilt(releases, bad, f"loss {state.ghost.rebuilt}")
    mind = boot.awake(record, state.boot is not None)
    state = state._replace(launcher=Launcher(mind, (), state.installed, state.boot is not None))
    state = feed(state, Event("boot", nxt=unknown_next(state)))
    assert state.launcher is not None
    after, on_trial = state.launcher.mind.record.current, record.trial and record.trial.release
    if record.current not in (None, after, on_trial):
        raise Violation(8, "a start changed what is current")
    return state


def unknown_next(state: State) -> Next | None:
    assert state.launcher is not None
    record = state.launcher.mind.record
    return None if state.nxt is None or record.knows(state.nxt.operation_id) else state.nxt


def _unseen(state: State) -> State:
    ghost = state.ghost
    return state._replace(ghost=ghost._replace(unseen=min(ghost.unseen + 1, TRIES)))


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
        return False
    return state.status is None or state.status.finished


def claim(state: State, what: str) -> State:
    """A new operation is recorded and its helper started with the lock."""
    assert state.boot is not None
    mind = state.launcher.mind if state.launcher is not None else Mind()
    older = [t.operation_id for t in (mind.record.trial, mind.wanted and mind.wanted.trial) if t]
    if state.helper or state.nxt or any(older):
        raise Violation(5, "an operation was accepted beside another")
    op = OPS[state.claims]
    target = {"named": B, "again": B, "other": C}.get(what, B)
    if what == "rollback":
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
    if not mine or state.full or state.boot is None:
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
        status = status._replace(boot_rebuilt=state.boot.rebuilt)
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
        yield "write again", lambda: _with(state, mind, (FLUSH,))
    assert state.launcher is not None
    if state.boot is None and state.launcher.known and not state.full:
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
        assert state.boot is not None
        for what in ("other first",) if state.claims == 0 else limits.second:
            if what != "rollback" or state.boot.previous in RELEASES:
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
        state = _unseen(state)
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
