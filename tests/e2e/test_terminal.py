"""On a terminal: one line is written again and again, and in the end only what stays is there."""

from __future__ import annotations

import signal
import subprocess
import sys
import unittest

from tests.cli.terminal import Terminal
from tests.e2e.harness import environment, wait_for
from tests.e2e.transcripts import DIRECTORY, TranscriptCase, canonical


class TerminalTest(TranscriptCase):
    def run_on(self, terminal: Terminal, *argv: str, until: str = "", **env: str) -> int:
        """Run a command with this terminal for stdin, stdout and stderr; its exit code."""
        process = subprocess.Popen(
            [sys.executable, self.program, *argv], cwd=self.directory,
            env=environment(**{**self.env, "TERM": "xterm", **env}), stdin=terminal.slave,
            stdout=terminal.slave, stderr=terminal.slave, start_new_session=True,
        )  # fmt: skip
        self.addCleanup(terminal.close)
        interrupted = False

        def over() -> bool:
            nonlocal interrupted
            ended = process.poll() is not None
            terminal.read()
            if until and until in terminal.raw and not interrupted:
                interrupted = True
                process.send_signal(signal.SIGINT)
            return ended

        try:
            wait_for(over, "the end of the command")
        finally:
            process.kill()
        return process.wait()

    def test_an_upgrade_and_what_is_left_of_it_on_the_screen(self) -> None:
        self.publish_version("1.1.0")
        hub = self.hub().start()
        wide, narrow = Terminal(250), Terminal(16)
        self.assertEqual(0, self.run_on(wide, "upgrade"))
        self.assertIn("\r\x1b[Kpreflight 0:0", wide.raw)
        self.assertNotIn("\x1b[?", wide.raw)
        seen = "\n".join(["$ hub.pyz upgrade", *wide.screen(), "exit 0"])
        kept = (DIRECTORY / "hub-upgrade.txt").read_text(encoding="utf-8")
        self.assertEqual(canonical(kept), canonical(self.normal(seen)))
        self.assertEqual(0, self.run_on(narrow, "rollback"))
        self.assertIn("\r\x1b[Kpreflight 0:0", narrow.raw)
        plain = [line.strip() for line in narrow.screen() if line.startswith("Rolled")]
        self.assertEqual(["Rolled back: 1.1"], plain)
        self.assertFalse([row for row in narrow.screen() if row.endswith(" 0:01")])
        hub.stop()

    def test_ctrl_c_leaves_a_clean_line(self) -> None:
        self.publish_version("1.1.0")
        hub = self.hub().start()
        terminal = Terminal(100)
        self.assertEqual(130, self.run_on(terminal, "upgrade", until="\x1b[Kpreflight 0:0"))
        self.assertEqual("hub.pyz upgrade: the operation goes on; see: hub.pyz status",
                         terminal.screen()[-1])
        hub.finished()
        hub.stop()

    def test_colours_are_for_terminals_that_want_them(self) -> None:
        for env, coloured in (({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)):
            terminal = Terminal(200)
            self.run_on(terminal, "doctor", **env)
            self.assertEqual(coloured, "\x1b[32mok" in terminal.raw, env)
            self.assertTrue(any(row.startswith("ok ") for row in terminal.screen()))


if __name__ == "__main__":
    unittest.main()
