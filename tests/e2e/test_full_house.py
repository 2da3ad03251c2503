"""A full house: what is said at its door, an upgrade in the midst of it, few descriptors."""

from __future__ import annotations

import os
import signal
import socket
import time

from tests.e2e import guests
from tests.e2e.guests import BOUND, Guest, a_crowd, descriptors, kept_descriptors
from tests.e2e.harness import CONFIG, Hub, build, wait_for


class FullTest(guests.CrowdCase):
    def test_a_full_house_says_so_at_once_and_serves_again(self) -> None:
        """All of them come while the hub stands still: it meets them in one moment, none of them
        late with its request, and behind them one more."""
        hub = self.serving()
        pid = hub.hub_pid()
        files = kept_descriptors(pid)
        os.kill(pid, signal.SIGSTOP)
        try:
            crowd = [self.connected(hub, b"GET /he") for _ in range(BOUND)]
            late = self.connected(hub, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        finally:
            os.kill(pid, signal.SIGCONT)
        answer = late.recv(4096)
        self.assertTrue(answer.startswith(b"HTTP/1.1 503 "), answer)
        self.assertIn(b'"overloaded"', answer)
        self.assertEqual(self.ask(hub, False, 5).answered, 5)
        for sock in (*crowd, late):
            sock.close()
        self.back_to(hub, files)
        self.assertEqual(self.ask(hub, True, 5).refused, 0)

    def connected(self, hub: Hub, data: bytes) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", hub.port), 60)
        self.addCleanup(sock.close)
        sock.sendall(data)
        return sock

    def test_with_few_descriptors_it_is_full_earlier_and_works_the_same(self) -> None:
        hub = self.hub()
        few = ("sh", "-c", 'ulimit -n 240; exec "$@"', "sh")
        hub.start(prefix=few)
        with a_crowd(hub, "silent", 300):
            self.ask(hub, True, 50)
            self.ask(hub, False, 50)
            self.assertLess(descriptors(hub.hub_pid()), 240 - 32)
            self.assertEqual(hub.request("GET", "/api/hub", None, hub.token())[0], 200)


class UpgradeTest(guests.CrowdCase):
    config = {**CONFIG, "probation_s": 1.0}

    def test_an_upgrade_with_all_of_them_there_loses_nobody_who_is_honest(self) -> None:
        self.publish(build("1.1.0"))
        hub = self.serving()
        token, pid = hub.token(), hub.hub_pid()
        files = kept_descriptors(pid)
        keeps, new = Guest(hub, True), Guest(hub, False)
        self.addCleanup(keeps.leave)
        with a_crowd(hub, "mixed"):
            operation = self.posted(hub, token)
            while not self.ended(hub, operation):
                keeps.ask()
                new.ask()
                time.sleep(0.005)
            self.assertEqual(hub.finished(operation)["phase"], "succeeded", hub.record())
            self.assertEqual(hub.wait_healthy()["version"], "1.1.0")
            self.assertEqual(hub.hub_pid(), pid)
        self.assertEqual(keeps.closed, 0)
        keeps.leave()
        self.back_to(hub, files + 2)  # an image that was handed over to has its own few
        self.assertEqual(hub.stop(), 0, hub.output()[-2000:])

    @staticmethod
    def ended(hub: Hub, operation: str) -> bool:
        record = hub.record()
        return record.get("operation_id") == operation and "finished_at" in record

    def posted(self, hub: Hub, token: str) -> str:
        """The accepted upgrade; a house that is full at this moment is asked again."""

        def post() -> str:
            status, answer = hub.request("POST", "/api/hub/upgrade", None, token)
            self.assertIn(status, (202, 503), answer)
            return str(answer.get("operation_id", ""))

        return str(wait_for(post, "an accepted upgrade"))
