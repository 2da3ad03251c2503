from __future__ import annotations

import errno
import json
import os
import stat
import time
import unittest
from typing import Any, cast
from unittest import mock

from hub_upgrade.domain.boot import Action
from hub_upgrade.domain.boot_record import BootRecord, Next, Trial
from hub_upgrade.host import boot_store, files, releases
from hub_upgrade.host.files import Lock
from hub_upgrade.launcher.child import Child
from hub_upgrade.launcher.disk import Disk
from tests.launcher.scene import Scene

TROUBLE = "home cannot be written"
FULL = OSError(errno.ENOSPC, "No space left on device")


class FakeChild:
    pid = 4711
    start_time = "12"


CHILD = cast("Child", FakeChild())


class DiskTest(Scene):
    def setUp(self) -> None:
        super().setUp()
        files.make_directory(self.home.releases)
        self.disk = self.make()

    def make(self, trouble: str = "") -> Disk:
        return Disk(self.place(trouble), self.settings(releases="/srv", tries=4), False)

    def write(self, path: str, data: bytes) -> None:
        with open(path, "wb") as file:
            file.write(data)

    def names(self) -> list[str]:
        return os.listdir(self.home.releases)

    def trial(self, operation_id: str | None = "o1") -> Trial:
        name, digest = self.add("2.0.0", b"two")
        return Trial(name, digest, operation_id, "upgrade", 2)

    def next_of(self, trial: Trial) -> Next:
        return Next(trial.operation_id or "", "upgrade", trial.release, trial.digest, False)


class RecordTest(DiskTest):
    def test_it_is_read_as_it_lies_there(self) -> None:
        record = BootRecord(current="1.0.0-" + "a" * 16, factory_seen="b" * 64)
        boot_store.write_boot(self.home, record)
        self.assertEqual(self.disk.record(), record)
        self.assertTrue(self.disk.has_record)

    def test_where_nothing_was_ever_recorded_nothing_is(self) -> None:
        made = self.disk.record()
        self.assertEqual(made._replace(rebuilt=None), BootRecord())
        self.assertFalse(self.disk.has_record)
        self.assertEqual(self.said(), "")

    def test_a_lost_one_is_made_anew_from_the_markers_and_that_is_said(self) -> None:
        older, _ = self.add("1.0.0", b"one", good=True)
        newer, _ = self.add("1.1.0", b"one point one", good=True)
        self.add("1.2.0", b"never proven")
        left, digest = self.add("1.3.0", b"left", good=True)
        releases.mark_bad(self.home, left, digest)
        made = self.disk.record()
        self.assertEqual((made.current, made.previous), (newer, older))
        self.assertEqual((made.rejected, made.trial), ((digest,), None))
        self.assertIsNotNone(made.rebuilt)
        self.assertIn(f"boot.json was made anew: {newer}", self.said())
        self.assertFalse(self.disk.has_record)

    def test_one_that_cannot_be_read_counts_as_lost_and_is_named(self) -> None:
        name, _ = self.add("1.0.0", b"one", good=True)
        for data in (b"", b"{}", b"\0" * 100, b'{"format": 2}'):
            self.write(self.home.boot_json, data)
            self.assertEqual(self.disk.record().current, name)
            self.assertIn(self.home.boot_json, self.said())

    def test_the_world_holds_every_release_and_says_once_which_are_damaged(self) -> None:
        name, _ = self.add("1.0.0", b"one")
        path = releases.path_of(self.home, name)
        os.chmod(path, 0o600)
        self.write(path, b"damaged")
        worlds = [self.disk.world() for _ in range(3)]
        self.assertFalse(worlds[0].releases[name].whole)
        self.assertEqual((worlds[0].tries, worlds[0].factory), (4, self.disk._place.factory))
        self.assertEqual(self.said().count(f"passed over {name}"), 1)

    def test_without_a_descriptor_left_it_is_as_it_was_last_seen(self) -> None:
        name, _ = self.add("1.0.0", b"one", good=True)
        seen = self.disk.world()
        for lacking in ("os.listdir", "os.open", "hub_upgrade.host.files.read_regular"):
            with mock.patch(lacking, side_effect=OSError(errno.EMFILE, "Too many open files")):
                self.assertEqual(self.disk.world().releases, seen.releases)
        self.assertIn("cannot be looked at now: Too many open files", self.said())
        self.assertTrue(seen.releases[name].whole)

    def test_the_same_complaint_is_heard_once_a_minute_and_others_at_once(self) -> None:
        clock = [1000.0]
        with mock.patch.object(time, "monotonic", lambda: clock[0]):
            for wait, text in ((0, "a"), (59, "a"), (0, "b"), (1, "a")):
                clock[0] += wait
                self.disk.complain(text)
            for number in range(1000):
                self.disk.complain(f"another {number}")
        self.assertTrue(self.said().startswith("launcher: a\nlauncher: b\nlauncher: a\n"))
        self.assertLess(len(self.disk._complained), 200)


