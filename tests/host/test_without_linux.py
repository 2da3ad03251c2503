"""What macOS lacks is taken away, and what it has is lent to us, piece by piece: the other branch
keeps the same promise. (tests/outside/restarters/test_macos_fallbacks.py takes all at once.)"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import socket
import sys
import tempfile
import unittest
from collections.abc import Iterator
from typing import Any
from unittest import mock

from hub_upgrade.cli import locks
from hub_upgrade.domain.container import Seen, recognise
from hub_upgrade.host import container, files, mounts, notify, processes
from hub_upgrade.host.commands import run
from hub_upgrade.host.files import Lock
from hub_upgrade.host.operation_log import OperationLog
from hub_upgrade.launcher import place
from hub_upgrade.sources import trees
from hub_upgrade.upgrade.candidate import Candidate
from hub_upgrade.web import streams
from tests.e2e.harness import wait_for
from tests.host import test_loop
from tests.launcher.scene import Scene
from tests.web import test_streams

PYTHON = [sys.executable, "-I", "-S", "-c"]
SLEEPS_ON = """
import os, time
pid = os.fork()
if pid == 0:
    time.sleep(600)
print(pid, "\\nthe last words", flush=True)
os._exit(3)
"""
"""Names one that it leaves behind, and ends."""


@contextlib.contextmanager
def without(module: Any, *names: str) -> Iterator[None]:
    """A module that lacks these."""
    kept = {name: getattr(module, name) for name in names if hasattr(module, name)}
    for name in kept:
        delattr(module, name)
    try:
        yield
    finally:
        for name, value in kept.items():
            setattr(module, name, value)


def without_proc() -> Any:
    """Directories of /proc are not there."""
    listed = os.listdir

    def listdir(path: Any = ".") -> list[str]:
        if str(path).startswith("/proc"):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return listed(path)

    return mock.patch.object(os, "listdir", listdir)


class Epoll:
    """Mixed into the loop's own tests: all that they say holds with poll(2)."""

    def setUp(self) -> None:
        taken = without(select, "epoll")
        taken.__enter__()
        self.addCleanup(taken.__exit__, None, None, None)  # type: ignore[attr-defined]
        super().setUp()  # type: ignore[misc]


class TimersWithPoll(Epoll, test_loop.TimersTest):
    pass


class OrderWithPoll(Epoll, test_loop.OrderTest):
    pass


class SignalsWithPoll(Epoll, test_loop.SignalsTest):
    pass


class ExitsWithPoll(Epoll, test_loop.ExitsTest):
    def test_it_is_poll_that_waits(self) -> None:
        self.assertIsInstance(self.loop._poll, type(select.poll()))


class FullFsync(unittest.TestCase):
    """fsync(2) of macOS leaves the data in the disk's cache: F_FULLFSYNC does not."""

    def synced(self, answer: Any) -> list[str]:
        told: list[str] = []

        def control(descriptor: int, command: int) -> int:
            told.append(f"fcntl {command}")
            return int(answer())

        def sync(descriptor: int) -> None:
            told.append("fsync")

        with tempfile.TemporaryDirectory() as directory, \
                mock.patch.object(fcntl, "F_FULLFSYNC", 51, create=True), \
                mock.patch.object(fcntl, "fcntl", control), \
                mock.patch.object(os, "fsync", sync):  # fmt: skip
            files.write_durably(os.path.join(directory, "file"), b"data")
        return told

    def test_it_is_asked_for_instead_of_fsync_for_the_file_and_its_directory(self) -> None:
        self.assertEqual(self.synced(lambda: 0), ["fcntl 51", "fcntl 51"])

    def test_where_a_file_system_refuses_it_there_is_fsync(self) -> None:
        def refuse() -> int:
            raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

        self.assertEqual(self.synced(refuse), ["fcntl 51", "fsync"] * 2)


class Waitid(unittest.TestCase):
    """Python has it on macOS from 3.13 on: without, a child is reaped as it is looked at."""

    def setUp(self) -> None:
        taken = without(os, "waitid")
        taken.__enter__()
        self.addCleanup(taken.__exit__, None, None, None)

    def is_gone(self, told: bytes) -> None:
        pid = int(told.split()[0])
        wait_for(lambda: processes.start_time(pid) is None, f"the end of {pid}")

    def test_a_tool_ends_with_its_status_and_its_group_with_it(self) -> None:
        result = run([*PYTHON, SLEEPS_ON], 20)
        self.assertEqual((result.status, result.last_line()), (3, "the last words"))
        self.is_gone(result.stdout)
        with self.assertRaises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)

    def test_a_tool_whose_time_is_over_is_killed(self) -> None:
        self.assertIsNone(run(["sleep", "60"], 0.1).status)

    def test_a_candidate_ends_with_its_status_its_words_and_its_group(self) -> None:
        log = mock.create_autospec(OperationLog, instance=True)
        candidate = Candidate([*PYTHON, SLEEPS_ON], dict(os.environ), "/", 20, log)
        self.addCleanup(candidate.close)
        while candidate.exit_status() is None:
            candidate.turn(0.02)
        self.assertEqual(candidate.exit_status(), 3 << 8)
        self.assertIn("the last words", candidate.last_words())
        self.is_gone(candidate._tail)


