"""A hub tells its launcher that it is ready, and does not take a full queue for an answer."""

from __future__ import annotations

import os
import socket
import tempfile
import unittest
from typing import Any

from hub_upgrade.host import notify
from hub_upgrade.host.loop import Loop
from hub_upgrade.hub.inherited import Inherited
from hub_upgrade.hub.main import Hub

LIMIT_S = 10.0


class ReadyTest(unittest.TestCase):
    def setUp(self) -> None:
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.address = os.path.join(scratch.name, "notify")
        self.launcher = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.launcher.close)
        self.launcher.bind(self.address)
        self.launcher.setblocking(False)
        listener = socket.socket()
        self.addCleanup(listener.close)
        self.loop = Loop()
        none: Any = None
        inherited = Inherited(listener, -1, self.address, -1, "")
        self.hub = Hub(self.loop, none, inherited, none, none, "")

    def heard(self) -> list[bytes]:
        """What lies in the launcher's queue."""
        found = []
        while True:
            try:
                found.append(self.launcher.recv(4096))
            except BlockingIOError:
                return found

    def test_it_is_told_at_once_and_once(self) -> None:
        self.hub._ready()
        self.loop.call_later(0.3, self.loop.stop)
        self.loop.run()
        self.assertEqual([b"READY=1"], self.heard())

    def test_where_there_was_no_room_it_is_told_again(self) -> None:
        while notify.send(self.address, "A=B"):
            pass
        heard: list[bytes] = []

        def look() -> None:
            heard.extend(self.heard())
            if b"READY=1" in heard:
                self.loop.stop()
            else:
                self.loop.call_later(0.02, look)

        self.hub._ready()
        self.loop.call_later(0.02, look)
        self.loop.call_later(LIMIT_S, self.loop.stop)
        self.loop.run()
        self.assertEqual(1, heard.count(b"READY=1"))


if __name__ == "__main__":
    unittest.main()
