from __future__ import annotations

import os
import time
import unittest
from unittest import mock

from hub_upgrade.host import notify
from hub_upgrade.host.loop import Loop
from hub_upgrade.host.notify import Receiver
from hub_upgrade.launcher import manager as managers
from hub_upgrade.launcher.manager import Manager


class ManagerTest(unittest.TestCase):
    def setUp(self) -> None:
        self.receiver = Receiver()
        self.addCleanup(self.receiver.close)
        self.loop = Loop()
        self.addCleanup(self.loop.close)

    def manager(self, **variables: str) -> Manager:
        environ = {"NOTIFY_SOCKET": self.receiver.address, **variables}
        with mock.patch.dict(os.environ, environ, clear=True):
            return Manager(self.loop)

    def heard(self) -> list[dict[str, str]]:
        said: list[dict[str, str]] = []
        while True:
            message = self.receiver.receive()
            if message is None:
                return said
            said.append(message[1])

    def test_ready_and_stopping_are_told_once_each(self) -> None:
        manager = self.manager()
        for _ in range(2):
            manager.ready()
            manager.stopping()
        self.assertEqual(self.heard(), [{"READY": "1"}, {"STOPPING": "1"}])

    def full(self) -> int:
        """The manager reads nothing for a while: how much waits for it, with room for no more."""
        waiting = 0
        while notify.send(self.receiver.address, "STATUS=other"):
            waiting += 1
        return waiting

    def test_what_did_not_go_out_is_not_said_and_ready_is_said_again_until_it_is(self) -> None:
        with mock.patch.object(managers, "AGAIN_S", 0.01):
            manager = self.manager()
            waiting = self.full()
            manager.ready()
            self.loop.turn()
            self.assertEqual(len(self.heard()), waiting)
            manager.more_time()
            self.assertEqual(self.heard(), [{"EXTEND_TIMEOUT_USEC": "60000000"}])
            self.loop.turn()
            self.assertEqual(self.heard(), [{"READY": "1"}])
            manager.ready()
            self.assertEqual((self.heard(), self.loop._timers), ([], []))

    def test_a_stop_is_told_once_more_at_its_end_and_no_lost_ready_after_it(self) -> None:
        with mock.patch.object(managers, "AGAIN_S", 0.01):
            manager = self.manager()
            self.full()
            manager.ready()
            manager.stopping()
            self.heard()
            self.loop.turn()
            self.assertEqual((self.heard(), self.loop._timers), ([], []))
            manager.stopping()
            self.assertEqual(self.heard(), [{"STOPPING": "1"}])

    def test_a_watchdog_that_could_not_be_answered_is_answered_soon(self) -> None:
        with mock.patch.object(managers, "AGAIN_S", 0.01):
            self.full()
            self.manager(WATCHDOG_USEC="60000000")
            self.heard()
            self.loop.turn()
            self.assertEqual(self.heard(), [{"WATCHDOG": "1"}])

    def test_more_time_is_asked_for_until_it_is_ready(self) -> None:
        manager = self.manager()
        manager.more_time()
        manager.more_time()
        self.assertEqual(self.heard(), [{"EXTEND_TIMEOUT_USEC": "60000000"}] * 2)
        manager.ready()
        manager.more_time()
        self.assertEqual(self.heard(), [{"READY": "1"}])

    def test_a_stop_asks_for_the_time_that_it_may_take(self) -> None:
        manager = self.manager()
        manager.stopping(9.5)
        manager.stopping()
        self.assertEqual(self.heard(), [{"STOPPING": "1"}, {"EXTEND_TIMEOUT_USEC": "9500000"}])

    def test_its_watchdog_is_answered_twice_as_often_as_it_asks(self) -> None:
        began = time.monotonic()
        manager = self.manager(WATCHDOG_USEC="60000", WATCHDOG_PID=str(os.getpid()))
        self.assertEqual(manager._every_s, 0.03)
        self.assertEqual(self.heard(), [{"WATCHDOG": "1"}])
        self.loop.turn()
        self.assertEqual(self.heard(), [{"WATCHDOG": "1"}])
        self.assertGreaterEqual(time.monotonic() - began, 0.029)

    def test_a_watchdog_that_is_not_ours_or_no_number_is_not_answered(self) -> None:
        self.manager(WATCHDOG_USEC="60000", WATCHDOG_PID="1")
        for microseconds in ("", "0", "-5", "soon", "²"):
            self.manager(WATCHDOG_USEC=microseconds)
        self.assertEqual(self.heard(), [])

    def test_a_watchdog_of_any_length_is_answered(self) -> None:
        self.manager(WATCHDOG_USEC="9" * 400)
        self.loop.call_later(0.01, self.loop.stop)
        self.loop.run()
        self.assertEqual(self.heard(), [{"WATCHDOG": "1"}])

    def test_without_a_manager_nobody_is_told(self) -> None:
        manager = self.manager(NOTIFY_SOCKET="", WATCHDOG_USEC="60000")
        with mock.patch("hub_upgrade.host.notify.send") as send:
            manager.ready()
            manager.more_time()
            manager.stopping()
        send.assert_not_called()
        self.assertEqual(self.loop._timers, [])


if __name__ == "__main__":
    unittest.main()
