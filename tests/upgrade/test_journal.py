"""A helper's record and log beside a tool that prints without end."""

from __future__ import annotations

import os
import tempfile
import unittest
from typing import Any
from unittest import mock

from hub_upgrade.domain import operation as op
from hub_upgrade.domain.operation import LOG_CHARACTERS, LOG_LINES, Operation
from hub_upgrade.host.operation_log import LOG_BYTES, OperationLog
from hub_upgrade.upgrade import journal
from hub_upgrade.upgrade.journal import LONGEST_REST, Journal

PIECE = 65536
LINES = 4000
OPERATION = Operation("1", op.RUNNING, step=op.STAGING)


class Slot:
    """The record, and how often it was written."""

    def __init__(self) -> None:
        self.record = OPERATION
        self.writes = 0

    def update(self, _operation_id: str, change: Any) -> Operation:
        self.record, self.writes = change(self.record), self.writes + 1
        return self.record


class ANoisyTool(unittest.TestCase):
    def setUp(self) -> None:
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.path = os.path.join(holder.name, "log")
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.addCleanup(os.close, descriptor)
        self.slot = Slot()
        self.journal = Journal(self.slot.record, self.slot, OperationLog(descriptor))  # type: ignore[arg-type]
        self.now = 1000.0
        clock = mock.patch(f"{journal.__name__}.time.monotonic", lambda: self.now)
        clock.start()
        self.addCleanup(clock.stop)

    def prints(self, data: bytes, every_s: float) -> float:
        """In pieces, so far apart; how long it took."""
        begun = self.now
        for start in range(0, len(data), PIECE):
            self.now += every_s
            self.journal.output(data[start : start + PIECE])
        return self.now - begun

    def test_costs_a_write_a_second_and_leaves_a_bounded_record_and_log(self) -> None:
        self.journal.line("first")
        self.journal.step(op.REWRITING)
        lines = b"".join(b"%d %s\n" % (number, b"x" * 3000) for number in range(LINES))
        took_s = self.prints(lines + b"y" * (6 << 20), 0.1)
        self.assertGreater(took_s, 20)
        self.assertLessEqual(self.slot.writes, 2 + took_s)
        self.journal.finish(op.FAILED, "why")
        log = self.slot.record.log
        self.assertEqual((len(log), log[0]), (LOG_LINES, "first"))
        self.assertEqual(max(map(len, log)), LOG_CHARACTERS)
        shown = "\n".join(log)
        self.assertIn("| 0 xxx", shown)
        self.assertIn(f"| {LINES - 1} xxx", shown)
        self.assertNotIn(f"| {LINES // 2} xxx", shown)
        self.assertEqual(os.path.getsize(self.path), LOG_BYTES)

    def test_a_line_without_an_end_is_not_held_whole(self) -> None:
        self.prints(b"y" * (6 << 20), 0.0)
        self.assertLessEqual(len(self.journal._rest), LONGEST_REST)
        self.prints(b"\nlast\n", 10.0)
        *_, long, last = self.slot.record.log
        self.assertEqual((len(long), last), (LOG_CHARACTERS, "| last"))

    def test_a_tool_of_many_short_lines_between_two_writes_is_not_held_whole(self) -> None:
        self.prints(b"one of many\n" * 200_000, 0.0)
        self.assertLessEqual(len(self.journal._lines), LOG_LINES)


if __name__ == "__main__":
    unittest.main()
