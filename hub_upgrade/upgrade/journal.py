"""The helper's side of the record: one durable write a step, lines of log gathered in between."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from hub_upgrade.domain.operation import LOG_LINES, Operation, Progress, with_lines
from hub_upgrade.domain.transitions import advance, finish
from hub_upgrade.errors import HostError
from hub_upgrade.host import files, processes
from hub_upgrade.host.operation_log import OperationLog
from hub_upgrade.shapes import Any
from hub_upgrade.upgrade.ports import Store

PROGRESS_EVERY_S = 1.0
"""A source may report every kilobyte; the record is written this often."""
LONGEST_REST = 65536
"""Bytes of a line without an end that are kept."""


class LostError(Exception):
    """The slot bears another operation, or this one has an end already: there is nothing to do."""


class Journal:
    """The one operation that this helper owns."""

    def __init__(self, operation: Operation, store: Store, log: OperationLog) -> None:
        self.operation = operation
        self._store = store
        self._log = log
        self._lines: list[str] = []
        self._progress_at = 0.0
        self._rest = b""
        started = processes.start_time(os.getpid())
        self._mine: dict[str, Any] = {"helper_pid": os.getpid(), "helper_start_time": started}

    def line(self, text: str) -> None:
        """One more line for people: into the log at once, into the record with the next step."""
        self._log.line(text)
        self._lines.append(text)

    def output(self, data: bytes) -> None:
        """What a tool prints: into the log at once, its lines into the record once a second."""
        self._log.write(data)
        *lines, self._rest = (self._rest + data)[-LONGEST_REST:].split(b"\n")
        self._lines += [f"| {_shown(line)}" for line in lines if line.strip()]
        del self._lines[:-LOG_LINES]
        self._noted(lambda record: record)

    def step(self, step: str, phase: str | None = None, **fields: Any) -> None:
        """Record a step before its act, and who is at it.

        Raises NotRecordedError or LostError: no act then.
        """
        self._log.line(f"step: {step}")
        lines, self._lines = self._lines, []

        def change(record: Operation) -> Operation:
            moved = advance(record, phase=phase, step=step)
            return with_lines(moved._replace(**self._mine, **fields), lines)

        self._update(change)

    def progress(self, done: int, total: int) -> None:
        """How far the step is; a report that cannot be written is dropped."""
        seen = Progress(done, total, "bytes")
        self._noted(lambda record: record._replace(progress=seen))

    def _noted(self, change: Callable[[Operation], Operation]) -> None:
        """What is worth a write once a second, and can do without one."""
        now = time.monotonic()
        if now - self._progress_at < PROGRESS_EVERY_S:
            return
        self._progress_at = now
        lines, self._lines = self._lines, []
        try:
            self._update(lambda record: with_lines(change(record), lines))
        except (HostError, LostError):  # a tool that runs must not be left by an exception
            self._lines = lines + self._lines

    def finish(self, phase: str, error: str | None = None, **fields: Any) -> None:
        """Record the end. Raises NotRecordedError or LostError: whoever settles writes it then."""
        self._log.line(f"{phase}: {error}" if error else phase)
        lines, self._lines = self._lines, []
        now = files.now_rfc3339()

        def change(record: Operation) -> Operation:
            return with_lines(finish(record, phase, now, error)._replace(**fields), lines)

        self._update(change)

    def _update(self, change: Any) -> None:
        written = self._store.update(self.operation.operation_id, change)
        if written is None:
            raise LostError
        self.operation = written


def _shown(line: bytes) -> str:
    """A line of a tool as it stands there in the end: without what it painted over."""
    return line.rstrip(b"\r").rpartition(b"\r")[2].decode("utf-8", "replace")
