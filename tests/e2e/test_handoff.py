"""Nobody notices: an upgrade under load, its rollback, and many upgrades in a row."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.e2e import load
from tests.e2e.harness import (
    CONFIG,
    Hub,
    RealCase,
    build,
    children_of,
    environment,
    wait_for,
    zombies_parents,
)

CLIENTS = 8
IDLE = 200
HALF_SENT = 20
UNREAD_REQUESTS = 3000
"""Pipelined and not read: their answers are more than the sockets' buffers hold."""


class Crowd:
    """Connections in every state that must survive, and proof afterwards that they did."""

    def __init__(self, port: int, token: str) -> None:
        self._port = port
        self._token = token
        self.idle = [self._connect() for _ in range(IDLE)]
        for connection in self.idle:
            connection.sendall(load.REQUEST)
            load.read_answer(connection)
        self.half = [self._connect() for _ in range(HALF_SENT)]
        for number, connection in enumerate(self.half):
            connection.sendall(load.REQUEST[: 3 + number])
        self.unread = self._connect()
        self.unread.setblocking(False)
        self._unread_left = load.REQUEST * UNREAD_REQUESTS
        self._push_unread()
        self.slow = self._connect()
        self._body = json.dumps({"channel": "nonsense", "padding": "x" * 2000}).encode()
        head = (
            "POST /api/hub/upgrade HTTP/1.1\r\nHost: localhost\r\n"
            f"Authorization: Bearer {token}\r\nContent-Length: {len(self._body)}\r\n\r\n"
        )
        self.slow.sendall(head.encode())
        self._sent = 0

    def _connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self._port), 30)

    def _push_unread(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._unread_left:
                self._unread_left = self._unread_left[self.unread.send(self._unread_left) :]

    def trickle(self) -> None:
        """A little more of the slow body; the whole of it takes about two seconds."""
        piece = self._body[self._sent : self._sent + 20]
        self.slow.sendall(piece)
        self._sent += len(piece)

    def check(self, case: RealCase, version: str) -> None:
        """Every connection goes on where it was, and the new version answers."""
        for connection in self.idle:
            connection.sendall(load.REQUEST)
            case.assertEqual(load.read_answer(connection)["version"], version)
        for number, connection in enumerate(self.half):
            connection.sendall(load.REQUEST[3 + number :])
            case.assertEqual(load.read_answer(connection)["version"], version)
        self.slow.sendall(self._body[self._sent :])
        answer = self.slow.recv(65536)
        case.assertTrue(answer.startswith(b"HTTP/1.1 400"), answer[:200])
        self._check_unread(case)
        self.close()

    def _check_unread(self, case: RealCase) -> None:
        answers, data = 0, b""
        deadline = time.monotonic() + 60
        while answers < UNREAD_REQUESTS and time.monotonic() < deadline:
            self._push_unread()
            with contextlib.suppress(BlockingIOError):
                piece = self.unread.recv(1 << 20)
                case.assertTrue(piece, f"closed after {answers} answers")
                data += piece
                *whole, data = data.split(b"HTTP/1.1 200")
                answers += sum(1 for part in whole if part)
            if answers == UNREAD_REQUESTS - 1 and data.endswith(b"}"):
                answers += 1
        case.assertEqual(answers, UNREAD_REQUESTS)

    def close(self) -> None:
        for connection in [*self.idle, *self.half, self.unread, self.slow]:
            connection.close()


class HandoffTest(RealCase):
    config = {**CONFIG, "probation_s": 1.0}

    def under_load(self, hub: Hub, operation: Any) -> tuple[dict[str, Any], Crowd]:
        crowd = Crowd(hub.port, hub.token())
        self.addCleanup(crowd.close)
        with subprocess.Popen(
            [sys.executable, load.__file__, str(hub.port), str(CLIENTS)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment(),
        ) as clients:  # fmt: skip
            try:
                assert clients.stdout is not None and clients.stdin is not None
                clients.stdout.readline()
                identity = operation()
                wait_for(lambda: self.ended(hub, identity, crowd), "the end")
                self.assertEqual(hub.finished(identity)["phase"], "succeeded", hub.record())
                clients.stdin.close()
                told = json.loads(clients.stdout.read())
            finally:
                clients.kill()
        self.assertEqual(told["failures"], [])
        self.assertEqual(told["hanging"], 0)
        self.assertGreater(told["requests"], 100)
        self.assertEqual(told["versions"], ["1.0.0", "1.1.0"], "the load did not span the handoff")
        return told, crowd

    def ended(self, hub: Hub, identity: str, crowd: Crowd) -> bool:
        crowd.trickle()
        record = hub.record()
        return record.get("operation_id") == identity and "finished_at" in record

    def test_an_upgrade_and_a_rollback_under_load_lose_nothing(self) -> None:
        self.publish(build("1.1.0"))
        hub = self.hub().start()
        first = hub.wait_healthy()
        launcher, process = hub.launcher_pid, hub.hub_pid()
        self.assertTrue(process)

        _, crowd = self.under_load(hub, hub.upgrade)
        crowd.check(self, "1.1.0")
        second = hub.wait_healthy()
        self.assertNotEqual(first["release"], second["release"])
        self.assertNotEqual(first["instance"], second["instance"])
        self.assertEqual((launcher, process), (hub.launcher_pid, hub.hub_pid()))

        _, crowd = self.under_load(hub, hub.rollback)
        crowd.check(self, "1.0.0")
        self.assertEqual(hub.wait_healthy()["release"], first["release"])
        self.assertEqual((launcher, process), (hub.launcher_pid, hub.hub_pid()))
        self.assertEqual(hub.stop(), 0)


class ManyTest(RealCase):
    config = {**CONFIG, "probation_s": 0.2}
    many = 6

    def measure(self, hub: Hub) -> dict[str, int]:
        found = {}
        for name, pid in (("launcher", hub.launcher_pid), ("hub", hub.hub_pid())):
            found[f"{name} descriptors"] = self.descriptors(pid)
            found[f"{name} kB"] = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4
        found["processes"] = len(children_of(hub.launcher_pid)) + len(children_of(hub.hub_pid()))
        mine = (hub.launcher_pid, hub.hub_pid())
        found["zombies"] = sum(parent in mine for parent in zombies_parents())
        found["files"] = sum(len(files) for _, _, files in os.walk(self.home))
        return found

    def descriptors(self, pid: int) -> int:
        """As many as stay: one that is looking at something has one more for a moment."""
        counts = []
        for _ in range(10):
            counts.append(len(os.listdir(f"/proc/{pid}/fd")))
            time.sleep(0.05)
        return min(counts)

    def test_many_upgrades_in_a_row_leave_nothing_behind(self) -> None:
        hub = self.hub().start()
        process = hub.hub_pid()
        warm = None
        for number in range(1, self.many + 1):
            self.publish(build(f"1.0.{number}"))
            record = hub.finished(hub.upgrade())
            self.assertEqual(record["phase"], "succeeded", record)
            self.assertEqual(hub.wait_healthy()["version"], f"1.0.{number}")
            self.assertEqual(hub.hub_pid(), process)
            if number == 3:  # from here on previous, current and the factory are all there
                wait_for(lambda: not children_of(process), "the helper's end")
                warm = self.measure(hub)
        assert warm is not None
        wait_for(lambda: not children_of(process), "the helper's end")
        cold = self.measure(hub)
        for name in ("launcher descriptors", "hub descriptors", "processes", "zombies"):
            self.assertEqual(warm[name], cold[name], name)
        self.assertLessEqual(cold["files"], warm["files"] + 5, "logs are kept, five of a kind")
        for name in ("launcher kB", "hub kB"):
            self.assertLess(cold[name], warm[name] + 2048, name)
