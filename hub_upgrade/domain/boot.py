"""The launcher's whole mind: `decide(mind, event, world) -> (mind, actions)`.

Pure. Time comes in as events (`domain.probation` turns looks and clocks into them), the disk as
a `World`, and what must be done goes out as actions. Two kinds of writing are kept apart:

* a *charge* (taking up `next.json`, using up a try) must be on the disk before anything is
  started: the driver writes it and answers with the event `charged` or `uncharged`;
* a *verdict* is obeyed at once and waits in `Mind.todo` until the disk takes it.
"""

from __future__ import annotations

from typing import Mapping, NamedTuple

from hub_upgrade.domain.boot_record import BootRecord, Next, Release, Trial, Verdict
from hub_upgrade.domain.versions import sort_key

MOST_VERDICTS = 20
MOST_REJECTED = 50
NOT_READY_LIMIT = 3
"""A committed release that fails to become ready this often in a row is passed over."""

DOWN = "down"  # no child; a back-off timer runs
STARTING = "starting"  # a child was started, and has not said READY
SERVING = "serving"
HANDING = "handing"  # the child was told to become the trial, and has not said RELOADING
RELOADING = "reloading"  # it said so: from here its end is the trial's
ENDING = "ending"  # the child is being ended for a decision that is made already
PUZZLED = "puzzled"  # a trial ended as if somebody had asked it to: our own signal may follow
STOPPING = "stopping"
GONE = "gone"


class World(NamedTuple):
    """What the disk holds, as the driver last saw it."""

    releases: Mapping[str, Release]
    factory: Release
    tries: int = 3
    now: str = ""


class Event(NamedTuple):
    """Something that happened; `text` is a reason, `asked` says that an end looked like a stop."""

    kind: str
    text: str = ""
    nxt: Next | None = None
    asked: bool = False
    output: tuple[str, ...] = ()
    forced: bool = False


class Action(NamedTuple):
    """Something to do. Verbs: charge, start, tell, end, kill, signal, backoff, puzzle, log, exit;
    and in `Mind.todo`: good, unmark, bad, unbad, record."""

    verb: str
    release: str = ""
    digest: str = ""
    text: str = ""


class Mind(NamedTuple):
    """All that the launcher remembers."""

    record: BootRecord = BootRecord()
    todo: tuple[Action, ...] = ()
    wanted: BootRecord | None = None
    state: str = DOWN
    running: str = ""
    on_trial: bool = False
    charged: bool = False
    was_ready: bool = False
    passed_over: tuple[str, ...] = ()
    failures: int = 0
    deaths: int = 0



RECORD = Action("record")


def decide(mind: Mind, event: Event, world: World) -> tuple[Mind, list[Action]]:
    """What the launcher makes of one event."""
    if mind.state in (STOPPING, GONE):
        return _while_stopping(mind, event)
    return _HANDLERS[event.kind](mind, event, world)


# --- starting -----------------------------------------------------------------------------------


def _boot(mind: Mind, event: Event, world: World) -> tuple[Mind, list[Action]]:
    record = mind.record
    if record.current is None:
        seen = record._replace(current=world.factory.name, factory_seen=world.factory.digest)
        mind = mind._replace(record=seen, todo=_with(mind.todo, RECORD))
    elif record.trial is None and event.nxt is None and _factory_is_news(mind, event, world):
        factory = world.factory
        trial = Trial(factory.name, factory.digest, None, "factory", world.tries)
        news = record._replace(trial=trial, factory_seen=factory.digest)
        if event.forced:
            news = news._replace(rejected=_without(record.rejected, factory.digest))
        mind = mind._replace(record=news, todo=_with(mind.todo, RECORD))
    mind, actions = _consider_next(mind, event.nxt, world)
    if mind.wanted is not None:
        return mind, actions
    mind, more = _start_best(mind, world)
    return mind, actions + more


def _factory_is_news(mind: Mind, event: Event, world: World) -> bool:
    factory, record = world.factory, mind.record
    if factory.name == record.current:
        return False
    if event.forced:
        return True
    seen = factory.digest == record.factory_seen or factory.digest in record.rejected
    return not seen and sort_key(factory.version) > sort_key(_version_of(record.current or ""))


