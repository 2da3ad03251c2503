"""The listener and its connections: how many, for how long, and what becomes of them in the end."""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Callable

from hub_upgrade.host.children import ChildResult, OneShot, environment
from hub_upgrade.host.loop import READ, Loop, Timer
from hub_upgrade.shapes import Any
from hub_upgrade.web import record
from hub_upgrade.web.connection import Connection
from hub_upgrade.web.crowd import Turns, affordable, least_deserving
from hub_upgrade.web.limits import LIMITS, OVERLOADED, Limits
from hub_upgrade.web.messages import Answer, Later, Request, Stream
from hub_upgrade.web.pipe import LINGERING, READING, STREAMING, WAITING, WRITING
from hub_upgrade.web.server import Handler
from hub_upgrade.web.streams import Feeds, Streams

ACCEPT_BATCH = 64
"""Connections accepted in one turn, so that those who are already here get theirs."""
ACCEPT_PAUSE_S = 0.1
"""Without descriptors left the listener stays ready: this long it is not looked at."""
EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
REAP_LIMIT_S = 0.1
"""How long a handoff waits for the end of a child that it has killed."""
KERNEL_BUFFER = 64 * 1024
"""For what was not sent, and not read, yet of each connection: the kernel's memory has an end too,
and by itself it would lend megabytes to each that sends without reading."""
MOST_UNSENT = 64 * 1024 * 1024
"""Bytes of unsent answers that a handoff takes along: those of 512 clients are less, or are of
clients who ask for the longest answers and take none, and everybody would wait for them."""
MAPPED = "::ffff:"
NO_FEEDS: Feeds = {}


