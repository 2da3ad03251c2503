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
from hub_upgrade.host import files, status_store, token_entries, token_store
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
        self.assertNotIn(token[len(token_entries.PREFIX) :], text)
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
        token = self.store.create((READ,), "x", time.time() + 60)
        self.assertIsNotNone(self.store.check(token))
        later = files.rfc3339(time.time() + 61)
        with mock.patch.object(files, "now_rfc3339", lambda: later):
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
        with mock.patch.object(status_store, "LOCK_WAIT_S", 60):  # they are only slow
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

    def test_a_full_file_takes_a_new_session_in_the_place_of_the_oldest(self) -> None:
        with mock.patch.object(token_store, "MOST_TOKENS", 2):
            token = self.store.create((READ,), "token")
            first = self.store.redeem(self.store.create_code("first"))
            second = self.store.redeem(self.store.create_code("second"))
            assert first is not None and second is not None
            self.assertIsNone(self.store.check(first.token))
            self.assertIsNotNone(self.store.check(second.token))
            self.assertIsNotNone(self.store.check(token))

    def _names(self) -> list[str]:
        with open(self.home.tokens, encoding="utf-8") as file:
            return [item["name"] for item in json.load(file)["tokens"]]


class Codes(unittest.TestCase):
    def setUp(self) -> None:
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.home = Home(os.path.join(scratch.name, "home"))
        self.store = TokenStore(self.home)

    def test_a_code_is_exchanged_once_for_a_session_with_both_scopes(self) -> None:
        code = self.store.create_code("link:me")
        session = self.store.redeem(code)
        assert session is not None
        principal = self.store.check(session.token)
        self.assertEqual(("link:me", {ADMIN, READ}), tuple(principal or ()))
        month = time.time() + token_store.SESSION_S
        self.assertLessEqual(session.expires_at, files.rfc3339(month))
        self.assertGreater(session.expires_at, files.rfc3339(month - 60))
        self.assertIsNone(self.store.redeem(code))
        self.assertEqual(["session"], [known.kind for known in self.store.listed()])

    def test_a_code_is_no_token_and_a_token_is_no_code(self) -> None:
        code = self.store.create_code("x")
        self.assertIsNone(self.store.check(code))
        self.assertIsNone(self.store.redeem(self.store.create((ADMIN,), "y")))

    def test_a_code_lives_a_quarter_of_an_hour(self) -> None:
        code = self.store.create_code("x")
        later = time.time() + token_store.CODE_S + 1
        with mock.patch.object(files, "now_rfc3339", lambda: files.rfc3339(later)):
            self.assertIsNone(self.store.redeem(code))
        self.assertIsNotNone(self.store.redeem(code))

    def test_a_wrong_code_writes_nothing(self) -> None:
        self.store.create_code("x")
        before = os.stat(self.home.tokens).st_mtime_ns
        for wrong in ("", "x", "x" * 100_000, "ü", "\udcff", "a\0b"):
            self.assertIsNone(self.store.redeem(wrong), wrong[:20])
        self.assertEqual(before, os.stat(self.home.tokens).st_mtime_ns)

    def test_of_many_at_once_one_gets_the_session(self) -> None:
        code = self.store.create_code("x")
        got: list[Any] = []
        threads = [
            threading.Thread(target=lambda: got.append(TokenStore(self.home).redeem(code)))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(1, len([session for session in got if session is not None]))

    def test_a_code_that_cannot_be_exchanged_is_not_used_up(self) -> None:
        code = self.store.create_code("x")
        broken = mock.patch.object(files, "write_json", side_effect=OSError(28, "full"))
        with broken, self.assertRaises(HostError):
            self.store.redeem(code)
        self.assertIsNotNone(self.store.redeem(code))

    def test_neither_code_nor_session_is_on_the_disk(self) -> None:
        code = self.store.create_code("x")
        with open(self.home.tokens, encoding="utf-8") as file:
            self.assertNotIn(code, file.read())
        session = self.store.redeem(code)
        assert session is not None
        with open(self.home.tokens, encoding="utf-8") as file:
            self.assertNotIn(session.token, file.read())

    def test_waiting_codes_are_bounded_and_the_oldest_goes(self) -> None:
        codes = [self.store.create_code("x") for _ in range(token_store.MOST_CODES + 1)]
        self.assertIsNone(self.store.redeem(codes[0]))
        self.assertIsNotNone(self.store.redeem(codes[1]))

    def test_malformed_codes_are_nobody_s(self) -> None:
        code = self.store.create_code("x")
        with open(self.home.tokens, encoding="utf-8") as file:
            value = json.load(file)
        good = value["codes"][0]
        value["codes"] = [None, 7, {}, {**good, "name": 3}, {**good, "sha256": "é" * 64}]
        files.write_json(self.home.tokens, value)
        self.assertIsNone(self.store.redeem(code))
        files.write_json(self.home.tokens, {**value, "codes": {}})
        self.assertIsNone(self.store.redeem(code))

    def test_tokens_are_listed_and_revoked_by_id_or_by_name(self) -> None:
        token = self.store.create((READ,), "laptop", time.time() + 60)
        self.store.create((ADMIN,), "phone")
        self.store.create((ADMIN,), "old", time.time() - 1)
        names = [(known.name, known.scopes, known.kind) for known in self.store.listed()]
        self.assertEqual(
            [("laptop", (READ,), "token"), ("phone", (ADMIN,), "token")], names
        )
        self.assertEqual([], self.store.revoke("nobody"))
        by_id = self.store.listed()[0].id
        self.assertEqual(["laptop"], [gone.name for gone in self.store.revoke(by_id)])
        self.assertIsNone(self.store.check(token))
        self.assertEqual(["phone"], [gone.name for gone in self.store.revoke("phone")])
        self.assertEqual([], self.store.listed())

    def test_whether_anybody_can_sign_in(self) -> None:
        self.assertFalse(self.store.any())
        self.store.create((ADMIN,), "local:me")
        self.store.create((ADMIN,), "old", time.time() - 1)
        self.assertFalse(self.store.any())
        self.store.create((READ,), "x")
        self.assertTrue(self.store.any())

    def test_a_digest_tells_whether_its_token_is_good_now(self) -> None:
        token = self.store.create((READ,), "x")
        old = self.store.create((READ,), "old", time.time() - 1)
        self.store.seed("s3cret-of-the-operator", "admin-file")
        for secret, good in ((token, True), ("s3cret-of-the-operator", True), (old, False),
                             ("nobody", False)):
            self.assertEqual(good, self.store.known(files.sha256(secret.encode())), secret)
        self.assertFalse(self.store.known(""))
        self.store.revoke("x")
        self.assertFalse(self.store.known(files.sha256(token.encode())))

    def test_a_token_from_elsewhere_is_not_written_down(self) -> None:
        self.store.create((READ,), "x")
        self.assertIsNone(self.store.check("s3cret-of-the-operator"))
        self.store.seed("s3cret-of-the-operator", "admin-file")
        found = self.store.check("s3cret-of-the-operator")
        self.assertEqual(("admin-file", {ADMIN, READ}), tuple(found or ()))
        self.assertEqual(1, len(self.store.listed()))

    def test_where_nothing_can_be_written_all_of_it_is_in_memory(self) -> None:
        token = self.store.create((READ,), "on the disk")
        with open(self.home.tokens, "rb") as file:
            before = file.read()
        store = TokenStore(self.home, memory=True)
        session = store.redeem(store.create_code("link"))
        assert session is not None
        self.assertIsNotNone(store.check(session.token))
        self.assertIsNotNone(store.check(token))
        self.assertIsNone(TokenStore(self.home).check(session.token))
        with open(self.home.tokens, "rb") as file:
            self.assertEqual(before, file.read())


if __name__ == "__main__":
    unittest.main()
