"""The log: one line an event, whatever stands in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import unittest
from pathlib import Path
from unittest import mock

from hub_upgrade.host import log

ROOT = Path(__file__).resolve().parent.parent.parent


class LogTest(unittest.TestCase):
    def line(self, text: str, form: str, **more: str) -> str:
        with mock.patch.dict(os.environ, {log.FORMAT_VARIABLE: form}):
            return log.line("hub", text, log.INFO, more).decode()

    def test_a_line_of_text_says_who_and_what(self) -> None:
        self.assertEqual("hub: it serves\n", self.line("it serves", "text"))

    def test_a_line_of_json_says_when_too_and_bears_its_fields(self) -> None:
        value = json.loads(self.line("it ended", "json", operation_id="7"))
        self.assertRegex(value.pop("time"), r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\Z")
        wanted = {"level": "info", "source": "hub", "message": "it ended", "operation_id": "7"}
        self.assertEqual(wanted, value)

    def test_nothing_makes_a_second_line_or_moves_a_cursor(self) -> None:
        for form in log.FORMATS:
            line = self.line("a\nhub: b\r\x1b[2J\u2028\x85\0c\udcff", form)
            self.assertEqual(1, len(line.splitlines()), form)
            self.assertFalse(set(line) & {"\x1b", "\0", "\r"}, form)

    def test_a_line_is_bounded_and_json_stays_json(self) -> None:
        for text in ("x" * 100_000, "ü" * 100_000, "\x1b" * 100_000, '"' * 100_000):
            self.assertLessEqual(len(self.line(text, "text").encode()), log.PIPE_BUF)
            line = self.line(text, "json", field="y" * 100_000)
            self.assertLessEqual(len(line.encode()), log.PIPE_BUF)
            self.assertTrue(json.loads(line)["message"])

    def test_a_line_of_another_process_is_passed_on_or_wrapped(self) -> None:
        with mock.patch.dict(os.environ, {log.FORMAT_VARIABLE: "json"}):
            own = log.line("hub", "it serves", log.INFO, {"version": "1"})
            self.assertEqual(own, log.relayed(own[:-1]))
            for printed in (
                b"Traceback (most recent call last):", b'{"time":', b'{"time":"x"}', b"[1]", b"{}",
                b'{"time":1,"message":2}', b'{"time":' * 9000, b"\xff\x1b[2J", own + b"x" * 9000,
            ):  # fmt: skip
                line = log.relayed(printed).decode()
                value = json.loads(line)
                self.assertEqual(("hub", "warning"), (value["source"], value["level"]))
                self.assertEqual(1, line.count("\n"))
                self.assertLessEqual(len(line), log.PIPE_BUF)
            self.assertEqual([b"", b""], [log.relayed(b""), log.relayed(b" \t")])

    def test_a_closed_or_full_stderr_is_no_reason_to_stop_or_to_wait(self) -> None:
        code = "from hub_upgrade.host import log\nfor _ in range(40): log.say('hub', 'x' * 3000)\n"
        reader, writer = os.pipe()
        for stderr in (writer, None):
            preface = "" if stderr else "import os; os.close(2)\n"
            done = subprocess.run(
                [sys.executable, "-c", f"{preface}{code}print('done')"],
                cwd=ROOT, stdout=subprocess.PIPE, stderr=stderr, check=False, timeout=60,
            )  # fmt: skip
            self.assertEqual(b"done\n", done.stdout)
        os.close(reader)
        os.close(writer)


if __name__ == "__main__":
    unittest.main()
