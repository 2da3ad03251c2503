"""`hub.pyz config`: every setting with its value, its origin, its default and its meaning."""

from __future__ import annotations

import json
import os
import unittest
from unittest import mock

from hub_upgrade.cli import config
from hub_upgrade.host import files
from hub_upgrade.settings_table import BESIDE, IN_FILE
from tests.cli.scene import CliCase


class ConfigTest(CliCase):
    def config(self, *argv: str, **env: str) -> tuple[int, str, str]:
        kept = {name: value for name, value in os.environ.items() if name != "PORT"}
        kept = {name: value for name, value in kept.items() if not name.startswith("PARACHUTE_")}
        with mock.patch.dict(os.environ, {**kept, **env}, clear=True):
            return self.run_command(config.main, *argv)

    def test_every_key_is_told_with_where_it_is_from(self) -> None:
        given = {"tries": 5, "home_persists": True, "allowed_hosts": ["a.example"]}
        files.write_json(self.home.hub_json, given)
        code, out, err = self.config(PORT="8080")
        self.assertEqual((0, ""), (code, err))
        for line in ("tries = 5 (hub.json; default 3)", "stop_s = 8 (the default)",
                     "port = 8080 (environment PORT; default 1939)",
                     "allowed_hosts = a.example (hub.json; default none)",
                     "home_persists = true (hub.json; default none)",
                     "releases = none (the default)",
                     f"home = {self.home.root} (flag --config-dir; default ~/.parachute)"):
            self.assertIn(line, out.splitlines())
        keys = [line.partition(" = ")[0] for line in out.splitlines() if line[:1] != " "]
        self.assertEqual(sorted([*IN_FILE, *(row[0] for row in BESIDE)]), sorted(keys))
        meanings = [line for line in out.splitlines() if line.startswith("    ")]
        self.assertEqual(len(keys), len(meanings))

    def test_a_program_reads_the_same(self) -> None:
        told = json.loads(self.config("--json", PARACHUTE_BIND_HOST="::1")[1])
        self.assertIsNone(told["config_error"])
        host = next(one for one in told["settings"] if one["key"] == "host")
        self.assertEqual(("::1", "environment PARACHUTE_BIND_HOST", "127.0.0.1"),
                         (host["value"], host["origin"], host["default"]))

    def test_what_is_wrong_with_hub_json_is_a_warning(self) -> None:
        files.write_json(self.home.hub_json, {"tries": 0, "colour": "red"})
        code, out, err = self.config()
        self.assertEqual((0, 1), (code, err.count("\n")))
        self.assertIn("warning: ", err)
        for word in ("tries", "colour"):
            self.assertIn(word, err)
        self.assertIn("tries = 3 (the default)", out)
        self.assertIn("colour", json.loads(self.config("--json")[1])["config_error"])

    def test_a_bad_variable_is_wrong_usage(self) -> None:
        code, out, err = self.config(PORT="http")
        self.assertEqual((2, "", 1), (code, out, err.count("\n")))

    def test_a_home_that_is_not_there_is_not_made(self) -> None:
        os.rmdir(self.home.root)
        self.assertEqual(0, self.config()[0])
        self.assertFalse(os.path.exists(self.home.root))


if __name__ == "__main__":
    unittest.main()
