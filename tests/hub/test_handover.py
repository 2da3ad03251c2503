"""The moment before `execve`: a signal that came is heard by the image that it came to."""

from __future__ import annotations

import json
import os
import signal
import unittest
from types import SimpleNamespace
from typing import Any
from unittest import mock

from hub_upgrade.host.children import ChildResult
from hub_upgrade.host.loop import Loop
from hub_upgrade.hub import handoff
from hub_upgrade.hub.handover import Handover
from hub_upgrade.version import HANDOFF_FORMAT

TAKES = json.dumps({"handoff_formats": [HANDOFF_FORMAT]}).encode()


class FakeConnections:
    """Nobody is connected."""

    frozen = 0
    answers = 0

    def waiting(self) -> int:
        return self.answers

    def freeze(self) -> list[dict[str, object]]:
        self.frozen += 1
        return []

    def stop_accepting(self) -> None:
        """There is nobody to be accepted."""

    def close_after_answers(self, done: Any, _limit_s: float) -> None:
        done()


class Executed(BaseException):
    """This image is no more."""


class HandoverTest(unittest.TestCase):
    def setUp(self) -> None:
        self.loop = Loop()
        self.addCleanup(self.loop.close)
        self.connections = FakeConnections()
        settings: Any = SimpleNamespace(home=SimpleNamespace(root="/h", releases="/h"), drain_s=5.0)
        inherited: Any = SimpleNamespace(
            notify_address="", set_inheritable=lambda _on: None, variables=lambda _fd: {}
        )
        trial: Any = SimpleNamespace(release="1.1.0-x")
        path = mock.patch("hub_upgrade.host.releases.path_of", lambda _home, name: f"/h/{name}")
        execve = mock.patch.object(os, "execve", side_effect=Executed)
        for patched in (path, execve):
            patched.start()
            self.addCleanup(patched.stop)
        connections: Any = self.connections
        self.handover = Handover(
            self.loop, settings, inherited, connections, trial, lambda: None
        )
        for number in (signal.SIGTERM, signal.SIGCHLD):
            before = signal.getsignal(number)
            self.addCleanup(signal.signal, number, before)
        self.loop.on_signal(signal.SIGTERM, self.handover.cancel)
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        self.addCleanup(signal.pthread_sigmask, signal.SIG_SETMASK, mask)

    def asked(self, said: bytes) -> None:
        self.handover._asked(ChildResult(0, said, b""))

    def turns(self) -> None:
        """More than enough of them."""
        for _ in range(10):
            self.loop.call_later(0, lambda: None)
            self.loop.turn()

    def test_without_a_signal_it_is_executed_with_all_signals_held_back(self) -> None:
        for said in (TAKES, b"an older one"):
            self.asked(said)
            with self.assertRaises(Executed):
                self.turns()
            self.assertIn(signal.SIGTERM, signal.pthread_sigmask(signal.SIG_BLOCK, ()))
        self.assertEqual(self.connections.frozen, 1)

    def test_a_stop_that_came_in_the_same_moment_as_the_answer_is_heard(self) -> None:
        for said in (TAKES, b"an older one"):
            with self.subTest(said):
                self.loop.on_signal(signal.SIGCHLD, lambda said=said: self.asked(said))  # type: ignore[misc]
                both = (signal.SIGCHLD, signal.SIGTERM)
                signal.pthread_sigmask(signal.SIG_BLOCK, both)
                for number in both:
                    os.kill(os.getpid(), number)
                signal.pthread_sigmask(signal.SIG_UNBLOCK, both)
                self.turns()
                self.is_served_on()

    def test_a_stop_that_came_after_all_were_heard_is_heard_too(self) -> None:
        for said in (TAKES, b"an older one"):
            with self.subTest(said):
                # Before the timer that executes, and after what hears of signals in that turn.
                self.loop.call_later(0, lambda: os.kill(os.getpid(), signal.SIGTERM))
                self.asked(said)
                self.turns()
                self.is_served_on()

    def test_after_a_signal_what_has_to_be_waited_for_is_waited_for_again(self) -> None:
        def request() -> None:
            """Whatever the signal was, a request came too."""
            self.connections.answers = 1
            self.loop.call_later(0.05, answered)

        def answered() -> None:
            self.assertEqual(self.connections.frozen, 0)
            self.connections.answers = 0

        self.loop.on_signal(signal.SIGCHLD, request)
        self.loop.call_later(0, lambda: os.kill(os.getpid(), signal.SIGCHLD))
        self.asked(TAKES)
        with self.assertRaises(Executed):
            for _ in range(1000):
                self.loop.turn()
        self.assertEqual((self.connections.answers, self.connections.frozen), (0, 1))

    def is_served_on(self) -> None:
        self.assertEqual(self.connections.frozen, 0)
        self.assertNotIn(signal.SIGTERM, signal.pthread_sigmask(signal.SIG_BLOCK, ()))
        self.assertFalse(self.loop.signalled())
        self.assertTrue(self.handover._cancelled)
        self.handover._cancelled = False

    def test_every_child_goes_along_that_nobody_has_reaped(self) -> None:
        pid = os.fork()
        if pid == 0:
            signal.pause()
        self.addCleanup(os.waitpid, pid, 0)
        self.addCleanup(os.kill, pid, signal.SIGKILL)
        self.loop.on_exit(pid, lambda _status: None)
        with mock.patch.object(handoff, "put", return_value=-1) as put:
            self.asked(TAKES)
            with self.assertRaises(Executed):
                self.turns()
        put.assert_called_once_with(handoff.Record([], [pid]))


if __name__ == "__main__":
    unittest.main()
