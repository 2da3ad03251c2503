"""The launcher's whole mind: `decide(mind, event, world) -> (mind, actions)`.

Pure. Time comes in as events (`domain.probation` turns looks and clocks into them), the disk as
a `World`, and what must be done goes out as actions. Two kinds of writing are kept apart:

* a *charge* (taking up `next.json`, using up a try) must be on the disk before anything is
  started: the driver writes it and answers with the event `charged` or `uncharged`;
* a *verdict* is obeyed at once and waits in `Mind.todo` until the disk takes it.
"""

from __future__ import annotations

from hub_upgrade.domain import boot_choice, verdicts
from hub_upgrade.domain.boot_choice import World, kept, rebuilt
from hub_upgrade.domain.boot_record import Next
from hub_upgrade.domain.mind import (
    DOWN,
    ENDING,
    GONE,
    HANDING,
    PUZZLED,
    RELOADING,
    SERVING,
    STARTING,
    STOPPING,
    Event,
    Mind,
    awake,
    charge,
    done,
    may_tell,
    reject,
    start_best,
)
from hub_upgrade.domain.verdicts import RECORD, Action

__all__ = [
    "DOWN", "ENDING", "GONE", "HANDING", "PUZZLED", "RECORD", "RELOADING", "SERVING", "STARTING",
    "STOPPING", "Action", "Event", "Mind", "Next", "World", "awake", "decide", "done", "kept",
    "may_tell", "rebuilt",
]  # fmt: skip

NOT_READY_LIMIT = 3
"""A committed release that fails to become ready this often in a row is passed over."""


def decide(mind: Mind, event: Event, world: World) -> tuple[Mind, list[Action]]:
    """What the launcher makes of one event."""
    if mind.state in (STOPPING, GONE):
        return _while_stopping(mind, event)
    return _HANDLERS[event.kind](mind, event, world)


# --- starting -----------------------------------------------------------------------------------


def _boot(mind: Mind, event: Event, world: World) -> tuple[Mind, list[Action]]:
    if mind.record.current is None:
        mind = _with_a_current(mind, world)
    mind = mind._replace(forced=event.forced)
    pending = mind.record.trial is not None or event.nxt is not None or event.forced
    if not pending and boot_choice.factory_is_news(mind.record, world):
        return charge(mind, boot_choice.factory_trial(mind.record, world), "start")
    mind, actions = _take_up(mind, event.nxt, world)
    if mind.wanted is not None:
        return mind, actions
    mind, more = start_best(mind, world)
    return mind, actions + more


def _with_a_current(mind: Mind, world: World) -> Mind:
    current = boot_choice.heir(mind.record, world)
    if current is None:
        return mind
    record = mind.record._replace(current=current)
    if current == world.factory.name:
        record = record._replace(factory_seen=world.factory.digest)
    return mind._replace(record=record, todo=verdicts.queued(mind.todo, RECORD))


def _charged(mind: Mind, event: Event, world: World) -> tuple[Mind, list[Action]]:
    record = mind.wanted
    if record is None or record.trial is None:
        return mind, []
    trial = record.trial
    todo = tuple(action for action in mind.todo if action != RECORD)
    forced = mind.forced and trial.kind != "factory"
    mind = mind._replace(record=record, wanted=None, charged=True, todo=todo, forced=forced)
    if event.text == "tell" and mind.state == SERVING:
        mind = mind._replace(state=HANDING, left=mind.running)
        return mind, [Action("tell", trial.release, trial.digest)]
    return start_best(mind, world)


def _uncharged(mind: Mind, event: Event, world: World) -> tuple[Mind, list[Action]]:
    """No trial without its try on the disk. Half of the writing may be there: write it anew."""
    if mind.wanted is None:
        return mind, []
    note = Action("complain", text=f"the trial waits: its try cannot be recorded ({event.text})")
    mind = mind._replace(wanted=None, todo=verdicts.queued(mind.todo, RECORD))
    if mind.state in (DOWN, ENDING, PUZZLED) and not mind.resting:
        mind, actions = start_best(mind, world, without_trial=True)
        return mind, [note, *actions]
    return mind, [note]


# --- while it runs ------------------------------------------------------------------------------


