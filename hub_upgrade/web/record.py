"""What a handoff takes along of a connection: format 1 of its entry in the record.

One JSON object a connection (fields may be added, none changes):

    fd         the descriptor, which keeps its number across `execve`
    peer       the client's address
    input      base64: bytes read and not answered yet, from the first byte of a request
    output     base64: bytes of an answer that the client has not taken yet
    close      to be closed once `output` is sent
    continued  `100 Continue` was sent for the request in `input`
    linger     refused: once `output` is sent, what still comes is read and dropped for a moment
    answered   the number of requests answered on it
    age        seconds in its present state: idle, receiving, or without progress in sending
    stream     (event streams only) the name of the feed that it listens to
    seen       (event streams only) the SHA-256 of the object that was sent to it last, or nothing
    who        (event streams only) the SHA-256 of its token

What the kernel holds for a connection stays there. A request that stands whole in `input` (sent
before the answer to the one before was taken) is answered by the new image. A stream has `close`
set, and at least a comment in `output`: an image that knows no streams closes it after that, and
the client comes again.
"""

from __future__ import annotations

import base64

from hub_upgrade.shapes import Any, NamedTuple
from hub_upgrade.web.connection import Connection
from hub_upgrade.web.pipe import LINGERING
from hub_upgrade.web.streams import COMMENT


class Entry(NamedTuple):
    """One entry, its fields checked; `stream` is None for a connection that is no stream."""

    peer: str
    input: bytes
    output: bytes
    close: bool
    continued: bool
    linger: bool
    answered: int
    age: float
    stream: str | None
    seen: str
    who: str


def write(connection: Connection, now: float) -> dict[str, Any]:
    """The entry of a connection."""
    stream = connection.stream
    output = connection.unsent()
    entry = {
        "fd": connection.fd,
        "peer": connection.peer,
        "input": base64.b64encode(connection.input).decode("ascii"),
        "output": base64.b64encode(output or (COMMENT if stream else b"")).decode("ascii"),
        "close": connection.close_after or stream is not None,
        "continued": connection.continued,
        "linger": connection.unread or connection.state == LINGERING,
        "answered": connection.answered,
        "age": round(now - connection.since, 3),
    }
    if stream is not None:
        entry.update(stream=stream.name, seen=stream.seen, who=stream.who)
    return entry


def read(entry: dict[str, Any]) -> Entry:
    """An entry's fields; raises ValueError or TypeError for what makes no sense."""
    stream = entry.get("stream")
    return Entry(
        peer=str(entry.get("peer", "")),
        input=base64.b64decode(entry.get("input", "")),
        output=base64.b64decode(entry.get("output", "")),
        close=bool(entry.get("close")),
        continued=bool(entry.get("continued")),
        linger=bool(entry.get("linger")),
        answered=int(entry.get("answered", 0)),
        age=float(entry.get("age", 0.0)),
        stream=None if stream is None else str(stream),
        seen=str(entry.get("seen", "")),
        who=str(entry.get("who", "")),
    )
