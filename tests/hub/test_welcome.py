"""The first way in: who is given a sign-in link, and which file is taken for a token."""

from __future__ import annotations

import json
import os
import stat
import tempfile
import time
import unittest
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from hub_upgrade.host import files, log
from hub_upgrade.host.files import Home
from hub_upgrade.host.loop import Loop
from hub_upgrade.host.token_store import ADMIN, READ, TokenStore
from hub_upgrade.hub import welcome
from hub_upgrade.hub.welcome import ADMIN_NAME, ADMIN_TOKEN_FILE, MOST_BYTES, Welcome, seed
from tests import captured

ORIGIN = "https://hub.example"
SAID = f"hub: sign in, once and within 15 minutes: {ORIGIN}/#code="
TICK_S = 0.005
NOBODY = 65534


class HomeCase(unittest.TestCase):
    def setUp(self) -> None:
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.directory = scratch.name
        self.home = Home(os.path.join(scratch.name, "home"))
        self.tokens = TokenStore(self.home)


class LinkTest(HomeCase):
    def setUp(self) -> None:
        super().setUp()
        self.loop = Loop()
        self.addCleanup(self.loop.close)
        self.committed = True
        often = mock.patch.object(welcome, "LOOK_EVERY_S", TICK_S)
        often.start()
        self.addCleanup(often.stop)

    def welcome(self, tokens: TokenStore | None = None) -> Welcome:
        return Welcome(self.loop, tokens or self.tokens, ORIGIN, lambda: self.committed)

    def turn(self, times: int = 5) -> None:
        """Let a look that was put off come, several times over."""
        for _ in range(times):
            self.loop.call_later(TICK_S, lambda: None)
            self.loop.turn()

    def said(self, tokens: TokenStore | None = None) -> list[str]:
        """All that is printed when a hub has come up and served for a while."""
        with captured.stderr() as caught:
            self.welcome(tokens).look()
            self.turn()
        return caught.lines

    def code_of(self, lines: list[str]) -> str:
        self.assertEqual(1, len(lines), lines)
        self.assertTrue(lines[0].startswith(SAID), lines[0])
        return lines[0][len(SAID) :]

    def test_where_there_is_no_token_one_link_is_printed_and_it_signs_in(self) -> None:
        session = self.tokens.redeem(self.code_of(self.said()))
        assert session is not None
        principal = self.tokens.check(session.token)
        self.assertEqual(("link:serve", {ADMIN, READ}), tuple(principal or ()))

    def test_in_json_the_secret_stands_in_the_link_alone_and_the_line_is_whole(self) -> None:
        with mock.patch.dict(os.environ, {log.FORMAT_VARIABLE: "json"}):
            lines = self.said()
        self.assertEqual(1, len(lines))
        value = json.loads(lines[0])
        self.assertEqual(["level", "link", "message", "source", "time"], sorted(value))
        link = value["link"]
        self.assertEqual(("info", "hub"), (value["level"], value["source"]))
        self.assertTrue(link.startswith(f"{ORIGIN}/#code="))
        self.assertEqual(f"sign in, once and within 15 minutes: {link}", value["message"])
        code = link.partition("#code=")[2]
        rest = lines[0].replace(link, "")
        self.assertNotIn(code, rest)
        self.assertNotIn(files.sha256(code.encode()), rest)
        self.assertIsNotNone(self.tokens.redeem(code))

    def test_whoever_can_sign_in_already_needs_none(self) -> None:
        self.tokens.create((READ,), "x")
        self.assertEqual([], self.said())
        session = TokenStore(Home(os.path.join(self.directory, "other")))
        session.redeem(session.create_code("x"))
        self.assertEqual([], self.said(session))
        seeded = TokenStore(Home(os.path.join(self.directory, "third")))
        seeded.seed("s3cret-of-the-operator", ADMIN_NAME)
        self.assertEqual([], self.said(seeded))
        self.assertFalse(os.path.exists(os.path.join(self.directory, "third")))

    def test_the_command_line_s_own_and_expired_tokens_let_nobody_in(self) -> None:
        self.tokens.create((ADMIN,), "local:root", time.time() + 900)
        self.tokens.create((ADMIN,), "old", time.time() - 1)
        self.code_of(self.said())

    def test_a_release_on_trial_prints_no_secret_and_makes_none(self) -> None:
        self.committed = False
        self.assertEqual([], self.said())
        self.assertFalse(os.path.exists(self.home.tokens))

    def test_it_does_so_once_it_is_committed(self) -> None:
        self.committed = False
        with captured.stderr() as caught:
            self.welcome().look()
            self.turn()
            self.committed = True
            self.turn()
        self.code_of(caught.lines)

    def test_a_token_that_is_made_meanwhile_makes_it_needless(self) -> None:
        self.committed = False
        with captured.stderr() as caught:
            self.welcome().look()
            self.turn()
            TokenStore(self.home).create((READ,), "x")
            self.committed = True
            self.turn()
        self.assertEqual("", caught.text)

    def test_where_no_code_can_be_kept_it_says_so_and_prints_none(self) -> None:
        with open(self.home.root, "w", encoding="utf-8"):
            pass
        lines = self.said()
        self.assertEqual(1, len(lines), lines)
        self.assertTrue(lines[0].startswith("hub: no sign-in link can be made: "), lines)
        self.assertIn(self.home.tokens, lines[0])
        self.assertNotIn("#code=", lines[0])

    def test_in_memory_it_is_good_for_this_process(self) -> None:
        memory = TokenStore(self.home, memory=True)
        code = self.code_of(self.said(memory))
        self.assertFalse(os.path.exists(self.home.root))
        self.assertIsNotNone(memory.redeem(code))


