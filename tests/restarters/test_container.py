"""A hub that is asked to stop by a SIGTERM, and one that nobody may restart."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import unittest
from unittest import mock

from hub_upgrade.domain.restart import EXIT, NONE, Choice
from hub_upgrade.errors import HostError, RefusedError
from hub_upgrade.host import hub_process
from hub_upgrade.restarters import container
from hub_upgrade.restarters.container import ContainerRestarter, NobodyRestarter
from hub_upgrade.upgrade.ports import Restarter
from tests.restarters.contract import RestarterContract

HUB = """
import signal, sys, time
stops = []
signal.signal(signal.SIGTERM, lambda *_: stops.append(1))
print("up", flush=True)
while not stops or sys.argv[1:] == ["stays"]:
    time.sleep(0.005)
"""


class Bare(unittest.TestCase):
    """A process that nobody keeps; every one that ended was asked to."""

    def setUp(self) -> None:
        self.hub: subprocess.Popen[bytes] | None = None
        self.old = ""
        for patched in (
            mock.patch.object(container, "LEFT_BY_ITSELF_S", 0.1),
            mock.patch.object(hub_process, "POLL_S", 0.005),
        ):
            patched.start()
            self.addCleanup(patched.stop)

    def begin(self, *words: str) -> str:
        hub = subprocess.Popen(
            [sys.executable, "-IS", "-c", HUB, *words], stdout=subprocess.PIPE
        )
        self.addCleanup(self.end, hub)
        assert hub.stdout is not None
        self.assertEqual(hub.stdout.readline(), b"up\n")
        self.hub, self.old = hub, hub_process.identity(hub.pid)
        return self.old

    def end(self, hub: subprocess.Popen[bytes]) -> None:
        with contextlib.suppress(ProcessLookupError):
            hub.kill()
        hub.communicate()

    def restarts(self) -> int:
        return int(not hub_process.lives(self.old))


class AskedToStop(Bare, RestarterContract):
    def restarter(self) -> Restarter:
        return ContainerRestarter(Choice(EXIT, "a test says so"))

    def refuse(self) -> None:
        """It is asked by somebody who may not."""
        refused = mock.patch.object(os, "kill", side_effect=PermissionError(1, "Not permitted"))
        refused.start()
        self.addCleanup(refused.stop)

    def test_one_that_does_not_end_is_told_with_the_command(self) -> None:
        old = self.begin("stays")
        assert self.hub is not None
        limit = mock.patch.object(container, "LEAVE_S", 0.1)
        with limit, self.assertRaises(HostError) as caught:
            self.restarter().restart(old, again=False)
        words = f"NOT restarted: process {self.hub.pid} did not end within 0.1 s of a SIGTERM; "
        self.assertEqual(
            caught.exception.sentence, f"{words}restart the hub by hand: kill {self.hub.pid}"
        )

    def test_one_that_another_helper_asked_is_given_time_and_no_second_signal(self) -> None:
        old = self.begin("stays")
        assert self.hub is not None
        hub, kill, alive = self.hub, os.kill, hub_process.lives
        looks = []

        def lives(word: str) -> bool:
            looks.append(word)
            if len(looks) == 3:
                kill(hub.pid, signal.SIGKILL)
                hub.wait()
            return alive(word)

        no_signal = mock.patch.object(os, "kill", side_effect=AssertionError("a signal"))
        patience = mock.patch.object(container, "LEFT_BY_ITSELF_S", 60)
        with patience, no_signal, mock.patch.object(hub_process, "lives", lives):
            line = self.restarter().restart(old, again=True)
        self.assertIn("is gone already", line)

    def test_no_process_and_one_that_is_gone_are_noted(self) -> None:
        self.assertIn("whatever runs the hub must restart it", self.restarter().restart("", False))
        old = self.begin()
        assert self.hub is not None
        self.hub.send_signal(signal.SIGKILL)
        self.hub.wait()
        self.assertIn("nothing was signalled", self.restarter().restart(old, again=False))

    def test_where_its_end_would_be_ours_it_is_refused(self) -> None:
        choice = Choice(EXIT, "", refused="the hub is process 1 here")
        with self.assertRaisesRegex(RefusedError, "process 1 here; nothing was changed"):
            ContainerRestarter(choice).check()


class NobodyAsked(Bare, RestarterContract):
    asks = False

    def restarter(self) -> Restarter:
        return NobodyRestarter(Choice(NONE, 'hub.restart is "none"'))

    def test_the_log_says_who_must_restart_it(self) -> None:
        line = self.restarter().restart(self.begin(), again=False)
        self.assertEqual(line, 'hub.restart is "none": whoever runs the hub must restart it now')


if __name__ == "__main__":
    unittest.main()