def _version_of(name: str) -> str:
    return name.rpartition("-")[0]


def _start_best(
    mind: Mind, world: World, *, without_trial: bool = False
) -> tuple[Mind, list[Action]]:
    """Start the trial if it may be tried, else the best committed release."""
    actions: list[Action] = []
    trial = mind.record.trial
    if trial is not None and not without_trial:
        why = _cannot_try(trial, world, mind.charged)
        if why:
            mind, actions = _reject(mind, why, (), world)
        elif mind.charged:
            mind = mind._replace(
                state=STARTING, running=trial.release, on_trial=True, was_ready=False
            )
            return mind, [Action("start", trial.release, trial.digest)]
        elif not mind.todo or mind.todo == (RECORD,):
            return _charge(mind, mind.record, "start")
    name, notes = best(mind.record, world, mind.passed_over)
    mind = mind._replace(state=STARTING, running=name, on_trial=False, was_ready=False)
    return mind, [*actions, *notes, Action("start", name, world.releases[name].digest)]


def best(
    record: BootRecord, world: World, passed_over: tuple[str, ...]
) -> tuple[str, list[Action]]:
    """The release to run when there is nothing to try, and a line for each one passed over."""
    names = [record.current, record.previous]
    good = [r for r in world.releases.values() if r.good]
    names += [r.name for r in sorted(good, key=lambda r: sort_key(r.version), reverse=True)]
    notes: list[Action] = []
    for name in dict.fromkeys(name for name in names if name):
        release = world.releases.get(name)
        if release is None or not release.whole:
            notes.append(Action("log", text=f"passed over {name}: it is missing or damaged"))
        elif name in passed_over:
            notes.append(Action("log", text=f"passed over {name}: it does not become ready"))
        elif name != record.current and release.digest in record.rejected:
            continue
        else:
            return name, notes
    return world.factory.name, notes


def _cannot_try(trial: Trial, world: World, charged: bool) -> str:
    release = world.releases.get(trial.release)
    if release is None or not release.whole or release.digest != trial.digest:
        return "the release is missing or damaged"
    if trial.tries_left <= 0 and not charged:
        return "it was started as often as allowed, and every time ended without anyone seeing why"
    return ""


def _charge(mind: Mind, record: BootRecord, how: str) -> tuple[Mind, list[Action]]:
    trial = record.trial
    assert trial is not None  # noqa: S101 - every caller has just looked
    charged = record._replace(trial=trial._replace(tries_left=trial.tries_left - 1))
    return mind._replace(wanted=charged), [Action("charge", trial.release, text=how)]


def _charged(mind: Mind, event: Event, world: World) -> tuple[Mind, list[Action]]:
    record = mind.wanted
    if record is None or record.trial is None:
        return mind, []
    trial = record.trial
    todo = tuple(action for action in mind.todo if action != RECORD)
    mind = mind._replace(record=record, wanted=None, charged=True, todo=todo)
    if event.text == "tell" and mind.state == SERVING:
        return mind._replace(state=HANDING), [Action("tell", trial.release, trial.digest)]
    return _start_best(mind, world)


def _uncharged(mind: Mind, event: Event, world: World) -> tuple[Mind, list[Action]]:
    note = Action("log", text=f"the trial waits: its try cannot be recorded ({event.text})")
    mind = mind._replace(wanted=None)
    if mind.state in (DOWN, ENDING, PUZZLED):
        mind, actions = _start_best(mind, world, without_trial=True)
        return mind, [note, *actions]
    return mind, [note]


# --- while it runs ------------------------------------------------------------------------------


def _tick(mind: Mind, event: Event, world: World) -> tuple[Mind, list[Action]]:
    """Every second, and when a helper hastens it: is there something to try?"""
    if mind.wanted is not None or mind.state not in (SERVING, DOWN):
        return mind, []
    trial = mind.record.trial
    if trial is None or event.nxt is not None:
        return _consider_next(mind, event.nxt, world)
    if mind.on_trial or mind.charged or mind.state == DOWN or mind.todo:
        return mind, []
    why = _cannot_try(trial, world, charged=False)
    if why:
        return _reject(mind, why, (), world)
    return _charge(mind, mind.record, "tell")


