"""The live line on a real terminal: it fits, and it leaves nothing behind."""

from __future__ import annotations

import contextlib
import io
import os
import unittest
from unittest import mock

from hub_upgrade.cli import follow, live
from hub_upgrade.cli.live import Screen
from hub_upgrade.domain.operation import SUCCEEDED, Operation, Progress
from tests.cli.terminal import Terminal

START = Operation("an-id", started_at="not a time")
LONG = "a line that a tool printed, and that is longer than any terminal here is wide: " + "x" * 150
STORY = (
    START,
    START._replace(step="resolving"),
    START._replace(step="staging", log=("one",)),
    START._replace(step="staging", log=("one",), progress=Progress(100_000, 400_000, "bytes")),
    START._replace(step="staging", log=("one",), progress=Progress(400_000, 400_000, "bytes")),
    START._replace(step="verifying", log=("one", LONG)),
    START._replace(step="proving", log=("one", LONG, "two \x1b[31mred\x07")),
    START._replace(step="proving", phase=SUCCEEDED, log=("one", LONG, "two \x1b[31mred\x07")),
)
WIDTHS = (1, 2, 12, 20, 40, 80, 132, 300)


def tell(story: tuple[Operation, ...]) -> None:
    teller = follow.Teller(Screen())
    for record in story:
        teller.tell(record)
    teller.close()


def plain() -> list[str]:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        tell(STORY)
    return out.getvalue().splitlines()


class LiveTest(unittest.TestCase):
    def setUp(self) -> None:
        patch = mock.patch.dict(os.environ, {"TERM": "xterm"})
        patch.start()
        self.addCleanup(patch.stop)
        os.environ.pop("NO_COLOR", None)

    def terminal(self, columns: int) -> Terminal:
        made = Terminal(columns)
        self.addCleanup(made.close)
        return made

    def test_in_the_end_only_the_plain_lines_stand_there_at_any_width(self) -> None:
        expected = plain()
        for width in WIDTHS:
            terminal = self.terminal(width)
            with terminal.as_stdout():
                tell(STORY)
            rows = [
                line[start : start + width].rstrip()
                for line in expected
                for start in range(0, len(line), width)
            ]
            self.assertEqual(rows, terminal.screen(), width)
            self.assertEqual(0, terminal.column, width)

    def test_the_live_line_never_wraps(self) -> None:
        record = START._replace(step="handing-over", progress=Progress(1, 3, "files"))
        for width in WIDTHS:
            terminal = self.terminal(width)
            with terminal.as_stdout():
                screen = Screen()
                screen.show(follow.now(record))
            self.assertEqual((0, 1), (terminal.wrapped, len(terminal.rows)), width)
            self.assertTrue("handing-over".startswith(terminal.rows[0][:12]), terminal.rows)

    def test_it_tells_step_bar_part_and_time_as_far_as_there_is_room(self) -> None:
        record = START._replace(step="staging", progress=Progress(100_000, 400_000, "bytes"))
        with mock.patch.object(follow, "elapsed", return_value="1:05"):
            forms = follow.now(record)
        self.assertEqual(
            ["staging [#####---------------] 25% of 400 kB 1:05", "staging 25% of 400 kB 1:05",
             "staging 1:05", "staging"], forms,
        )
        for width, seen in ((80, forms[0]), (30, forms[1]), (20, forms[2]), (10, forms[3])):
            terminal = self.terminal(width)
            with terminal.as_stdout():
                Screen().show(forms)
            self.assertEqual([seen], terminal.screen())

    def test_how_much_is_told_where_nobody_knows_how_much_there_is(self) -> None:
        record = START._replace(step="staging", progress=Progress(2_000, None, "bytes"))
        self.assertEqual("staging 2 kB", follow.now(record)[0])

    def test_the_cursor_is_never_hidden_and_what_a_tool_printed_is_not_obeyed(self) -> None:
        terminal = self.terminal(80)
        with terminal.as_stdout():
            tell(STORY)
        self.assertNotIn("\x1b[?", terminal.raw)
        self.assertNotIn("\x1b[31m", terminal.raw)
        self.assertNotIn("\x07", terminal.raw)

    def test_a_dumb_terminal_and_one_without_a_name_get_plain_lines(self) -> None:
        for term in ("dumb", None):
            with mock.patch.dict(os.environ):
                os.environ.pop("TERM")
                if term:
                    os.environ["TERM"] = term
                terminal = self.terminal(80)
                with terminal.as_stdout():
                    tell(STORY)
                self.assertNotIn("\x1b", terminal.raw)

    def test_where_no_terminal_is_nothing_is_rewritten(self) -> None:
        self.assertFalse([line for line in plain() if "\r" in line or "\x1b" in line])

    def test_colours_are_for_terminals_and_not_for_who_says_no_color(self) -> None:
        self.assertEqual("ok", live.coloured("ok"))
        with self.terminal(80).as_stdout():
            self.assertEqual("\x1b[32mok\x1b[0m", live.coloured("ok"))
            with mock.patch.dict(os.environ, {"NO_COLOR": "1"}):
                self.assertEqual("ok", live.coloured("ok"))
            with mock.patch.dict(os.environ, {"NO_COLOR": ""}):
                self.assertNotEqual("ok", live.coloured("ok"))

    def test_elapsed_is_by_the_record_s_own_time_and_never_negative(self) -> None:
        self.assertEqual("0:00", follow.elapsed("2999-01-01T00:00:00.000Z"))
        self.assertRegex(follow.elapsed("2026-01-01T00:00:00.000Z"), r"\A\d+:\d\d\Z")
        for text in ("", "nonsense", "2026-01-01"):
            self.assertEqual("", follow.elapsed(text))


if __name__ == "__main__":
    unittest.main()
