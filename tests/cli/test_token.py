"""`hub.pyz token create`."""

from __future__ import annotations

import os
import shutil
import unittest

from hub_upgrade.cli import token
from hub_upgrade.errors import UsageError
from hub_upgrade.host.token_store import ADMIN, READ, TokenStore
from tests.cli.scene import CliCase


class TokenTest(CliCase):
    def test_the_token_stands_alone_on_stdout_and_is_good(self) -> None:
        code, out, err = self.run_command(token.main, "create", "--scope", "hub:admin")
        self.assertEqual((0, ""), (code, err))
        self.assertRegex(out, r"\Ahub_\S+\n\Z")
        principal = TokenStore(self.home).check(out.strip())
        self.assertEqual({ADMIN, READ}, principal.scopes if principal else None)

    def test_name_and_expiry_are_kept(self) -> None:
        self.run_command(
            token.main, "create", "--scope", "hub:read", "--name", "pager", "--expires", "30d"
        )
        entry = self.tokens()[0]
        self.assertEqual(("pager", ["hub:read"]), (entry["name"], entry["scopes"]))
        self.assertIn("expires_at", entry)

    def test_it_makes_the_home(self) -> None:
        shutil.rmtree(self.home.root)
        self.assertEqual(0, self.run_command(token.main, "create", "--scope", "hub:read")[0])
        self.assertEqual(0o700, os.stat(self.home.root).st_mode & 0o777)

    def test_a_file_that_cannot_be_read_is_said_on_stderr_alone(self) -> None:
        with open(self.home.tokens, "w", encoding="utf-8") as file:
            file.write("nonsense")
        code, out, err = self.run_command(token.main, "create", "--scope", "hub:read")
        self.assertEqual(0, code)
        self.assertRegex(out, r"\Ahub_\S+\n\Z")
        self.assertIn(".corrupt", err)

    def test_wrong_usage_is_one_line_and_exit_code_2(self) -> None:
        for argv in ([], ["create"], ["create", "--scope", "root"], ["make", "--scope", READ],
                     ["create", "--scope", READ, "--expires", "soon"],
                     ["create", "--scope", READ, "--expires", "0d"],
                     ["create", "--scope", READ, "--name", "a\nb"],
                     ["create", "--scope", READ, "--name", ""],
                     ["create", "--scope", READ, "--bogus\nx"]):
            code, out, err = self.run_command(token.main, *argv)
            self.assertEqual((2, "", 1), (code, out, err.count("\n")), (argv, err))
            self.assertTrue(err.startswith("hub.pyz token: "), err)
        self.assertFalse(os.path.exists(self.home.tokens))

    def test_a_home_that_cannot_be_made_is_one_line(self) -> None:
        shutil.rmtree(self.home.root)
        with open(self.home.root, "w", encoding="utf-8"):
            pass
        code, out, err = self.run_command(token.main, "create", "--scope", "hub:read")
        self.assertEqual((1, "", 1), (code, out, err.count("\n")), err)

    def test_durations(self) -> None:
        for text, seconds in (("90m", 5400), ("12h", 43200), ("30d", 2_592_000), ("1w", 604_800)):
            self.assertEqual(seconds, token.duration(text))
        for text in ("", "d", "3", "-1d", "1.5h", "1y", "٣d", "99999999w"):
            with self.assertRaises(UsageError):
                token.duration(text)


if __name__ == "__main__":
    unittest.main()
