"""The legal moves of an operation, as data, and how long each step may take. Pure.

    pending -> running -> restarting -> succeeded | failed       (redeploy-required at once)
    accepted -> resolving -> staging -> verifying -> preflight -> handing-over -> proving

Of a managed hub:

    accepted -> resolving -> staging -> rewriting -> handing-over -> proving [-> reverting]

`backing-up` comes before `handing-over` or `rewriting` where there is something to be run then. A
rollback goes from `resolving` to `verifying`, or to `staging`, at once. A helper that takes up what
a dead one began starts again at `resolving`, or, once something was rewritten, goes on from there.
A finished record keeps the step at which it ended.
"""

from __future__ import annotations

from hub_upgrade.domain.operation import (
    ACCEPTED,
    BACKING_UP,
    FAILED,
    HANDING_OVER,
    PENDING,
    PREFLIGHT,
    PROVING,
    REDEPLOY_REQUIRED,
    RESOLVING,
    RESTARTING,
    REVERTING,
    REWRITING,
    RUNNING,
    STAGING,
    SUCCEEDED,
    VERIFYING,
    Operation,
)
from hub_upgrade.errors import IllegalTransitionError

NEXT_PHASE: dict[str, frozenset[str]] = {
    PENDING: frozenset({RUNNING, SUCCEEDED, FAILED, REDEPLOY_REQUIRED}),
    RUNNING: frozenset({RESTARTING, SUCCEEDED, FAILED}),
    RESTARTING: frozenset({SUCCEEDED, FAILED}),
    SUCCEEDED: frozenset(),
    FAILED: frozenset(),
    REDEPLOY_REQUIRED: frozenset(),
}

NEXT_STEP: dict[str, frozenset[str]] = {
    ACCEPTED: frozenset({RESOLVING}),
    RESOLVING: frozenset({RESOLVING, STAGING, VERIFYING, HANDING_OVER}),
    STAGING: frozenset({RESOLVING, VERIFYING, BACKING_UP, REWRITING}),
    VERIFYING: frozenset({RESOLVING, PREFLIGHT}),
    PREFLIGHT: frozenset({RESOLVING, BACKING_UP, HANDING_OVER}),
    BACKING_UP: frozenset({RESOLVING, REWRITING, HANDING_OVER}),
    REWRITING: frozenset({HANDING_OVER, REVERTING}),
    HANDING_OVER: frozenset({HANDING_OVER, PROVING, REVERTING}),
    PROVING: frozenset({PROVING, REVERTING}),
    REVERTING: frozenset({REVERTING}),
}

PHASES_OF_STEP = {
    ACCEPTED: (PENDING,),
    RESOLVING: (RUNNING,),
    STAGING: (RUNNING,),
    VERIFYING: (RUNNING,),
    PREFLIGHT: (RUNNING,),
    BACKING_UP: (RUNNING,),
    REWRITING: (RUNNING,),
    HANDING_OVER: (RESTARTING,),
    PROVING: (RESTARTING,),
    REVERTING: (RUNNING, RESTARTING),
}
"""A managed hub that was not restarted yet is taken back without a restart."""

LIMITS_S = {
    ACCEPTED: 30.0,
    RESOLVING: 120.0,
    STAGING: 900.0,
    VERIFYING: 60.0,
    PREFLIGHT: 150.0,
    BACKING_UP: 330.0,
    REWRITING: 2400.0,
    HANDING_OVER: 90.0,
    PROVING: 30.0,
    REVERTING: 2400.0,
}
"""Seconds a helper may spend in each step before the running hub ends it; where the settings say
how long something may take, the record does (`step_limit_s`). `proving` is the launcher's time,
not the helper's, who only has to leave; but a managed hub's is the helper's."""

WHOLE_LIMIT_S = int(sum(LIMITS_S.values()))
"""The helper's own alarm for all of it, for when no hub runs that could end it."""


def advance(
    operation: Operation, *, phase: str | None = None, step: str | None = None
) -> Operation:
    """The record one move further; raises IllegalTransitionError for a move that is not listed."""
    if phase is not None and phase != operation.phase:
        if phase not in NEXT_PHASE[operation.phase]:
            raise IllegalTransitionError(f"phase {operation.phase} -> {phase}")
        operation = operation._replace(phase=phase)
    if step is not None:
        if step not in NEXT_STEP[operation.step] or operation.phase not in PHASES_OF_STEP[step]:
            raise IllegalTransitionError(
                f"step {operation.step} -> {step} in phase {operation.phase}"
            )
        operation = operation._replace(step=step, progress=None, step_limit_s=None)
    return operation


def finish(operation: Operation, phase: str, now: str, error: str | None = None) -> Operation:
    """The terminal record; raises IllegalTransitionError for one that is terminal already."""
    return advance(operation, phase=phase)._replace(finished_at=now, error=error, progress=None)
