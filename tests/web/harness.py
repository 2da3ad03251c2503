"""A loop, a listener on a port of its own, and clients that the test itself drives."""

from __future__ import annotations

import json
import os
import socket
import unittest
from typing import Any, Callable

from hub_upgrade.host.loop import Loop
from hub_upgrade.web.connections import NO_FEEDS, Connections
from hub_upgrade.web.limits import LIMITS, Limits
from hub_upgrade.web.messages import Answer, Request, Response
from hub_upgrade.web.streams import Feeds

TICK_S = 0.002
PATIENCE_S = 10.0


def echo(request: Request) -> Response:
    """Says what it was asked."""
    text = f"{request.method} {request.path} {request.body.decode('latin-1')}"
    return Response(200, text.encode("latin-1"), (("content-type", "text/plain"),))


class Client:
    """One end of a connection; it never waits without turning the loop."""

    def __init__(self, world: World, sock: socket.socket) -> None:
        self.world = world
        self.sock = sock
        self.sock.setblocking(False)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # a byte is sent at once
        self.buffer = b""
        self.closed = False

    def send(self, data: bytes) -> Client:
        self.sock.sendall(data)
        return self

    def get(self, path: str = "/x", extra: str = "") -> Client:
        return self.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{extra}\r\n".encode())

    def pull(self) -> bytes:
        """Take what has arrived; returns all that was not taken as an answer yet."""
        try:
            piece = self.sock.recv(1 << 20)
        except BlockingIOError:
            return self.buffer
        except OSError:
            piece = b""
        self.buffer += piece
        self.closed = self.closed or not piece
        return self.buffer

    def hears_the_end(self) -> bool:
        self.pull()
        return self.closed

    def has_answer(self) -> bool:
        self.pull()
        return self._length() is not None and len(self.buffer) >= (self._length() or 0)

    def _length(self) -> int | None:
        head, blank, _ = self.buffer.partition(b"\r\n\r\n")
        if not blank:
            return None
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length: "):
                return len(head) + 4 + int(line[16:])
        return len(head) + 4

    def answer(self, *, of_head: bool = False) -> tuple[int, dict[str, str], bytes]:
        """The next answer: status, headers in lower case, body."""
        if of_head:
            self.world.until(lambda: b"\r\n\r\n" in self.pull())
            length = self.buffer.index(b"\r\n\r\n") + 4
        else:
            self.world.until(self.has_answer)
            length = self._length() or 0
        data, self.buffer = self.buffer[:length], self.buffer[length:]
        head, _, body = data.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        pairs = (line.split(": ", 1) for line in lines[1:])
        return int(lines[0].split(" ")[1]), dict(pairs), body

    def is_closed(self) -> bool:
        """Whether the other side has closed, once everything is heard."""
        self.world.until(self.hears_the_end)
        return self.closed


class World:
    """Connections on a loop of their own."""

    def __init__(
        self,
        respond: Callable[[Request], Answer] = echo,
        limits: Limits = LIMITS,
        listener: socket.socket | None = None,
        feeds: Feeds = NO_FEEDS,
    ) -> None:
        self.loop = Loop()
        self.listener = listener or socket.create_server(("127.0.0.1", 0), backlog=128)
        self.connections = Connections(self.loop, self.listener, respond, limits, feeds)
        self.clients: list[Client] = []

    def client(self) -> Client:
        client = Client(self, socket.create_connection(self.listener.getsockname()))
        self.clients.append(client)
        return client

    def turn(self, times: int = 1) -> None:
        """Turn, but not longer than a tick."""
        for _ in range(times):
            self.loop.call_later(TICK_S, lambda: None)
            self.loop.turn()

    def rest(self, seconds: float) -> None:
        """Turn for at least so long."""
        end = self.loop.now() + seconds
        self.until(lambda: self.loop.now() > end)

    def until(self, holds: Callable[[], object]) -> None:
        end = self.loop.now() + PATIENCE_S
        while not holds():
            if self.loop.now() > end:
                raise AssertionError("it did not happen in time")
            self.turn()

    def close(self) -> None:
        for client in self.clients:
            client.sock.close()
        self.connections.stop_accepting()
        self.connections.close_after_answers(lambda: None, 0)
        self.turn(3)
        self.listener.close()
        self.loop.close()


class WebTest(unittest.TestCase):
    """Tests with a world of their own."""

    def world(
        self,
        respond: Callable[[Request], Answer] = echo,
        limits: Limits = LIMITS,
        listener: socket.socket | None = None,
        feeds: Feeds = NO_FEEDS,
    ) -> World:
        world = World(respond, limits, listener, feeds)
        world.connections.start()
        self.addCleanup(world.close)
        return world

    def cross(
        self,
        old: World,
        respond: Callable[[Request], Answer] = echo,
        change: Callable[[dict[str, Any]], None] = lambda _entry: None,
        limits: Limits = LIMITS,
        turns: int = 3,
        feeds: Feeds = NO_FEEDS,
    ) -> World:
        """Freeze, take the record through JSON, and go on in a new world with the same clients.

        The descriptors are duplicates, as if `execve` had kept them while the old image's objects
        were no more.
        """
        old.turn(turns)
        record = json.loads(json.dumps(old.connections.freeze()))
        for entry in record:
            self.assertTrue(os.get_inheritable(entry["fd"]))
            entry["fd"] = os.dup(entry["fd"])
            change(entry)
        old.connections.stop_accepting()
        for connection in [*old.connections._open.values(), *old.connections._away.values()]:
            old.loop.unwatch(connection.fd)
            connection.sock.close()
            if connection.stream is not None:
                connection.stream.leave()
        old.connections._open.clear()
        listener = socket.socket(fileno=os.dup(old.listener.fileno()))
        new = World(respond, limits, listener, feeds)
        self.addCleanup(new.close)
        new.connections.thaw(record)
        new.connections.start()
        for client in old.clients:
            client.world = new
        new.clients, old.clients = old.clients, []
        return new


def descriptors() -> int:
    """How many descriptors this process has open."""
    return len(os.listdir("/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"))
