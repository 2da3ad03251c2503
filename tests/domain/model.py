"""The launcher and its disk as a machine of small steps; `model_steps` has the rest of the world.

The decisions are the very code of `domain.boot`. What is modelled is the driver: it writes `todo`
in order and then carries out the actions, one durable write a step, so that a crash falls between
any two. `Ghost` keeps what really happened, apart from what the code under test wrote down.
"""

from __future__ import annotations

from typing import NamedTuple

from hub_upgrade.domain import boot, operation
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
                  if a.verb not in ("log", "complain"))  # fmt: skip
    if mind.todo:
        queue = (FLUSH, *queue)
    state = state._replace(launcher=launcher._replace(mind=mind, queue=launcher.queue + queue))
    return _remember(state, before, mind, event)


def _remember(state: State, before: Mind, mind: Mind, event: Event) -> State:
    """What this decision means, told from the event and not from the record's own words."""
    if event.kind == "alone":
        state = unseen(state)
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


def busy(state: State, mind: Mind | None = None, queue: tuple[Action, ...] = ()) -> State:
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
    state = busy(state, mind, rest)
    if action.verb in ("charged", "uncharged"):
        return feed(state, Event(action.verb, action.text))
    if action.verb == "start":
        return _start(state, action.release)
    if action.verb == "exit":
        return busy(state, mind, (FLUSH, END))
    if action == REMOVE_NEXT:
        return _remove_next(state, mind)
    return _leave(state, mind) if action == END else _signal(state, action.verb)


def _remove_next(state: State, mind: Mind) -> State:
    assert mind.wanted is not None
    trial = mind.wanted.trial
    if state.nxt is None or trial is None or state.nxt.operation_id != trial.operation_id:
        return state  # it is another operation's, and none of this trial's
    if state.full:
        return busy(state, mind, (Action("uncharged"),))  # not told before it is gone
    return state._replace(nxt=None)


def _leave(state: State, mind: Mind) -> State:
    trial = state.boot.trial if state.boot is not None else None
    if trial != mind.record.trial:
        state = unseen(state)  # the try could not be given back
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
        return busy(state, mind, rest)
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
    state = busy(state, mind, (FLUSH, *rest) if mind.todo else rest)
    hub = state.hub
    if not mind.todo and hub is not None and hub.phase == "ready" and boot.may_tell(mind):
        trial = state.boot.trial if state.boot is not None else None
        if trial is not None and trial.release != hub.image:
            state = state._replace(hub=hub._replace(phase="told"))
    return state


def _charge(state: State, mind: Mind, action: Action, rest: tuple[Action, ...]) -> State:
    assert mind.wanted is not None
    if state.full:
        return busy(state, mind, (*rest, Action("uncharged")))
    state = written(state, mind.wanted)
    return busy(state, mind, (*rest, REMOVE_NEXT, Action("charged", text=action.text)))


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
        if trial is not None and trial.kind == "factory":
            tried = state.ghost.factories_tried | {trial.digest}
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
    if state.nxt is not None and mind.record.knows(state.nxt.operation_id) and not state.full:
        state = state._replace(nxt=None)  # it is taken up already: this is looked at first
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


def unseen(state: State) -> State:
    ghost = state.ghost
    return state._replace(ghost=ghost._replace(unseen=min(ghost.unseen + 1, TRIES)))
