"""The listener and its connections: limits, time-outs, and the record that a handoff takes along.

Format 1 of the record, one JSON object a connection (fields may be added, none changes):

    fd         the descriptor, which keeps its number across `execve`
    peer       the client's address
    input      base64: bytes read and not answered yet, from the first byte of a request
    output     base64: bytes of an answer that the client has not taken yet
    close      to be closed once `output` is sent
    continued  `100 Continue` was sent for the request in `input`
    linger     refused: once `output` is sent, what still comes is read and dropped for a moment
    answered   the number of requests answered on it
    age        seconds in its present state: idle, receiving, or sending

What the kernel holds for a connection stays there. A request that stands whole in `input` (sent
before the answer to the one before was taken) is answered by the new image.
"""

from __future__ import annotations

import base64
import errno
import os
import socket
import time
from collections.abc import Callable

from hub_upgrade.host.children import ChildResult, OneShot, environment
from hub_upgrade.host.loop import READ, Loop, Timer
from hub_upgrade.shapes import Any
from hub_upgrade.web.connection import (
    LINGERING,
    READING,
    WAITING,
    WRITING,
    Connection,
)
from hub_upgrade.web.limits import LIMITS, OVERLOADED, Limits
from hub_upgrade.web.messages import Answer, Later, Request
from hub_upgrade.web.server import Handler

ACCEPT_BATCH = 64
"""Connections accepted in one turn, so that those who are already here get theirs."""
ACCEPT_PAUSE_S = 0.1
"""Without descriptors left the listener stays ready: this long it is not looked at."""
EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
REAP_LIMIT_S = 0.1
"""How long a handoff waits for the end of a child that it has killed."""


class Connections:
    """All the clients of a hub, on its loop. `respond` is called with whole requests only."""

    def __init__(
        self,
        loop: Loop,
        listener: socket.socket,
        respond: Callable[[Request], Answer],
        limits: Limits = LIMITS,
    ) -> None:
        self.loop = loop
        self.handler = Handler()
        self.respond = respond
        self.closing = False
        self._listener = listener
        self._limits = limits
        self._open: dict[int, Connection] = {}
        self._away: set[Connection] = set()
        self._accepting = False
        self._done: Callable[[], None] | None = None
        self._limit: Timer | None = None
        self._environment = environment(os.environ)
        loop.on_late(self._slept)

    # --- accepting ------------------------------------------------------------------------------

    def start(self) -> None:
        """Accept from now on, and watch over the time-outs."""
        self._listener.setblocking(False)
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
                if error.errno in EXHAUSTED:
                    self._pause()
                    return
                continue  # that client has gone again
            self._welcome(sock, _peer(address))

    def _pause(self) -> None:
        self.stop_accepting()
        self.loop.call_later(ACCEPT_PAUSE_S, self._unpause)

    def _unpause(self) -> None:
        if not self.closing:
            self.resume()

    def _welcome(self, sock: socket.socket, peer: str) -> None:
        sock.setblocking(False)
        connection = Connection(self, sock, peer)
        full = len(self._open) >= self._limits.connections
        if full and len(self._away) >= self._limits.turned_away:
            sock.close()
            return
        try:  # answers are sent whole: holding back the second of two only costs time
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:
            pass
        connection.watch()
        if full:
            self._away.add(connection)
            connection.refuse(OVERLOADED)
            return
        self._open[connection.fd] = connection
        connection.ready(READ)  # its request has mostly come along

    # --- what a connection asks of its owner ----------------------------------------------------

    def run_child(self, later: Later, done: Callable[[ChildResult], None]) -> OneShot | None:
        """Start the child of an answer; None when there are too many already. Raises OSError."""
        if self.waiting() >= self._limits.children:
            return None
        return OneShot(self.loop, later.argv, self._environment, later.timeout_s, done)

    def gone(self, connection: Connection) -> None:
        """The connection is closed."""
        self._away.discard(connection)
        if self._open.get(connection.fd) is connection:
            del self._open[connection.fd]
        self._finish_if_empty()

    # --- watching over time ---------------------------------------------------------------------

    def _sweep(self) -> None:
        now = time.monotonic()
        for connection in [*self._open.values(), *self._away]:
            connection.sweep(now, self._limits)
        self.loop.call_later(self._limits.sweep_s, self._sweep)

    def _slept(self, gap: float) -> None:
        """The machine was asleep, and so was the client: its time stood still."""
        for connection in [*self._open.values(), *self._away]:
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
        connection is closed. Nothing may run between this and `execve`, or `unfreeze`.
        """
        self._end_children()
        now = time.monotonic()
        record = []
        for connection in [*self._open.values(), *self._away]:
            connection.set_inheritable(True)
            record.append(_record(connection, now))
        return record

    def unfreeze(self) -> None:
        """There was no handoff: go on as before."""
        self.closing = False
        self._done = None
        if self._limit is not None:
            self._limit.cancel()
        for connection in [*self._open.values(), *self._away]:
            connection.set_inheritable(False)

    def thaw(self, record: list[dict[str, Any]]) -> None:
        """Take up what `freeze` recorded in the image before; an entry that makes no sense is
        passed over, its descriptor closed."""
        for entry in record:
            fd = entry.get("fd") if isinstance(entry, dict) else None
            if not isinstance(fd, int) or fd <= 2:
                continue
            try:
                self._take_up(fd, entry)
            except (OSError, ValueError, TypeError):
                _close(fd)

    def _take_up(self, fd: int, entry: dict[str, Any]) -> None:
        input_, output = (base64.b64decode(entry.get(key, "")) for key in ("input", "output"))
        answered, age = int(entry.get("answered", 0)), float(entry.get("age", 0.0))
        os.set_inheritable(fd, False)
        os.set_blocking(fd, False)
        connection = Connection(self, socket.socket(fileno=fd), str(entry.get("peer", "")))
        connection.input = input_
        connection.output = output
        connection.close_after = bool(entry.get("close"))
        connection.continued = bool(entry.get("continued"))
        connection.answered = answered
        connection.unread = bool(entry.get("linger"))
        state = WRITING if output else LINGERING if connection.unread else READING
        self._open[fd] = connection
        connection.resume(state, age)

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

        Idle ones are closed at once, the others after the answer to the request that they are
        sending or waiting for; what is left after `limit_s` is cut off.
        """
        self.closing = True
        self._done = done
        self._limit = self.loop.call_later(limit_s, self._cut_off)
        for connection in list(self._open.values()):
            if connection.idle():
                connection.ready(READ)  # a request that is already here is no idleness
            if connection.idle():
                connection.drop()
        self._finish_if_empty()

    def _cut_off(self) -> None:
        for connection in [*self._open.values(), *self._away]:
            connection.drop()
        self._finish_if_empty()

    def _finish_if_empty(self) -> None:
        if self._done is None or self._open:
            return
        if self._limit is not None:
            self._limit.cancel()
        done, self._done = self._done, None
        self.loop.call_later(0, done)


def _record(connection: Connection, now: float) -> dict[str, Any]:
    return {
        "fd": connection.fd,
        "peer": connection.peer,
        "input": base64.b64encode(connection.input).decode("ascii"),
        "output": base64.b64encode(connection.output).decode("ascii"),
        "close": connection.close_after,
        "continued": connection.continued,
        "linger": connection.unread or connection.state == LINGERING,
        "answered": connection.answered,
        "age": round(now - connection.since, 3),
    }


def _peer(address: object) -> str:
    """The address of a client as text; nothing for a socket that has none."""
    return str(address[0]) if isinstance(address, tuple) and address else ""


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
