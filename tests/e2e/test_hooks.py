"""What the operator wants run around an operation of `hub.pyz` itself: in order, once, and told."""

from __future__ import annotations

import os
import unittest

from tests.e2e.commands import bad_release
from tests.e2e.harness import build, wait_for
from tests.e2e.hooks import HOOKS, HooksCase


class HooksTest(HooksCase):
    def test_an_upgrade_and_the_way_back_by_hand(self) -> None:
        self.publish(build("1.1.0"))
        hub = self.served()
        record = hub.finished(hub.upgrade())
        lines = ["before_upgrade upgrade 1.0.0 1.1.0", "on_finish upgrade 1.0.0 1.1.0"]
        self.noted(*lines)
        self.finished_with(record)
        before = self.at("before_upgrade")
        self.assertEqual((before["phase"], before["step"]), ("running", "backing-up"))
        self.assertNotIn("next.json", self.path("at-before_upgrade.ls").read_text())
        self.assertEqual(self.path("stdin-before_upgrade").read_text(), "")
        self.assertIn("| this is before_upgrade", record["log"])
        self.assertIn("this is before_upgrade", self.log_of(record))
        wait_for(lambda: "this is on_finish" in self.log_of(record), "its output in the log")
        record = hub.finished(hub.rollback())
        self.assertEqual(record["phase"], "succeeded")
        lines += ["after_rollback rollback 1.1.0 1.0.0", "on_finish rollback 1.1.0 1.0.0"]
        self.noted(*lines)
        self.assertEqual(self.at("after_rollback")["phase"], "restarting")
        self.assertIn("after_rollback is done", record["log"])
        self.assertIn("this is after_rollback", self.log_of(record))
        self.finished_with(record)
        self.assertEqual(hub.stop(), 0)

    def test_a_rejected_release_and_a_hook_that_fails(self) -> None:
        self.publish(bad_release("1.1.0"))
        hub = self.served()
        record = hub.finished(hub.upgrade())
        self.assertEqual((record["phase"], record["rolled_back_to"]), ("failed", "1.0.0"))
        self.noted(*(f"{hook} upgrade 1.0.0 1.1.0" for hook in HOOKS))
        self.assertEqual(self.at("after_rollback")["phase"], "restarting")
        self.assertIn("after_rollback is done", record["log"])
        self.finished_with(record)
        self.hooks({"after_rollback": ["sh", "-c", "echo gone >&2; exit 4"]})
        record = hub.finished(hub.upgrade(version="1.1.0"))
        self.assertEqual((record["phase"], record["rolled_back_to"]), ("failed", "1.0.0"))
        self.assertIn("after_rollback failed (exit 4): gone", record["log"])

    def test_before_upgrade_that_fails_or_hangs_stops_it(self) -> None:
        self.publish(build("1.1.0"))
        self.hooks({"on_finish": None})
        hub = self.served()
        boot = hub.boot()
        for argv, limit_s, why in (
            (["sh", "-c", "echo no room >&2; exit 3"], 60,
             "before_upgrade failed (exit 3): no room"),
            (["/no/such/tool"], 60,
             "before_upgrade failed (exit 127): /no/such/tool cannot be run"),
            (["sh", "-c", "sleep 61 & echo $! > $PARACHUTE_HOME/child; wait"], 2,
             "before_upgrade was not done within 2 s"),
        ):  # fmt: skip
            with self.subTest(argv):
                self.hooks({"before_upgrade": argv, "hook_timeout_s": limit_s})
                record = hub.finished(hub.upgrade())
                self.assertEqual((record["phase"], record["step"]), ("failed", "backing-up"))
                self.assertIn(why, record["error"])
                self.assertTrue(record["error"].endswith("nothing was changed"), record["error"])
                self.assertEqual((hub.boot(), (hub.health() or {})["version"]), (boot, "1.0.0"))
        child = self.path("child").read_text().strip()
        wait_for(lambda: not os.path.exists(f"/proc/{child}"), "the end of what it had started")
        self.assertFalse(self.path("hooks").exists())

    def test_redeploy_required_is_an_end_too(self) -> None:
        self.hooks({"home_persists": False})
        hub = self.served()
        record = hub.finished(hub.upgrade())
        self.assertEqual(record["phase"], "redeploy-required")
        self.noted("on_finish upgrade 1.0.0 ")
        self.finished_with(record)


if __name__ == "__main__":
    unittest.main()
