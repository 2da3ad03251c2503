"""What the launcher remembers, and the three moves that every event is made of.

`start_best` starts what is best now, `charge` asks for a try to be recorded before its run, and
`reject` ends a trial.
"""

from __future__ import annotations

from hub_upgrade.domain import boot_choice, verdicts
from hub_upgrade.domain.boot_choice import World
from hub_upgrade.domain.boot_record import BootRecord, Next
from hub_upgrade.domain.verdicts import RECORD, Action
from hub_upgrade.shapes import NamedTuple

DOWN = "down"  # no child; a back-off timer may run
STARTING = "starting"  # a child was started, and has not said READY
SERVING = "serving"
HANDING = "handing"  # the child was told to become the trial, and has not said RELOADING
RELOADING = "reloading"  # it said so: from here its end is the trial's
ENDING = "ending"  # the child is being ended for a decision that is made already
PUZZLED = "puzzled"  # a trial ended as if somebody had asked it to: our own signal may follow
STOPPING = "stopping"
GONE = "gone"


class Event(NamedTuple):
    """Something that happened; `text` is a reason, `asked` says that an end looked like a stop."""

    kind: str
    text: str = ""
    nxt: Next | None = None
    asked: bool = False
    output: tuple[str, ...] = ()
    forced: bool = False


class Mind(NamedTuple):
    """All that the launcher remembers.

    `wanted` is the record that a charge writes, `charged` says that the try of the trial's next
    (or present) run is used up, `left` is the release that runs until its RELOADING, `resting`
    that a back-off runs, `forced` that the factory is to be tried whatever is known about it.
    """

    record: BootRecord = BootRecord()
    todo: tuple[Action, ...] = ()
    wanted: BootRecord | None = None
    state: str = DOWN
    running: str = ""
    left: str = ""
    on_trial: bool = False
    charged: bool = False
    was_ready: bool = False
    resting: bool = False
    forced: bool = False
    passed_over: tuple[str, ...] = ()
    failures: int = 0
    deaths: int = 0


def done(mind: Mind, action: Action) -> Mind:
    """The mind after one action of `todo` is on the disk."""
    return mind._replace(todo=tuple(a for a in mind.todo if a != action))


def awake(record: BootRecord, on_disk: bool) -> Mind:
    """The mind of a launcher that starts; a record that is not on the disk is written there."""
    return Mind(record=record, todo=() if on_disk else (RECORD,))


def may_tell(mind: Mind) -> bool:
    """Whether the hub may be told to read `boot.json` for a verdict: not while a trial waits in
    it, for which it would leave without a try being charged."""
    return mind.state == SERVING and (mind.record.trial is None or mind.on_trial)


def start_best(
    mind: Mind, world: World, *, without_trial: bool = False, output: tuple[str, ...] = ()
) -> tuple[Mind, list[Action]]:
    """Start the trial if it may be tried, else the best committed release.

    `output` is what the trial printed at its last end, should it be over now.
    """
    actions: list[Action] = []
    trial = mind.record.trial
    mind = mind._replace(resting=False)
    if trial is not None and not without_trial:
        why = boot_choice.cannot_try(trial, world, mind.charged)
        if why:
            mind, actions = reject(mind, why, output, world)
        elif mind.charged:
            mind = mind._replace(
                state=STARTING, running=trial.release, on_trial=True, was_ready=False
            )
            return mind, [Action("start", trial.release, trial.digest)]
        elif not verdicts.markers_wait(mind.todo):
            return charge(mind, mind.record, "start")
    name, notes = boot_choice.best(mind.record, world, mind.passed_over)
    actions += [Action("log", text=note) for note in notes]
    if name != mind.running:
        mind = mind._replace(failures=0)
    mind = mind._replace(state=STARTING, running=name, on_trial=False, was_ready=False)
    return mind, [*actions, Action("start", name, _digest(name, world))]


def _digest(name: str, world: World) -> str:
    release = boot_choice.look_up(name, world)
    return release.digest if release is not None else ""


def charge(mind: Mind, record: BootRecord, how: str) -> tuple[Mind, list[Action]]:
    """Ask for one try to be recorded as used; nothing is started before `charged` says it is."""
    trial = record.trial
    assert trial is not None  # noqa: S101 - every caller has just looked
    charged = record._replace(trial=trial._replace(tries_left=trial.tries_left - 1))
    return mind._replace(wanted=charged), [Action("charge", trial.release, text=how)]


def reject(
    mind: Mind, why: str, output: tuple[str, ...], world: World
) -> tuple[Mind, list[Action]]:
    """The trial is over: the verdict, and the last good release as current."""
    trial = mind.record.trial
    if trial is None:
        return mind, []
    record, marks = verdicts.rejected(mind.record, why, output, world)
    todo = verdicts.queued(mind.todo, *marks)
    mind = mind._replace(record=record, todo=todo, wanted=None, charged=False)
    return mind, [Action("log", text=f"{trial.release} is rejected: {why}")]
