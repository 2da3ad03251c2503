"""Tokens: kept as digests, checked from memory, never a reason to crash."""

from __future__ import annotations

import json
import os
import stat
import tempfile
import threading
import time
import unittest
from typing import Any
from unittest import mock

from hub_upgrade.errors import HostError, UsageError
from hub_upgrade.host import files, status_store, token_store
from hub_upgrade.host.files import Home, Lock
from hub_upgrade.host.token_store import ADMIN, READ, TokenStore


class TokenStoreTest(unittest.TestCase):
    def setUp(self) -> None:
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.home = Home(os.path.join(scratch.name, "home"))
        self.store = TokenStore(self.home)

    def test_a_token_is_known_again_with_its_name_and_scopes(self) -> None:
        token = self.store.create((READ,), "page")
        self.assertEqual(("page", {READ}), tuple(self.store.check(token) or ()))

    def test_an_admin_may_also_read_and_a_reader_may_not_administer(self) -> None:
        admin = self.store.check(self.store.create((ADMIN,), "a"))
        reader = self.store.check(self.store.create((READ,), "r"))
        assert admin is not None and reader is not None
        self.assertEqual({ADMIN, READ}, admin.scopes)
        self.assertEqual({READ}, reader.scopes)

    def test_the_token_itself_is_nowhere_on_the_disk(self) -> None:
        token = self.store.create((ADMIN,), "a")
        with open(self.home.tokens, encoding="utf-8") as file:
            text = file.read()
        self.assertNotIn(token, text)
        self.assertNotIn(token[len(token_store.PREFIX) :], text)
        self.assertIn(files.sha256(token.encode()), text)

    def test_the_file_and_its_directory_are_the_owners_alone(self) -> None:
        self.store.create((ADMIN,), "a")
        self.assertEqual(0o600, stat.S_IMODE(os.stat(self.home.tokens).st_mode))
        self.assertEqual(0o700, stat.S_IMODE(os.stat(self.home.root).st_mode))

    def test_tokens_differ_and_are_safe_in_a_header(self) -> None:
        tokens = {self.store.create((READ,), "x") for _ in range(5)}
        self.assertEqual(5, len(tokens))
        for token in tokens:
            self.assertRegex(token, r"\Ahub_[A-Za-z0-9_-]{43}\Z")

    def test_one_that_was_made_since_the_last_look_is_known_at_once(self) -> None:
        hub = TokenStore(self.home, recheck_s=3600)
        self.assertIsNone(hub.check("hub_nobody"))
        self.assertIsNotNone(hub.check(self.store.create(("hub:read",), "laptop")))

    def test_what_is_not_a_token_is_nobody(self) -> None:
        token = self.store.create((READ,), "x")
        for wrong in ("", "x", token[:-1], token + "x", "x" * 100_000, "ü", "\udcff", "a\0b"):
            self.assertIsNone(self.store.check(wrong), wrong[:20])

    def test_an_expired_token_is_nobody_and_goes_at_the_next_writing(self) -> None:
        old = self.store.create((READ,), "old", time.time() - 0.01)
        young = self.store.create((READ,), "young", time.time() + 60)
        self.assertIsNone(self.store.check(old))
        self.assertIsNotNone(self.store.check(young))
        self.assertEqual(["young"], self._names())

    def test_a_token_expires_without_the_file_changing(self) -> None:
        token = self.store.create((READ,), "x", time.time() + 0.15)
        self.assertIsNotNone(self.store.check(token))
        time.sleep(0.2)
        self.assertIsNone(self.store.check(token))

    def test_another_process_s_change_is_seen_at_the_next_check(self) -> None:
        mine = self.store.create((READ,), "mine")
        self.assertIsNotNone(self.store.check(mine))
        other = TokenStore(self.home)
        theirs = other.create((ADMIN,), "theirs")
        other.forget(mine)
        self.assertIsNone(self.store.check(mine))
        self.assertIsNotNone(self.store.check(theirs))

    def test_an_unchanged_file_is_not_read_again(self) -> None:
        token = self.store.create((READ,), "x")
        os.utime(self.home.tokens, (1, 1))
        self.store.check(token)
        with mock.patch.object(files, "read_json", side_effect=AssertionError):
            self.assertIsNotNone(self.store.check(token))

    def test_every_kept_digest_is_compared_whatever_was_found_before(self) -> None:
        tokens = [self.store.create((READ,), str(number)) for number in range(3)]
        with mock.patch.object(token_store, "_same", side_effect=lambda a, b: a == b) as same:
            self.store.check(tokens[0])
        self.assertEqual(3, same.call_count)

    def test_no_state_of_the_file_is_a_crash_or_a_way_in(self) -> None:
        token = self.store.create((ADMIN,), "a")
        with open(self.home.tokens, "rb") as file:
            whole = file.read()
        for content in (b"", whole[:30], os.urandom(99), b"[]", b'{"format":2,"tokens":[]}',
                        b'{"format":1,"tokens":{}}', b'{"format":1}', b"[" * 100_000):
            with open(self.home.tokens, "wb") as file:
                file.write(content)
            self.assertIsNone(self.store.check(token), content[:40])
        os.unlink(self.home.tokens)
        self.assertIsNone(self.store.check(token))
        os.mkdir(self.home.tokens)
        self.assertIsNone(self.store.check(token))

    def test_a_malformed_entry_spoils_no_other(self) -> None:
        token = self.store.create((READ,), "good")
        with open(self.home.tokens, encoding="utf-8") as file:
            value = json.load(file)
        good = value["tokens"][0]
        broken: list[Any] = [None, 7, [], {}, {"sha256": good["sha256"]}]
        changes: list[tuple[str, Any]] = [
            ("scopes", "hub:admin"), ("expires_at", 12), ("expires_at", "tomorrow"),
            ("sha256", "é" * 64), ("name", None),
        ]  # fmt: skip
        broken += [{**good, key: wrong} for key, wrong in changes]
        value["tokens"] = [*broken, good]
        files.write_json(self.home.tokens, value)
        principal = self.store.check(token)
        self.assertEqual("good", principal.name if principal else None)
        value["tokens"] = broken
        files.write_json(self.home.tokens, value)
        self.assertIsNone(self.store.check(token))

    def test_only_a_writer_moves_a_malformed_file_aside(self) -> None:
        os.mkdir(self.home.root, 0o700)
        with open(self.home.tokens, "wb") as file:
            file.write(b"nonsense")
        self.assertIsNone(self.store.check("hub_x"))
        self.assertTrue(os.path.exists(self.home.tokens))
        token = self.store.create((READ,), "x")
        self.assertIsNotNone(self.store.check(token))
        self.assertEqual(self.home.tokens + ".corrupt", self.store.moved_aside)
        with open(self.home.tokens + ".corrupt", "rb") as file:
            self.assertEqual(b"nonsense", file.read())

    def test_a_field_of_a_later_release_survives_our_writing(self) -> None:
        self.store.create((READ,), "x")
        with open(self.home.tokens, encoding="utf-8") as file:
            value = json.load(file)
        value["tokens"][0]["hue"] = "red"
        files.write_json(self.home.tokens, value)
        self.store.create((READ,), "y")
        with open(self.home.tokens, encoding="utf-8") as file:
            self.assertEqual("red", json.load(file)["tokens"][0]["hue"])

    def test_writers_at_the_same_time_lose_no_token(self) -> None:
        made: list[str] = []

        def make() -> None:
            store = TokenStore(self.home)
            made.extend(store.create((READ,), "x") for _ in range(4))

        threads = [threading.Thread(target=make) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(16, len([t for t in made if self.store.check(t)]))

    def test_a_lock_that_is_not_let_go_is_one_sentence_after_a_bounded_wait(self) -> None:
        os.mkdir(self.home.root, 0o700)
        lock = Lock.try_take(self.home.state_lock)
        assert lock is not None
        self.addCleanup(lock.release)
        with mock.patch.object(status_store, "LOCK_WAIT_S", 0.05), self.assertRaises(HostError):
            self.store.create((READ,), "x")

    def test_a_bad_scope_or_name_is_wrong_usage(self) -> None:
        for scopes, name in (((), "x"), (("hub:root",), "x"), ((READ,), ""), ((READ,), "a\nb"),
                             ((READ,), "x" * 101)):
            with self.assertRaises(UsageError):
                self.store.create(scopes, name)
        self.assertFalse(os.path.exists(self.home.tokens))

    def test_tokens_are_bounded(self) -> None:
        with mock.patch.object(token_store, "MOST_TOKENS", 2):
            self.store.create((READ,), "1")
            self.store.create((READ,), "2", time.time() - 1)
            self.store.create((READ,), "3")
            with self.assertRaises(HostError):
                self.store.create((READ,), "4")

    def _names(self) -> list[str]:
        with open(self.home.tokens, encoding="utf-8") as file:
            return [item["name"] for item in json.load(file)["tokens"]]


if __name__ == "__main__":
    unittest.main()