def _consider_next(
    mind: Mind, nxt: Next | None, world: World
) -> tuple[Mind, list[Action]]:
    record = mind.record
    if nxt is None or record.trial is not None or record.knows(nxt.operation_id):
        return mind, []  # the driver removes a next.json that the record knows
    if any(action != RECORD for action in mind.todo):
        return mind, []
    if nxt.release == record.current and nxt.release not in mind.passed_over:
        if mind.state != SERVING or mind.running != record.current:
            return mind, []  # it is on its way up: the verdict waits for the proof
        return _verdict_only(mind, nxt, "committed", "already the current release", world)
    if nxt.digest in record.rejected and not nxt.named:
        why = "it was rejected before, and this operation did not name it"
        return _verdict_only(mind, nxt, "rejected", why, world)
    trial = Trial(nxt.release, nxt.digest, nxt.operation_id, nxt.kind, world.tries)
    why = _cannot_try(trial, world, charged=False)
    if why:
        return _verdict_only(mind, nxt, "rejected", why, world)
    taken = record._replace(trial=trial, rejected=_without(record.rejected, nxt.digest))
    return _charge(mind, taken, "tell" if mind.state == SERVING else "start")


def _verdict_only(
    mind: Mind, nxt: Next, word: str, why: str, world: World
) -> tuple[Mind, list[Action]]:
    verdict = Verdict(nxt.operation_id, word, nxt.release, nxt.digest, why, world.now, ())
    record = _with_verdict(mind.record, verdict)
    return mind._replace(record=record, todo=_with(mind.todo, RECORD)), [
        Action("log", text=f"{nxt.kind} to {nxt.release} {word}: {why}")
    ]


def _reloading(mind: Mind, _event: Event, _world: World) -> tuple[Mind, list[Action]]:
    if mind.state != HANDING or mind.record.trial is None:
        return mind, []
    release = mind.record.trial.release
    return mind._replace(state=RELOADING, on_trial=True, running=release, was_ready=False), []


def _ready(mind: Mind, _event: Event, _world: World) -> tuple[Mind, list[Action]]:
    if mind.state not in (STARTING, RELOADING):
        return mind, []
    return mind._replace(state=SERVING, was_ready=True), []


def _healthy(mind: Mind, _event: Event, world: World) -> tuple[Mind, list[Action]]:
    """Probation is over: the trial is the current release from now on."""
    if mind.state != SERVING or not mind.on_trial or mind.record.trial is None:
        return mind, []
    trial, record = mind.record.trial, mind.record
    left = record.current or ""
    todo = _with(mind.todo, Action("good", trial.release, trial.digest))
    todo = _with(todo, Action("unbad", trial.release))
    rejected = _without(record.rejected, trial.digest)
    previous: str | None = record.previous
    if trial.kind == "rollback" and left != trial.release:
        release = world.releases.get(left)
        if release is not None and release.digest:
            todo = _with(todo, Action("unmark", left))
            todo = _with(todo, Action("bad", left, release.digest))
            rejected = _plus(rejected, release.digest)
        previous = _lower_good(trial.release, left, rejected, world)
    elif left != trial.release:
        previous = left or None
    if previous is not None and _digest(previous, world) in rejected:
        previous = _lower_good(trial.release, left, rejected, world)
    verdict = Verdict(
        trial.operation_id, "committed", trial.release, trial.digest, "healthy", world.now, ()
    )
    record = _with_verdict(
        record._replace(
            current=trial.release, previous=previous, trial=None, rejected=rejected
        ),
        verdict,
    )
    mind = mind._replace(
        record=record, todo=_with(todo, RECORD), on_trial=False, charged=False, failures=0,
        passed_over=tuple(n for n in mind.passed_over if n != trial.release),
    )
    return mind, [Action("log", text=f"{trial.release} is proven and current")]


def _digest(name: str, world: World) -> str:
    release = world.releases.get(name)
    return release.digest if release is not None else ""


def _lower_good(target: str, left: str, rejected: tuple[str, ...], world: World) -> str | None:
    below = sort_key(_version_of(target))
    fit = [
        r
        for r in world.releases.values()
        if r.good and r.whole and r.name not in (target, left) and r.digest not in rejected
        and sort_key(r.version) < below
    ]
    return max(fit, key=lambda r: sort_key(r.version)).name if fit else None


