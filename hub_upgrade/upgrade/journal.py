"""The helper's side of the record: one durable write a step, lines of log gathered in between."""

from __future__ import annotations

import time

from hub_upgrade.domain.operation import Operation, Progress, with_lines
from hub_upgrade.domain.transitions import advance, finish
from hub_upgrade.errors import HostError
from hub_upgrade.host import files
from hub_upgrade.host.operation_log import OperationLog
from hub_upgrade.shapes import Any
from hub_upgrade.upgrade.ports import Store

PROGRESS_EVERY_S = 1.0
"""A source may report every kilobyte; the record is written this often."""


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

    def line(self, text: str) -> None:
        """One more line for people: into the log at once, into the record with the next step."""
        self._log.line(text)
        self._lines.append(text)

    def step(self, step: str, phase: str | None = None, **fields: Any) -> None:
        """Record a step before its act. Raises NotRecordedError or LostError: no act then."""
        self._log.line(f"step: {step}")
        lines, self._lines = self._lines, []

        def change(record: Operation) -> Operation:
            moved = advance(record, phase=phase, step=step)
            return with_lines(moved._replace(**fields), lines)

        self._update(change)

    def progress(self, done: int, total: int) -> None:
        """How far the step is; a report that cannot be written is dropped."""
        now = time.monotonic()
        if now - self._progress_at < PROGRESS_EVERY_S:
            return
        self._progress_at = now
        seen = Progress(done, total, "bytes")
        try:
            self._update(lambda record: record._replace(progress=seen))
        except HostError:
            pass

    def finish(self, phase: str, error: str | None = None) -> None:
        """Record the end. Raises NotRecordedError or LostError: whoever settles writes it then."""
        self._log.line(f"{phase}: {error}" if error else phase)
        lines, self._lines = self._lines, []
        now = files.now_rfc3339()
        self._update(lambda record: with_lines(finish(record, phase, now, error), lines))

    def _update(self, change: Any) -> None:
        written = self._store.update(self.operation.operation_id, change)
        if written is None:
            raise LostError
        self.operation = written