class NextTest(DiskTest):
    def test_what_was_handed_over_is_read_and_left_until_it_is_taken_up(self) -> None:
        nxt = self.next_of(self.trial())
        boot_store.write_next(self.home, nxt)
        self.assertEqual((self.disk.next(), self.disk.next()), (nxt, nxt))

    def test_what_cannot_be_read_is_moved_aside_so_that_nothing_waits_for_it(self) -> None:
        def directory() -> None:
            os.mkdir(self.home.next_json)

        def nonsense() -> None:
            self.write(self.home.next_json, b"{")

        def dangling() -> None:
            os.symlink("/nowhere", self.home.next_json)

        def pipe() -> None:
            os.mkfifo(self.home.next_json)

        for make in (directory, nonsense, dangling, pipe):
            make()
            self.assertIsNone(self.disk.next(), make)
            self.assertFalse(os.path.lexists(self.home.next_json))
            self.assertIn("next.json", self.said())
        self.assertIsNone(self.disk.next())
        self.assertEqual(self.said(), "")

    def test_one_that_no_descriptor_is_left_for_is_taken_up_later(self) -> None:
        handed = self.next_of(self.trial())
        boot_store.write_next(self.home, handed)
        with mock.patch("os.open", side_effect=OSError(errno.ENFILE, "Too many open files")):
            self.assertEqual([self.disk.next() for _ in range(3)], [None] * 3)
        self.assertEqual(self.said().count("Too many open files"), 1)
        self.assertEqual(self.disk.next(), handed)

    def test_one_that_cannot_even_be_moved_is_said_and_stops_nothing(self) -> None:
        self.write(self.home.next_json, b"{")
        with mock.patch.object(files, "move_aside", side_effect=FULL):
            self.assertIsNone(self.disk.next())
        self.assertIn("cannot be moved aside", self.said())


class ChargeTest(DiskTest):
    def setUp(self) -> None:
        super().setUp()
        self.wanted = BootRecord(trial=self.trial())

    def test_a_charge_is_on_the_disk_before_its_next_json_goes(self) -> None:
        assert self.wanted.trial is not None
        boot_store.write_next(self.home, self.next_of(self.wanted.trial))
        there: list[bool] = []
        remove = boot_store.remove_next

        def removed(home: Any) -> None:
            there.append(boot_store.read_boot(home) == self.wanted)
            remove(home)

        with mock.patch.object(boot_store, "remove_next", removed):
            self.assertEqual(self.disk.charge(self.wanted), "")
        self.assertEqual(there, [True])
        self.assertNotIn("next.json", self.names())
        self.assertTrue(self.disk.has_record)

    def test_a_full_disk_is_the_reason_and_next_json_stays(self) -> None:
        assert self.wanted.trial is not None
        boot_store.write_next(self.home, self.next_of(self.wanted.trial))
        with mock.patch.object(files, "write_json", side_effect=FULL):
            self.assertEqual(self.disk.charge(self.wanted), "No space left on device")
        self.assertIn("next.json", self.names())
        self.assertFalse(self.disk.has_record)

    def test_a_next_json_that_stays_is_a_refusal_too(self) -> None:
        assert self.wanted.trial is not None
        boot_store.write_next(self.home, self.next_of(self.wanted.trial))
        with mock.patch.object(boot_store, "remove_next", side_effect=FULL):
            self.assertIn("cannot be removed", self.disk.charge(self.wanted))

    def test_the_next_json_of_another_operation_stays(self) -> None:
        boot_store.write_next(self.home, self.next_of(self.trial("o2")))
        self.assertEqual(self.disk.charge(self.wanted), "")
        self.assertIn("next.json", self.names())

    def test_without_a_home_there_is_no_charge(self) -> None:
        self.assertEqual(self.make(TROUBLE).charge(self.wanted), TROUBLE)


