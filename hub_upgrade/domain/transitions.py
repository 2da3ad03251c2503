"""The legal moves of an operation, as data, and how long each step may take. Pure.

    pending -> running -> restarting -> succeeded | failed       (redeploy-required at once)
    accepted -> resolving -> staging -> verifying -> preflight -> handing-over -> proving

A rollback goes from `resolving` to `verifying` at once. A helper that takes up what a dead one
began starts again at `resolving`. A finished record keeps the step at which it ended.
"""

from __future__ import annotations

from hub_upgrade.domain.operation import (
    ACCEPTED,
    FAILED,
    HANDING_OVER,
    PENDING,
    PREFLIGHT,
    PROVING,
    REDEPLOY_REQUIRED,
    RESOLVING,
    RESTARTING,
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
    RESOLVING: frozenset({RESOLVING, STAGING, VERIFYING}),
    STAGING: frozenset({RESOLVING, VERIFYING}),
    VERIFYING: frozenset({RESOLVING, PREFLIGHT}),
    PREFLIGHT: frozenset({RESOLVING, HANDING_OVER}),
    HANDING_OVER: frozenset({PROVING}),
    PROVING: frozenset(),
}

PHASE_OF_STEP = {
    ACCEPTED: PENDING,
    RESOLVING: RUNNING,
    STAGING: RUNNING,
    VERIFYING: RUNNING,
    PREFLIGHT: RUNNING,
    HANDING_OVER: RESTARTING,
    PROVING: RESTARTING,
}

LIMITS_S = {
    ACCEPTED: 30.0,
    RESOLVING: 120.0,
    STAGING: 900.0,
    VERIFYING: 60.0,
    PREFLIGHT: 150.0,
    HANDING_OVER: 90.0,
    PROVING: 30.0,
}
"""Seconds a helper may spend in each step before the running hub ends it. `proving` is the
launcher's time, not the helper's, who only has to leave."""

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
        if step not in NEXT_STEP[operation.step] or PHASE_OF_STEP[step] != operation.phase:
            raise IllegalTransitionError(
                f"step {operation.step} -> {step} in phase {operation.phase}"
            )
        operation = operation._replace(step=step, progress=None)
    return operation


def finish(operation: Operation, phase: str, now: str, error: str | None = None) -> Operation:
    """The terminal record; raises IllegalTransitionError for one that is terminal already."""
    return advance(operation, phase=phase)._replace(finished_at=now, error=error, progress=None)
