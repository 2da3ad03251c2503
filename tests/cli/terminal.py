"""A terminal of a given width: a real pty, and what is to be seen on its screen."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import struct
import termios
from collections.abc import Iterator

PIECES = re.compile(r"\x1b\[K|\x1b\[[0-9;]*m|[\r\n]|[^\x1b\r\n]+|\x1b")


class Terminal:
    """Both ends of a pty, and the rows that were written to it."""

    def __init__(self, columns: int) -> None:
        self.columns = columns
        self.master, self.slave = pty.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        os.set_blocking(self.master, False)
        self.raw = ""
        self.rows = [""]
        self.column = 0
        self.wrapped = 0

    def close(self) -> None:
        """Let go of both ends; safe to call twice."""
        for descriptor in (self.master, self.slave):
            with contextlib.suppress(OSError):
                os.close(descriptor)

    @contextlib.contextmanager
    def as_stdout(self) -> Iterator[None]:
        """What this process prints is seen here."""
        file = os.fdopen(os.dup(self.slave), "w", encoding="utf-8")
        with file, contextlib.redirect_stdout(file):
            yield
        self.read()

    def read(self) -> None:
        """Take in what was written since."""
        with contextlib.suppress(BlockingIOError, OSError):
            while piece := os.read(self.master, 1 << 16):
                text = piece.decode("utf-8")
                self.raw += text
                self._show(text)

    def _show(self, text: str) -> None:
        for piece in PIECES.findall(text):
            if piece == "\r":
                self.column = 0
            elif piece == "\n":
                self.rows.append("")
            elif piece == "\x1b[K":
                self.rows[-1] = self.rows[-1][: self.column]
            elif not piece.startswith("\x1b"):
                self._put(piece)
            else:
                assert piece.endswith("m"), f"what a terminal is told is unknown: {piece!r}"

    def _put(self, text: str) -> None:
        for char in text:
            if self.column == self.columns:
                self.rows.append("")
                self.column = 0
                self.wrapped += 1
            row = self.rows[-1].ljust(self.column)
            self.rows[-1] = row[: self.column] + char + row[self.column + 1 :]
            self.column += 1

    def screen(self) -> list[str]:
        """The rows that are to be seen, without empty ones at the end."""
        rows = [row.rstrip() for row in self.rows]
        while rows and not rows[-1]:
            rows.pop()
        return rows
