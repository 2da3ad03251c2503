"""`POST /api/session`: a code is exchanged once; whatever else comes is told what is wrong."""

from __future__ import annotations

import os
import time
import unittest
from typing import Any
from unittest import mock

from hub_upgrade.host import files
from hub_upgrade.host.token_store import ADMIN, CODE_S, MOST_CODES, READ, SESSION_S, TokenStore
from hub_upgrade.web.messages import Request, Response
from hub_upgrade.web.routes import dispatch
from tests import captured
from tests.web.test_api import ApiTest

PATH = "/api/session"


class SessionCase(ApiTest):
    def session(self, body: Any, **named: Any) -> tuple[int, Any]:
        """Status and JSON of one attempt, which nobody has to be known for."""
        return self.ask("POST", PATH, body, token="nobody", **named)

    def whole(self, body: Any) -> Response:
        answer = self.answer("POST", PATH, body, token="nobody")
        assert isinstance(answer, Response)
        return answer


class SignInTest(SessionCase):
    def test_a_code_is_exchanged_for_a_session_that_may_do_everything(self) -> None:
        code = self.tokens.create_code("link:me")
        with captured.stderr() as log:
            status, body = self.session({"code": code})
        self.assertEqual((200, ["expires_at", "scopes", "token"]), (status, sorted(body)))
        self.assertEqual({ADMIN, READ}, set(body["scopes"]))
        month = time.time() + SESSION_S
        self.assertTrue(files.rfc3339(month - 60) < body["expires_at"] <= files.rfc3339(month))
        self.assertEqual(200, self.ask("GET", "/api/hub", token=body["token"])[0])
        self.assertEqual(["hub: signed in: link:me from 192.0.2.7"], log.lines)

    def test_no_authorization_is_asked_for_and_a_wrong_one_does_not_matter(self) -> None:
        for more in ({}, {"authorization": "Basic eDp5"}, {"authorization": "Bearer nobody"}):
            body = b'{"code": "%s"}' % self.tokens.create_code("x").encode()
            headers = {"host": "localhost", **more}
            with captured.stderr():
                request = Request("POST", PATH, "", headers, body, "")
                answer = dispatch(self.table, request, self.app)
            assert isinstance(answer, Response)
            self.assertEqual(200, answer.status)

    def test_fields_that_nobody_knows_are_passed_over(self) -> None:
        code = self.tokens.create_code("x")
        with captured.stderr():
            self.assertEqual(200, self.session({"code": code, "scopes": [], "name": 7})[0])

    def test_a_code_is_good_only_once_and_the_refusal_says_where_another_comes_from(self) -> None:
        code = self.tokens.create_code("x")
        with captured.stderr() as log:
            self.session({"code": code})
            answer = self.whole({"code": code})
        self.assertIn(("www-authenticate", "Bearer"), answer.headers)
        with captured.stderr():
            text = self.refused(401, "invalid_code", "POST", PATH, {"code": code})
        self.assertIn("hub.pyz token link", text)
        self.assertEqual("hub: a sign-in code was refused, from 192.0.2.7", log.lines[1])
        self.assertNotIn(code, log.text + answer.body.decode())

    def test_what_is_no_living_code_is_401_and_changes_nothing(self) -> None:
        codes = [self.tokens.create_code("x") for _ in range(MOST_CODES + 1)]
        before = os.stat(self.home.tokens).st_mtime_ns
        for code in (codes[0], codes[1][:-1], codes[1].swapcase(), self.admin, "", " ", "x",
                     "ü", "\ud800", "\udcff", "a\0b", "x" * 60_000):
            self.now += 2
            with captured.stderr() as log:
                text = self.refused(401, "invalid_code", "POST", PATH, {"code": code})
            self.assertEqual(1, len(log.lines), code[:20])
            if len(code) > 20:
                self.assertNotIn(code[:20], log.text + text)
        self.assertEqual(before, os.stat(self.home.tokens).st_mtime_ns)

    def test_nobody_fills_the_log_by_guessing(self) -> None:
        with captured.stderr() as log:
            for number in range(12):
                self.now += 0.25
                self.refused(401, "invalid_code", "POST", PATH, {"code": str(number)})
        said = "hub: a sign-in code was refused, from 192.0.2.7"
        self.assertEqual([said, *[f"{said}, and 3 before it"] * 2], log.lines)

    def test_a_code_lives_a_quarter_of_an_hour(self) -> None:
        code = self.tokens.create_code("x")
        later = time.time() + CODE_S
        with captured.stderr():
            with mock.patch.object(files, "now_rfc3339", lambda: files.rfc3339(later + 1)):
                self.refused(401, "invalid_code", "POST", PATH, {"code": code})
            with mock.patch.object(files, "now_rfc3339", lambda: files.rfc3339(later - 60)):
                self.assertEqual(200, self.session({"code": code})[0])

    def test_other_methods_are_not_possible(self) -> None:
        for method in ("GET", "HEAD", "PUT", "OPTIONS"):
            self.refused(405, "method_not_allowed", method, PATH)

    def test_neither_code_nor_token_is_on_the_disk_or_in_the_log(self) -> None:
        code = self.tokens.create_code("x")
        with captured.stderr() as log:
            token = self.session({"code": code})[1]["token"]
        with open(self.home.tokens, encoding="utf-8") as file:
            kept = file.read()
        for secret in (code, token):
            self.assertNotIn(secret, kept + log.text)


