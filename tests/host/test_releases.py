from __future__ import annotations

import errno
import os
import shutil
import signal
import socket
import stat
import tempfile
import unittest
from typing import Callable
from unittest import mock

from hub_upgrade.host import files, releases
from hub_upgrade.host.files import Home

DATA = b"a release"
OTHER = b"another release"


class InAHome(unittest.TestCase):
    def setUp(self) -> None:
        self.home = Home(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.home.root)

    def add(self, version: str = "1.0.0", data: bytes = DATA) -> str:
        return releases.add(self.home, version, data)

    def names(self) -> list[str]:
        return sorted(os.listdir(self.home.releases))

    def inside(self, *parts: str) -> str:
        return os.path.join(self.home.releases, *parts)

    def damage(self, name: str, data: bytes = b"damaged") -> None:
        os.chmod(self.inside(name, "hub.pyz"), 0o600)
        with open(self.inside(name, "hub.pyz"), "wb") as file:
            file.write(data)


class AddTest(InAHome):
    def test_it_lies_under_a_name_of_version_and_digest_and_nobody_writes_it(self) -> None:
        name = self.add()
        self.assertEqual(name, "1.0.0-" + files.sha256(DATA)[:16])
        self.assertEqual(self.names(), [name])
        self.assertEqual(stat.S_IMODE(os.stat(self.inside(name)).st_mode), 0o700)
        self.assertEqual(stat.S_IMODE(os.stat(self.inside(name, "hub.pyz")).st_mode), 0o500)
        self.assertTrue(releases.is_whole(self.home, name, files.sha256(DATA)))

    def test_adding_twice_leaves_the_first_as_it_is(self) -> None:
        path = releases.path_of(self.home, self.add())
        before = os.stat(path)
        self.add()
        after = os.stat(path)
        self.assertEqual((after.st_ino, after.st_mode), (before.st_ino, before.st_mode))
        self.assertEqual(after.st_ctime_ns, before.st_ctime_ns)
        self.assertEqual(len(self.names()), 1)

    def test_a_damaged_one_is_replaced_and_whoever_runs_it_goes_on(self) -> None:
        name = self.add()
        self.damage(name)
        with open(self.inside(name, "hub.pyz"), "rb") as running:
            self.assertEqual(self.add(), name)
            self.assertEqual(running.read(), b"damaged")
        self.assertTrue(releases.is_whole(self.home, name))

    def test_whatever_lies_at_its_name_is_replaced(self) -> None:
        name = releases.name_of("1.0.0", files.sha256(DATA))
        os.makedirs(self.home.releases)
        kinds: tuple[Callable[[str], None], ...] = (
            lambda path: os.makedirs(os.path.join(path, "hub.pyz")),
            lambda path: files.write_new(path, b"a file"),
            lambda path: os.symlink("/nowhere", path),
        )
        for make in kinds:
            make(self.inside(name))
            self.assertEqual(self.add(), name)
            self.assertTrue(releases.is_whole(self.home, name))
            shutil.rmtree(self.inside(name))

    def test_a_full_disk_leaves_neither_half_a_release_nor_litter(self) -> None:
        full = OSError(errno.ENOSPC, "No space left on device")
        for call in ("write", "rename", "fsync"):
            failing = mock.patch.object(os, call, side_effect=full)
            with self.subTest(call=call), failing, self.assertRaises(OSError):
                self.add()
            self.assertEqual(self.names(), [])

    def test_the_file_is_on_the_disk_before_its_name_is(self) -> None:
        order: list[str] = []
        os.makedirs(self.home.releases)
        sync, rename = files._sync, os.rename

        def synced(descriptor: int) -> None:
            order.append("directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
            sync(descriptor)

        def renamed(source: str, target: str) -> None:
            order.append("rename")
            rename(source, target)

        with mock.patch.object(files, "_sync", synced), mock.patch.object(os, "rename", renamed):
            self.add()
        self.assertEqual(order, ["file", "directory", "rename", "directory"])


class FindTest(InAHome):
    def test_no_directory_at_all_is_no_release(self) -> None:
        self.assertEqual(releases.find(self.home), {})
        self.assertEqual(releases.bad_digests(self.home), ())

    def test_what_is_not_a_release_is_not_found(self) -> None:
        self.add()
        for name in ("1.0.0", "x-0123456789abcdef", "1.0.0-0123456789ABCDEF", ".staging-1", "good"):
            os.makedirs(self.inside(name))
        files.write_new(self.inside("boot.json"), b"{}")
        self.assertEqual(len(releases.find(self.home)), 1)

    def test_a_damaged_one_is_found_and_told_from_a_whole_one(self) -> None:
        name, gone = self.add(), self.add("2.0.0", OTHER)
        self.damage(name)
        os.unlink(self.inside(gone, "hub.pyz"))
        found = releases.find(self.home)
        self.assertEqual([found[name].whole, found[gone].whole], [False, False])
        self.assertFalse(releases.is_whole(self.home, name))
        self.assertIsNone(releases.digest_of(self.home, gone))

    def test_a_release_that_is_a_pipe_or_endless_is_damaged_and_not_waited_for(self) -> None:
        name = self.add()
        shutil.rmtree(self.inside(name))
        for make in (os.mkfifo, lambda path: os.symlink("/dev/zero", path), os.mkdir):
            os.mkdir(self.inside(name))
            make(self.inside(name, "hub.pyz"))
            self.assertFalse(releases.find(self.home)[name].whole)
            shutil.rmtree(self.inside(name))

    def test_a_name_with_another_digest_than_the_file_is_not_whole(self) -> None:
        name = self.add()
        other = releases.name_of("1.0.0", files.sha256(OTHER))
        os.rename(self.inside(name), self.inside(other))
        self.assertFalse(releases.find(self.home)[other].whole)
        self.assertFalse(releases.is_whole(self.home, other))

    def test_the_whole_digest_is_compared_where_it_is_known(self) -> None:
        name = self.add()
        digest = files.sha256(DATA)
        wrong = digest[:16] + "0" * 48
        self.assertFalse(releases.is_whole(self.home, name, wrong))


class MarkersTest(InAHome):
    def setUp(self) -> None:
        super().setUp()
        self.name, self.digest = self.add(), files.sha256(DATA)

    def test_a_release_is_good_from_its_mark_until_it_is_unmarked(self) -> None:
        self.assertFalse(releases.find(self.home)[self.name].good)
        for _ in range(2):
            releases.mark_good(self.home, self.name, self.digest)
        self.assertTrue(releases.find(self.home)[self.name].good)
        for _ in range(2):
            releases.unmark(self.home, self.name)
        self.assertFalse(releases.find(self.home)[self.name].good)

    def test_a_mark_that_bears_another_digest_is_no_mark(self) -> None:
        for text in ("", "yes", files.sha256(OTHER), self.digest.upper(), self.digest[:16]):
            releases.mark_good(self.home, self.name, text)
            self.assertFalse(releases.find(self.home)[self.name].good, text)

    def test_a_good_release_that_was_damaged_is_not_good(self) -> None:
        releases.mark_good(self.home, self.name, self.digest)
        self.damage(self.name)
        self.assertFalse(releases.find(self.home)[self.name].good)

    def test_a_bad_mark_outlives_its_release_and_is_lifted(self) -> None:
        for _ in range(2):
            releases.mark_bad(self.home, self.name, self.digest)
        self.assertTrue(releases.find(self.home)[self.name].bad)
        self.assertTrue(releases.remove(self.home, self.name))
        self.assertEqual(releases.bad_digests(self.home), (self.digest,))
        for _ in range(2):
            releases.unmark_bad(self.home, self.name)
        self.assertEqual(releases.bad_digests(self.home), ())

    def test_a_bad_mark_nobody_can_read_still_marks_its_release(self) -> None:
        files.write_new(self.inside(self.name + ".bad"), b"\xff")
        self.assertTrue(releases.find(self.home)[self.name].bad)
        self.assertEqual(releases.bad_digests(self.home), ())
        releases.mark_bad(self.home, self.name, self.digest)
        self.assertEqual(releases.bad_digests(self.home), (self.digest,))

    def test_unmarking_a_release_that_is_gone_is_no_error_and_marking_it_is(self) -> None:
        releases.remove(self.home, self.name)
        releases.unmark(self.home, self.name)
        with self.assertRaises(FileNotFoundError):
            releases.mark_good(self.home, self.name, self.digest)

    def test_a_directory_where_a_mark_belongs_stands_in_nobodys_way(self) -> None:
        good, bad = self.inside(self.name, "good"), self.inside(self.name + ".bad")
        for path in (good, bad):
            os.makedirs(os.path.join(path, "inside"))
        releases.mark_good(self.home, self.name, self.digest)
        releases.mark_bad(self.home, self.name, self.digest)
        found = releases.find(self.home)[self.name]
        self.assertEqual((found.good, found.bad), (True, True))


class PruneTest(InAHome):
    def held_by_another(self, name: str) -> int:
        """A process that runs a release, for as long as the test."""
        ready, tell = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                lock = releases.hold(releases.path_of(self.home, name))
                os.write(tell, b"." if lock else b"!")
                signal.pause()
            finally:
                os._exit(0)
        self.assertEqual(os.read(ready, 1), b".")
        os.close(ready)
        os.close(tell)
        self.addCleanup(self.end, pid)
        return pid

    def end(self, pid: int) -> None:
        try:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass

    def test_only_what_nobody_needs_goes(self) -> None:
        kept, old = self.add(), self.add("0.9.0", OTHER)
        releases.mark_good(self.home, kept, files.sha256(DATA))
        releases.mark_good(self.home, old, files.sha256(OTHER))
        files.write_new(self.inside("boot.json"), b"{}")
        files.write_new(self.inside("next.json"), b"{}")
        self.assertEqual(releases.prune(self.home, {kept}), [old])
        self.assertEqual(self.names(), sorted([kept, "boot.json", "next.json"]))

    def test_what_another_process_runs_stays_until_it_has_ended(self) -> None:
        name = self.add()
        pid = self.held_by_another(name)
        self.assertEqual(releases.prune(self.home, set()), [])
        self.assertFalse(releases.remove(self.home, name))
        self.end(pid)
        self.assertEqual(releases.prune(self.home, set()), [name])

    def test_several_processes_may_run_one_release(self) -> None:
        name = self.add()
        first, second = self.held_by_another(name), self.held_by_another(name)
        self.end(first)
        self.assertEqual(releases.prune(self.home, set()), [])
        self.end(second)
        self.assertEqual(releases.prune(self.home, set()), [name])

    def test_what_dead_writers_left_goes_and_names_of_others_stay(self) -> None:
        os.makedirs(self.inside(".staging-abc"))
        files.write_new(self.inside(".staging-abc", "hub.pyz"), b"half")
        files.write_new(self.inside(".boot.json.0123.tmp"), b"half")
        files.write_new(self.inside(".keep"), b"")
        os.makedirs(self.inside("notes"))
        os.symlink("/", self.inside(".staging-link"))
        gone = releases.prune(self.home, set())
        self.assertEqual(gone, [".staging-abc"])
        self.assertEqual(self.names(), [".keep", ".staging-link", "notes"])

    def test_what_a_launcher_left_half_written_goes_wherever_it_was_written(self) -> None:
        kept = self.add()
        theirs = os.path.join(self.home.root, ".services.json.0123.tmp")
        mine = [os.path.join(self.home.root, ".serve.json.0123.tmp")]
        mine.append(self.inside(kept, ".good.0123.tmp"))
        for path in (*mine, theirs):
            files.write_new(path, b"half")
        releases.prune(self.home, {kept})
        self.assertEqual([path for path in (*mine, theirs) if os.path.exists(path)], [theirs])

    def test_a_sweep_takes_what_is_half_staged_and_nothing_else(self) -> None:
        name = self.add()
        os.makedirs(self.inside(".staging-abc"))
        releases.sweep(self.home)
        self.assertEqual(self.names(), [name])

    def test_a_release_that_is_a_link_to_elsewhere_is_left_alone(self) -> None:
        elsewhere = os.path.join(self.home.root, "elsewhere")
        os.mkdir(elsewhere)
        files.write_new(os.path.join(elsewhere, "hub.pyz"), b"precious")
        os.makedirs(self.home.releases)
        link = releases.name_of("1.0.0", files.sha256(DATA))
        os.symlink(elsewhere, self.inside(link))
        self.assertEqual(releases.prune(self.home, set()), [])
        self.assertFalse(releases.remove(self.home, link))
        self.assertEqual(os.listdir(elsewhere), ["hub.pyz"])

    def test_damaged_directories_go_whatever_is_or_is_not_in_them(self) -> None:
        def looped(path: str) -> None:
            os.symlink(path, path)

        def deep(path: str) -> None:
            os.makedirs(os.path.join(path, "deep"))
            os.symlink("/", os.path.join(path, "deep", "link"))

        def unix_socket(path: str) -> None:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
                listener.bind(path)

        name = releases.name_of("1.0.0", "0" * 64)
        for make in (looped, deep, unix_socket, os.mkfifo, lambda _path: None):
            os.makedirs(self.inside(name))
            make(self.inside(name, "hub.pyz"))
            self.assertEqual(releases.prune(self.home, set()), [name])
            self.assertEqual(self.names(), [])

    def test_trying_again_and_again_leaves_no_descriptor_open(self) -> None:
        self.held_by_another(self.add())
        before = len(os.listdir("/dev/fd"))
        for _ in range(3):
            releases.prune(self.home, set())
        self.assertEqual(len(os.listdir("/dev/fd")), before)

    def test_what_cannot_be_removed_is_left_and_stops_nothing(self) -> None:
        stays, goes = self.add(), self.add("2.0.0", OTHER)
        real = os.rename

        def rename(source: str, target: str) -> None:
            if source.endswith(stays):
                raise OSError(errno.EPERM, "")
            real(source, target)

        with mock.patch.object(os, "rename", rename):
            self.assertEqual(releases.prune(self.home, set()), [goes])
        self.assertEqual(self.names(), [stays])

    def test_no_more_bad_marks_are_kept_than_fifty_the_highest_versions(self) -> None:
        os.makedirs(self.home.releases)
        for number in range(60):
            digest = files.sha256(str(number).encode())
            releases.mark_bad(self.home, releases.name_of(f"1.{number}.0", digest), digest)
        releases.prune(self.home, set())
        minors = sorted(int(name.split(".")[1]) for name in self.names())
        self.assertEqual(minors, list(range(10, 60)))

    def test_a_release_that_is_not_there_or_no_name_is_not_removed(self) -> None:
        os.makedirs(self.inside("notes"))
        self.assertFalse(releases.remove(self.home, "notes"))
        self.assertFalse(releases.remove(self.home, "../" + os.path.basename(self.home.root)))
        self.assertIsNone(releases.hold(releases.path_of(self.home, "notes")))


if __name__ == "__main__":
    unittest.main()
