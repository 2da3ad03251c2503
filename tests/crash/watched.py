"""A `serve` on a home that somebody may kill: what it says, and that it is never there twice."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import time
from typing import Any

from tests.e2e.harness import command_of, running_on, without_children

WAIT_S = 60.0
ALONE_EVERY_S = 0.05


class Watched:
    """One home, its `serve` if there is one, and all that works on it."""

    def __init__(self, home: str, token: str, log: str) -> None:
        self.home, self.token, self.log = home, token, log
        self.process: subprocess.Popen[bytes] | None = None
        self.port = 0
        self._alone_at = 0.0
        self._pairs: set[tuple[int, ...]] = set()

    def close(self) -> None:
        """End whatever works on the home."""
        for _ in range(3):
            for pid in running_on(self.home):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)
        if self.process is not None:
            self.process.kill()
        self.reap()

    def tick(self, deadline: float, why: str) -> None:
        """Wait a moment, and see that nothing serves twice."""
        if time.monotonic() > deadline:
            raise AssertionError(f"waited in vain for {why}; {self.about()}")
        self.check_alone()
        time.sleep(0.01)

    def check_alone(self) -> None:
        """Never two hubs, never two launchers. A child between fork and exec is none; one that has
        lost its parent is seen only once."""
        if time.monotonic() < self._alone_at:
            return
        self._alone_at = time.monotonic() + ALONE_EVERY_S
        found: dict[str, list[int]] = {"serve": [], "run": []}
        for pid in running_on(self.home):
            words = command_of(pid)
            for word, pids in found.items():
                if word in words:
                    pids.append(pid)
        several = [without_children(pids) for pids in found.values() if len(pids) > 1]
        pairs = {tuple(sorted(pids)) for pids in several if len(pids) > 1}
        assert not pairs & self._pairs, f"two serve at once: {self.processes()}"
        self._pairs = pairs

    def about(self) -> str:
        """What somebody who waits in vain wants to know."""
        return f"{self.processes()}; {self.output()}"

    def processes(self) -> dict[int, list[str]]:
        return {pid: command_of(pid)[-6:] for pid in running_on(self.home)}

    def output(self) -> str:
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return file.read()[-4000:]

    def health(self) -> dict[str, Any] | None:
        try:
            status, body = self.request("GET", "/health")
        except (OSError, http.client.HTTPException, ValueError):
            return None
        return body if status == 200 and isinstance(body, dict) else None

    def request(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            headers = {"Authorization": f"Bearer {self.token}"}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read() or b"null")
        finally:
            connection.close()

    def launcher_died(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def reap(self) -> None:
        if self.process is not None:
            self.process.wait(WAIT_S)
            if self.process.stdout is not None:
                self.process.stdout.close()
            self.process = None

    def settled_health(self) -> dict[str, Any]:
        """Who answers; a hub that is being replaced is waited for."""
        deadline = time.monotonic() + WAIT_S
        while True:
            found = self.health()
            if found is not None:
                return found
            self.tick(deadline, "an answer on /health")
