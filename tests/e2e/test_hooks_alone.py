"""The operator's hooks with no hub running: whoever is at work runs them, in order and once."""

from __future__ import annotations

import unittest

from tests.e2e.commands import bad_release
from tests.e2e.harness import Hub, build
from tests.e2e.hooks import HOOKS, HooksCase


class HooksAloneTest(HooksCase):
    def test_with_no_hub_running(self) -> None:
        self.publish(build("1.1.0"))
        done = self.command("upgrade")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        lines = ["before_upgrade upgrade 1.0.0 1.1.0", "on_finish upgrade 1.0.0 1.1.0"]
        self.noted(*lines)
        self.finished_with(Hub(self.old, self.home).record())
        done = self.command("rollback")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        lines += ["after_rollback rollback 1.1.0 1.0.0", "on_finish rollback 1.1.0 1.0.0"]
        self.noted(*lines)
        self.finished_with(Hub(self.old, self.home).record())
        self.hooks({"home_persists": False})
        self.assertEqual(self.command("upgrade").returncode, 3)
        self.noted(*lines, "on_finish upgrade 1.0.0 ")
        self.finished_with(Hub(self.old, self.home).record())

    def test_a_rejection_with_no_hub_running(self) -> None:
        self.publish(bad_release("1.1.0"))
        self.assertEqual(self.command("upgrade").returncode, 5)
        self.noted(*(f"{hook} upgrade 1.0.0 1.1.0" for hook in HOOKS))
        self.finished_with(Hub(self.old, self.home).record())


if __name__ == "__main__":
    unittest.main()
