from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
import unittest
from typing import Any
from unittest import mock

from hub_upgrade.domain.boot_record import Release
from hub_upgrade.errors import HostError
from hub_upgrade.host import boot_store, files, look, processes, releases
from hub_upgrade.host.files import Home, Lock
from hub_upgrade.launcher import place
from hub_upgrade.version import VERSION
from tests.launcher.scene import Scene

NOBODY = 65534


class HomeTest(Scene):
    def take(self, **changes: Any) -> tuple[Lock | None, str]:
        lock, trouble = place.take_home(self.settings(**changes))
        if lock is not None:
            self.addCleanup(lock.release)
        return lock, trouble

    def hold(self) -> None:
        files.make_directory(self.home.releases)
        lock = Lock.try_take(self.home.serve_lock)
        assert lock is not None
        self.addCleanup(lock.release)

    def serving(self, launcher: tuple[int, str], hub: tuple[int, str], proving: bool) -> None:
        boot_store.write_serve(self.home, {
            "pid": launcher[0], "start_time": launcher[1], "address": "http://127.0.0.1:7",
            "hub_pid": hub[0], "hub_start_time": hub[1], "proving": proving,
        })  # fmt: skip

    def locked_by(self, *, deaf: bool = False) -> tuple[int, str]:
        """A process of its own that holds home's lock and dies of SIGTERM, or does not."""
        files.make_directory(self.home.releases)
        kept: list[object] = []

        def act() -> None:
            signal.signal(signal.SIGTERM, signal.SIG_IGN if deaf else signal.SIG_DFL)
            kept.append(Lock.try_take(self.home.serve_lock))

        return self.fork(act)

    def test_a_home_that_is_not_there_is_made_for_its_owner_alone(self) -> None:
        lock, trouble = self.take()
        self.assertTrue(lock is not None and lock.still_ours())
        self.assertEqual(trouble, "")
        for path in (self.home.root, self.home.releases, self.home.logs):
            self.assertEqual(os.stat(path).st_mode & 0o777, 0o700)

    def test_a_second_launcher_waits_and_then_says_who_holds_it(self) -> None:
        self.hold()
        self.serving((os.getpid(), processes.start_time(os.getpid()) or ""), (0, ""), False)
        began = time.monotonic()
        with mock.patch.object(place, "LOCK_WAIT_S", 0.2), self.assertRaises(HostError) as caught:
            self.take()
        self.assertGreater(time.monotonic() - began, 0.2)
        self.assertIn(f"process {os.getpid()} at http://127.0.0.1:7", caught.exception.sentence)
        self.assertEqual(caught.exception.exit_code, 1)

    def test_it_waits_fifteen_seconds_and_gets_the_lock_when_the_other_leaves(self) -> None:
        self.assertEqual(place.LOCK_WAIT_S, 15)
        pid, _ = self.locked_by()
        with mock.patch.object(time, "sleep", lambda _s: self.end(pid)):
            self.assertIsNotNone(self.take()[0])

    def test_a_serve_json_full_of_nonsense_is_no_hindrance_and_hurts_nobody(self) -> None:
        self.hold()
        odd = {"pid": "x", "start_time": 7, "hub_pid": True, "hub_start_time": []}
        for value in (odd, {"pid": -1, "hub_pid": -1, "hub_start_time": "1", "proving": True}):
            boot_store.write_serve(self.home, value)
            with mock.patch.object(place, "LOCK_WAIT_S", 0.05), self.assertRaises(HostError):
                self.take(stop_s=0.01)
        self.assertEqual([place._number(odd) for odd in (True, "1", 1.0, None)], [0] * 4)

    def test_a_prover_is_asked_to_leave_once_and_a_server_is_not(self) -> None:
        prover = self.locked_by()
        self.serving(prover, (0, ""), True)
        self.assertIsNotNone(self.take()[0])
        self.assertEqual(os.waitpid(prover[0], 0)[1], signal.SIGTERM)

    def test_a_launcher_that_serves_is_not_asked_to_leave(self) -> None:
        server = self.locked_by()
        self.serving(server, server, False)
        with mock.patch.object(place, "LOCK_WAIT_S", 0.1), self.assertRaises(HostError):
            self.take(stop_s=0.01)
        self.assertTrue(processes.alive(*server))

    def test_a_prover_is_recognised_by_its_start_time_and_no_stranger_is_signalled(self) -> None:
        stranger = self.locked_by()
        self.serving((stranger[0], "1"), (stranger[0], "1"), True)
        with mock.patch.object(place, "LOCK_WAIT_S", 0.1), self.assertRaises(HostError):
            self.take(stop_s=0.01)
        self.assertTrue(processes.alive(*stranger))

    def test_a_hub_whose_launcher_is_dead_is_killed_once_it_had_its_time(self) -> None:
        orphan = self.locked_by(deaf=True)
        self.serving(self.dead(), orphan, False)
        began = time.monotonic()
        self.assertIsNotNone(self.take(stop_s=0.3)[0])
        self.assertGreater(time.monotonic() - began, 0.3)
        self.assertEqual(os.waitpid(orphan[0], 0)[1], signal.SIGKILL)

    def test_a_stop_ends_the_waiting(self) -> None:
        self.hold()
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        os.kill(os.getpid(), signal.SIGTERM)
        try:
            with self.assertRaises(place.StoppedEarly):
                self.take()
        finally:
            signal.sigwait({signal.SIGTERM})
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})

    def test_a_home_that_cannot_be_locked_is_trouble_and_says_what_would_do(self) -> None:
        for number in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):
            error = OSError(number, os.strerror(number))
            with mock.patch.object(Lock, "try_take", side_effect=error):
                lock, trouble = self.take()
            self.assertIsNone(lock)
            self.assertIn("cannot be locked", trouble)
            self.assertIn("use a local file system", trouble)

    def test_a_home_that_is_a_file_is_trouble_and_no_crash(self) -> None:
        self.put("home", b"")
        lock, trouble = self.take()
        self.assertIsNone(lock)
        self.assertIn(self.home.root, trouble)

    @unittest.skipUnless(os.geteuid() == 0, "only root can become somebody else")
    def test_a_home_of_somebody_else_is_trouble_with_owner_user_and_the_chown(self) -> None:
        directory = tempfile.mkdtemp(dir="/tmp")  # anybody may go there: TMPDIR may be closed
        self.addCleanup(shutil.rmtree, directory)
        os.chmod(directory, 0o755)
        self.home = Home(os.path.join(directory, "home"))
        files.make_directory(self.home.root)
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
                _, trouble = place.take_home(self.settings())
                os.write(write, trouble.encode())
            finally:
                os._exit(0)
        os.close(write)
        with os.fdopen(read) as file:
            trouble = file.read()
        os.waitpid(pid, 0)
        self.assertIn("Permission denied; its owner is root (0), we are nobody (65534)", trouble)
        self.assertIn(f"mend it with: chown -R 65534 {self.home.root}", trouble)

    def test_a_read_only_home_of_our_own_is_trouble_without_a_chown(self) -> None:
        files.make_directory(self.home.root)
        error = OSError(errno.EROFS, "Read-only file system", self.home.releases)
        with mock.patch.object(os, "mkdir", side_effect=error):
            _, trouble = self.take()
        self.assertIn("Read-only file system", trouble)
        self.assertNotIn("chown", trouble)

    def test_what_lies_where_a_lock_belongs_is_moved_aside(self) -> None:
        files.make_directory(self.home.root)
        os.symlink("/etc/passwd", self.home.operation_lock)
        os.mkdir(self.home.state_lock)
        self.assertEqual(self.take()[1], "")
        for path in (self.home.operation_lock, self.home.state_lock):
            self.assertFalse(os.path.lexists(path))
            self.assertTrue(os.path.lexists(path + ".corrupt"))


