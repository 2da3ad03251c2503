"""Many clients of one bad kind, until standard input ends; then how it went, as JSON.

Usage: python crowd.py PORT KIND COUNT. Kinds: `silent` says nothing; `drip` sends a byte of a
request a second; `hoard` sends all but the last byte of the largest request, and then drips; `deaf`
sends as many requests as it can and reads no answer; `burst` sends some requests at once every
second, and reads; `mixed` is some of each. Whoever is closed comes again within a second. `there`
is printed once all were connected, and have begun.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time
from typing import Any

REQUEST = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
BURST = 20
SLICES = 20
"""A second has so many moments: at each one its share of the clients does what it does."""
KINDS = ("silent", "drip", "hoard", "deaf", "burst")
SMALL_BUFFER = 4096


def largest() -> bytes:
    """A request as large as they may be, in a hundred header lines."""
    filler = b"".join(b"x-%03d: %s\r\n" % (number, b"v" * 150) for number in range(90))
    head = b"POST /api/hub/upgrade HTTP/1.1\r\nHost: localhost\r\nContent-Length: 65536\r\n"
    return head + filler + b"\r\n" + b" " * 65536


class Client:
    """One of the crowd; never blocks."""

    def __init__(self, address: tuple[str, int], kind: str, told: dict[str, int]) -> None:
        self._address, self.kind, self._told = address, kind, told
        self.sock: socket.socket | None = None
        self._left = b""

    def open(self, poll: select.epoll, by_fd: dict[int, Client]) -> None:
        """Connect, and begin."""
        self.sock = socket.socket()
        if self.kind == "deaf":
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        self.sock.setblocking(False)
        self.sock.connect_ex(self._address)
        by_fd[self.sock.fileno()] = self
        reads = 0 if self.kind == "deaf" else select.EPOLLIN
        poll.register(self.sock.fileno(), reads | select.EPOLLRDHUP)
        self._told["opened"] += 1
        self._left = largest() if self.kind == "hoard" else REQUEST * 2000
        self.act()

    def act(self) -> None:
        """What it does each second."""
        if self.kind == "drip":
            self._send(1)
        elif self.kind == "hoard":
            self._send(max(1, len(self._left) - 60) if len(self._left) > 61 else 1)
        elif self.kind == "deaf":
            self._send(len(self._left))
        elif self.kind == "burst":
            self._left = REQUEST * BURST
            self._send(len(self._left))

    def _send(self, most: int) -> None:
        assert self.sock is not None
        try:
            self._left = self._left[self.sock.send(self._left[:most]) :]
        except OSError:
            pass

    def readable(self, events: int) -> bool:
        """Take what is there; whether the connection is still open."""
        assert self.sock is not None
        if self.kind == "deaf":
            return not events & (select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR)
        try:
            data = self.sock.recv(1 << 16)
        except BlockingIOError:
            return True
        except OSError:
            return False
        self._told["answers"] += data.count(b"HTTP/1.1 200")
        self._told["refused"] += data.count(b"HTTP/1.1 503")
        return bool(data)


def play(port: int, kind: str, count: int) -> dict[str, Any]:
    """Be a nuisance until standard input ends."""
    told = {"opened": 0, "closed": 0, "answers": 0, "refused": 0}
    kinds = KINDS if kind == "mixed" else (kind,)
    crowd = [Client(("127.0.0.1", port), kinds[n % len(kinds)], told) for n in range(count)]
    poll = select.epoll()
    poll.register(0, select.EPOLLIN)
    by_fd: dict[int, Client] = {}
    moment, next_at = 0, time.monotonic()
    while True:
        for fd, events in poll.poll(max(0.0, next_at - time.monotonic())):
            if fd == 0:
                return told
            client = by_fd[fd]
            if not client.readable(events):
                told["closed"] += 1
                poll.unregister(fd)
                del by_fd[fd]
                assert client.sock is not None
                client.sock.close()
                client.sock = None
        if time.monotonic() >= next_at:
            next_at += 1 / SLICES
            for client in crowd[moment % SLICES :: SLICES]:
                client.act() if client.sock is not None else client.open(poll, by_fd)
            moment += 1
            if moment == SLICES + 1:
                print("there", flush=True)


def main() -> None:
    json.dump(play(int(sys.argv[1]), sys.argv[2], int(sys.argv[3])), sys.stdout)


if __name__ == "__main__":
    main()
