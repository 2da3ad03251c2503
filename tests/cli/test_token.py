"""`hub.pyz token`: made, listed, revoked, and links that sign in."""

from __future__ import annotations

import json
import os
import re
import shutil
import unittest
from unittest import mock

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
                     ["create", "--scope", READ, "--bogus\nx"], ["create", "word"],
                     ["list", "word"], ["list", "--name", "x"], ["revoke"],
                     ["revoke", "x", "--scope", READ], ["link", "--expires", "30d"],
                     ["list", "revoke", "x"]):
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

    def create(self, name: str, *argv: str) -> str:
        made = self.run_command(token.main, "create", "--scope", READ, "--name", name, *argv)
        return made[1].strip()

    def listed(self) -> list[dict[str, object]]:
        code, out, err = self.run_command(token.main, "list", "--json")
        self.assertEqual((0, ""), (code, err))
        return list(json.loads(out)["tokens"])

    def test_what_there_is_is_listed_and_never_a_token(self) -> None:
        code, out, _err = self.run_command(token.main, "list")
        self.assertEqual((0, []), (code, self.listed()))
        self.assertIn("hub.pyz token link", out)
        secret = self.create("pager", "--expires", "30d")
        code, out, err = self.run_command(token.main, "list")
        self.assertEqual((0, ""), (code, err))
        head, row = (line.split() for line in out.splitlines())
        self.assertEqual(["ID", "NAME", "SCOPES", "KIND", "CREATED", "EXPIRES"], head)
        self.assertEqual(["pager", READ, "token"], row[1:4])
        self.assertEqual({"id", "name", "scopes", "created_at", "expires_at", "kind"},
                         set(self.listed()[0]))
        self.assertNotIn(secret, out)

    def test_what_is_revoked_by_id_or_by_name_is_no_good_any_more(self) -> None:
        first, second, third = self.create("pager"), self.create("pager"), self.create("phone")
        store = TokenStore(self.home)
        code, out, err = self.run_command(token.main, "revoke", str(self.listed()[0]["id"]))
        self.assertEqual((0, ""), (code, err))
        self.assertRegex(out, r"\Arevoked: token [0-9a-f]{12} pager \(hub:read\)\n\Z")
        self.assertEqual([False, True, True],
                         [store.check(one) is not None for one in (first, second, third)])
        self.create("pager")
        code, out, _err = self.run_command(token.main, "revoke", "pager")
        self.assertEqual((0, 3), (code, len(out.splitlines())), out)
        self.assertIn("2 of that name", out)
        out = self.run_command(token.main, "revoke", "phone", "--json")[1]
        self.assertEqual(["phone"], [one["name"] for one in json.loads(out)["revoked"]])
        self.assertEqual([], self.listed())

    def test_to_revoke_what_is_not_there_is_one_sentence(self) -> None:
        code, out, err = self.run_command(token.main, "revoke", "x" * 1000)
        self.assertEqual((1, "", 1), (code, out, err.count("\n")))
        self.assertLess(len(err), 200)

    def link(self, *argv: str, **env: str) -> tuple[int, str, str]:
        with mock.patch.dict(os.environ, env):
            for name in {"PARACHUTE_HUB_ORIGIN", "RENDER_EXTERNAL_URL", "FLY_APP_NAME"} - set(env):
                os.environ.pop(name, None)
            return self.run_command(token.main, "link", *argv)

    def test_a_link_leads_to_the_hub_that_runs_and_is_good_once(self) -> None:
        hub = self.serve()
        code, out, err = self.link()
        self.assertEqual((0, ""), (code, err))
        found = re.fullmatch(rf"http://127\.0\.0\.1:{hub.port}/#code=(\S+)\n", out)
        assert found is not None, out
        store = TokenStore(self.home)
        session = store.redeem(found[1])
        assert session is not None
        principal = store.check(session.token)
        self.assertEqual({ADMIN, READ}, principal.scopes if principal else None)
        self.assertTrue(str(self.listed()[0]["name"]).startswith("link:"))
        self.assertEqual("session", self.listed()[0]["kind"])
        self.assertIsNone(store.redeem(found[1]))

    def test_a_link_s_name_is_its_session_s(self) -> None:
        self.serve()
        code = self.link("--name", "kiosk")[1].strip().partition("#code=")[2]
        TokenStore(self.home).redeem(code)
        self.assertEqual("kiosk", self.listed()[0]["name"])

    def test_without_a_hub_a_link_is_made_where_it_is_known_where_one_will_be(self) -> None:
        code, out, err = self.link()
        self.assertEqual((1, "", 1), (code, out, err.count("\n")))
        self.assertIn("hub.pyz serve", err)
        self.assertFalse(os.path.exists(self.home.tokens))
        code, out, err = self.link(PARACHUTE_HUB_ORIGIN="https://hub.example/")
        self.assertEqual((0, 1), (code, err.count("\n")))
        self.assertRegex(out, r"\Ahttps://hub\.example/#code=\S+\n\Z")

    def test_an_address_that_nobody_can_go_to_is_made_one(self) -> None:
        hub = self.serve()
        self.say(hub, address=f"http://0.0.0.0:{hub.port}")
        self.assertTrue(self.link()[1].startswith(f"http://127.0.0.1:{hub.port}/#code="))

    def test_durations(self) -> None:
        for text, seconds in (("90m", 5400), ("12h", 43200), ("30d", 2_592_000), ("1w", 604_800)):
            self.assertEqual(seconds, token.duration(text))
        for text in ("", "d", "3", "-1d", "1.5h", "1y", "٣d", "99999999w"):
            with self.assertRaises(UsageError):
                token.duration(text)


if __name__ == "__main__":
    unittest.main()
