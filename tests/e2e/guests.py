"""Honest clients beside a crowd: what they ask is answered, whatever the others do."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.e2e import crowd
from tests.e2e.harness import WAIT_S, Hub, RealCase, environment, wait_for

MANY = 600
RETRY_S = 0.25
BOUND = 512
MOST_REFUSED = 100
"""503s among hundreds of requests: a crowd that has just come has a second of grace, in which a
guest asks again every quarter of one, and crowds come and go in these tests."""


@contextlib.contextmanager
def a_crowd(hub: Hub, kind: str, count: int = MANY) -> Iterator[dict[str, Any]]:
    """A crowd that is there inside; what it saw stands in the dictionary afterwards."""
    told: dict[str, Any] = {}
    argv = [sys.executable, crowd.__file__, str(hub.port), kind, str(count)]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment()
    ) as process:
        try:
            assert process.stdout is not None and process.stdin is not None
            if process.stdout.readline() != b"there\n":
                raise AssertionError("the crowd did not come")
            yield told
            process.stdin.close()
            told.update(json.loads(process.stdout.read()))
        finally:
            process.kill()


class Guest:
    """One client that keeps its connection, or makes a new one for each request."""

    def __init__(self, hub: Hub, keeps: bool) -> None:
        self._hub, self._keeps = hub, keeps
        self._connection: http.client.HTTPConnection | None = None
        self.answered = self.refused = self.closed = 0

    def ask(self) -> None:
        """One request to its 200; a 503, or the end of an idle connection, is tried again."""
        while True:
            if self._connection is None:
                port = self._hub.port
                self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT_S)
            fresh = self._connection.sock is None
            try:
                self._connection.request("GET", "/health")
                answer = self._connection.getresponse()
                answer.read()
            except (ConnectionError, http.client.BadStatusLine):
                self.leave()
                self.closed += 1
                if fresh:
                    raise
                continue
            if not self._keeps or answer.will_close:
                self.leave()
            if answer.status == 200:
                self.answered += 1
                return
            if answer.status != 503:
                raise AssertionError(f"{answer.status}")
            self.refused += 1
            if self.refused > MOST_REFUSED:
                raise AssertionError(f"refused {self.refused} times, answered {self.answered}")
            time.sleep(RETRY_S)

    def leave(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def descriptors(pid: int) -> int:
    """How many descriptors a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def kept_descriptors(pid: int) -> int:
    """As many as stay: who is looking at something has one more for a moment."""
    counts = []
    for _ in range(10):
        counts.append(descriptors(pid))
        time.sleep(0.02)
    return min(counts)


def resident_kb(pid: int) -> int:
    """Resident memory of a process, in kB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024


class CrowdCase(RealCase):
    """A real hub, and what it had open before anybody came."""

    def serving(self) -> Hub:
        hub = self.hub().start()
        for keeps in (True, False):
            self.ask(hub, keeps, 50)
        return hub

    def ask(self, hub: Hub, keeps: bool, times: int) -> Guest:
        """So many honest requests, each to its 200."""
        guest = Guest(hub, keeps)
        self.addCleanup(guest.leave)
        for _ in range(times):
            guest.ask()
        self.assertEqual(guest.answered, times)
        guest.leave()
        return guest

    def back_to(self, hub: Hub, before: int) -> None:
        """Every descriptor is given back."""
        wait_for(lambda: descriptors(hub.hub_pid()) <= before, "the descriptors of before")