class CarryOutTest(DiskTest):
    def carry_out(self, verb: str, name: str, digest: str) -> str:
        return self.disk.carry_out(Action(verb, name, digest), BootRecord(current=name))

    def test_each_verb_does_what_it_says(self) -> None:
        name, digest = self.add("1.0.0", b"one")
        for verb, good, bad in (
            ("good", True, False),
            ("bad", True, True),
            ("unmark", False, True),
            ("unbad", False, False),
        ):
            self.assertEqual(self.carry_out(verb, name, digest), "")
            found = releases.find(self.home)[name]
            self.assertEqual((found.good, found.bad), (good, bad), verb)
        self.assertEqual(self.carry_out("record", name, digest), "")
        self.assertEqual(boot_store.read_boot(self.home), BootRecord(current=name))

    def test_a_release_that_is_a_file_has_nothing_to_mark(self) -> None:
        name = "1.0.0-" + "a" * 16
        self.write(os.path.join(self.home.releases, name), b"")
        self.assertEqual(self.carry_out("good", name, "a" * 64), "")

    def test_a_release_that_is_gone_has_nothing_to_mark(self) -> None:
        self.assertEqual(self.carry_out("good", "1.0.0-" + "a" * 16, "a" * 64), "")
        self.assertEqual(self.carry_out("unmark", "1.0.0-" + "a" * 16, "a" * 64), "")

    def test_what_the_disk_refuses_is_said(self) -> None:
        name, digest = self.add("1.0.0", b"one", good=True)
        with mock.patch.object(os, "replace", side_effect=FULL):
            for verb in ("good", "bad", "record"):
                self.assertEqual(self.carry_out(verb, name, digest), FULL.strerror, verb)
        with mock.patch.object(os, "unlink", side_effect=FULL):
            self.assertEqual(self.carry_out("unmark", name, digest), FULL.strerror)

    def test_without_a_home_it_is_obeyed_in_memory(self) -> None:
        name, digest = self.add("1.0.0", b"one")
        disk = self.make(TROUBLE)
        for verb in ("good", "record"):
            self.assertEqual(disk.carry_out(Action(verb, name, digest), BootRecord()), "")
        self.assertFalse(releases.find(self.home)[name].good)
        self.assertNotIn("boot.json", self.names())


