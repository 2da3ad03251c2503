"""`hub.pyz modules`: there is none yet, and each command says so."""

from __future__ import annotations

import json
import unittest

from hub_upgrade.cli import modules
from tests.cli.scene import CliCase


class ModulesTest(CliCase):
    def test_none_is_listed(self) -> None:
        for argv in ((), ("list",)):
            code, out, err = self.run_command(modules.main, *argv)
            self.assertEqual((0, ""), (code, err))
            self.assertIn("supervises none yet, and does not read services.json", out)
        self.assertEqual({"modules": []}, json.loads(self.run_command(modules.main, "--json")[1]))

    def test_there_is_none_to_act_on(self) -> None:
        for action in ("start", "stop", "restart", "logs"):
            code, out, err = self.run_command(modules.main, action, "mail")
            self.assertEqual((1, "", 1), (code, out, err.count("\n")))
            self.assertIn("no module 'mail'", err)
        code, out, _err = self.run_command(modules.main, "stop", "mail", "--json")
        self.assertEqual((1, "not_found"), (code, json.loads(out)["error"]))

    def test_wrong_usage_is_one_line(self) -> None:
        for argv in (["start"], ["list", "mail"], ["dance"], ["stop", "mail", "more"]):
            code, out, err = self.run_command(modules.main, *argv)
            self.assertEqual((2, "", 1), (code, out, err.count("\n")), argv)


if __name__ == "__main__":
    unittest.main()