class Connections:
    """All the clients of a hub, on its loop. `respond` is called with whole requests only; `feeds`
    are what a `Stream` can name, `known` says whether the token of one is still good."""

    def __init__(
        self,
        loop: Loop,
        listener: socket.socket,
        respond: Callable[[Request], Answer],
        limits: Limits = LIMITS,
        feeds: Feeds = NO_FEEDS,
        known: Callable[[str], bool] = lambda _who: True,
    ) -> None:
        self.loop = loop
        self.handler = Handler()
        self.respond = respond
        self.closing = False
        self.turns = Turns(loop)
        self.streams = Streams(loop, feeds, limits, known)
        self._listener = listener
        self._limits = limits
        self._most = affordable(limits.connections)
        self._open: dict[int, Connection] = {}
        self._away: dict[int, Connection] = {}
        self._accepting = False
        self._done: Callable[[], None] | None = None
        self._limit: Timer | None = None
        self._environment = environment(os.environ)
        loop.on_late(self._slept)

    # --- accepting ------------------------------------------------------------------------------

    def start(self) -> None:
        """Accept from now on, and watch over the time-outs."""
        self._listener.setblocking(False)
        for buffer in (socket.SO_SNDBUF, socket.SO_RCVBUF):  # handed on to those accepted
            try:
                self._listener.setsockopt(socket.SOL_SOCKET, buffer, KERNEL_BUFFER)
            except OSError:
                pass
        self.resume()
        self.loop.call_later(self._limits.sweep_s, self._sweep)

    def stop_accepting(self) -> None:
        """Leave new connections where they are: in the kernel's queue."""
        if self._accepting:
            self._accepting = False
            self.loop.unwatch(self._listener.fileno())

    def resume(self) -> None:
        """Accept again."""
        if not self._accepting:
            self._accepting = True
            self.loop.watch(self._listener.fileno(), READ, self._accept)

    def _accept(self, _events: int) -> None:
        for _ in range(ACCEPT_BATCH):
            try:
                sock, address = self._listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno not in EXHAUSTED:
                    continue  # that client has gone again
                if not self._make_room():
                    self._pause()
                    return
                continue
            self._welcome(sock, peer_of(address))

    def _pause(self) -> None:
        self.stop_accepting()
        self.loop.call_later(ACCEPT_PAUSE_S, self._unpause)

    def _unpause(self) -> None:
        if not self.closing:
            self.resume()

    def _welcome(self, sock: socket.socket, peer: str) -> None:
        sock.setblocking(False)
        connection = Connection(self, sock, peer)
        full = len(self._open) >= self._most and not self._make_room()
        try:  # answers are sent whole: holding back the second of two only costs time
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:
            pass
        connection.watch()
        if full:
            self._turn_away(connection)
            return
        self._open[connection.fd] = connection
        connection.ready(READ)  # its request has mostly come along

    def _make_room(self) -> bool:
        """Close the connection that deserves its place least; whether there was one."""
        now = time.monotonic()
        leaving = least_deserving(self._open.values(), now, self._limits.grace_s)
        if leaving is None:
            return False
        if leaving.state == READING and not leaving.idle():
            leaving.refuse(OVERLOADED)
        leaving.drop()
        return True

    def _turn_away(self, connection: Connection) -> None:
        """Tell it to come again. What lingers for longest after that has had its answer."""
        if len(self._away) >= self._limits.turned_away:
            next(iter(self._away.values())).drop()
        self._away[connection.fd] = connection
        connection.refuse(OVERLOADED)

    # --- what a connection asks of its owner ----------------------------------------------------

    def run_child(self, later: Later, done: Callable[[ChildResult], None]) -> OneShot | None:
        """Start the child of an answer; None when there are too many already. Raises OSError."""
        if self.waiting() >= self._limits.children:
            return None
        return OneShot(self.loop, later.argv, self._environment, later.timeout_s, done)

    def gone(self, connection: Connection) -> None:
        """The connection is closed."""
        for those in (self._open, self._away):
            if those.get(connection.fd) is connection:
                del those[connection.fd]
        self._finish_if_empty()

    # --- watching over time ---------------------------------------------------------------------

    def _sweep(self) -> None:
        now = time.monotonic()
        for connection in [*self._open.values(), *self._away.values()]:
            connection.sweep(now, self._limits)
        self.loop.call_later(self._limits.sweep_s, self._sweep)

    def _slept(self, gap: float) -> None:
        """The machine was asleep, and so was the client: its time stood still."""
        for connection in [*self._open.values(), *self._away.values()]:
            connection.since += gap

    def count(self) -> int:
        """How many connections there are."""
        return len(self._open)

    def waiting(self) -> int:
        """How many answers wait for a child."""
        return sum(connection.state == WAITING for connection in self._open.values())

    # --- the handoff ----------------------------------------------------------------------------

    def freeze(self) -> list[dict[str, Any]]:
        """The record of every connection, its descriptor inheritable, nothing closed.

        An answer that still waits for its child cannot go along: it becomes a 503, and its
        connection is closed. So is one whose unsent answer is beyond `MOST_UNSENT` with those
        before it. Nothing may run between this and `execve`, or `unfreeze`.
        """
        self._end_children()
        now = time.monotonic()
        entries = []
        room = MOST_UNSENT
        for connection in [*self._open.values(), *self._away.values()]:
            size = len(connection.unsent())
            if size > room:
                connection.drop()
                continue
            room -= size
            connection.set_inheritable(True)
            entries.append(record.write(connection, now))
        return entries

    def unfreeze(self) -> None:
        """There was no handoff: go on as before."""
        self.closing = False
        self._done = None
        if self._limit is not None:
            self._limit.cancel()
        for connection in [*self._open.values(), *self._away.values()]:
            connection.set_inheritable(False)

    def thaw(self, entries: list[dict[str, Any]]) -> None:
        """Take up what `freeze` recorded in the image before; an entry that makes no sense is
        passed over, its descriptor closed."""
        for entry in entries:
            fd = entry.get("fd") if isinstance(entry, dict) else None
            if not isinstance(fd, int) or fd <= 2:
                continue
            try:
                self._take_up(fd, record.read(entry))
            except (OSError, ValueError, TypeError):
                _close(fd)

    def _take_up(self, fd: int, entry: record.Entry) -> None:
        os.set_inheritable(fd, False)
        os.set_blocking(fd, False)
        connection = Connection(self, socket.socket(fileno=fd), entry.peer)
        connection.input = entry.input
        connection.output = entry.output
        connection.close_after = entry.close
        connection.continued = entry.continued
        connection.answered = entry.answered
        connection.unread = entry.linger
        state = WRITING if entry.output else LINGERING if connection.unread else READING
        if entry.stream is not None:
            state = STREAMING
            wanted = Stream(entry.stream, entry.who)
            connection.stream = self.streams.admit(connection, wanted, entry.seen)
            if connection.stream is None:
                connection.sock.close()
                return
        self._open[fd] = connection
        connection.resume(state, entry.age)

    def _end_children(self) -> None:
        pids = [connection.give_up_waiting() for connection in list(self._open.values())]
        left = {pid for pid in pids if pid}
        deadline = time.monotonic() + REAP_LIMIT_S
        while left and time.monotonic() < deadline:
            left = {pid for pid in left if not _reaped(pid)}
            if left:
                time.sleep(0.001)

    # --- the end --------------------------------------------------------------------------------

    def close_after_answers(self, done: Callable[[], None], limit_s: float) -> None:
        """Close every connection, and then call `done`, once, from the loop.

        Idle ones and streams are closed at once, the others after the answer to the request that
        they are sending or waiting for; what is left after `limit_s` is cut off.
        """
        self.closing = True
        self._done = done
        self._limit = self.loop.call_later(limit_s, self._cut_off)
        for connection in list(self._open.values()):
            if connection.idle():
                connection.ready(READ)  # a request that is already here is no idleness
            if connection.idle() or connection.state == STREAMING:
                connection.drop()
        self._finish_if_empty()

    def _cut_off(self) -> None:
        for connection in [*self._open.values(), *self._away.values()]:
            connection.drop()
        self._finish_if_empty()

    def _finish_if_empty(self) -> None:
        if self._done is None or self._open:
            return
        if self._limit is not None:
            self._limit.cancel()
        done, self._done = self._done, None
        self.loop.call_later(0, done)


def peer_of(address: object) -> str:
    """The address of a client as text; nothing for a socket that has none.

    An IPv4 client of a socket for both (RFC 4291, section 2.5.5.2) goes by its IPv4 address.
    """
    peer = str(address[0]) if isinstance(address, tuple) and address else ""
    mapped = peer.removeprefix(MAPPED)
    return mapped if "." in mapped else peer


def _close(fd: int) -> None:
    try:
        os.close(fd)
    except OSError:
        pass


def _reaped(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True
