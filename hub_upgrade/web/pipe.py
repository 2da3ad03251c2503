"""The socket of a connection on the loop: what was not taken yet, and since when."""

from __future__ import annotations

import socket
from time import monotonic

from hub_upgrade.host.loop import HANGUP, READ, Loop

READ_SIZE = 8192
READING, WRITING, WAITING, LINGERING, CLOSED, QUEUED, STREAMING = range(7)
MAX_DISCARDED = 1024 * 1024
"""What a refused or listening client may still send before it is cut off."""


class Pipe:
    """A client's socket. `since` is when its present state, or its last progress, began."""

    __slots__ = ("_events", "_loop", "discarded", "fd", "output", "since", "sock", "state")

    def __init__(self, loop: Loop, sock: socket.socket) -> None:
        self._loop = loop
        self._events = READ
        self.sock = sock
        self.fd = sock.fileno()
        self.state = READING
        self.output: bytes | memoryview = b""
        self.discarded = 0
        self.since = monotonic()

    def put(self, data: bytes | memoryview) -> bool:
        """Send what is taken now, `output` is the rest; whether there is none. May `drop`."""
        try:
            sent = self.sock.send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            self.drop()
            return False
        if sent or not self.output:
            self.since = monotonic()
        if sent < len(data):
            self.output = memoryview(data)[sent:]
            return False
        self.output = b""
        return True

    def discard(self) -> None:
        """Read and drop what came, within bounds; `drop` when the client is gone."""
        try:
            piece = self.sock.recv(READ_SIZE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            piece = b""
        self.discarded += len(piece)
        if not piece or self.discarded > MAX_DISCARDED:
            self.drop()

    def look_whether_gone(self, events: int) -> None:
        """While it waits for us, and nothing is read: `drop` when the client is gone."""
        try:
            gone = bool(events & HANGUP) or not self.sock.recv(1, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            gone = True
        if gone:
            self.drop()
        else:
            self.want(0)

    def watch(self, events: int = READ) -> None:
        """Begin to hear from the loop."""
        self._events = events
        self._loop.watch(self.fd, events, self.ready)

    def want(self, events: int) -> None:
        """What the loop shall tell of; hang-ups it always does."""
        if events != self._events and self.sock.fileno() >= 0:
            self._events = events
            self._loop.modify(self.fd, events)

    def set_inheritable(self, inheritable: bool) -> None:
        """Whether the descriptor survives an exec."""
        self.sock.set_inheritable(inheritable)

    def close(self) -> None:
        """Give the descriptor back."""
        self.output = b""
        self._loop.unwatch(self.fd)
        self.sock.close()

    def ready(self, events: int) -> None:
        """The loop's word that something can be read or written."""
        raise NotImplementedError

    def drop(self) -> None:
        """Close it, with all that was in work for it."""
        raise NotImplementedError
