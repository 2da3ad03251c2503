"""Somebody who opens a new connection all the time, who may wait but must never be refused."""

from __future__ import annotations

import errno
import json
import selectors
import socket
import threading
import time
from collections import Counter
from typing import Any, NamedTuple

EVERY_S = 0.02
MOST_WAITING = 200
"""So many may wait at once: many more, and a hub would rightly say that it is overloaded."""
MOST_CUTS = 30
PATIENCE_S = 60.0
REQUEST = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


class Probe:
    """One question, and the connections that it took: one may be cut by the death of a hub."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.cuts = 0
        self.sent = False
        self.data = b""
        self.socket = socket.socket()


class Report(NamedTuple):
    """What became of all probes: `wrong` names every one that was refused, or never answered.

    `cut` counts connections closed without a whole answer; `answers` are by status and version.
    """

    wrong: list[str]
    cut: int
    answers: Counter[tuple[int, str]]
    longest_s: float


class Prober:
    """Probes a port in a thread of its own until `stop`."""

    def __init__(self, port: int) -> None:
        self._address = ("127.0.0.1", port)
        self._selector = selectors.DefaultSelector()
        self._stopping = threading.Event()
        self._wrong: list[str] = []
        self._cut = 0
        self._answers: Counter[tuple[int, str]] = Counter()
        self._longest = 0.0
        self._began = time.monotonic()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> Report:
        """No more new ones; waits until every one is answered, and tells how it went."""
        self._stopping.set()
        self._thread.join(PATIENCE_S + 30)
        return Report(self._wrong, self._cut, self._answers, self._longest)

    def _run(self) -> None:
        due, deadline = time.monotonic(), 0.0
        while True:
            now = time.monotonic()
            if self._stopping.is_set():
                deadline = deadline or now + PATIENCE_S
                if not self._selector.get_map() or now > deadline:
                    break
            elif now >= due and len(self._selector.get_map()) < MOST_WAITING:
                due = now + EVERY_S
                self._connect(Probe())
            for key, _events in self._selector.select(EVERY_S):
                self._ready(key.data)
        for key in list(self._selector.get_map().values()):
            self._fail(key.data, f"no answer after {time.monotonic() - key.data.started:.0f} s")
        self._selector.close()

    def _connect(self, probe: Probe) -> None:
        probe.socket = socket.socket()
        probe.socket.setblocking(False)
        probe.sent, probe.data = False, b""
        error = probe.socket.connect_ex(self._address)
        self._selector.register(probe.socket, selectors.EVENT_WRITE, probe)
        if error not in (0, errno.EINPROGRESS):
            self._fail(probe, f"connect: {errno.errorcode.get(error, error)}")

    def _ready(self, probe: Probe) -> None:
        try:
            if not probe.sent:
                self._send(probe)
                return
            piece = probe.socket.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        probe.data += piece
        if not piece:
            self._ended(probe)

    def _send(self, probe: Probe) -> None:
        error = probe.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            self._fail(probe, f"connect: {errno.errorcode.get(error, error)}")
            return
        probe.sent = True
        self._selector.modify(probe.socket, selectors.EVENT_READ, probe)
        probe.socket.send(REQUEST)

    def _ended(self, probe: Probe) -> None:
        self._drop(probe)
        answer = _understand(probe.data)
        if answer is not None:
            self._answers[answer] += 1
            self._longest = max(self._longest, time.monotonic() - probe.started)
            return
        self._cut += 1
        probe.cuts += 1
        if probe.cuts > MOST_CUTS:
            self._wrong.append(f"cut {probe.cuts} times, and never answered")
        else:
            self._connect(probe)

    def _fail(self, probe: Probe, why: str) -> None:
        self._drop(probe)
        after = probe.started - self._began
        self._wrong.append(f"begun {after:.2f} s after the first: {why}")

    def _drop(self, probe: Probe) -> None:
        self._selector.unregister(probe.socket)
        probe.socket.close()


def _understand(data: bytes) -> tuple[int, str] | None:
    """Status and version of a whole answer; None for a part of one."""
    head, _, body = data.partition(b"\r\n\r\n")
    words = head.split(b"\r\n", 1)[0].split(b" ")
    try:
        value: Any = json.loads(body)
        return int(words[1]), str(value.get("version", ""))
    except (ValueError, IndexError, AttributeError):
        return None