def _tick(mind: Mind, event: Event, world: World) -> tuple[Mind, list[Action]]:
    """Every second, and when a helper hastens it: is there something to try?"""
    if mind.wanted is not None or mind.state not in (SERVING, DOWN):
        return mind, []
    trial = mind.record.trial
    if trial is None:
        return _take_up(mind, event.nxt, world)
    if mind.on_trial or mind.state == DOWN or verdicts.markers_wait(mind.todo):
        return mind, []
    why = boot_choice.cannot_try(trial, world, charged=False)
    if why:
        return reject(mind, why, (), world)
    return charge(mind, mind.record, "tell")


def _take_up(mind: Mind, nxt: Next | None, world: World) -> tuple[Mind, list[Action]]:
    """The factory, if it was forced, else what a helper handed over."""
    if mind.record.trial is not None or verdicts.markers_wait(mind.todo):
        return mind, []
    how = "tell" if mind.state == SERVING else "start"
    if mind.forced and mind.record.current != world.factory.name:
        return charge(mind, boot_choice.factory_trial(mind.record, world), how)
    if nxt is None or mind.record.knows(nxt.operation_id):
        return mind, []  # the driver removes a next.json that the record knows
    if nxt.release == mind.record.current:
        return _current_named(mind, nxt, world, how)
    return _try_next(mind, nxt, world, how)


def _current_named(
    mind: Mind, nxt: Next, world: World, how: str
) -> tuple[Mind, list[Action]]:
    """A verdict without a trial, but not without proof: it must run. Where it was passed over,
    only a trial tells."""
    current = mind.record.current
    if mind.state == SERVING and mind.running == current:
        return _verdict_only(mind, nxt, "committed", "already the current release", world)
    if mind.state != SERVING:
        return mind, []  # it may be on its way up
    return _try_next(mind, nxt, world, how)


def _try_next(mind: Mind, nxt: Next, world: World, how: str) -> tuple[Mind, list[Action]]:
    record, trial = mind.record, boot_choice.trial_of(nxt, world)
    if nxt.digest in record.rejected and not nxt.named:
        why = "it was rejected before, and this operation did not name it"
        return _verdict_only(mind, nxt, "rejected", why, world)
    why = boot_choice.cannot_try(trial, world, charged=False)
    if why and nxt.release == record.current:
        return reject(mind._replace(record=record._replace(trial=trial)), why, (), world)
    if why:
        return _verdict_only(mind, nxt, "rejected", why, world)
    taken = record._replace(
        trial=trial, rejected=boot_choice.without(record.rejected, nxt.digest)
    )
    return charge(mind, taken, how)


def _verdict_only(
    mind: Mind, nxt: Next, word: str, why: str, world: World
) -> tuple[Mind, list[Action]]:
    trial = boot_choice.trial_of(nxt, world)
    record = verdicts.with_verdict(mind.record, trial, word, why, world)
    mind = mind._replace(record=record, todo=verdicts.queued(mind.todo, RECORD))
    return mind, [Action("log", text=f"{nxt.kind} to {nxt.release} {word}: {why}")]


def _reloading(mind: Mind, _event: Event, _world: World) -> tuple[Mind, list[Action]]:
    if mind.state != HANDING or mind.record.trial is None:
        return mind, []
    release = mind.record.trial.release
    return mind._replace(state=RELOADING, on_trial=True, running=release, was_ready=False), []


def _ready(mind: Mind, event: Event, world: World) -> tuple[Mind, list[Action]]:
    if mind.state == HANDING:  # its RELOADING was lost: the old image said READY long ago
        mind, _ = _reloading(mind, event, world)
    if mind.state not in (STARTING, RELOADING):
        return mind, []
    return mind._replace(state=SERVING, was_ready=True), []


def _healthy(mind: Mind, event: Event, world: World) -> tuple[Mind, list[Action]]:
    """Probation is over: the trial is the current release from now on."""
    trial = mind.record.trial
    if mind.state != SERVING or not mind.on_trial or trial is None:
        return mind, []
    if boot_choice.cannot_try(trial, world, charged=True):
        return _unhealthy(mind, event._replace(text="its files were lost or damaged"), world)
    record, marks = verdicts.committed(mind.record, world)
    mind = mind._replace(
        record=record, todo=verdicts.queued(mind.todo, *marks), on_trial=False, charged=False,
        failures=0, passed_over=boot_choice.without(mind.passed_over, trial.release),
    )  # fmt: skip
    return mind, [Action("log", text=f"{trial.release} is proven and current")]


