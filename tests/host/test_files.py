from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
import unittest
from typing import Callable
from unittest import mock

from hub_upgrade.host import files
from hub_upgrade.host.files import Home, Lock, Unreadable

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class InADirectory(unittest.TestCase):
    def setUp(self) -> None:
        self.directory = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.directory)
        self.path = os.path.join(self.directory, "state.json")

    def put(self, data: bytes, name: str = "state.json") -> str:
        path = os.path.join(self.directory, name)
        with open(path, "wb") as file:
            file.write(data)
        return path

    def content(self, path: str = "") -> bytes:
        with open(path or self.path, "rb") as file:
            return file.read()

    def names(self) -> list[str]:
        return sorted(os.listdir(self.directory))


class DurableWriteTest(InADirectory):
    def test_the_content_is_replaced_whole_and_nothing_is_left_beside_it(self) -> None:
        files.write_durably(self.path, b"one")
        files.write_durably(self.path, b"two")
        self.assertEqual(self.content(), b"two")
        self.assertEqual(self.names(), ["state.json"])

    def test_only_the_owner_may_read_it_whatever_the_umask(self) -> None:
        for mask in (0, 0o377):
            with self.subTest(mask=oct(mask)):
                before = os.umask(mask)
                try:
                    files.write_durably(self.path, b"secret")
                finally:
                    os.umask(before)
                self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o600)

    def test_every_failing_call_leaves_the_old_content_and_no_temporary_file(self) -> None:
        self.put(b"old")
        for call in ("open", "write", "fchmod", "fsync", "replace"):
            error = OSError(errno.ENOSPC, "No space left on device")
            failing = mock.patch.object(os, call, side_effect=error)
            with self.subTest(call=call), failing, self.assertRaises(OSError):
                files.write_durably(self.path, b"new")
            self.assertEqual((self.content(), self.names()), (b"old", ["state.json"]))

    def test_a_disk_that_takes_only_half_leaves_the_old_content(self) -> None:
        self.put(b"old")
        real, pieces = os.write, [3]

        def write(descriptor: int, data: bytes) -> int:
            if not pieces:
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(descriptor, data[: pieces.pop()])

        with mock.patch.object(os, "write", write), self.assertRaises(OSError) as raised:
            files.write_durably(self.path, b"a new content")
        self.assertIn("/.state.json.", str(raised.exception.filename), "which file was it?")
        self.assertEqual((self.content(), self.names()), (b"old", ["state.json"]))

    def test_a_short_write_is_continued(self) -> None:
        real = os.write
        with mock.patch.object(os, "write", lambda fd, data: real(fd, data[:2])):
            files.write_durably(self.path, b"0123456789")
        self.assertEqual(self.content(), b"0123456789")

    def test_a_keyboard_interrupt_leaves_no_temporary_file(self) -> None:
        interrupted = mock.patch.object(os, "replace", side_effect=KeyboardInterrupt)
        with interrupted, self.assertRaises(KeyboardInterrupt):
            files.write_durably(self.path, b"new")
        self.assertEqual(self.names(), [])

    def test_the_content_is_synced_before_the_rename_and_the_directory_after_it(self) -> None:
        order: list[str] = []
        sync, replace = files._sync, os.replace

        def synced(descriptor: int) -> None:
            kind = os.fstat(descriptor).st_mode
            order.append("directory" if stat.S_ISDIR(kind) else "file")
            sync(descriptor)

        def replaced(source: str, target: str) -> None:
            order.append("rename")
            replace(source, target)

        with mock.patch.object(files, "_sync", synced), mock.patch.object(os, "replace", replaced):
            files.write_durably(self.path, b"new")
        self.assertEqual(order, ["file", "rename", "directory"])

    def test_a_directory_that_cannot_be_synced_is_no_error_but_a_broken_disk_is(self) -> None:
        for number, raises in ((errno.EINVAL, False), (errno.EIO, True)):
            error = OSError(number, "")
            with self.subTest(number=number), mock.patch.object(files, "_sync", side_effect=error):
                if raises:
                    with self.assertRaises(OSError):
                        files.sync_directory(self.directory)
                else:
                    files.sync_directory(self.directory)

    def test_a_link_at_the_name_is_replaced_and_not_followed(self) -> None:
        victim = self.put(b"precious", "victim")
        os.symlink(victim, self.path)
        files.write_durably(self.path, b"new")
        self.assertEqual(self.content(victim), b"precious")
        self.assertFalse(os.path.islink(self.path))

    def test_a_link_planted_at_the_temporary_name_is_not_followed(self) -> None:
        victim = self.put(b"precious", "victim")
        with mock.patch.object(os, "urandom", return_value=b"\0" * 6):
            os.symlink(victim, os.path.join(self.directory, ".state.json.000000000000.tmp"))
            with self.assertRaises(FileExistsError):
                files.write_durably(self.path, b"new")
        self.assertEqual(self.content(victim), b"precious")

    def test_a_dangling_link_planted_at_the_temporary_name_creates_nothing(self) -> None:
        with mock.patch.object(os, "urandom", return_value=b"\0" * 6):
            trap = os.path.join(self.directory, ".state.json.000000000000.tmp")
            os.symlink(os.path.join(self.directory, "elsewhere"), trap)
            with self.assertRaises(FileExistsError):
                files.write_durably(self.path, b"new")
        self.assertNotIn("elsewhere", self.names())

    def test_two_writers_never_share_a_temporary_file(self) -> None:
        seen: list[str] = []
        real = files.write_new

        def noted(path: str, data: bytes, mode: int = 0o600) -> None:
            seen.append(path)
            real(path, data, mode)

        with mock.patch.object(files, "write_new", noted):
            files.write_durably(self.path, b"one")
            files.write_durably(self.path, b"two")
        self.assertEqual(len(set(seen)), 2)

    def test_a_reader_beside_a_writer_sees_only_whole_contents(self) -> None:
        sizes = (10, 300_000)
        files.write_durably(self.path, b"x" * sizes[0])
        pid = os.fork()
        if pid == 0:
            try:
                for turn in range(30):
                    files.write_durably(self.path, b"x" * sizes[turn % 2])
            finally:
                os._exit(0)
        seen = set()
        while os.waitpid(pid, os.WNOHANG) == (0, 0):
            seen.add(len(self.content()))
        self.assertLessEqual(seen, set(sizes))

    def test_removing_is_synced_and_what_is_not_there_is_no_error(self) -> None:
        self.put(b"old")
        with mock.patch.object(files, "sync_directory") as synced:
            files.remove_durably(self.path)
            synced.assert_called_once_with(self.directory)
            files.remove_durably(self.path)
            synced.assert_called_once()
        self.assertEqual(self.names(), [])

    def test_a_directory_is_made_with_its_parents_for_the_owner_alone(self) -> None:
        deep = os.path.join(self.directory, "a", "b")
        with mock.patch.object(files, "sync_directory") as synced:
            files.make_directory(deep)
        self.assertEqual([call.args[0] for call in synced.call_args_list],
                         [self.directory, os.path.join(self.directory, "a")])  # fmt: skip
        self.assertEqual(stat.S_IMODE(os.stat(deep).st_mode), 0o700)
        files.make_directory(deep)

    def test_a_file_where_a_directory_belongs_is_an_error(self) -> None:
        self.put(b"")
        with self.assertRaises(OSError):
            files.make_directory(self.path)

    def test_what_is_moved_aside_stays_and_may_be_a_full_directory(self) -> None:
        for turn in range(3):
            os.mkdir(self.path)
            self.put(str(turn).encode(), "state.json/inside")
            moved = files.move_aside(self.path)
            self.assertEqual(self.content(os.path.join(moved, "inside")), str(turn).encode())
        self.assertEqual(len(self.names()), 3)


