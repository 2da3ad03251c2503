"""Tools, run to their end within a time."""

from __future__ import annotations

import sys
import time
import unittest

from hub_upgrade.host import commands, processes
from hub_upgrade.host.commands import run

PYTHON = [sys.executable, "-S", "-c"]


class Run(unittest.TestCase):
    def test_status_and_both_outputs_come_back(self) -> None:
        code = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(7)"
        result = run([*PYTHON, code], 10)
        self.assertEqual(result, (7, b"out\n", b"err\n"))
        self.assertEqual(result.last_line(), "err")

    def test_a_missing_tool_is_127_and_one_sentence(self) -> None:
        result = run(["/no/such/tool"], 10)
        self.assertEqual(result.status, 127)
        self.assertIn("/no/such/tool cannot be run", result.last_line())

    def test_a_tool_over_its_time_is_killed_with_its_group(self) -> None:
        started = time.monotonic()
        result = run(["/bin/sh", "-c", "sleep 60 & echo $!; wait"], 0.3)
        self.assertIsNone(result.status)
        self.assertLess(time.monotonic() - started, 5)
        child = int(result.stdout)
        deadline = time.monotonic() + 5
        while processes.start_time(child) is not None:
            self.assertLess(time.monotonic(), deadline, "a grandchild lives on")
            time.sleep(0.01)

    def test_a_grandchild_that_holds_the_pipes_does_not_hold_us(self) -> None:
        started = time.monotonic()
        result = run(["/bin/sh", "-c", "sleep 60 & echo done"], 30)
        self.assertEqual((result.status, result.stdout), (0, b"done\n"))
        self.assertLess(time.monotonic() - started, 5)

    def test_a_tool_that_outlives_its_caller_ends_all_the_same(self) -> None:
        left = run([*PYTHON, "import signal; print(signal.alarm(0))"], 20).stdout
        self.assertIn(int(left), range(1, 23))

    def test_output_is_bounded_and_the_sink_gets_it_all(self) -> None:
        pieces: list[int] = []
        code = "import sys; sys.stdout.write('x' * 3000000); print('end')"
        result = run([*PYTHON, code], 20, sink=lambda piece: pieces.append(len(piece)))
        self.assertEqual(len(result.stdout), commands.OUTPUT_BYTES)
        self.assertTrue(result.stdout.endswith(b"end\n"))
        self.assertEqual(sum(pieces), 3000004)

    def test_a_tool_reads_nothing_and_gets_the_environment_it_is_given(self) -> None:
        code = "import os, sys; print(repr(sys.stdin.read()), os.environ.get('A'))"
        self.assertEqual(run([*PYTHON, code], 10, {"A": "b"}).stdout, b"'' b\n")


if __name__ == "__main__":
    unittest.main()
