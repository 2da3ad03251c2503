"""How long an honest client waits beside six hundred who do no good, against the same hub idle."""

from __future__ import annotations

import socket
import statistics
import time
from collections.abc import Iterator

from bench.scene import scene
from bench.table import Row
from tests.e2e.guests import MANY, a_crowd
from tests.e2e.harness import Hub

ROUNDS = 3
REQUESTS = 300
PAUSE_S = 0.004
"""Between two requests: one round sees more than a second, which is the tempo of every crowd."""
GOAL = 2.0
KINDS = {
    "silent": "who say nothing",
    "drip": "who send a byte a second",
    "deaf": "who never read their answers",
    "burst": "who send twenty requests at once every second",
}
WHO = {True: "a request on a kept connection", False: "a request with its connection"}
REQUEST = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
RETRY_S = 0.2


class Client:
    """Asks one thing after the other, and takes the time of each answer."""

    def __init__(self, port: int, keeps: bool) -> None:
        self._port, self._keeps = port, keeps
        self._sock: socket.socket | None = None
        self.refused = 0

    def seconds(self) -> float:
        """Of one request, its connection made if need be, to its 200."""
        while True:
            began = time.perf_counter()
            if self._sock is None:
                self._sock = socket.create_connection(("127.0.0.1", self._port), 30)
            try:
                self._sock.sendall(REQUEST)
                answer = self._sock.recv(65536)
            except ConnectionError:
                answer = b""
            took = time.perf_counter() - began
            if not self._keeps or not answer.startswith(b"HTTP/1.1 200"):
                self.leave()
            if answer.startswith(b"HTTP/1.1 200"):
                return took
            self.refused += 1
            time.sleep(RETRY_S)

    def leave(self) -> None:
        """Close the connection, if there is one."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None


def waits(hub: Hub, keeps: bool) -> tuple[list[float], int]:
    """The times of one round, and how often it was refused."""
    client = Client(hub.port, keeps)
    took = []
    for _ in range(REQUESTS):
        took.append(client.seconds())
        time.sleep(PAUSE_S)
    client.leave()
    return took, client.refused


def beside(hub: Hub, kind: str) -> Iterator[Row]:
    """The rows of one kind: rounds with and without it in turn."""
    idle: dict[bool, list[float]] = {True: [], False: []}
    crowded: dict[bool, list[float]] = {True: [], False: []}
    refused = {True: 0, False: 0}
    for _ in range(ROUNDS):
        for keeps in WHO:
            idle[keeps] += waits(hub, keeps)[0]
        with a_crowd(hub, kind):
            for keeps in WHO:
                took, turned_away = waits(hub, keeps)
                crowded[keeps] += took
                refused[keeps] += turned_away
    for keeps, who in WHO.items():
        ours, other = (1e6 * statistics.median(times[keeps]) for times in (crowded, idle))
        ratio = ours / other
        told = f" ({refused[keeps]} of {ROUNDS * REQUESTS} were told 503 first)"
        yield Row(
            f"{who} beside {MANY} {KINDS[kind]}, against the hub idle"
            f"{told if refused[keeps] else ''}",
            f"{ours:.0f} µs", f"{other:.0f} µs", f"{ratio:.2f} times", f"< {GOAL:g}", ratio < GOAL,
        )  # fmt: skip


def measure() -> list[Row]:
    """All of these rows."""
    with scene() as made:
        hub = made.hub.start()
        return [row for kind in KINDS for row in beside(hub, kind)]