def _reject(
    mind: Mind, why: str, output: tuple[str, ...], world: World
) -> tuple[Mind, list[Action]]:
    """The trial is over: the verdict, and the last good release as current."""
    trial, record = mind.record.trial, mind.record
    if trial is None:
        return mind, []
    todo = mind.todo
    if trial.release != record.current:
        todo = _with(todo, Action("unmark", trial.release))
    todo = _with(todo, Action("bad", trial.release, trial.digest))
    verdict = Verdict(
        trial.operation_id, "rejected", trial.release, trial.digest, why, world.now, output
    )
    record = record._replace(trial=None, rejected=_plus(record.rejected, trial.digest))
    if trial.release == record.current:
        record = record._replace(current=record.previous or world.factory.name, previous=None)
    if record.previous == trial.release:
        lower = _lower_good(record.current or "", trial.release, record.rejected, world)
        record = record._replace(previous=lower)
    record = _with_verdict(record, verdict)
    mind = mind._replace(
        record=record, todo=_with(todo, RECORD), wanted=None, charged=False
    )
    return mind, [Action("log", text=f"{trial.release} is rejected: {why}")]


def _unhealthy(mind: Mind, event: Event, world: World) -> tuple[Mind, list[Action]]:
    """The launcher saw that the trial is not what it should be."""
    if not mind.on_trial or mind.state not in (STARTING, RELOADING, SERVING):
        return mind, []
    mind, actions = _reject(mind, event.text, event.output, world)
    return mind._replace(state=ENDING, on_trial=False), [*actions, Action("end")]


def _hung(mind: Mind, event: Event, world: World) -> tuple[Mind, list[Action]]:
    if mind.on_trial:
        return _unhealthy(mind, event, world)
    if mind.state != SERVING:
        return mind, []
    return mind._replace(state=ENDING), [Action("log", text=event.text), Action("kill")]


def _not_ready(mind: Mind, event: Event, world: World) -> tuple[Mind, list[Action]]:
    if mind.on_trial:
        return _unhealthy(mind, event, world)
    if mind.state != STARTING:
        return mind, []
    return mind, [Action("log", text=event.text), Action("kill")]


def _not_handed(mind: Mind, event: Event, _world: World) -> tuple[Mind, list[Action]]:
    """The old hub did not hand over in time: its end, and the trial afresh, charged already."""
    if mind.state != HANDING:
        return mind, []
    return mind._replace(state=ENDING), [Action("log", text=event.text), Action("kill")]


def _handoff_failed(mind: Mind, event: Event, world: World) -> tuple[Mind, list[Action]]:
    """The old hub could not become the trial, and serves on."""
    if mind.state not in (HANDING, RELOADING):
        return mind, []
    mind, actions = _reject(mind, f"it could not be executed: {event.text}", event.output, world)
    running = event.nxt.release if event.nxt else mind.record.current or ""
    return mind._replace(state=SERVING, on_trial=False, running=running, was_ready=True), actions


# --- ends ---------------------------------------------------------------------------------------


def _exited(mind: Mind, event: Event, world: World) -> tuple[Mind, list[Action]]:
    if mind.state in (STARTING, RELOADING, SERVING) and mind.on_trial:
        if event.asked:
            return mind._replace(state=PUZZLED, running="", on_trial=False), [Action("puzzle")]
        why = f"it {event.text}" + ("" if mind.was_ready else " before it was ready")
        mind, actions = _reject(mind, why, event.output, world)
        mind, more = _start_best(mind._replace(on_trial=False), world)
        return mind, actions + more
    if mind.state == HANDING or (mind.state == ENDING and mind.charged):
        return _start_best(mind, world)
    if mind.state == ENDING:
        return _start_best(mind, world)
    return _committed_died(mind, event)


def _committed_died(mind: Mind, event: Event) -> tuple[Mind, list[Action]]:
    note = Action("log", text=f"the hub {mind.running} {event.text}")
    passed_over, failures = mind.passed_over, 0
    if not mind.was_ready:
        failures = mind.failures + 1
        if failures >= NOT_READY_LIMIT:
            passed_over, failures = _plus(passed_over, mind.running), 0
    mind = mind._replace(
        state=DOWN, failures=failures, passed_over=passed_over, deaths=mind.deaths + 1
    )
    return mind, [note, Action("backoff", text=str(mind.deaths))]


