"""One upgrade or rollback, and how it reads in the status file. Pure.

The status file is format 1 for ever: any object with an `operation_id` is a record, whatever is
missing or of the wrong type is defaulted, and what a later release added is passed over.
"""

from __future__ import annotations

from collections.abc import Mapping

from hub_upgrade.shapes import Any, NamedTuple

SCHEMA = 1

PENDING = "pending"
RUNNING = "running"
RESTARTING = "restarting"
SUCCEEDED = "succeeded"
FAILED = "failed"
REDEPLOY_REQUIRED = "redeploy-required"
PHASES = (PENDING, RUNNING, RESTARTING, SUCCEEDED, FAILED, REDEPLOY_REQUIRED)
TERMINAL = frozenset({SUCCEEDED, FAILED, REDEPLOY_REQUIRED})

ACCEPTED = "accepted"
RESOLVING = "resolving"
STAGING = "staging"
VERIFYING = "verifying"
PREFLIGHT = "preflight"
BACKING_UP = "backing-up"
REWRITING = "rewriting"
HANDING_OVER = "handing-over"
PROVING = "proving"
REVERTING = "reverting"
STEPS = (
    ACCEPTED, RESOLVING, STAGING, VERIFYING, PREFLIGHT, BACKING_UP, REWRITING, HANDING_OVER,
    PROVING, REVERTING,
)  # fmt: skip

UPGRADE = "upgrade"
ROLLBACK = "rollback"
KINDS = (UPGRADE, ROLLBACK)
IN_PLACE = "in-place"
MODES = (IN_PLACE, REDEPLOY_REQUIRED)
CHANNELS = ("latest", "rc")

PATH = (RESOLVING, STAGING, VERIFYING, PREFLIGHT, HANDING_OVER, PROVING)
MANAGED_PATH = (RESOLVING, STAGING, REWRITING, HANDING_OVER, PROVING)
"""The steps that every upgrade goes through, of `hub.pyz` and of a managed hub."""

LOG_LINES = 500
LOG_CHARACTERS = 2000
LOG_HEAD = 250
"""Of a log that is full the first lines stay, and the last: what goes is the middle."""
TEXT_CHARACTERS = 8000
EVIDENCE_LINES = 100

EXIT_CODES = {SUCCEEDED: 0, FAILED: 1, REDEPLOY_REQUIRED: 3}
EXIT_ROLLED_BACK = 5

_LEFT_OUT = ("[... ", " lines left out ...]")
_NO_TIME = "1970-01-01T00:00:00.000Z"


class Request(NamedTuple):
    """What was asked for: `version` is the exact one the operator named, if any; `itself` that
    `hub.pyz` is meant, and not the hub that it looks after."""

    version: str | None = None
    allow_downgrade: bool = False
    itself: bool = False


class Progress(NamedTuple):
    """How far a step is; `total` is None while it is not known."""

    done: int
    total: int | None
    unit: str


RELEASE, COMMIT, TREE, NOTHING = "release", "commit", "tree", "nothing"
"""Kinds of Undo."""


class Undo(NamedTuple):
    """What brings back the state before the act: for `pyz` the release that ran, for a managed
    hub the commit or the tree kept aside; NOTHING where the disk was not touched."""

    kind: str
    value: str