class ListenTest(Scene):
    def test_a_taken_port_is_one_sentence_that_says_what_to_do(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            with self.assertRaises(HostError) as caught:
                place.listen("127.0.0.1", port)
        self.assertEqual(caught.exception.exit_code, 1)
        self.assertEqual(
            caught.exception.sentence,
            f"port {port} on 127.0.0.1 is taken by another program; choose another with --port",
        )

    def test_a_host_that_is_not_ours_or_no_host_is_one_sentence(self) -> None:
        for host in ("192.0.2.1", "é..b", "\udc80", "a\0b"):
            with self.assertRaises(HostError) as caught:
                place.listen(host, 0)
            self.assertIn("cannot listen on", caught.exception.sentence)
            caught.exception.sentence.encode()

    def test_a_name_that_nobody_knows_is_one_sentence(self) -> None:
        unknown = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        with mock.patch.object(socket, "socket") as made, self.assertRaises(HostError) as caught:
            made.return_value.bind.side_effect = unknown
            place.listen("nowhere.example", 0)
        self.assertIn("nowhere.example port 0: Name or service", caught.exception.sentence)

    def test_it_listens_and_tells_the_address_to_ask(self) -> None:
        six = "http://[::1]:"
        for host, wanted in (("127.0.0.1", "http://127.0.0.1:"), ("::1", six), ("[::1]", six)):
            try:
                listener = place.listen(host, 0)
            except HostError as error:
                self.assertEqual(wanted, six, "there may be no IPv6 here")
                self.assertNotIn("not known", error.sentence)
                continue
            with listener:
                self.assertTrue(look.url_of(listener).startswith(wanted))
                self.assertFalse(listener.getblocking() or listener.get_inheritable())
                socket.create_connection(listener.getsockname()[:2]).close()


class FactoryTest(Scene):
    def setUp(self) -> None:
        super().setUp()
        self.original = self.put("installed.pyz", b"the factory")
        self.tmp = os.path.join(self.directory, "tmp")
        os.mkdir(self.tmp)
        patch = mock.patch.dict(os.environ, {"TMPDIR": self.tmp})
        patch.start()
        self.addCleanup(patch.stop)

    def keep(self, usable: bool) -> tuple[Release, str]:
        release, path, spare = place.keep_factory(self.home, usable, self.original)
        self.addCleanup(os.close, spare)
        self.assertEqual(release.version, VERSION)
        self.assertEqual(release.digest, files.sha256(b"the factory"))
        return release, path

    def content(self, path: str) -> bytes:
        with open(path, "rb") as file:
            return file.read()

    def test_its_copy_lies_in_home_like_any_release(self) -> None:
        release, path = self.keep(True)
        self.assertEqual(path, releases.path_of(self.home, release.name))
        self.assertTrue(releases.is_whole(self.home, release.name))
        self.assertEqual(self.content(path), b"the factory")

    def test_where_home_takes_none_it_lies_in_a_private_place_and_is_taken_away(self) -> None:
        _, path = self.keep(False)
        self.assertTrue(path.startswith(self.tmp))
        self.assertEqual(os.stat(os.path.dirname(path)).st_mode & 0o777, 0o700)
        self.assertEqual(self.content(path), b"the factory")
        self.assertFalse(os.path.lexists(self.home.root))
        place.drop_private(path)
        self.assertEqual(os.listdir(self.tmp), [])

    def test_a_full_home_is_no_hindrance(self) -> None:
        with mock.patch.object(releases, "add", side_effect=OSError(errno.ENOSPC, "full")):
            _, path = self.keep(True)
        self.assertTrue(path.startswith(self.tmp))
        self.assertIn("full", self.said())

    def test_where_no_copy_can_be_made_the_file_itself_runs_and_that_is_said(self) -> None:
        os.rmdir(self.tmp)
        _, path = self.keep(False)
        self.assertEqual(path, self.original)
        self.assertIn("do not replace it while this runs", self.said())

    def test_a_whole_copy_in_a_home_that_cannot_be_written_is_used(self) -> None:
        _, before = self.keep(True)
        _, path = self.keep(False)
        self.assertEqual(path, before)

    def test_the_original_and_a_release_are_never_taken_away(self) -> None:
        for path in (self.original, self.keep(True)[1]):
            place.drop_private(path)
            self.assertTrue(os.path.exists(path))

    def test_a_file_that_cannot_be_read_is_one_sentence(self) -> None:
        os.unlink(self.original)
        with self.assertRaises(HostError) as caught:
            place.keep_factory(self.home, True, self.original)
        self.assertIn(self.original, caught.exception.sentence)

    def test_a_damaged_or_lost_copy_is_made_again_though_the_installed_file_changed(self) -> None:
        at = self.place()
        self.put("installed.pyz", b"another version")
        for damage in (self.damage, os.unlink):
            damage(at.factory_path)
            self.assertEqual(self.content(place.whole_factory(at)), b"the factory")
        self.assertIn("made again", self.said())

    def damage(self, path: str) -> None:
        os.chmod(path, 0o600)
        with open(path, "wb") as file:
            file.write(b"damaged")

    def test_serve_runs_from_a_built_file_only(self) -> None:
        for name in ("", "/no/such.pyz", self.put("a.py", b""), self.directory):
            with mock.patch.object(sys, "argv", [name]), self.assertRaises(HostError):
                place.own_file()
        link = os.path.join(self.directory, "link")
        os.symlink(self.original, link)
        with mock.patch.object(sys, "argv", [link]):
            self.assertEqual(place.own_file(), os.path.realpath(self.original))


class SettleInTest(Scene):
    def test_everything_is_at_its_place_and_a_prover_listens_on_loopback_only(self) -> None:
        original = self.put("installed.pyz", b"the factory")
        with mock.patch.object(sys, "argv", [original]):
            at = place.settle_in(self.settings(host="192.0.2.1", port=7), proving=True)
        assert at.lock is not None
        for close in (at.lock.release, at.listener.close, lambda: os.close(at.spare)):
            self.addCleanup(close)
        self.assertEqual(at.listener.getsockname()[0], "127.0.0.1")
        self.assertEqual((at.trouble, at.original), ("", os.path.realpath(original)))
        self.assertTrue(at.lock.still_ours())

    def test_trouble_with_home_is_said_and_serves_all_the_same(self) -> None:
        original = self.put("installed.pyz", b"the factory")
        self.put("home", b"a file")
        with mock.patch.object(sys, "argv", [original]):
            at = place.settle_in(self.settings(port=0), proving=False)
        self.addCleanup(at.listener.close)
        self.addCleanup(os.close, at.spare)
        self.addCleanup(place.drop_private, at.factory_path)
        self.assertIsNone(at.lock)
        self.assertIn(at.trouble, self.said())


class SayTest(Scene):
    def test_a_line_goes_to_standard_error_whole_and_bounded(self) -> None:
        place.say("é" * 50_000)
        self.assertLess(len(self.said().encode()), 4096)
        place.say("\udc80")
        self.assertEqual(self.said(), "launcher: \\udc80\n")

    def test_a_full_standard_error_makes_nobody_wait(self) -> None:
        self.fill_stderr()
        before = signal.signal(signal.SIGALRM, lambda *_: os._exit(99))
        signal.alarm(5)
        place.say("lost")
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        self.assertNotIn("lost", self.said())

    def test_a_closed_standard_error_is_no_reason_to_stop(self) -> None:
        before = os.dup(2)
        os.close(2)
        place.say("lost")
        os.dup2(before, 2)
        os.close(before)
        self.assertEqual(json.dumps(self.said()), '""')


if __name__ == "__main__":
    unittest.main()
