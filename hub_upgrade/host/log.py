"""The log of launcher and hub: one line an event on stderr, as text or as JSON."""

from __future__ import annotations

import json
import os
import select

from hub_upgrade.host.files import now_rfc3339

LONGEST_LINE = 3500
"""Characters; in bytes below PIPE_BUF, which a pipe that polls as writable takes (pipe(7))."""
PIPE_BUF = 4096
FORMATS = ("text", "json")
FORMAT_VARIABLE = "PARACHUTE_LOG_FORMAT"
"""Also how a launcher tells its hub which format was asked for."""
INFO, WARNING, ERROR = "info", "warning", "error"


def say(source: str, text: str, level: str = INFO, **more: str) -> None:
    """One line on stderr; a full or closed one is no reason to stop, or to wait.

    `more` are fields of the JSON format; the text must say them too. Control characters, line
    breaks among them, are escaped: nobody can write a second line into the log.
    """
    poller = select.poll()
    poller.register(2, select.POLLOUT)
    try:
        if poller.poll(0):
            os.write(2, line(source, text, level, more))
    except OSError:
        pass


def is_json() -> bool:
    """Whether the log is one JSON object a line."""
    return os.environ.get(FORMAT_VARIABLE) == "json"


def relayed(printed: bytes) -> bytes:
    """A line of another process as a line of a JSON log: as it is where it is one, else as what
    that process printed beside its log (a traceback, say); nothing of nothing."""
    if printed.startswith(b'{"time":') and len(printed) < PIPE_BUF:
        try:
            if isinstance(json.loads(printed).get("message"), str):
                return printed + b"\n"
        except (ValueError, RecursionError):
            pass
    text = printed.decode("utf-8", "replace")
    return line("hub", text, WARNING, {}) if text.strip() else b""


def line(source: str, text: str, level: str, more: dict[str, str]) -> bytes:
    """What `say` writes."""
    text = "".join(char if char.isprintable() else _escaped(char) for char in text[:LONGEST_LINE])
    if is_json():
        value = {"time": now_rfc3339(), "level": level, "source": source, "message": text, **more}
        data = json.dumps(value, separators=(",", ":")).encode("ascii")
        if len(data) >= PIPE_BUF:  # a JSON object that is cut is none
            return line(source, text[: len(text) // 2], level, {})
    else:
        data = f"{source}: {text}".encode("utf-8", "replace")[: PIPE_BUF - 1]
        data = data.decode("utf-8", "ignore").encode("utf-8")  # no half of a character at its end
    return data + b"\n"


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