class Operation(NamedTuple):
    """The record of one operation; times are RFC 3339 in UTC.

    `boot_rebuilt` is the launcher's record's own `rebuilt` at the hand-over: another value later
    says that the record which could have borne the verdict was lost in between.

    Of a managed hub alone: `integrity` is the registry's value for what was installed, or the
    commit; `process` was the hub's process before the restart, and `command` tells its command line
    from others; `told` is the process that a helper may signal, None for nobody; `failure` says why
    it is being taken back; `place` is where it is installed (domain.install.Place, its fields in
    order), and `restarter` who restarts it (domain.restart.word_of): once something was rewritten,
    that cannot be found out any more. `install` is what section 1 of the contract calls the install
    source. `step_limit_s` is how long the present step
    may take, where the settings say so. `accepted_by` is a digest of which managed hub
    `hub.json` named, and where that tells its version, and in which field; () where nobody looked.
    """

    operation_id: str
    phase: str = PENDING
    kind: str = UPGRADE
    mode: str = IN_PLACE
    current_version: str = "unknown"
    target_version: str | None = None
    channel: str = "latest"
    log: tuple[str, ...] = ()
    started_at: str = _NO_TIME
    error: str | None = None
    finished_at: str | None = None
    request: Request = Request()
    step: str = ACCEPTED
    progress: Progress | None = None
    source: str = "pyz"
    reason: str = ""
    evidence: tuple[str, ...] = ()
    undo: Undo | None = None
    rolled_back_to: str | None = None
    requested_by: str = ""
    helper_pid: int | None = None
    helper_start_time: str | None = None
    updated_at: str = _NO_TIME
    schema: int = SCHEMA
    current_release: str | None = None
    target_release: str | None = None
    target_digest: str | None = None
    boot_rebuilt: str | None = None
    integrity: str | None = None
    process: str | None = None
    told: str | None = None
    command: str | None = None
    failure: str | None = None
    install: str | None = None
    place: tuple[str, ...] = ()
    step_limit_s: int | None = None
    restarter: str | None = None
    accepted_by: tuple[str, ...] = ()

    @property
    def is_managed(self) -> bool:
        """Whether something of a managed hub is rewritten, or may be: a helper goes on with it."""
        if self.undo is None:
            return self.is_of_another
        return self.undo.kind != RELEASE

    @property
    def is_of_another(self) -> bool:
        """Whether another program's helper has asked for the restart: it knows of no steps."""
        ours = self.step != ACCEPTED or self.target_release is not None
        return self.phase == RESTARTING and not ours

    @property
    def hub_pid(self) -> int:
        """Whom a helper that goes on with it may signal; 0 for nobody."""
        pid = (self.told or "").partition(":")[0]
        return int(pid[:10]) if pid.isascii() and pid.isdigit() else 0

    @property
    def is_of_pyz(self) -> bool:
        """Whether it is about `hub.pyz` itself, as far as the record says."""
        return self.install == "pyz" or (self.install is None and self.current_release is not None)

    @property
    def finished(self) -> bool:
        """Whether the record is terminal: it never changes again."""
        return self.phase in TERMINAL

    @property
    def exit_code(self) -> int | None:
        """The command line's exit code for a finished operation, else None."""
        if self.phase == FAILED and self.rolled_back_to is not None:
            return EXIT_ROLLED_BACK
        return EXIT_CODES.get(self.phase)


_ABSENT_WHEN_NONE = frozenset(
    {"error", "finished_at", "progress", "undo", "rolled_back_to", "helper_pid",
     "helper_start_time", "current_release", "target_release", "target_digest", "boot_rebuilt",
     "integrity", "process", "told", "command", "failure", "install", "step_limit_s",
     "restarter"}
)  # fmt: skip
_ABSENT_WHEN_EMPTY = ("place", "accepted_by")


def to_wire(operation: Operation) -> dict[str, Any]:
    """The status object; what does not apply is left out, but `target_version` is always there."""
    wire: dict[str, Any] = {}
    for name, value in operation._asdict().items():
        empty = name in _ABSENT_WHEN_EMPTY and not value
        if empty or (value is None and name in _ABSENT_WHEN_NONE):
            continue
        wire[name] = _plain(value)
    return wire


def _plain(value: Any) -> Any:
    if isinstance(value, Request):
        own = {"self": True} if value.itself else {}
        return {"version": value.version, "allow_downgrade": value.allow_downgrade, **own}
    if isinstance(value, (Progress, Undo)):
        return value._asdict()
    return list(value) if isinstance(value, tuple) else value