class KeepTest(DiskTest):
    record = BootRecord(factory_seen="a" * 64)

    def setUp(self) -> None:
        super().setUp()
        self.assertEqual(self.disk.carry_out(Action("record"), self.record), "")

    def assert_kept(self) -> None:
        self.disk.keep(self.record)
        self.assertEqual(boot_store.read_boot(self.home), self.record)
        self.assertIn("it is written again", self.said())
        self.disk.keep(self.record)
        self.assertEqual(self.said(), "")

    def test_one_that_is_as_it_was_is_left_alone(self) -> None:
        before = os.stat(self.home.boot_json)
        self.disk.keep(self.record)
        self.assertEqual((os.stat(self.home.boot_json), self.said()), (before, ""))

    def test_one_that_was_removed_changed_or_replaced_is_written_again(self) -> None:
        os.unlink(self.home.boot_json)
        self.assert_kept()
        self.write(self.home.boot_json, b"{}")
        self.assert_kept()
        os.unlink(self.home.boot_json)
        os.mkdir(self.home.boot_json)
        self.assert_kept()
        os.chmod(self.home.boot_json, 0)
        self.assert_kept()
        self.assertEqual(stat.S_IMODE(os.stat(self.home.boot_json).st_mode), 0o600)

    def test_the_whole_directory_may_have_been_lost(self) -> None:
        os.rename(self.home.releases, self.home.releases + "-away")
        self.assert_kept()

    def test_a_disk_that_refuses_is_tried_again(self) -> None:
        os.unlink(self.home.boot_json)
        with mock.patch.object(files, "write_json", side_effect=FULL):
            self.disk.keep(self.record)
            self.disk.keep(self.record)
        self.assertEqual(self.said().count("\n"), 1, "the same once a minute")
        self.disk.keep(self.record)
        self.assertEqual(boot_store.read_boot(self.home), self.record)

    def test_what_was_never_there_is_not_written(self) -> None:
        os.unlink(self.home.boot_json)
        disk = self.make()
        disk.record()
        disk.keep(self.record)
        self.assertNotIn("boot.json", self.names())


class PruneTest(DiskTest):
    def setUp(self) -> None:
        super().setUp()
        self.current, _ = self.add("1.1.0", b"current", good=True)
        self.previous, _ = self.add("1.0.0", b"previous", good=True)
        self.old, _ = self.add("0.9.0", b"old", good=True)
        self.record = BootRecord(self.current, self.previous)

    def prune(self) -> set[str]:
        before = set(self.names())
        self.disk.prune(self.record, self.disk.world())
        return before - set(self.names())

    def test_current_previous_and_the_factorys_copy_stay(self) -> None:
        self.assertEqual(self.prune(), {self.old})
        self.assertIn(self.disk._place.factory.name, self.names())

    def test_nothing_goes_while_an_operation_is_under_way(self) -> None:
        lock = Lock.try_take(self.home.operation_lock)
        assert lock is not None
        self.assertEqual(self.prune(), set())
        lock.release()
        self.write(self.home.next_json, b"")
        self.assertEqual(self.prune(), set())
        os.unlink(self.home.next_json)
        self.record = self.record._replace(trial=self.trial())
        self.assertEqual(self.prune(), set())

    def test_the_operation_lock_is_given_back(self) -> None:
        self.prune()
        lock = Lock.try_take(self.home.operation_lock)
        assert lock is not None
        lock.release()

    def test_without_its_lock_nothing_goes(self) -> None:
        os.symlink("/nowhere", self.home.operation_lock)
        self.assertEqual(self.prune(), set())
        self.disk = self.make(TROUBLE)
        self.assertEqual(self.prune(), set())