class Notify(unittest.TestCase):
    def receiver(self, directory: str) -> notify.Receiver:
        receiver = notify.Receiver(directory)
        self.addCleanup(receiver.close)
        self.assertTrue(notify.send(receiver.address, "READY=1"))
        self.assertEqual(receiver.receive(), (0, {"READY": "1"}))
        return receiver

    def test_a_directory_that_is_too_deep_or_not_ours_is_not_the_last_one(self) -> None:
        with tempfile.TemporaryDirectory() as directory, \
                mock.patch.object(notify, "_LINUX", False), \
                without(socket, "SO_PASSCRED", "SCM_CREDENTIALS"):  # fmt: skip
            deep = os.path.join(directory, "d" * 100)
            os.mkdir(deep)
            for unfit in (deep, os.path.join(directory, "none")):
                receiver = self.receiver(unfit)
                self.assertTrue(receiver.address.startswith("/tmp/hub-"), receiver.address)
            self.assertEqual(os.listdir(deep), [])


class Proc(unittest.TestCase):
    def test_every_descriptor_is_closed_all_the_same(self) -> None:
        pid = os.fork()
        if pid == 0:
            with without_proc():
                far = os.dup2(0, 400)
                processes.close_from(3)
                try:
                    os.fstat(far)
                except OSError:
                    os._exit(0)
                os._exit(1)
        self.assertEqual(os.waitpid(pid, 0)[1], 0)

    def test_who_holds_a_lock_is_not_to_be_seen(self) -> None:
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "lock")
            lock = Lock.try_take(path)
            assert lock is not None
            self.addCleanup(lock.release)
            self.assertEqual(locks.holders(path), [os.getpid()])
            with without_proc():
                self.assertEqual(locks.holders(path), [])

    def test_a_mac_is_no_container(self) -> None:
        with mock.patch.object(sys, "platform", "darwin"), \
                mock.patch.object(container, "_read", return_value=""), \
                mock.patch.object(os.path, "lexists", return_value=False), \
                mock.patch.dict(os.environ, {"HOME": "/Users/op"}, clear=True):  # fmt: skip
            self.assertEqual(container.look(), recognise(Seen(
                init=None, cgroup="", dockerenv=False, containerenv=False,
                environ={"HOME": "/Users/op"},
            )))  # fmt: skip
            self.assertEqual(container.look().signs, ())

    def test_without_mountinfo_the_devices_tell_mounts_apart(self) -> None:
        with tempfile.TemporaryDirectory() as directory, \
                mock.patch.object(mounts, "MOUNTINFO", "/none"):  # fmt: skip
            here = os.path.join(directory, "here")
            os.mkdir(here)
            trees._refuse_mounts(trees.Layout(here, directory, directory))
            other = next(p for p in ("/dev/shm", "/dev", "/sys") if _elsewhere(p, here))
            with self.assertRaisesRegex(Exception, "lie on different mounts"):
                trees._refuse_mounts(trees.Layout(here, directory, other))


def _elsewhere(path: str, than: str) -> bool:
    return os.path.isdir(path) and os.stat(path).st_dev != os.stat(than).st_dev


class Memory(Scene):
    def test_the_factorys_spare_is_a_file_that_outlives_its_name(self) -> None:
        original = self.put("installed.pyz", b"the factory")
        with without(os, "memfd_create"):
            _factory, _path, spare = place.keep_factory(self.home, False, original)
        self.addCleanup(os.close, spare)
        self.assertEqual(os.fstat(spare).st_ino, os.stat(original).st_ino)
        self.assertFalse(os.get_inheritable(spare))
        os.replace(self.put("newer.pyz", b"another one"), original)
        self.assertEqual(os.pread(spare, 100, 0), b"the factory")


class UserTimeout(test_streams.StreamCase):
    """Linux's own limit for what is not acknowledged: the hub's does as well."""

    def setUp(self) -> None:
        super().setUp()
        patch = mock.patch.object(streams, "USER_TIMEOUT", None)
        patch.start()
        self.addCleanup(patch.stop)

    test_who_takes_nothing_is_cut_off = test_streams.SlowTest.test_who_takes_nothing_is_cut_off


if __name__ == "__main__":
    unittest.main()