def from_wire(raw: object) -> Operation | None:
    """The record in a status file's value, or None if it is not one; never raises."""
    if not isinstance(raw, Mapping):
        return None
    operation_id = _text(raw, "operation_id")
    if operation_id is None:
        return None
    default = Operation(operation_id)
    return Operation(
        operation_id=operation_id,
        phase=_one_of(raw, "phase", PHASES, default.phase),
        kind=_one_of(raw, "kind", KINDS, default.kind),
        mode=_one_of(raw, "mode", MODES, default.mode),
        current_version=_text(raw, "current_version") or default.current_version,
        target_version=_text(raw, "target_version"),
        channel=_one_of(raw, "channel", CHANNELS, default.channel),
        log=_bounded(_lines(raw, "log")),
        started_at=_text(raw, "started_at") or default.started_at,
        error=_text(raw, "error"),
        finished_at=_text(raw, "finished_at"),
        request=_request(raw.get("request")),
        step=_one_of(raw, "step", STEPS, default.step),
        progress=_progress(raw.get("progress")),
        source=_text(raw, "source") or default.source,
        reason=_text(raw, "reason") or default.reason,
        evidence=_lines(raw, "evidence")[:EVIDENCE_LINES],
        undo=_undo(raw.get("undo")),
        rolled_back_to=_text(raw, "rolled_back_to"),
        requested_by=_text(raw, "requested_by") or default.requested_by,
        helper_pid=_number(raw.get("helper_pid")),
        helper_start_time=_text(raw, "helper_start_time"),
        updated_at=_text(raw, "updated_at") or default.updated_at,
        schema=_number(raw.get("schema")) or default.schema,
        current_release=_text(raw, "current_release"),
        target_release=_text(raw, "target_release"),
        target_digest=_text(raw, "target_digest"),
        boot_rebuilt=_text(raw, "boot_rebuilt"),
        integrity=_text(raw, "integrity"),
        process=_text(raw, "process"),
        told=_text(raw, "told"),
        command=_text(raw, "command"),
        failure=_text(raw, "failure"),
        install=_text(raw, "install"),
        place=_lines(raw, "place"),
        step_limit_s=_number(raw.get("step_limit_s")),
        restarter=_text(raw, "restarter"),
        accepted_by=_lines(raw, "accepted_by"),
    )


def _text(raw: Mapping[str, Any], name: str) -> str | None:
    value = raw.get(name)
    return value[:TEXT_CHARACTERS] if isinstance(value, str) and value else None


def _one_of(raw: Mapping[str, Any], name: str, allowed: tuple[str, ...], default: str) -> str:
    value = raw.get(name)
    return value if isinstance(value, str) and value in allowed else default


def _number(value: Any) -> int | None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return value if whole and 0 <= value < 1 << 53 else None


def _lines(raw: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = raw.get(name)
    lines = value if isinstance(value, list) else []
    return tuple(line[:LOG_CHARACTERS] for line in lines if isinstance(line, str))


def _request(raw: Any) -> Request:
    if not isinstance(raw, Mapping):
        return Request()
    downgrade, itself = raw.get("allow_downgrade") is True, raw.get("self") is True
    return Request(_text(raw, "version"), downgrade, itself)


def _progress(raw: Any) -> Progress | None:
    if not isinstance(raw, Mapping):
        return None
    done = _number(raw.get("done"))
    if done is None:
        return None
    return Progress(done, _number(raw.get("total")), _text(raw, "unit") or "bytes")


def _undo(raw: Any) -> Undo | None:
    if not isinstance(raw, Mapping):
        return None
    kind, value = _text(raw, "kind"), _text(raw, "value")
    return Undo(kind, value) if kind and value else None


def _left_out(line: str) -> int:
    """How many lines a marker stands for; 0 if it is none."""
    before, after = _LEFT_OUT
    number = line[len(before) : -len(after)]
    marked = line.startswith(before) and line.endswith(after) and number.isdigit()
    return int(number) if marked and len(number) < 16 else 0


def _bounded(lines: tuple[str, ...]) -> tuple[str, ...]:
    if len(lines) <= LOG_LINES:
        return lines
    head, rest = lines[:LOG_HEAD], lines[LOG_HEAD:]
    gone = _left_out(rest[0])
    if gone:
        rest = rest[1:]
    room = LOG_LINES - LOG_HEAD - 1
    gone += len(rest) - room
    return (*head, f"{gone}".join(_LEFT_OUT), *rest[-room:])


def with_line(operation: Operation, line: str) -> Operation:
    """The record with one more line of log, within the bounds; several lines stay several."""
    return with_lines(operation, line.splitlines() or [""])


def with_lines(operation: Operation, lines: list[str] | tuple[str, ...]) -> Operation:
    """The record with more lines of log, within the bounds."""
    short = tuple(line[:LOG_CHARACTERS] for line in lines)
    return operation._replace(log=_bounded((*operation.log, *short)))
