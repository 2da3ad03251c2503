"""One bounded request to a `/health`, on the loop or waited for."""

from __future__ import annotations

import errno
import json
import socket
import time
from collections.abc import Callable

from hub_upgrade.host.loop import READ, WRITE, Loop
from hub_upgrade.shapes import Any, NamedTuple

LOOK_TIMEOUT_S = 2.0
MAX_ANSWER = 64 * 1024
_HEX = frozenset(b"0123456789abcdefABCDEF")


class Seen(NamedTuple):
    """What one look found: a status of 0 means that there was no answer, and `why` says more."""

    status: int
    body: dict[str, Any]
    why: str


def reachable(address: Any) -> Any:
    """The address under which a listener's own machine reaches it."""
    host, port = address[0], address[1]
    if host in ("0.0.0.0", ""):  # noqa: S104 - compared, not bound
        return ("127.0.0.1", port)
    if host == "::":
        return ("::1", port)
    return tuple(address)


def url_of(listener: socket.socket) -> str:
    """The address to print and to ask."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class Look:
    """One look at `path`; `done(Seen)` is called exactly once unless it is cancelled."""

    def __init__(
        self,
        loop: Loop,
        family: int,
        address: Any,
        done: Callable[[Seen], None],
        path: str = "/health",
    ) -> None:
        self._loop = loop
        self._request = request(path)
        self._done: Callable[[Seen], None] | None = done
        self._data = b""
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.setblocking(False)
        self._timer = loop.call_later(LOOK_TIMEOUT_S, self._timed_out)
        error = self._socket.connect_ex(address)
        if error not in (0, errno.EINPROGRESS):
            self._timer.cancel()
            self._timer = loop.call_later(0, lambda: self._end(Seen(0, {}, "connection refused")))
            return
        loop.watch(self._socket.fileno(), WRITE, self._writable)

    def _writable(self, _events: int) -> None:
        if self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._end(Seen(0, {}, "connection refused"))
            return
        try:
            self._socket.send(self._request)
        except OSError:
            self._end(Seen(0, {}, "connection lost"))
            return
        self._loop.unwatch(self._socket.fileno())
        self._loop.watch(self._socket.fileno(), READ, self._readable)

    def _readable(self, _events: int) -> None:
        try:
            piece = self._socket.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            self._end(Seen(0, {}, "connection lost"))
            return
        self._data += piece
        if not piece or len(self._data) > MAX_ANSWER:
            self._end(understand(self._data))

    def _timed_out(self) -> None:
        self._end(Seen(0, {}, f"no answer within {LOOK_TIMEOUT_S:g} s"))

    def _end(self, seen: Seen) -> None:
        done, self._done = self._done, None
        self._close()
        if done is not None:
            done(seen)

    def _close(self) -> None:
        self._timer.cancel()
        if self._socket.fileno() >= 0:
            self._loop.unwatch(self._socket.fileno())
            self._socket.close()

    def cancel(self) -> None:
        """Forget it; safe to call at any time."""
        self._done = None
        self._close()

    def extend(self, _gap_s: float) -> None:
        """Give it the time back that the launcher itself slept away."""
        if self._done is not None:
            self._timer.cancel()
            self._timer = self._loop.call_later(LOOK_TIMEOUT_S, self._timed_out)


def request(path: str) -> bytes:
    """What is sent to ask for a path."""
    line = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    return line.encode("utf-8", "replace")


def look_now(address: tuple[str, int], path: str, timeout_s: float = LOOK_TIMEOUT_S) -> Seen:
    """One look, waited for; never raises."""
    deadline = time.monotonic() + timeout_s
    data = b""
    try:
        with socket.create_connection(address, timeout_s) as client:
            client.sendall(request(path))
            while len(data) <= MAX_ANSWER:
                left = deadline - time.monotonic()
                if left <= 0:
                    return Seen(0, {}, f"no answer within {timeout_s:g} s")
                client.settimeout(left)
                piece = client.recv(65536)
                if not piece:
                    break
                data += piece
    except socket.timeout:
        return Seen(0, {}, f"no answer within {timeout_s:g} s")
    except OSError as error:
        return Seen(0, {}, (error.strerror or str(error)).lower())
    return understand(data)


def understand(data: bytes) -> Seen:
    """What an HTTP answer says, for as much as a look needs; anything odd has status 1."""
    head, _, body = data.partition(b"\r\n\r\n")
    words = head.split(b"\r\n", 1)[0].split(b" ", 2)
    if not data:
        return Seen(0, {}, "connection closed without an answer")
    sound = len(words) > 1 and words[0].startswith(b"HTTP/1.") and words[1].isdigit()
    if not sound or len(words[1]) != 3:  # int() refuses thousands of digits
        return Seen(1, {}, "an answer that is not HTTP")
    try:
        value = json.loads(_unchunked(head, body).decode("utf-8"))
    except (ValueError, RecursionError):
        value = {}
    return Seen(int(words[1]), value if isinstance(value, dict) else {}, "")


def _unchunked(head: bytes, body: bytes) -> bytes:
    """The body without its framing, where it comes in chunks (RFC 9112, section 7.1); raises
    ValueError for what is cut off or no such framing."""
    if b"\r\ntransfer-encoding: chunked" not in head.lower():
        return body
    pieces: list[bytes] = []
    at = 0
    while True:
        end = body.index(b"\r\n", at)
        size = body[at:end].partition(b";")[0].rstrip(b" \t")
        if not _HEX.issuperset(size):  # int() takes more, such as a sign
            raise ValueError
        at = end + 2 + int(size, 16)
        if at == end + 2:
            return b"".join(pieces)
        pieces.append(body[end + 2 : at])
        at += 2