class LogsTest(DiskTest):
    def open_log(self, operation_id: str | None) -> int:
        descriptor, room = self.disk.trial_log(self.trial(operation_id))
        if descriptor >= 0:
            self.addCleanup(os.close, descriptor)
        self.assertEqual(room > 0, descriptor >= 0)
        return descriptor

    def logs(self) -> list[str]:
        return sorted(os.listdir(self.home.logs))

    def test_five_are_kept_the_newest(self) -> None:
        for number in range(9):
            self.open_log(f"o{number}")
            path = os.path.join(self.home.logs, f"trial-o{number}.log")
            os.utime(path, (number, number))
        self.assertEqual(self.logs(), [f"trial-o{number}.log" for number in range(4, 9)])

    def test_a_second_try_goes_on_in_the_log_of_the_first(self) -> None:
        os.write(self.open_log("o1"), b"first ")
        os.write(self.open_log("o1"), b"second")
        with open(os.path.join(self.home.logs, "trial-o1.log"), "rb") as file:
            self.assertEqual(file.read(), b"first second")

    def test_a_factorys_trial_is_named_after_its_release_and_only_the_owner_reads_it(self) -> None:
        self.open_log(None)
        name = f"trial-{self.trial().release}.log"
        self.assertEqual(self.logs(), [name])
        mode = os.stat(os.path.join(self.home.logs, name)).st_mode
        self.assertEqual(stat.S_IMODE(mode), 0o600)

    def test_logs_of_others_and_what_cannot_be_removed_are_no_hindrance(self) -> None:
        for number in range(9):
            os.makedirs(os.path.join(self.home.logs, f"trial-d{number}.log", "full"))
        files.write_new(os.path.join(self.home.logs, "upgrade-o1.log"), b"")
        self.assertGreaterEqual(self.open_log("o1"), 0)
        self.assertIn("upgrade-o1.log", self.logs())

    def test_a_link_planted_at_its_name_is_not_followed(self) -> None:
        victim = self.put("victim", b"precious")
        os.mkdir(self.home.logs)
        os.symlink(victim, os.path.join(self.home.logs, "trial-o1.log"))
        self.assertEqual(self.open_log("o1"), -1)
        self.assertIn("no trial-o1.log", self.said())

    def test_without_a_home_or_on_a_full_disk_there_is_none(self) -> None:
        self.assertEqual(self.make(TROUBLE).trial_log(self.trial()), (-1, 0))
        with mock.patch.object(os, "open", side_effect=FULL):
            self.assertEqual(self.disk.trial_log(Trial("r", "d", "o1", "upgrade", 1)), (-1, 0))


class ServingTest(DiskTest):
    def test_serve_json_says_who_serves_and_is_written_only_when_that_changes(self) -> None:
        self.disk.serving(CHILD, "an instance")
        said = boot_store.read_serve(self.home) or {}
        self.assertEqual((said["pid"], said["hub_pid"]), (os.getpid(), 4711))
        self.assertEqual((said["instance"], said["releases"]), ("an instance", "/srv"))
        self.assertIs(said["proving"], False)
        before = os.stat(self.home.serve_json)
        self.disk.serving(CHILD, "an instance")
        self.assertEqual(os.stat(self.home.serve_json), before)
        self.disk.serving(CHILD, "another")
        self.assertNotEqual(os.stat(self.home.serve_json), before)

    def test_it_goes_with_the_launcher_but_only_if_it_is_its_own(self) -> None:
        self.write(self.home.serve_json, json.dumps({"pid": 1}).encode())
        self.disk.leave()
        self.assertTrue(os.path.exists(self.home.serve_json))
        self.disk.serving(CHILD, "")
        self.disk.leave()
        self.assertFalse(os.path.exists(self.home.serve_json))

    def test_lost_or_damaged_it_is_written_again(self) -> None:
        self.disk.keep(BootRecord())
        self.assertFalse(os.path.exists(self.home.serve_json))
        self.disk.serving(CHILD, "i")
        said = boot_store.read_serve(self.home)
        os.unlink(self.home.serve_json)
        self.disk.keep(BootRecord())
        self.assertEqual(boot_store.read_serve(self.home), said)
        self.write(self.home.serve_json, b"nonsense")
        self.disk.keep(BootRecord())
        self.assertEqual(boot_store.read_serve(self.home), said)

    def test_a_full_disk_is_said_and_tried_again(self) -> None:
        with mock.patch.object(files, "write_json", side_effect=FULL):
            self.disk.serving(CHILD, "i")
        self.assertIn("serve.json cannot be written", self.said())
        self.disk.keep(BootRecord())
        said = boot_store.read_serve(self.home) or {}
        self.assertEqual(said.get("instance"), "i", "nobody says it once more: it is kept")

    def test_without_a_home_nothing_is_written(self) -> None:
        self.make(TROUBLE).serving(CHILD, "i")
        self.assertFalse(os.path.exists(self.home.serve_json))


if __name__ == "__main__":
    unittest.main()
