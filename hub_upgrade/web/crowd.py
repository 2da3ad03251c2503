"""Who gets a turn, and who has to leave, where there are more clients than room."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable

from hub_upgrade.host.loop import Loop
from hub_upgrade.shapes import Any, Protocol, Union
from hub_upgrade.web.pipe import LINGERING, READING

TURN = 16
"""Requests answered in one turn of the loop for all those together who sent several at once. Who
sends one at a time does not wait for more than these."""
SPARE_DESCRIPTORS = 160
"""For those turned away, children with their pipes, files, and what the hub holds all its life."""
LEAST = 16
MOMENT = 0.1
"""How much of the grace passes before a connection without a request can be closed for another."""


class Eager(Protocol):
    """A connection with more requests than the one that was just answered."""

    def go_on(self) -> None:
        """Answer the next one."""


class Turns:
    """The queue of those who sent several requests at once: each gets one answer, then the next."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._waiting: deque[Eager] = deque()

    def add(self, connection: Eager) -> None:
        """To the end of the queue; nothing is called before the loop has looked around."""
        if not self._waiting:
            self._loop.call_later(0, self._run)
        self._waiting.append(connection)

    def _run(self) -> None:
        waiting = self._waiting
        served = [waiting.popleft() for _ in range(min(TURN, len(waiting)))]
        again = bool(waiting)
        for connection in served:
            connection.go_on()
        if again:
            self._loop.call_later(0, self._run)


class Client(Protocol):
    """What is weighed of a connection: `since` is when its present state, or progress, began."""

    state: int
    since: float
    answered: int
    output: Union[bytes, memoryview]

    def idle(self) -> bool:
        """Whether nothing of a request has come."""


SILENT, IDLE, STUCK, REFUSED, BUSY = range(5)
"""Never asked for anything; between two requests; in the middle of a request, or of an answer that
it does not take; answered and being closed; having its answer made, or taking what is sent."""


def standing(client: Client) -> int:
    """What it deserves."""
    if client.state == READING:
        if client.idle():
            return IDLE if client.answered else SILENT
        return STUCK
    if client.state == LINGERING:
        return REFUSED
    return STUCK if client.output else BUSY


def least_deserving(clients: Iterable[Client], now: float, grace_s: float) -> Any:
    """Who is closed to make room for a new client; None where everybody is worth more than that.

    The first of those who have been silent since they came, as they are given (the oldest first).
    Then the one that is idle, or else stuck, for longest, if that is longer than `grace_s`. Then
    the one that is idle for longest anyway, or one that was refused: they lose nothing. Never a
    busy one, nor one in the moment after its coming or its last answer: its request may be on its
    way, and who turns up again and again must not push out those who are served.
    """
    oldest: dict[int, Client] = {}
    moment = MOMENT * grace_s
    for client in clients:
        kind = standing(client)
        if kind not in oldest:
            oldest[kind] = client
            if kind == SILENT and now - client.since > moment:
                return client
        elif client.since < oldest[kind].since:
            oldest[kind] = client
    for kind, age in ((IDLE, grace_s), (STUCK, grace_s), (IDLE, moment)):
        if kind in oldest and now - oldest[kind].since > age:
            return oldest[kind]
    return oldest.get(REFUSED)


def affordable(wanted: int) -> int:
    """So many connections, or as many as leave descriptors for whatever else a hub opens."""
    try:
        there = os.sysconf("SC_OPEN_MAX")
    except (OSError, ValueError):
        return wanted
    return wanted if there < 0 else min(wanted, max(LEAST, there - SPARE_DESCRIPTORS))
