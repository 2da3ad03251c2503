"""`logs/upgrade-<id>.log`: all that a helper and its tools print; `logs/trial-<id>.log`: what a
release on trial prints. Five of each are kept."""

from __future__ import annotations

import os

from hub_upgrade.host import files
from hub_upgrade.host.files import Home

KEPT = 5
LOG_BYTES = 4 * 1024 * 1024
"""What one log takes at most; what a tool prints beyond that is dropped."""
LONGEST_NAME = 200


def path_of(home: Home, kind: str, name: str) -> str:
    """The log's name; an identifier that is no plain name gets one made of what is plain in it."""
    plain = "".join(c for c in name if c.isascii() and (c.isalnum() or c in "-_."))[:LONGEST_NAME]
    return os.path.join(home.logs, f"{kind}-{plain or 'unnamed'}.log")


def append_to(home: Home, kind: str, name: str) -> int:
    """A descriptor that appends to the log, older ones dropped; raises OSError."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    path = path_of(home, kind, name)
    files.make_directory(home.logs)
    _drop_old(home, kind, path)
    return os.open(path, flags, 0o600)


def open_log(home: Home, operation_id: str) -> int:
    """A helper's log, or nothing where there can be none. Never raises for what is the disk's
    trouble: an upgrade without a log is better than none."""
    try:
        return append_to(home, "upgrade", operation_id)
    except OSError:
        return os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)


def _drop_old(home: Home, kind: str, new: str) -> None:
    names = [n for n in os.listdir(home.logs) if n.startswith(kind + "-") and n.endswith(".log")]
    found = []
    for path in (os.path.join(home.logs, name) for name in names):
        try:
            found += [(os.lstat(path).st_mtime_ns, path)] if path != new else []
        except FileNotFoundError:
            pass  # somebody else drops old ones too
    for _age, path in sorted(found, reverse=True)[KEPT - 1 :]:
        try:
            os.unlink(path)
        except OSError:
            pass  # a directory, say: no reason to keep no log of this operation


class OperationLog:
    """Lines and raw output into one descriptor; what cannot be written is dropped."""

    def __init__(self, descriptor: int, room: int = LOG_BYTES) -> None:
        self._descriptor = descriptor
        self._room = room

    def write(self, data: bytes) -> None:
        """Append as much as there is room for; never raises."""
        piece = data[: max(0, self._room)]
        self._room -= len(piece)
        try:
            if piece:
                files.write_all(self._descriptor, piece)
        except OSError:
            self._room = 0

    def line(self, text: str) -> None:
        """Append one line with the time it was written."""
        self.write(f"{files.now_rfc3339()} {text}\n".encode("utf-8", "replace"))
