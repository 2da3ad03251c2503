"""A home that cannot be read, or reached: nobody is told that there is nothing in it."""

from __future__ import annotations

import errno
import os
import unittest
from typing import Any, Callable
from unittest import mock

from hub_upgrade.cli import checkup, history, plan, rollback, status, token, upgrade
from hub_upgrade.domain.operation import SUCCEEDED, Operation
from hub_upgrade.host.status_store import StatusStore
from tests.cli.scene import CliCase

Main = Callable[[list[str]], int]
TELLING: tuple[Main, ...] = (status.main, history.main)


class UnreadableTest(CliCase):
    def refused(self, main: Main, *words: str) -> None:
        arguments = ["list"] if main is token.main else []
        code, out, err = self.run_command(main, *arguments)
        self.assertEqual((1, "", 1), (code, out, err.count("\n")), err)
        for word in words:
            self.assertIn(word, err)

    def closed(self, *paths: str) -> Any:
        """What is not for us to read; root may read anything."""
        real = os.access
        return mock.patch(
            "os.access", side_effect=lambda path, mode: path not in paths and real(path, mode)
        )

    def test_another_user_s_home_is_told_as_that(self) -> None:
        store = StatusStore(self.home)
        store.claim(Operation("an-id", phase=SUCCEEDED))
        for path in (self.home.root, self.home.status):
            other = mock.patch("os.geteuid", return_value=os.geteuid() + 4242)
            with self.closed(path), other:
                for main in TELLING:
                    self.refused(main, "belongs to", "run this as that user")

    def test_our_own_that_is_closed_is_told_with_what_would_open_it(self) -> None:
        StatusStore(self.home).claim(Operation("an-id", phase=SUCCEEDED))
        with self.closed(self.home.status):
            for main in TELLING:
                self.refused(main, f"chmod u+rwX {self.home.status}")

    def test_another_user_s_home_that_can_be_read_is_told(self) -> None:
        with mock.patch("os.geteuid", return_value=os.geteuid() + 4242):
            for main in TELLING:
                self.assertEqual(0, self.run_command(main)[0])

    def test_one_below_a_directory_that_lets_nobody_through_is_not_called_missing(self) -> None:
        denied = PermissionError(errno.EACCES, "Permission denied", self.home.root)
        real = os.stat

        def stat(path: Any, *more: Any, **named: Any) -> os.stat_result:
            if isinstance(path, str) and path.startswith(self.home.root):
                raise denied
            return real(path, *more, **named)

        with (
            mock.patch("os.stat", side_effect=stat),
            mock.patch("os.lstat", side_effect=stat),
            mock.patch("os.access", return_value=False),
        ):
            for main in (*TELLING, upgrade.main, rollback.main, plan.main, token.main):
                self.refused(main, "cannot be reached (Permission denied): run this as its user")
            code, out, _err = self.run_command(checkup.main)
        self.assertEqual(1, code)
        self.assertIn(f"home: {self.home.root} cannot be reached (Permission denied)\n", out)


if __name__ == "__main__":
    unittest.main()