def _unhealthy(mind: Mind, event: Event, world: World) -> tuple[Mind, list[Action]]:
    """The launcher saw that the trial is not what it should be."""
    if not mind.on_trial or mind.state not in (STARTING, RELOADING, SERVING):
        return mind, []
    mind, actions = reject(mind, event.text, event.output, world)
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
    mind, actions = reject(mind, f"it could not be executed: {event.text}", event.output, world)
    return mind._replace(
        state=SERVING, on_trial=False, running=mind.left, was_ready=True
    ), actions


# --- ends ---------------------------------------------------------------------------------------


def _exited(mind: Mind, event: Event, world: World) -> tuple[Mind, list[Action]]:
    if mind.state in (DOWN, PUZZLED):
        return mind, []
    if mind.on_trial and mind.state != ENDING:
        return _trial_ended(mind, event, world)
    if mind.state in (HANDING, ENDING):
        return start_best(mind, world)
    return _committed_died(mind, event)


def _trial_ended(mind: Mind, event: Event, world: World) -> tuple[Mind, list[Action]]:
    if event.asked:
        return mind._replace(state=PUZZLED, running="", on_trial=False), [Action("puzzle")]
    why = f"it {event.text}" + ("" if mind.was_ready else " before it was ready")
    mind, actions = reject(mind, why, event.output, world)
    mind, more = start_best(mind._replace(on_trial=False), world)
    return mind, actions + more


def _committed_died(mind: Mind, event: Event) -> tuple[Mind, list[Action]]:
    note = Action("log", text=f"the hub {mind.running} {event.text}")
    passed_over, failures = mind.passed_over, 0
    if not mind.was_ready:
        failures = mind.failures + 1
        if failures >= NOT_READY_LIMIT:
            passed_over, failures = boot_choice.plus(passed_over, mind.running), 0
    mind = mind._replace(
        state=DOWN, resting=True, failures=failures, passed_over=passed_over,
        deaths=mind.deaths + 1,
    )  # fmt: skip
    return mind, [note, Action("backoff", text=str(mind.deaths))]


def _calm(mind: Mind, _event: Event, _world: World) -> tuple[Mind, list[Action]]:
    """It has served for a good while: the next death starts the back-off anew."""
    return mind._replace(deaths=0), []


def _again(mind: Mind, _event: Event, world: World) -> tuple[Mind, list[Action]]:
    """The back-off is over."""
    if mind.state != DOWN:
        return mind, []
    return start_best(mind, world)


def _alone(mind: Mind, event: Event, world: World) -> tuple[Mind, list[Action]]:
    """A trial ended as if asked to, and nobody asked us: try again, charged."""
    if mind.state != PUZZLED:
        return mind, []
    return start_best(mind._replace(charged=False), world, output=event.output)


def _stop(mind: Mind, _event: Event, _world: World) -> tuple[Mind, list[Action]]:
    """Somebody asked for a stop: the try is given back, and nothing is rejected for it."""
    had_child = mind.state not in (DOWN, PUZZLED)
    trial = mind.record.trial
    if trial is not None and mind.charged:
        back = trial._replace(tries_left=trial.tries_left + 1)
        record = mind.record._replace(trial=back)
        todo = verdicts.queued(mind.todo, RECORD)
        mind = mind._replace(record=record, todo=todo, charged=False)
    mind = mind._replace(wanted=None, on_trial=False, resting=False)
    if not had_child:
        return mind._replace(state=GONE), [Action("exit")]
    return mind._replace(state=STOPPING), [Action("signal")]


def _while_stopping(mind: Mind, event: Event) -> tuple[Mind, list[Action]]:
    if mind.state == STOPPING and event.kind == "exited":
        return mind._replace(state=GONE, running=""), [Action("exit")]
    if mind.state == STOPPING and event.kind in ("stop", "not-stopped"):
        return mind, [Action("kill")]
    return mind, []


def _not_started(mind: Mind, event: Event, _world: World) -> tuple[Mind, list[Action]]:
    """No process was to be had: the machine's trouble, and no release's. The try stays charged."""
    if mind.state != STARTING:
        return mind, []
    note = Action("log", text=f"{mind.running} cannot be started: {event.text}")
    mind = mind._replace(state=DOWN, resting=True, on_trial=False, deaths=mind.deaths + 1)
    return mind, [note, Action("backoff", text=str(mind.deaths))]


def _ignore(mind: Mind, _event: Event, _world: World) -> tuple[Mind, list[Action]]:
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
    "not-started": _not_started,
    "not-stopped": _ignore,
}
