"""Upgrade and rollback with no hub running: proven under a launcher of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import unittest
from pathlib import Path

from tests.e2e.commands import CommandLineCase, bad_release
from tests.e2e.harness import WAIT_S, cli, running_on, wait_for


class WithoutHubTest(CommandLineCase):
    def upgrade(self, *argv: str) -> subprocess.CompletedProcess[str]:
        return self.run_hub("upgrade", "--releases", self.repository, *argv)

    def test_the_release_is_proven_under_a_launcher_of_its_own(self) -> None:
        done = self.upgrade()
        self.assertEqual(0, done.returncode, done.stderr)
        self.assertIn("Upgraded: 1.0.0 -> 1.1.0, and proven.", done.stdout)
        self.assertIn("hub.pyz serve", done.stdout.splitlines()[-1])
        self.assertEqual("1.1.0", self.current())
        self.assert_nothing_runs()
        self.assertFalse(os.path.exists(os.path.join(self.home, "tokens.json")))

        hub = self.hub().start()
        self.assertEqual("1.1.0", (hub.health() or {}).get("version"))
        hub.stop()
        back = self.run_hub("rollback")
        self.assertEqual(0, back.returncode, back.stderr)
        self.assertEqual("1.0.0", self.current())
        self.assertEqual(1, self.run_hub("rollback").returncode)

    def test_a_source_in_hub_json_is_followed_too(self) -> None:
        self.configure(releases=self.repository)
        done = self.run_hub("upgrade", "--json")
        self.assertEqual((0, "succeeded"), (done.returncode, json.loads(done.stdout)["phase"]))

    def test_without_any_source_it_says_how_to_get_one(self) -> None:
        done = self.run_hub("upgrade")
        self.assertEqual((1, 1), (done.returncode, done.stderr.count("\n")), done.stderr)
        self.assertIn("--releases", done.stderr)

    def test_where_nothing_was_ever_served_no_home_is_made(self) -> None:
        nowhere = os.path.join(self.directory, "nowhere")
        for words in (("upgrade", "--releases", self.repository), ("rollback",)):
            done = cli(self.old, *words, "--config-dir", nowhere)
            self.assertEqual((done.returncode, done.stderr.count("\n")), (1, 1), done.stderr)
            self.assertIn(f"{nowhere} is no directory", done.stderr)
            self.assertFalse(os.path.exists(nowhere))

    def test_a_bad_release_is_taken_back_and_ends_with_5(self) -> None:
        self.publish(bad_release("1.2.0"))
        done = self.upgrade()
        self.assertEqual(5, done.returncode, done.stdout + done.stderr)
        self.assertIn("nothing works in this home", done.stdout)
        self.assertEqual("1.0.0", self.current())
        rejected = self.upgrade()
        self.assertEqual(1, rejected.returncode)
        self.assertIn("hub.pyz upgrade --version 1.2.0", rejected.stdout)

    def test_what_an_earlier_upgrade_left_is_decided_first(self) -> None:
        self.assertEqual(0, self.upgrade("--no-wait").returncode)
        wait_for(lambda: os.path.exists(os.path.join(self.home, "releases", "next.json")),
                 "next.json")
        wait_for(lambda: not running_on(self.home), "the end of the helper")
        said = json.loads(self.run_hub("status", "--json").stdout)
        self.assertEqual(("restarting", "decided at the next start"),
                         (said["phase"], said["note"]))
        done = self.upgrade()
        self.assertEqual(0, done.returncode, done.stderr)
        self.assertIn("Nothing to do: 1.1.0", done.stdout)
        phases = [item["phase"] for item in
                  json.loads(self.run_hub("history", "--json").stdout)["operations"]]
        self.assertEqual(["succeeded", "succeeded"], phases)

    def test_ctrl_c_while_it_is_proven_gives_the_try_back(self) -> None:
        self.configure(probation_s=20, probation_max_s=60)
        proving = self.start("upgrade", "--releases", self.repository)
        self._await_trial()
        proving.send_signal(signal.SIGINT)
        _out, err = proving.communicate(timeout=WAIT_S)
        self.assertEqual(130, proving.returncode, err)
        self.assert_nothing_runs()
        self.assertEqual((3, []), (self.boot()["trial"]["tries_left"], self.boot()["verdicts"]))
        self.configure()
        hub = self.hub().start()
        self.assertEqual("succeeded", hub.finished()["phase"])
        hub.stop()

    def test_a_serve_takes_over_from_a_launcher_that_only_proves(self) -> None:
        self.configure(probation_s=3, probation_max_s=60)
        proving = self.start("upgrade", "--releases", self.repository)
        self._await_trial()
        hub = self.hub().start()
        out, err = proving.communicate(timeout=WAIT_S)
        self.assertEqual(0, proving.returncode, out + err)
        self.assertIn("Upgraded: 1.0.0 -> 1.1.0", out)
        self.assertEqual("1.1.0", (hub.health() or {}).get("version"))
        self.assertEqual("succeeded", hub.finished()["phase"])
        hub.stop()

    def _await_trial(self) -> None:
        def serving() -> bool:
            try:
                told = json.loads(Path(self.home, "serve.json").read_text())
                return bool(told["proving"] and told["instance"] and self.boot()["trial"])
            except (OSError, ValueError):
                return False

        wait_for(serving, "a trial that serves")
        time.sleep(0.1)


if __name__ == "__main__":
    unittest.main()
