"""Why home is of no use: who owns it, who we are, and what would mend it."""

from __future__ import annotations

import errno
import os
import unittest
from typing import Any
from unittest import mock

from hub_upgrade.domain.container import Container
from hub_upgrade.host import container, files
from hub_upgrade.launcher import serve, trouble
from tests.launcher.scene import Scene


class Trouble(Scene):
    def setUp(self) -> None:
        super().setUp()
        self.users = self.put("passwd", b"root:x:0:0::/:/bin/sh\nnobody:x:65534:1::/:\nx:y\n\xff\n")
        users = mock.patch.object(trouble, "USERS", self.users)
        users.start()
        self.addCleanup(users.stop)

    def why(self, number: int, path: str | None = None, user: int = 1000) -> str:
        error = OSError(number, os.strerror(number), path or self.home.releases)
        with mock.patch("os.geteuid", return_value=user):
            return trouble.why_unusable(self.home, error)

    def owned(self, by: int) -> Any:
        return mock.patch.object(trouble, "_owners", return_value=[by])

    def test_users_have_names_where_this_machine_knows_them(self) -> None:
        for user, name in ((0, "root (0)"), (65534, "nobody (65534)"), (1000, "1000"), (1, "1")):
            self.assertEqual(trouble.named(user), name)
        with mock.patch.object(trouble, "USERS", self.directory):
            self.assertEqual(trouble.named(0), "0")

    def test_what_belongs_to_somebody_else_is_told_with_the_chown(self) -> None:
        files.make_directory(self.home.root)
        with self.owned(0):
            why = self.why(errno.EACCES)
        self.assertEqual(
            why,
            f"{self.home.releases} cannot be written (Permission denied; its owner is root (0), we "
            f"are 1000); mend it with: chown -R 1000 {self.home.root}",
        )

    def test_a_file_of_somebody_else_in_a_home_of_ours_is_told_too(self) -> None:
        files.make_directory(self.home.root)
        theirs = {self.home.serve_lock: 0}
        with mock.patch("os.stat", side_effect=lambda path: os.stat_result(
                (0o600, 1, 1, 1, theirs.get(path, 1000), 0, 0, 0, 0, 0))):  # fmt: skip
            self.assertIn("chown -R 1000", self.why(errno.EACCES, self.home.serve_lock))
            self.assertNotIn("chown", self.why(errno.EACCES))

    def test_where_a_chown_mends_nothing_none_is_told(self) -> None:
        files.make_directory(self.home.root)
        for number in (errno.EROFS, errno.ENOSPC, errno.EIO):
            with self.owned(0):
                self.assertNotIn("chown", self.why(number))
        with self.owned(1000):
            self.assertNotIn("chown", self.why(errno.EACCES))

    def test_a_home_that_cannot_be_made_is_to_be_made_by_root(self) -> None:
        why = self.why(errno.EACCES, self.home.root)
        self.assertIn(f"{self.home.root} cannot be made (Permission denied; we are 1000)", why)
        self.assertIn(f"as root with: install -d -m 700 -o 1000 {self.home.root}", why)
        self.assertNotIn("install", self.why(errno.EROFS, self.home.root))

    def test_whose_owner_cannot_be_told_is_not_called_anybody_s(self) -> None:
        files.make_directory(self.home.root)
        denied = PermissionError(errno.EACCES, "Permission denied")
        with mock.patch("os.stat", side_effect=denied):
            self.assertIn("cannot be used (Permission denied; we are", self.why(errno.EACCES))

    def test_a_home_that_cannot_be_reached_is_not_to_be_given_away(self) -> None:
        denied = PermissionError(errno.EACCES, "Permission denied")
        with mock.patch("os.lstat", side_effect=denied), self.owned(0):
            why = self.why(errno.EACCES, self.home.root)
        self.assertEqual(
            f"{self.home.root} cannot be reached (Permission denied; we are 1000); let this user "
            "through the directories above it, or use another --config-dir",
            why,
        )


class Loopback(Scene):
    def told(self, host: str, *signs: str) -> str:
        found = Container(signs, "docker" if signs else "")
        with mock.patch.object(container, "look", return_value=found):
            serve.tell_of_loopback(host)
        return self.said()

    def test_in_a_container_an_address_of_its_own_is_told_of(self) -> None:
        for host in ("127.0.0.1", "localhost", "::1", "127.1.2.3"):
            said = self.told(host, "/.dockerenv exists", "RENDER is set")
            self.assertEqual(len(said.splitlines()), 1)
            for words in (host, "PARACHUTE_BIND_HOST=0.0.0.0", "/.dockerenv exists"):
                self.assertIn(words, said)
        self.assertEqual(self.told("0.0.0.0", "/.dockerenv exists"), "")
        self.assertEqual(self.told("::", "/.dockerenv exists"), "")

    def test_on_a_machine_it_is_nothing_to_tell(self) -> None:
        self.assertEqual(self.told("127.0.0.1"), "")


if __name__ == "__main__":
    unittest.main()
