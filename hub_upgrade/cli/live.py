"""Lines that stay, and, on a terminal, one below them that is written again and again.

The cursor is never hidden and stands at the end of that line: whoever is killed leaves a terminal
as it was.
"""

from __future__ import annotations

import os
import sys

from hub_upgrade.cli import entry
from hub_upgrade.shapes import Any

ERASE = "\r\x1b[K"
DEFAULT_WIDTH = 80
COLOURS = {"ok": "32", "warning": "33", "problem": "31"}


def is_terminal(stream: Any) -> bool:
    """Whether a line on it can be written again."""
    return bool(stream.isatty()) and os.environ.get("TERM", "dumb") != "dumb"


def coloured(word: str) -> str:
    """A word of judgement in its colour, where stdout takes colours and nobody said NO_COLOR."""
    if os.environ.get("NO_COLOR") or not is_terminal(sys.stdout):
        return word
    return f"\x1b[{COLOURS[word.strip()]}m{word}\x1b[0m"


class Screen:
    """Where an operation is told; `quiet` for when a program reads."""

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._live = not quiet and is_terminal(sys.stdout)
        self._shown = ""

    def say(self, line: str) -> None:
        """One line that stays."""
        self.clear()
        if not self._quiet:
            print(entry.printable(line), flush=True)

    def show(self, forms: list[str]) -> None:
        """Write the live line again: the first form that fits, else what fits of the last."""
        if self._live:
            room = self._width() - 1  # a full line would wrap, and could not be taken back
            text = next((form for form in forms if len(form) <= room), forms[-1][:room])
            if text != self._shown:
                sys.stdout.write(f"{ERASE}{text}")
                sys.stdout.flush()
                self._shown = text

    def clear(self) -> None:
        """Take the live line away; safe to call at any time."""
        if self._shown:
            self._shown = ""
            sys.stdout.write(ERASE)
            sys.stdout.flush()

    @staticmethod
    def _width() -> int:
        try:
            return os.get_terminal_size(sys.stdout.fileno()).columns or DEFAULT_WIDTH
        except OSError:
            return DEFAULT_WIDTH
