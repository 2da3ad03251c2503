from __future__ import annotations

import json
import os
import shutil
import tempfile
import unittest
from typing import Any

from hub_upgrade.domain.boot_record import BootRecord, Next, Trial, Verdict
from hub_upgrade.host import boot_store, files
from hub_upgrade.host.files import Home, Unreadable

DIGEST = "a" * 64
NAME = "1.1.0-" + DIGEST[:16]
NEXT = Next("o1", "upgrade", NAME, DIGEST, True)
BOOT = BootRecord(
    current="1.0.0-" + "b" * 16,
    trial=Trial(NAME, DIGEST, "o1", "upgrade", 2),
    rejected=("c" * 64,),
    verdicts=(Verdict("o0", "rejected", NAME, DIGEST, "é\ud800", "now", ("a line",)),),
)


class BootStoreTest(unittest.TestCase):
    def setUp(self) -> None:
        self.home = Home(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.home.root)
        os.mkdir(self.home.releases)

    def put(self, path: str, value: Any) -> None:
        with open(path, "wb") as file:
            file.write(value if isinstance(value, bytes) else json.dumps(value).encode())

    def test_what_is_written_is_read_again(self) -> None:
        boot_store.write_boot(self.home, BOOT)
        self.assertEqual(boot_store.read_boot(self.home), BOOT)
        boot_store.write_next(self.home, NEXT)
        self.assertEqual(boot_store.read_next(self.home), NEXT)
        boot_store.write_serve(self.home, {"pid": 7})
        self.assertEqual(boot_store.read_serve(self.home), {"pid": 7})

    def test_what_is_not_there_is_none_and_its_removal_no_error(self) -> None:
        self.assertIsNone(boot_store.read_boot(self.home))
        self.assertIsNone(boot_store.read_next(self.home))
        self.assertIsNone(boot_store.read_serve(self.home))
        boot_store.remove_next(self.home)

    def test_nothing_that_cannot_be_taken_for_a_record_is_taken_for_none(self) -> None:
        for value in (b"", b"{", {}, {"format": 2}, {"format": "1"}, [1]):
            self.put(self.home.boot_json, value)
            self.put(self.home.next_json, value)
            for read in (boot_store.read_boot, boot_store.read_next):
                with self.subTest(value=value, read=read), self.assertRaises(Unreadable):
                    read(self.home)

    def test_a_next_json_must_name_an_operation_and_a_release_that_a_file_could_have(self) -> None:
        whole = {"format": 1, "operation_id": "o1", "release": NAME, "digest": DIGEST}
        self.put(self.home.next_json, whole)
        self.assertEqual(boot_store.read_next(self.home), NEXT._replace(named=False))
        bad = ("", None, 7, "../up", ".hidden", "a\0b", "a\nb", "x" * 300, "\ud800", "é")
        for key in ("operation_id", "release"):
            for value in bad:
                self.put(self.home.next_json, {**whole, key: value})
                with self.subTest(key=key, value=value), self.assertRaises(Unreadable):
                    boot_store.read_next(self.home)
        for digest in ("", DIGEST[1:], DIGEST.upper(), "g" * 64, None):
            self.put(self.home.next_json, {**whole, "digest": digest})
            with self.subTest(digest=digest), self.assertRaises(Unreadable):
                boot_store.read_next(self.home)

    def test_names_in_boot_json_that_no_file_could_have_are_read_as_none(self) -> None:
        for name in ("../up", "a\0b", "x" * 300, "\ud800"):
            trial = {"release": name, "digest": DIGEST, "tries_left": 1}
            wire = {"format": 1, "current": name, "previous": name, "trial": trial}
            self.put(self.home.boot_json, wire)
            self.assertEqual(boot_store.read_boot(self.home), BootRecord(), name)

    def test_a_trial_of_an_operation_with_an_impossible_name_belongs_to_none(self) -> None:
        trial = {"release": NAME, "digest": DIGEST, "tries_left": 1, "operation_id": "a\0/../b"}
        self.put(self.home.boot_json, {"format": 1, "trial": trial})
        read = boot_store.read_boot(self.home)
        assert read is not None and read.trial is not None
        self.assertEqual((read.trial.release, read.trial.operation_id), (NAME, None))

    def test_fields_of_a_newer_release_are_passed_over(self) -> None:
        self.put(self.home.boot_json, {"format": 1, "current": NAME, "future": {"a": [1]}})
        self.assertEqual(boot_store.read_boot(self.home), BootRecord(current=NAME))

    def test_a_serve_json_that_cannot_be_read_tells_nothing(self) -> None:
        self.put(self.home.serve_json, b"{")
        self.assertIsNone(boot_store.read_serve(self.home))

    def test_a_directory_in_a_files_place_is_moved_aside_with_all_that_is_in_it(self) -> None:
        for path in (self.home.boot_json, self.home.serve_json):
            os.mkdir(path)
            files.write_new(os.path.join(path, "inside"), b"x")
        boot_store.write_boot(self.home, BOOT)
        boot_store.write_serve(self.home, {})
        for path in (self.home.boot_json, self.home.serve_json):
            self.assertTrue(os.path.isfile(path))
            self.assertTrue(os.path.exists(os.path.join(path + ".corrupt", "inside")))


if __name__ == "__main__":
    unittest.main()
