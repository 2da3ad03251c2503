"""What an operation's record must say, from what the launcher decided. Pure.

The verdict comes first, the record second: a terminal phase is only ever computed from
`boot.json`, by whoever holds `operation.lock`, and so without a living helper.
"""

from __future__ import annotations

from hub_upgrade.domain.boot_record import BootRecord, Next, Verdict
from hub_upgrade.domain.operation import (
    FAILED,
    RESTARTING,
    ROLLBACK,
    SUCCEEDED,
    Operation,
    with_line,
    with_lines,
)
from hub_upgrade.domain.transitions import finish
from hub_upgrade.shapes import NamedTuple

OUTPUT_LINES = 50


class Unknown:
    """The answer of a file that is there and cannot be read: no answer."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN = Unknown()


class Running(NamedTuple):
    """The hub that runs: version, release directory (None for one outside of home), digest."""

    version: str
    release: str | None
    digest: str


class Settled(NamedTuple):
    """The record as it must read, and why; the very same record when nothing is to be said yet."""

    record: Operation | None
    why: str


def settle(
    record: Operation | None,
    boot: BootRecord | Unknown | None,
    nxt: Next | Unknown | None,
    running: Running | None,
    launcher_alive: bool,
    now: str,
    ended: str = "its helper ended before it was done",
) -> Settled:
    """The record as it must read now; the caller holds `operation.lock`, so no helper lives.

    `nxt` was read before `boot`: an operation travels from the one to the other. `ended` says
    why a preparation is over that nobody will finish.
    """
    if record is None or record.finished:
        return Settled(record, "there is nothing to settle")
    if isinstance(boot, Unknown):
        return Settled(record, "boot.json cannot be read, which is no answer")
    verdict = boot.verdict_on(record.operation_id) if boot is not None else None
    if verdict is not None:
        return Settled(_judged(record, verdict, boot, running, now), f"it was {verdict.verdict}")
    if record.is_managed:
        return Settled(record, "a helper goes on with it: it is proven, or put back")
    waiting = _waiting(record, boot, nxt)
    if waiting:
        return Settled(record, waiting if launcher_alive else f"{waiting}: {NEXT_START}")
    if boot is not None and boot.current is not None and boot.current == record.target_release:
        return Settled(_current_already(record, now), "its target is the current release")
    if record.phase == RESTARTING and boot is None:
        return Settled(record, f"boot.json is missing: {NEXT_START}")
    where = _where(boot, running) if record.is_of_pyz else _known(record.current_version)
    if record.phase == RESTARTING and boot is not None and boot.rebuilt != record.boot_rebuilt:
        error = f"outcome unknown: {where} runs (the launcher's record was lost, and made anew)"
        return Settled(finish(record, FAILED, now, error), "the verdict was lost")
    error = f"{ended}; nothing was changed" + (f", {where} runs on" if where else "")
    return Settled(finish(record, FAILED, now, error), "nobody will finish it")


NEXT_START = "decided at the next start"


def _waiting(record: Operation, boot: BootRecord | None, nxt: Next | Unknown | None) -> str:
    """Why it is still the launcher's turn, or nothing."""
    if isinstance(nxt, Unknown):
        return "next.json cannot be read, which is no answer"
    if nxt is not None and nxt.operation_id == record.operation_id:
        return "it is handed over"
    trial = boot.trial if boot is not None else None
    if trial is None:
        return ""
    if trial.operation_id == record.operation_id:
        return "its release is on trial"
    if trial.release == record.target_release:
        return "its target is on trial for another reason"
    return ""


def _judged(
    record: Operation,
    verdict: Verdict,
    boot: BootRecord | None,
    running: Running | None,
    now: str,
) -> Operation:
    record = record._replace(target_version=record.target_version or _version(verdict.release))
    if verdict.verdict == "committed":
        line = f"{_version(verdict.release)} is proven: {verdict.reason}"
        return finish(with_line(record, line), SUCCEEDED, now)
    back = _runs_instead(verdict, boot, running)
    what = "the rollback to" if record.kind == ROLLBACK else "the upgrade to"
    error = f"{what} {_version(verdict.release)} was taken back: {verdict.reason}"
    if back:
        error += f"; {back} runs"
    output = [f"| {line}" for line in verdict.output[-OUTPUT_LINES:]]
    if output:
        output.insert(0, f"the last lines that {_version(verdict.release)} printed:")
    return finish(with_lines(record, output), FAILED, now, error)._replace(
        rolled_back_to=back or record.current_version
    )


def _runs_instead(verdict: Verdict, boot: BootRecord | None, running: Running | None) -> str:
    """The version that runs, or, while the rejected one still does, the one that will."""
    judged = (verdict.digest, verdict.release)  # a rejected one may be wrong about its digest
    if running is not None and running.digest != judged[0] and running.release != judged[1]:
        return running.version
    return _version(boot.current) if boot is not None and boot.current else ""


def _current_already(record: Operation, now: str) -> Operation:
    line = f"{_version(record.target_release or '')} is the current release, and proven"
    return finish(with_line(record, line), SUCCEEDED, now)


def _where(boot: BootRecord | None, running: Running | None) -> str:
    if running is not None:
        return running.version
    return _version(boot.current) if boot is not None and boot.current else ""


def _known(version: str) -> str:
    return "" if version == Operation._field_defaults["current_version"] else version


def _version(release: str) -> str:
    """The version in a release's directory name."""
    return release.rpartition("-")[0] or release
