"""The handoff record: what one image of the hub's process leaves to the next.

Version 1 is a JSON object `{"format": 1, "connections": [...], "children": [pid, ...]}` in a
memory file, or in an unlinked one where there are none, read from its start. Descriptors keep
their numbers across `execve`. Fields may be added; what an entry of `connections` holds is told in
`web.record`.
"""

from __future__ import annotations

import json
import os

from hub_upgrade.host import files
from hub_upgrade.shapes import Any, NamedTuple
from hub_upgrade.version import HANDOFF_FORMAT, HANDOFF_FORMATS

MOST_RECORD_BYTES = 512 * 1024 * 1024
"""512 connections, each with at most an unread request and an unsent answer."""


class Record(NamedTuple):
    """The whole state that is not on the disk."""

    connections: list[dict[str, Any]]
    children: list[int]


def put(record: Record) -> int:
    """Write the record where the next image finds it; returns its descriptor. Raises OSError."""
    wire = {"format": HANDOFF_FORMAT, **record._asdict()}
    descriptor = _nameless_file()
    try:
        files.write_all(descriptor, json.dumps(wire, separators=(",", ":")).encode("ascii"))
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.set_inheritable(descriptor, True)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _nameless_file() -> int:
    if hasattr(os, "memfd_create"):
        return int(os.memfd_create("hub-handoff"))
    path = os.path.join(os.environ.get("TMPDIR", "/tmp"), f".hub-{os.urandom(12).hex()}")  # noqa: S108
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    os.unlink(path)
    return descriptor


def get(descriptor: int) -> Record:
    """Read what the image before left, and close it; raises ValueError for what is not a record."""
    with os.fdopen(descriptor, "rb") as file:
        try:
            wire = json.loads(file.read(MOST_RECORD_BYTES))
        except RecursionError as error:
            raise ValueError("it is nested too deeply") from error
    if not isinstance(wire, dict) or wire.get("format") not in HANDOFF_FORMATS:
        raise ValueError("it is not a handoff record of a version that is known here")
    connections, children = wire.get("connections"), wire.get("children")
    return Record(
        connections=connections if isinstance(connections, list) else [],
        children=[pid for pid in children if isinstance(pid, int) and pid > 1]
        if isinstance(children, list)
        else [],
    )