def _calm(mind: Mind, _event: Event, _world: World) -> tuple[Mind, list[Action]]:
    """It has served for a good while: the next death starts the back-off anew."""
    return mind._replace(deaths=0), []


def _again(mind: Mind, _event: Event, world: World) -> tuple[Mind, list[Action]]:
    """The back-off is over."""
    if mind.state != DOWN:
        return mind, []
    return _start_best(mind, world)


def _alone(mind: Mind, _event: Event, world: World) -> tuple[Mind, list[Action]]:
    """A trial ended as if asked to, and nobody asked us: try again, charged."""
    if mind.state != PUZZLED:
        return mind, []
    return _start_best(mind._replace(charged=False), world)


def _stop(mind: Mind, _event: Event, _world: World) -> tuple[Mind, list[Action]]:
    """Somebody asked for a stop: the try is given back, and nothing is rejected for it."""
    had_child = mind.state not in (DOWN, PUZZLED)
    trial = mind.record.trial
    if trial is not None and mind.charged:
        back = trial._replace(tries_left=trial.tries_left + 1)
        record = mind.record._replace(trial=back)
        mind = mind._replace(record=record, todo=_with(mind.todo, RECORD), charged=False)
    mind = mind._replace(wanted=None, on_trial=False)
    if not had_child:
        return mind._replace(state=GONE), [Action("exit")]
    return mind._replace(state=STOPPING), [Action("signal")]


def _while_stopping(mind: Mind, event: Event) -> tuple[Mind, list[Action]]:
    if mind.state == STOPPING and event.kind == "exited":
        return mind._replace(state=GONE, running=""), [Action("exit")]
    if mind.state == STOPPING and event.kind in ("stop", "not-stopped"):
        return mind, [Action("kill")]
    return mind, []


_HANDLERS = {
    "boot": _boot,
    "charged": _charged,
    "uncharged": _uncharged,
    "tick": _tick,
    "reloading": _reloading,
    "ready": _ready,
    "healthy": _healthy,
    "unhealthy": _unhealthy,
    "hung": _hung,
    "not-ready": _not_ready,
    "not-handed": _not_handed,
    "handoff-failed": _handoff_failed,
    "exited": _exited,
    "calm": _calm,
    "again": _again,
    "alone": _alone,
    "stop": _stop,
    "not-stopped": lambda mind, _event, _world: (mind, []),
}


# --- small things -------------------------------------------------------------------------------


def _with(todo: tuple[Action, ...], action: Action) -> tuple[Action, ...]:
    """The queue with one more; the record is written last and once, after every marker."""
    return (*(a for a in todo if a not in (action, RECORD)), action)


def _plus(items: tuple[str, ...], item: str) -> tuple[str, ...]:
    return (*_without(items, item), item)[-MOST_REJECTED:]


def _without(items: tuple[str, ...], item: str) -> tuple[str, ...]:
    return tuple(other for other in items if other != item)


def _with_verdict(record: BootRecord, verdict: Verdict) -> BootRecord:
    if verdict.operation_id is None:
        return record
    return record._replace(verdicts=(*record.verdicts, verdict)[-MOST_VERDICTS:])


def done(mind: Mind, action: Action) -> Mind:
    """The mind after one action of `todo` is on the disk."""
    return mind._replace(todo=tuple(a for a in mind.todo if a != action))


def rebuilt(
    releases: Mapping[str, Release], bad_digests: tuple[str, ...], now: str
) -> BootRecord:
    """A record made anew from the markers, when `boot.json` is not there or cannot be read."""
    good = [
        r for r in releases.values() if r.good and r.whole and r.digest not in bad_digests
    ]
    good.sort(key=lambda r: sort_key(r.version), reverse=True)
    names = [r.name for r in good]
    return BootRecord(
        current=names[0] if names else None,
        previous=names[1] if len(names) > 1 else None,
        rejected=bad_digests[-MOST_REJECTED:],
        rebuilt=now,
    )