class WrongBodyTest(SessionCase):
    def test_each_wrong_body_is_400_and_uses_nothing_up(self) -> None:
        code = self.tokens.create_code("x")
        text = code.encode()
        for body in (
            b"", b"null", b"[]", b"7", b"true", b'"%s"' % text, b'["%s"]' % text, b"code=" + text,
            b"{", b'{"code": "%s"' % text, b'{"code": "%s"} x' % text, b"{'code': '%s'}" % text,
            b'\xef\xbb\xbf{"code": "%s"}' % text, b'{"code": "%s\xff"}' % text, b"\0", b"\xff\xfe",
            b'{"code": "%s", "x": NaN}' % text, b'{"code": "%s", "x": -Infinity}' % text,
            b"[" * 65_000, b'{"x":' * 10_000, b'{"code": "a\nb"}',
            f'{{"code": "{code}"}}'.encode("utf-16"),
        ):  # fmt: skip
            self.refused(400, "invalid_body", "POST", PATH, body, token="nobody")
        for value in (None, 7, 1.5, True, [code], {"code": code}):
            sentence = self.refused(400, "invalid_body", "POST", PATH, {"code": value})
            self.assertIn("#code=", sentence)
        self.refused(400, "invalid_body", "POST", PATH, {"Code": code})
        with captured.stderr():
            self.assertEqual(200, self.session({"code": code})[0])


class NoRoomTest(SessionCase):
    def test_on_a_full_disk_it_is_507_and_the_code_is_not_used_up(self) -> None:
        code = self.tokens.create_code("x")
        full = mock.patch.object(files, "write_json", side_effect=OSError(28, "No space left"))
        with full, captured.stderr() as log:
            text = self.refused(507, "cannot_record", "POST", PATH, {"code": code})
        self.assertIn("No space left", text)
        self.assertEqual("", log.text)
        with captured.stderr():
            self.assertEqual(200, self.session({"code": code})[0])

    def test_where_nothing_can_be_written_the_session_is_in_memory(self) -> None:
        with open(self.home.tokens, "rb") as file:
            before = file.read()
        self.tokens = memory = TokenStore(self.home, memory=True)
        self.build(tokens=memory)
        code = memory.create_code("link:serve")
        with captured.stderr():
            status, body = self.session({"code": code})
            self.assertEqual(200, status)
            self.refused(401, "invalid_code", "POST", PATH, {"code": code})
        self.assertIsNotNone(memory.check(body["token"]))
        self.assertIsNotNone(memory.check(self.admin), "what lies there counts all the same")
        with open(self.home.tokens, "rb") as file:
            self.assertEqual(before, file.read())


if __name__ == "__main__":
    unittest.main()