class AdminTokenFileTest(HomeCase):
    def write(self, content: bytes, name: str = "token") -> str:
        path = os.path.join(self.directory, name)
        with open(path, "wb") as file:
            file.write(content)
        return path

    def taken(self, path: str, token: str) -> None:
        tokens = TokenStore(self.home)
        self.assertIsNone(seed(tokens, {ADMIN_TOKEN_FILE: path}))
        self.assertEqual((ADMIN_NAME, {ADMIN, READ}), tuple(tokens.check(token) or ()))
        self.assertTrue(tokens.any())
        self.assertFalse(os.path.exists(self.home.root), "it is kept in memory alone")

    def refused(self, path: str) -> str:
        """Why it is not taken: with the variable and the file, without what is in it."""
        tokens = TokenStore(self.home)
        problem = seed(tokens, {ADMIN_TOKEN_FILE: path})
        assert problem is not None
        self.assertTrue(problem.startswith(f"{ADMIN_TOKEN_FILE}: {path} "), problem)
        self.assertLess(len(problem), 300 + len(path))
        self.assertFalse(tokens.any())
        return problem[len(ADMIN_TOKEN_FILE) + len(path) + 3 :]

    def test_without_the_variable_there_is_nothing_to_do(self) -> None:
        for environ in ({}, {ADMIN_TOKEN_FILE: ""}):
            self.assertIsNone(seed(self.tokens, environ))
        self.assertFalse(self.tokens.any())

    def test_a_token_with_or_without_a_line_break_is_taken(self) -> None:
        for end in (b"", b"\n", b"\r\n", b"  \n\n"):
            self.taken(self.write(b"\n s3cret-of-the-operator" + end), "s3cret-of-the-operator")
        for token in ("x" * 16, "y" * 200, "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"):
            self.taken(self.write(token.encode()), token)

    def test_links_are_followed_as_kubernetes_mounts_them(self) -> None:
        os.mkdir(os.path.join(self.directory, "..2026_01_01"))
        self.write(b"s3cret-of-the-operator\n", "..2026_01_01/token")
        os.symlink("..2026_01_01", os.path.join(self.directory, "..data"))
        os.symlink("..data/token", os.path.join(self.directory, "token"))
        self.taken(os.path.join(self.directory, "token"), "s3cret-of-the-operator")

    def test_what_is_no_one_token_is_told_and_not_repeated(self) -> None:
        for content in (b"", b"\n", b"x" * 15, b"s3cret" * 34, b"s3cret of the operator",
                        b"s3cret-of-the\noperator-here", b"s3cret-of-the\toperator",
                        b"s3cret-of-the-\x00operator", b"s3cret-of-the-\x1b[2Joperator",
                        "s3cret-of-the-öperator".encode(), b"\xff\xfes\x003\x00"):
            problem = self.refused(self.write(content))
            self.assertEqual("must hold one token of 16 to 200 printable ASCII characters, without "
                             "spaces", problem)

    def test_what_is_not_there_or_no_file_is_told_and_never_waited_for(self) -> None:
        self.assertIn("No such file", self.refused(os.path.join(self.directory, "missing")))
        loop = os.path.join(self.directory, "loop")
        os.symlink(loop, loop)
        self.assertIn("cannot be read", self.refused(loop))
        self.assertIn("not a regular file", self.refused(self.directory))
        fifo = os.path.join(self.directory, "fifo")
        os.mkfifo(fifo)
        self.assertIn("not a regular file", self.refused(fifo))
        self.assertIn("not a regular file", self.refused("/dev/zero"))

    def test_a_huge_file_is_not_read_whole(self) -> None:
        path = self.write(b"x" * (MOST_BYTES + 1))
        os.truncate(path, 1 << 40)  # a hole: to read all of it would take all memory
        self.assertIn(f"larger than {MOST_BYTES} bytes", self.refused(path))

    def test_a_file_of_somebody_else_s_is_told(self) -> None:
        path = self.write(b"s3cret-of-the-operator")
        os.chmod(path, 0)
        os.chmod(self.directory, stat.S_IRWXU | stat.S_IXOTH)
        with as_somebody():
            self.assertIn("Permission denied", self.refused(path))


@contextmanager
def as_somebody() -> Iterator[None]:
    """Without root's power to read everything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


if __name__ == "__main__":
    unittest.main()
