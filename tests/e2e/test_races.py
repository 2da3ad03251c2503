"""Many requests at one instant: one is accepted, and it has one helper."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import time

from tests.e2e.harness import (
    Hub,
    RealCase,
    build,
    command_of,
    descendants,
    environment,
    without_children,
)

AT_ONCE = 200
ANSWER_S = 60.0


def at_one_instant(hub: Hub, paths: list[str]) -> list[tuple[int, dict[str, object]]]:
    """POST to every path, each on its own connection, the last byte of all in one burst."""
    clients = [socket.create_connection(("127.0.0.1", hub.port), ANSWER_S) for _ in paths]
    try:
        for client, path in zip(clients, paths):
            client.sendall(head(path, hub.token()).encode()[:-1])
        time.sleep(0.2)
        for client in clients:
            client.sendall(b"\n")
        return [answer_of(client) for client in clients]
    finally:
        for client in clients:
            client.close()


def head(path: str, token: str) -> str:
    """A whole request without a body."""
    return (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
        "Connection: close\r\n\r\n"
    )


def answer_of(client: socket.socket) -> tuple[int, dict[str, object]]:
    """Status and JSON of an answer that ends with its connection."""
    data = b""
    while select.select([client], [], [], ANSWER_S)[0]:
        piece = client.recv(65536)
        if not piece:
            break
        data += piece
    first, _, body = data.partition(b"\r\n\r\n")
    return int(first.split()[1]), json.loads(body)


class RacesTest(RealCase):
    def helpers(self, hub: Hub) -> list[int]:
        """Without the guards that they fork beside each tool."""
        found = [pid for pid in descendants(hub.launcher_pid) if "helper" in command_of(pid)]
        return without_children(found)

    def logs(self) -> list[str]:
        """What helpers have written; whoever tries the release may have one of its own by now."""
        names = os.listdir(os.path.join(self.home, "logs"))
        return [name for name in names if name.startswith("upgrade-")]

    def check(self, hub: Hub, answers: list[tuple[int, dict[str, object]]]) -> str:
        """One 202, and every other answer names its operation; returns that."""
        accepted = [answer for status, answer in answers if status == 202]
        refused = [answer for status, answer in answers if status == 409]
        self.assertEqual((len(accepted), len(refused)), (1, len(answers) - 1))
        operation = str(accepted[0]["operation_id"])
        for answer in refused:
            self.assertEqual(answer["error"], "upgrade_in_flight")
            self.assertIn(operation, str(answer["error_description"]))
        self.assertLessEqual(len(self.helpers(hub)), 1)
        self.assertIn(f"upgrade-{operation}.log", self.logs())
        return operation

    def test_two_hundred_posts_at_once_start_one_helper(self) -> None:
        self.publish(build("1.1.0"))
        hub = self.hub().start()
        operation = self.check(hub, at_one_instant(hub, ["/api/hub/upgrade"] * AT_ONCE))
        self.assertEqual(len(self.logs()), 1, "one helper's log")
        self.assertEqual(hub.finished(operation)["phase"], "succeeded")
        self.publish(build("1.2.0"))
        paths = ["/api/hub/upgrade", "/api/hub/rollback"] * (AT_ONCE // 2)
        operation = self.check(hub, at_one_instant(hub, paths))
        self.assertEqual(hub.finished(operation)["phase"], "succeeded")
        self.assertEqual(hub.stop(), 0)

    def test_posts_and_command_lines_at_once_start_one_helper(self) -> None:
        self.configure(probation_s=3)  # or it might be over before the last of them has asked
        self.publish(build("1.1.0"))
        hub = self.hub().start()
        hub.token()
        words = [sys.executable, hub.program, "upgrade", "--no-wait", "--config-dir", hub.home]
        lines = [
            subprocess.Popen(
                words, env=environment(), stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            )
            for _ in range(4)
        ]  # fmt: skip
        answers = []
        while any(line.poll() is None for line in lines):
            status, answer = hub.request("POST", "/api/hub/upgrade", None, hub.token())
            answers.append((status, answer))
        said = [line.communicate()[1] for line in lines]
        codes = sorted(line.returncode for line in lines)
        accepted = sum(status == 202 for status, _ in answers) + codes.count(0)
        self.assertEqual(accepted, 1, f"{codes} {answers[:3]}")
        self.assertEqual({status for status, _ in answers} - {202, 409}, set())
        self.assertEqual(set(codes) - {0, 4}, set(), said)
        self.assertEqual(hub.finished()["phase"], "succeeded")
        self.assertEqual(hub.stop(), 0)
