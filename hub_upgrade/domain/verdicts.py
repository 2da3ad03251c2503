"""A trial's verdict: the record as it reads afterwards, and the markers to be written before it.

The order is law. On a commit an old `.bad` mark goes, then comes the `good` marker, then the
record: what bears both marks is bad for whoever makes a lost record anew. On a rejection and on a
rollback the `good` marker of what is left goes, then comes its `.bad` mark, then the record.
"""

from __future__ import annotations

from hub_upgrade.domain.boot_choice import (
    World,
    digest_of,
    heir,
    is_rejected,
    look_up,
    lower_good,
    plus,
    without,
)
from hub_upgrade.domain.boot_record import BootRecord, Trial, Verdict
from hub_upgrade.shapes import NamedTuple

MOST_VERDICTS = 20


class Action(NamedTuple):
    """Something to do. Verbs: charge, start, tell, end, kill, signal, backoff, puzzle, log, exit;
    and in `Mind.todo`: good, unmark, bad, unbad, record."""

    verb: str
    release: str = ""
    digest: str = ""
    text: str = ""


RECORD = Action("record")


def queued(todo: tuple[Action, ...], *actions: Action) -> tuple[Action, ...]:
    """The queue with these at its end, and the record last of all: it follows every marker."""
    rest = [action for action in todo if action not in actions and action != RECORD]
    return (*rest, *(action for action in actions if action != RECORD), RECORD)


def markers_wait(todo: tuple[Action, ...]) -> bool:
    """Whether the record may not be written yet, because a marker must come before it."""
    return any(action != RECORD for action in todo)


def committed(record: BootRecord, world: World) -> tuple[BootRecord, tuple[Action, ...]]:
    """The trial is current from now on; a rollback rejects what it left."""
    trial = record.trial
    assert trial is not None  # noqa: S101 - the caller has just looked
    marks = [Action("unbad", trial.release), Action("good", trial.release, trial.digest)]
    rejected = without(record.rejected, trial.digest)
    left = record.current
    if trial.kind == "rollback" and left and left != trial.release:
        digest = digest_of(left, record, world)
        marks.append(Action("unmark", left))
        if digest:
            marks.append(Action("bad", left, digest))
            rejected = plus(rejected, digest)
        previous = lower_good(trial.release, left, rejected, world)
    else:
        previous = _previous(trial, record, rejected, world)
    record = record._replace(
        current=trial.release, previous=previous, trial=None, rejected=rejected
    )
    return with_verdict(record, trial, "committed", "healthy", world), tuple(marks)


def _previous(
    trial: Trial, record: BootRecord, rejected: tuple[str, ...], world: World
) -> str | None:
    for name in (record.current, record.previous):
        whole = look_up(name, world) is not None
        if name and whole and name != trial.release and not is_rejected(name, rejected):
            return name
    return lower_good(trial.release, None, rejected, world)


def rejected(
    record: BootRecord, why: str, output: tuple[str, ...], world: World
) -> tuple[BootRecord, tuple[Action, ...]]:
    """The trial is over, and not tried again until it is named; a current one is so no longer."""
    trial = record.trial
    assert trial is not None  # noqa: S101 - the caller has just looked
    marks = [Action("bad", trial.release, trial.digest)]
    if trial.release != record.current:
        marks.insert(0, Action("unmark", trial.release))
    after = record._replace(trial=None, rejected=plus(record.rejected, trial.digest))
    if trial.release == after.current:
        after = after._replace(current=heir(after, world))
        after = after._replace(previous=None)
        after = after._replace(
            previous=lower_good(after.current or "", trial.release, after.rejected, world)
        )
    elif trial.release == after.previous:
        lower = lower_good(after.current or "", trial.release, after.rejected, world)
        after = after._replace(previous=lower)
    return with_verdict(after, trial, "rejected", why, world, output), tuple(marks)


def with_verdict(
    record: BootRecord, trial: Trial, word: str, why: str, world: World,
    output: tuple[str, ...] = (),
) -> BootRecord:  # fmt: skip
    """The record with one more verdict; a factory's has no operation that would ask for it."""
    if trial.operation_id is None:
        return record
    verdict = Verdict(
        trial.operation_id, word, trial.release, trial.digest, why, world.now, output
    )
    return record._replace(verdicts=(*record.verdicts, verdict)[-MOST_VERDICTS:])
