"""The launcher between the disk and its hub."""

from __future__ import annotations

import errno
import os
import signal
import time
import unittest
from typing import Any
from unittest import mock

from hub_upgrade.domain import boot
from hub_upgrade.domain.boot import Action, Event
from hub_upgrade.domain.boot_record import BootRecord
from hub_upgrade.host import boot_store
from hub_upgrade.host.look import Look, Seen
from hub_upgrade.host.loop import Loop
from hub_upgrade.launcher import eye, main
from hub_upgrade.settings import RELEASES
from tests.launcher.scene import PATIENCE_S, Scene


class LauncherTest(Scene):
    def setUp(self) -> None:
        super().setUp()
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        self.addCleanup(signal.pthread_sigmask, signal.SIG_SETMASK, mask)

    def test_at_its_end_one_more_press_of_ctrl_c_does_not_kill_it(self) -> None:
        loop = Loop()
        self.addCleanup(loop.close)
        launcher = main.Launcher(self.settings(), self.place(), loop, forced=False, proving=False)
        loop.call_later(0, loop.stop)
        with mock.patch.object(loop, "on_signal"), mock.patch.object(launcher, "feed"):
            launcher.run()
        self.assertIn(signal.SIGINT, signal.pthread_sigmask(signal.SIG_BLOCK, ()))

    def test_who_serves_is_written_before_a_hub_is_started_that_reads_it(self) -> None:
        loop = Loop()
        self.addCleanup(loop.close)
        launcher = main.Launcher(
            self.settings(releases="/srv"), self.place(), loop, forced=False, proving=False
        )
        told: list[object] = []

        def start(*_arguments: object) -> None:
            told.append((boot_store.read_serve(self.home) or {}).get("releases"))
            loop.call_later(0, loop.stop)
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

        with mock.patch.object(main, "Child", start), mock.patch.object(loop, "on_signal"):
            launcher.run()
        self.assertEqual(told, ["/srv"])

    def test_a_hub_is_told_where_releases_come_from_on_a_full_disk_too(self) -> None:
        loop = Loop()
        self.addCleanup(loop.close)
        launcher = main.Launcher(
            self.settings(releases="/srv"), self.place(), loop, forced=False, proving=False
        )
        told: list[object] = []

        def start(*arguments: Any) -> None:
            told.append(arguments[4].get(RELEASES))
            loop.call_later(0, loop.stop)
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

        full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        refused = mock.patch.object(boot_store, "write_serve", side_effect=full)
        with refused, mock.patch.object(main, "Child", start), mock.patch.object(loop, "on_signal"):
            launcher.run()
        self.assertEqual(told, ["/srv"])

    def test_a_launcher_without_a_descriptor_left_looks_again_and_lives(self) -> None:
        loop = Loop()
        self.addCleanup(loop.close)
        launcher = main.Launcher(
            self.settings(), self.place(), loop, forced=False, proving=False
        )
        seen: list[Seen] = []
        none = OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        with mock.patch.object(eye, "LOOK_EVERY_S", 0.01):
            with mock.patch.object(Look, "__init__", side_effect=none):
                launcher._eye.look(seen.append)
            deadline = time.monotonic() + PATIENCE_S
            while not seen and time.monotonic() < deadline:
                loop.turn()
        self.assertEqual(seen, [Seen(0, {}, os.strerror(errno.EMFILE))])

    def test_a_lost_record_waits_for_the_markers_that_come_before_it(self) -> None:
        loop = Loop()
        self.addCleanup(loop.close)
        launcher = main.Launcher(self.settings(), self.place(), loop, forced=False, proving=False)
        kept: list[object] = []
        todo = (Action("good", "1.0.0-" + "a" * 16, digest="a" * 64), main.RECORD)
        with mock.patch.object(launcher._disk, "keep", kept.append):
            with mock.patch.object(launcher._disk, "carry_out", lambda *_: "No space left"):
                launcher.mind = launcher.mind._replace(todo=todo)
                launcher._every_second()
                self.assertEqual(kept, [])
            launcher.mind = launcher.mind._replace(todo=())
            launcher._every_second()
        self.assertEqual(len(kept), 1)

    def test_a_trial_that_waits_for_room_is_told_once_and_not_every_second(self) -> None:
        loop = Loop()
        self.addCleanup(loop.close)
        launcher = main.Launcher(self.settings(), self.place(), loop, forced=False, proving=False)
        with mock.patch.object(launcher._disk, "carry_out", lambda *_: "No space left"):
            for _ in range(3):
                launcher.mind = launcher.mind._replace(wanted=BootRecord(), state=boot.SERVING)
                launcher.feed(Event("uncharged", "No space left"))
        self.assertEqual(self.said().count("the trial waits"), 1)


if __name__ == "__main__":
    unittest.main()