class ReadingTest(InADirectory):
    def test_no_file_is_none_and_an_object_is_an_object(self) -> None:
        self.assertIsNone(files.read_json(self.path))
        files.write_json(self.path, {"a": "é"})
        self.assertEqual(files.read_json(self.path), {"a": "é"})
        self.assertTrue(self.content().endswith(b"\n"))

    def test_a_path_that_is_no_utf8_is_read_as_it_was_from_what_is_utf8(self) -> None:
        value = {"a": "é", "path": os.fsdecode(b"/t\xff"), "odd": ["\ud800", "\U0001f600"]}
        files.write_json(self.path, value)
        self.content().decode("utf-8")
        self.assertEqual(files.read_json(self.path), value)

    def test_what_is_not_a_json_object_is_unreadable(self) -> None:
        deep = b'{"a":' + b"[" * 100_000
        for data in (b"", b"{", b"[1]", b'"text"', b"\xff\xfe", deep, b"\0" * 100):
            self.put(data)
            with self.subTest(data=data[:20]), self.assertRaises(Unreadable) as caught:
                files.read_json(self.path)
            self.assertIn(self.path, str(caught.exception))

    def test_what_is_no_regular_file_is_unreadable_and_never_waited_for(self) -> None:
        def fifo() -> None:
            os.mkfifo(self.path)

        def loop() -> None:
            os.symlink(self.path, self.path)

        def dangling() -> None:
            os.symlink("nowhere", self.path)

        def device() -> None:
            os.symlink("/dev/zero", self.path)

        for make in (fifo, loop, dangling, device, lambda: os.mkdir(self.path)):
            make()
            with self.subTest(make=make), self.assertRaises(Unreadable):
                files.read_json(self.path)
            (os.rmdir if os.path.isdir(self.path) else os.unlink)(self.path)

    def test_a_file_larger_than_its_bound_is_unreadable(self) -> None:
        self.put(b"12345")
        self.assertEqual(files.read_regular(self.path, 5), b"12345")
        with self.assertRaises(Unreadable):
            files.read_regular(self.path, 4)

    def test_digests_are_those_of_hashlib(self) -> None:
        data = os.urandom(600_000)
        wanted = hashlib.sha256(data).hexdigest()
        self.assertEqual((files.sha256(data), files.sha256_file(self.put(data))), (wanted, wanted))

    def test_ids_are_random_uuids_and_times_are_rfc_3339(self) -> None:
        uuid = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
        self.assertEqual(len({files.new_id() for _ in range(100)}), 100)
        self.assertRegex(files.new_id(), f"^{uuid}$")
        self.assertEqual(files.rfc3339(0.9999), "1970-01-01T00:00:00.999Z")
        self.assertRegex(files.now_rfc3339(), r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")

    def test_every_name_lies_under_home(self) -> None:
        home = Home("/h")
        properties = [n for n, v in vars(Home).items() if isinstance(v, property)]
        self.assertIn("boot_json", properties)
        for name in properties:
            self.assertTrue(getattr(home, name).startswith("/h/"), name)


class DirectoryLockTest(InADirectory):
    def test_it_leaves_nothing_behind_and_what_cannot_be_locked_is_nobodys(self) -> None:
        first = Lock.on_directory(self.directory)
        assert first is not None
        self.assertIsNone(Lock.on_directory(self.directory))
        first.release()
        for path in (self.directory, "", self.directory + "/nowhere", __file__):
            again = Lock.on_directory(path)
            assert again is not None
            again.release()
        self.assertEqual(os.listdir(self.directory), [])


class LockTest(InADirectory):
    def setUp(self) -> None:
        super().setUp()
        self.path = os.path.join(self.directory, "operation.lock")

    def take(self, shared: bool = False) -> Lock:
        lock = Lock.try_take(self.path, shared)
        assert lock is not None
        self.addCleanup(lock.release)
        return lock

    def in_a_child(self, act: Callable[[], bool]) -> bool:
        pid = os.fork()
        if pid == 0:
            code = 2
            try:
                code = 0 if act() else 1
            finally:
                os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        self.assertIn(code, (0, 1))
        return code == 0

    def test_one_holder_at_a_time(self) -> None:
        lock = self.take()
        self.assertIsNone(Lock.try_take(self.path))
        self.assertFalse(self.in_a_child(lambda: Lock.try_take(self.path) is not None))
        lock.release()
        lock.release()
        self.assertTrue(self.in_a_child(lambda: Lock.try_take(self.path) is not None))

    def test_shared_holders_keep_an_exclusive_one_out(self) -> None:
        self.take(shared=True)
        self.take(shared=True)
        self.assertIsNone(Lock.try_take(self.path))

    def test_it_dies_with_its_process_even_one_that_is_killed(self) -> None:
        ready, tell = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                lock = Lock.try_take(self.path)
                os.write(tell, b"." if lock else b"!")
                signal.pause()
            finally:
                os._exit(1)
        self.assertEqual(os.read(ready, 1), b".")
        self.assertIsNone(Lock.try_take(self.path))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(ready)
        os.close(tell)
        self.take()

    def test_a_failed_try_leaves_no_descriptor_open(self) -> None:
        self.take()
        before = os.listdir("/dev/fd")
        self.assertIsNone(Lock.try_take(self.path))
        unlockable = mock.patch.object(fcntl, "flock", side_effect=OSError(errno.ENOLCK, ""))
        with unlockable, self.assertRaises(OSError):
            Lock.try_take(self.path)
        self.assertEqual(len(os.listdir("/dev/fd")), len(before))

    def test_a_link_planted_at_its_name_is_not_followed(self) -> None:
        victim = self.put(b"precious", "victim")
        for target in (victim, os.path.join(self.directory, "not-there")):
            os.symlink(target, self.path)
            with self.assertRaises(OSError):
                Lock.try_take(self.path)
            os.unlink(self.path)
        self.assertEqual(self.names(), ["victim"])

    def test_a_pipe_planted_at_its_name_does_not_make_anybody_wait(self) -> None:
        os.mkfifo(self.path)
        lock = Lock.try_take(self.path)
        if lock is not None:
            lock.release()

    def test_an_unlinked_or_replaced_lock_file_is_noticed(self) -> None:
        lock = self.take()
        self.assertTrue(lock.still_ours())
        os.unlink(self.path)
        self.assertFalse(lock.still_ours())
        other = self.take()
        self.assertFalse(lock.still_ours())
        self.assertTrue(other.still_ours())

    def test_a_file_that_is_unlinked_while_it_is_being_locked_is_not_taken(self) -> None:
        real = fcntl.flock

        def flock(descriptor: int, operation: int) -> None:
            os.unlink(self.path)
            real(descriptor, operation)

        with mock.patch.object(fcntl, "flock", flock):
            self.assertIsNone(Lock.try_take(self.path))

    def test_a_child_takes_over_the_descriptor_and_the_parent_lets_go(self) -> None:
        lock = self.take()
        code = (
            "from hub_upgrade.host.files import Lock;"
            f"lock = Lock.adopt(0, {self.path!r});"
            "print('adopted' if lock else 'refused', os.get_inheritable(0), flush=True);"
            "os.read(3, 1)"
        )
        wait, go = os.pipe()
        self.addCleanup(os.close, wait)
        argv = [sys.executable, "-S", "-c", f"import os; os.dup2({wait}, 3);" + code]
        child = subprocess.Popen(
            argv, stdin=lock.fd, stdout=subprocess.PIPE, pass_fds=(wait,), cwd=ROOT
        )
        with child:
            assert child.stdout is not None
            lock.release()
            said, taken = child.stdout.readline(), Lock.try_take(self.path)
            os.close(go)
        self.assertEqual((said, taken), (b"adopted False\n", None))
        self.assertEqual(child.returncode, 0)
        self.take()

    def test_a_descriptor_of_another_file_is_not_adopted(self) -> None:
        self.put(b"", "operation.lock")
        other = os.open(self.put(b"", "other"), os.O_RDWR)
        self.addCleanup(os.close, other)
        self.assertIsNone(Lock.adopt(other, self.path))
        self.assertIsNone(Lock.adopt(10_000, self.path))

    def test_a_descriptor_opened_anew_beside_the_holder_is_not_adopted(self) -> None:
        self.take()
        anew = os.open(self.path, os.O_RDWR)
        self.addCleanup(os.close, anew)
        self.assertIsNone(Lock.adopt(anew, self.path))


class DigestTest(unittest.TestCase):
    def setUp(self) -> None:
        self.directory = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.directory)
        self.path = os.path.join(self.directory, "file")
        self.began = int(time.time())
        self.put(b"one")

    def put(self, data: bytes, tick: int = 0) -> None:
        with open(self.path, "wb") as file:
            file.write(data)
        times = self.began * 10**9 + tick
        os.utime(self.path, ns=(times, times))

    def read(self, after_s: float = 0.0) -> tuple[str, int]:
        """The digest some time after now, and how often the file was read for it."""
        later = self.began + after_s
        counted = mock.patch.object(files, "_read_all", wraps=files._read_all)
        with mock.patch("time.time", lambda: later), counted as reading:
            return files.sha256_regular(self.path, 100), reading.call_count

    def test_a_file_that_stays_is_read_once(self) -> None:
        digest = files.sha256(b"one")
        self.assertEqual([self.read(60) for _ in range(3)], [(digest, 1), (digest, 0), (digest, 0)])

    def test_one_that_changed_is_read_again_whatever_its_size_and_name(self) -> None:
        self.read(60)
        self.put(b"two", tick=1)
        self.assertEqual(self.read(60), (files.sha256(b"two"), 1))
        os.unlink(self.path)
        self.put(b"six")
        self.assertEqual(self.read(60), (files.sha256(b"six"), 1))

    def test_one_that_changed_just_now_is_read_every_time(self) -> None:
        self.assertEqual([self.read()[1] for _ in range(3)], [1, 1, 1])

    def test_what_is_no_regular_file_or_too_large_is_refused_each_time(self) -> None:
        self.put(b"x" * 101)
        for _ in range(2):
            with self.assertRaises(files.Unreadable):
                self.read(60)
        with self.assertRaises(files.Unreadable):
            files.sha256_regular(self.directory, 100)
        with self.assertRaises(FileNotFoundError):
            files.sha256_regular(self.path + "-", 100)


if __name__ == "__main__":
    unittest.main()
