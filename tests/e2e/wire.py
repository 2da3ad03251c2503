"""Raw HTTP/1.1: requests made byte by byte, and answers looked at the same way."""

from __future__ import annotations

import contextlib
import json
import socket
from typing import Any, NamedTuple

from tests.e2e.harness import WAIT_S

STREAM = "text/event-stream"


class Answer(NamedTuple):
    """One answer: header names in lower case; of a stream the body is empty."""

    status: int
    headers: dict[str, str]
    body: bytes
    raw_head: str

    @property
    def value(self) -> Any:
        """The JSON that came; None for none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    @property
    def error(self) -> str:
        """The code of an error, nothing for none."""
        value = self.value
        return str(value.get("error", "")) if isinstance(value, dict) else ""

    @property
    def told(self) -> tuple[int, str]:
        """What a program goes by."""
        return self.status, self.error


def request(
    method: str,
    target: str,
    *lines: str,
    host: str | None = "localhost",
    authorization: str | None = None,
    body: bytes | None = None,
    version: str = "HTTP/1.1",
) -> bytes:
    """The bytes of a request; the length of a body is told, everything else is as it is given."""
    head = [f"{method} {target} {version}"]
    head += [] if host is None else [f"Host: {host}"]
    head += [] if authorization is None else [f"Authorization: {authorization}"]
    head += [] if body is None else [f"Content-Length: {len(body)}"]
    return "\r\n".join([*head, *lines, "", ""]).encode("latin-1") + (body or b"")


class Wire:
    """One client of a hub: a connection is kept as long as the hub keeps it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._sock: socket.socket | None = None
        self._rest = b""

    def ask(self, data: bytes, head_only: bool = False) -> Answer:
        """Send these bytes and return the answer to them. Raises AssertionError for none."""
        if self._sock is None:
            self._sock = socket.create_connection(("127.0.0.1", self._port), WAIT_S)
            self._rest = b""
        with contextlib.suppress(ConnectionError):  # it may have answered before all was sent
            self._sock.sendall(data)
        answer = self._answer(head_only)
        while answer.status == 100:
            answer = self._answer(head_only)
        if answer.headers.get("connection") == "close":
            self.close()
        return answer

    def _answer(self, head_only: bool) -> Answer:
        while b"\r\n\r\n" not in self._rest:
            self._pull()
        head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        text = head.decode("latin-1")
        lines = text.split("\r\n")
        pairs = [line.split(": ", 1) for line in lines[1:]]
        headers = {pair[0]: pair[1] for pair in pairs}
        if len(headers) != len(pairs):
            raise AssertionError(f"a header stands there twice: {text}")
        status = int(lines[0].split(" ")[1])
        size = int(headers.get("content-length", "0"))
        if status == 100 or head_only or headers.get("content-type") == STREAM:
            size = 0
        while len(self._rest) < size:
            self._pull()
        body, self._rest = self._rest[:size], self._rest[size:]
        return Answer(status, headers, body, text)

    def _pull(self) -> None:
        assert self._sock is not None
        piece = self._sock.recv(1 << 16)
        if not piece:
            raise AssertionError(f"closed without a whole answer, after {self._rest[:200]!r}")
        self._rest += piece

    def close(self) -> None:
        """Leave; the next request comes on a new connection."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None
