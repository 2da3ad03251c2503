"""Server-sent events: who listens to which feed, and the one event that each is being sent.

A feed is a function that gives the present object as JSON, or None for none. It is looked at every
`feed_s` seconds, and only while somebody listens. Nothing is queued: a client that has not taken
an event yet gets the newest one after it, so that states may be skipped, but never the last.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping

from hub_upgrade.host.files import sha256
from hub_upgrade.host.loop import HANGUP, READ, WRITE, Loop
from hub_upgrade.shapes import Optional
from hub_upgrade.web.limits import Limits
from hub_upgrade.web.messages import Stream
from hub_upgrade.web.pipe import Pipe

RETRY = b"retry: 1000\n\n"
COMMENT = b":\n\n"
USER_TIMEOUT = getattr(socket, "TCP_USER_TIMEOUT", None)
"""Linux: how long what was sent may stay unacknowledged. Without it a client whose machine was
switched off keeps its place for a quarter of an hour."""

Source = Callable[[], Optional[bytes]]
Feeds = Mapping[str, Source]


class Feed:
    """One feed as it was at the last look."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.listeners: set[Listener] = set()
        self._data: bytes | None = None
        self.event = b""
        self.digest = ""

    def look(self) -> None:
        """See whether there is another object now; none at all is no news."""
        data = self._source()
        if data is not None and data != self._data:
            self._data = data
            self.event = b"data: " + data.replace(b"\n", b"\ndata: ") + b"\n\n"
            self.digest = sha256(data)

    def forget(self) -> None:
        """Nobody listens: keep no object in memory."""
        self._data, self.event, self.digest = None, b"", ""


class Listener:
    """One client of a feed; `seen` is the digest of the object that was sent to it last, `who` that
    of its token."""

    __slots__ = ("_feed", "_pipe", "name", "seen", "who")

    def __init__(self, pipe: Pipe, wanted: Stream, feed: Feed, seen: str) -> None:
        self._pipe = pipe
        self._feed = feed
        self.name, self.who = wanted
        self.seen = seen

    def begin(self, head: bytes) -> None:
        """The answer's head, and the present object."""
        if self._pipe.put(head + RETRY):
            self.tell()
        else:
            self._listen()

    def ready(self, events: int) -> None:
        """The loop's word."""
        if events & (READ | HANGUP):
            self._pipe.discard()
        if events & WRITE and self._pipe.output and self._pipe.put(self._pipe.output):
            self.tell()

    def tell(self) -> None:
        """Send the newest object, unless it is known, or the one before is still being sent."""
        if self._feed.digest not in ("", self.seen) and not self._pipe.output:
            self.seen = self._feed.digest
            self._pipe.put(self._feed.event)
        self._listen()

    def _listen(self) -> None:
        self._pipe.want(READ | WRITE if self._pipe.output else READ)

    def sweep(self, now: float, limits: Limits) -> None:
        """Say something from time to time, so that no proxy takes the silence for the end; cut
        off who does not take what is sent."""
        age = now - self._pipe.since
        if self._pipe.output:
            if age > limits.write_s:
                self._pipe.drop()
        elif age >= limits.comment_s:
            self._pipe.put(COMMENT)
            self._listen()

    def end(self) -> None:
        """Close the connection: whoever it is may not listen any more."""
        self._pipe.drop()

    def leave(self) -> None:
        """The connection is closed."""
        self._feed.listeners.discard(self)


class Streams:
    """All the listeners of a hub; `known` says of a token's digest whether it is still good."""

    def __init__(
        self, loop: Loop, feeds: Feeds, limits: Limits, known: Callable[[str], bool]
    ) -> None:
        self._loop = loop
        self._limits = limits
        self._known = known
        self._feeds = {name: Feed(source) for name, source in feeds.items()}
        self._looking = False

    def count(self) -> int:
        """How many listeners there are."""
        return sum(len(feed.listeners) for feed in self._feeds.values())

    def admit(self, pipe: Pipe, wanted: Stream, seen: str = "") -> Listener | None:
        """A new listener; None where there is no such feed, or no room. Those who are there
        already hear on the way of anything new."""
        feed = self._feeds.get(wanted.name)
        if feed is None or self.count() >= self._limits.streams:
            return None
        feed.look()
        listener = Listener(pipe, wanted, feed, seen)
        feed.listeners.add(listener)
        if USER_TIMEOUT is not None:
            try:
                limit = int(1000 * self._limits.write_s)
                pipe.sock.setsockopt(socket.IPPROTO_TCP, USER_TIMEOUT, limit)
            except OSError:
                pass
        if not self._looking:
            self._looking = True
            self._loop.call_later(self._limits.feed_s, self._look)
        return listener

    def _look(self) -> None:
        now = self._loop.now()
        for feed in self._feeds.values():
            if not feed.listeners:
                feed.forget()
                continue
            feed.look()
            for listener in list(feed.listeners):
                if not self._known(listener.who):
                    listener.end()
                    continue
                listener.tell()
                listener.sweep(now, self._limits)
        self._looking = self.count() > 0
        if self._looking:
            self._loop.call_later(self._limits.feed_s, self._look)
