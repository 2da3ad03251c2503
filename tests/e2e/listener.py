"""One client of an event stream, as a program would be: what it heard, and whether it was cut."""

from __future__ import annotations

import json
import socket
from typing import Any, Callable

from tests.e2e.harness import WAIT_S, Hub

EVENTS = "/api/hub/upgrade/events"


class Listener:
    """A stream on one connection; `heard` are its events so far."""

    def __init__(self, hub: Hub, host: str = "127.0.0.1", token: str = "") -> None:
        self.heard: list[dict[str, Any]] = []
        self.comments = 0
        self.closed = False
        self._rest = b""
        token = token or hub.token()
        self._sock = socket.create_connection((host, hub.port), WAIT_S)
        self._sock.sendall(
            f"GET {EVENTS} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n"
            .encode()
        )  # fmt: skip
        self.head = self._before(b"\r\n\r\n").decode()
        if not self.head.startswith("HTTP/1.1 200"):
            self._sock.close()
            raise AssertionError(self.head)

    def _pull(self) -> None:
        """Wait for more, or for the end; raises TimeoutError where neither comes."""
        try:
            piece = self._sock.recv(65536)
        except ConnectionError:
            piece = b""
        self._rest += piece
        self.closed = self.closed or not piece

    def _before(self, mark: bytes) -> bytes:
        while mark not in self._rest:
            if self.closed:
                raise AssertionError(f"closed after {self._rest[-200:]!r}")
            self._pull()
        piece, _, self._rest = self._rest.partition(mark)
        return piece

    def next(self) -> dict[str, Any]:
        """The next event; comments and the time to retry are passed over."""
        while True:
            block = self._before(b"\n\n")
            if block.startswith(b"data: "):
                self.heard.append(json.loads(block[6:]))
                return self.heard[-1]
            if block == b":":
                self.comments += 1
            elif not block.startswith(b"retry: "):
                raise AssertionError(f"not an event: {block[:200]!r}")

    def until(self, what: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first event for which it holds."""
        while True:
            event = self.next()
            if what(event):
                return event

    def until_step(self, step: str) -> dict[str, Any]:
        """The first event at that step of the operation."""
        return self.until(lambda event: event["step"] == step)

    def hears_the_end(self) -> bool:
        """Wait until the other side has closed; what comes before that is dropped."""
        while not self.closed:
            self._pull()
        return True

    def close(self) -> None:
        self._sock.close()
