"""Every setting is told with its origin, and the README's table is this one."""

from __future__ import annotations

import json
import tempfile
import unittest
from pathlib import Path

from hub_upgrade.settings import KNOWN_KEYS
from hub_upgrade.settings_table import IN_FILE, Setting, as_markdown, describe

README = Path(__file__).resolve().parent.parent / "README.md"


class TableTest(unittest.TestCase):
    def setUp(self) -> None:
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.home = scratch.name

    def described(self, config: str = "", environ: dict[str, str] | None = None, **flags: str) -> (
        dict[str, Setting]
    ):
        if config:
            Path(self.home, "hub.json").write_text(config)
        given = {"config-dir": self.home, **flags}
        return {one.key: one for one in describe(given, environ or {})}

    def test_every_key_of_hub_json_is_told(self) -> None:
        self.assertEqual(KNOWN_KEYS, set(IN_FILE))

    def test_a_default_is_called_one_and_is_the_value(self) -> None:
        for key, one in self.described().items():
            if key != "home":
                self.assertEqual((one.value, one.origin), (one.default, "default"), key)

    def test_each_origin_is_named(self) -> None:
        config = json.dumps({"probation_s": 3, "allowed_hosts": ["a.example"], "tries": "many"})
        environ = {"PORT": "80", "PARACHUTE_BIND_HOST": "::", "FLY_APP_NAME": "mine"}
        told = self.described(config, environ, host="::1", releases="/srv/r")
        home = told["home"]
        self.assertEqual((home.value, home.origin), (self.home, "flag --config-dir"))
        self.assertEqual((told["host"].value, told["host"].origin), ("::1", "flag --host"))
        self.assertEqual((told["port"].value, told["port"].origin), (80, "environment PORT"))
        self.assertEqual(told["origin"].value, "https://mine.fly.dev")
        self.assertEqual(told["origin"].origin, "environment of the platform")
        self.assertEqual(told["releases"].origin, "flag --releases")
        self.assertEqual((told["probation_s"].value, told["probation_s"].origin), (3, "hub.json"))
        self.assertEqual(told["allowed_hosts"].origin, "hub.json")
        self.assertEqual((told["tries"].value, told["tries"].origin), (3, "default"))

    def test_an_unreadable_file_means_defaults(self) -> None:
        self.assertEqual("default", self.described("{")["probation_s"].origin)

    def test_the_readme_has_this_very_table(self) -> None:
        inside = as_markdown() in README.read_text(encoding="utf-8")
        self.assertTrue(inside, f"README.md must have:\n{as_markdown()}")


if __name__ == "__main__":
    unittest.main()
