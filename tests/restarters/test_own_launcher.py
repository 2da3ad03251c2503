"""Handing a release over to the launcher that `serve.json` names."""

from __future__ import annotations

import errno
import os
import signal
import unittest
from unittest import mock

from hub_upgrade.domain.boot_record import BootRecord, Next, Verdict
from hub_upgrade.host import boot_store, files, processes
from hub_upgrade.restarters import own_launcher
from hub_upgrade.restarters.own_launcher import OwnLauncher
from tests.upgrade.scene import Scene

DIGEST = files.sha256(b"newer")
NEXT = Next("o1", "upgrade", "1.1.0-" + DIGEST[:16], DIGEST, False)


class HandOver(Scene):
    def serve(self, **changes: object) -> None:
        mine = {"pid": os.getpid(), "start_time": processes.start_time(os.getpid())}
        boot_store.write_serve(self.home, {"format": 1, **mine, **changes})

    def taking_up(self, *_ignored: object) -> None:
        verdict = Verdict("o1", "committed", NEXT.release, DIGEST, "healthy", "t", ())
        boot_store.write_boot(self.home, BootRecord(current=self.current, verdicts=(verdict,)))
        boot_store.remove_next(self.home)

    def test_it_waits_until_the_launcher_has_taken_it_up(self) -> None:
        self.serve()
        old = signal.signal(signal.SIGUSR1, self.taking_up)
        self.addCleanup(signal.signal, signal.SIGUSR1, old)
        self.assertTrue(OwnLauncher(self.home).hand_over(NEXT))

    def test_without_a_live_launcher_it_is_left_for_the_next_start(self) -> None:
        for changes in ({"pid": 2**22 + 1}, {"start_time": "1"}, {"pid": "x"}):
            self.serve(**changes)
            launcher = OwnLauncher(self.home)
            self.assertFalse(launcher.alive())
            self.assertFalse(launcher.hand_over(NEXT))
            self.assertEqual(boot_store.read_next(self.home), NEXT)

    def test_a_pid_on_the_command_line_must_be_the_launchers(self) -> None:
        self.serve()
        self.assertTrue(OwnLauncher(self.home, os.getpid()).alive())
        self.assertFalse(OwnLauncher(self.home, os.getpid() + 1).alive())

    def test_the_wait_is_bounded(self) -> None:
        self.serve()
        old = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        self.addCleanup(signal.signal, signal.SIGUSR1, old)
        with mock.patch.object(own_launcher, "TAKE_UP_S", 0.1):
            self.assertFalse(OwnLauncher(self.home).hand_over(NEXT))

    def test_a_handover_that_cannot_be_written_raises_unless_it_is_there_all_the_same(self) -> None:
        self.serve(pid=0)
        failing = OSError(errno.EIO, "Input/output error")
        with mock.patch.object(boot_store, "write_next", side_effect=failing):
            with self.assertRaises(OSError):
                OwnLauncher(self.home).hand_over(NEXT)
            files.write_json(self.home.next_json, {"format": 1, **NEXT._asdict()})
            self.assertFalse(OwnLauncher(self.home).hand_over(NEXT))

    def test_it_knows_the_launchers_protocol_and_file(self) -> None:
        launcher = OwnLauncher(self.home)
        self.assertEqual(launcher.protocol(), 1)
        self.serve(protocol=3, factory="/opt/hub.pyz")
        self.assertEqual((launcher.protocol(), launcher.factory()), (3, "/opt/hub.pyz"))


if __name__ == "__main__":
    unittest.main()
