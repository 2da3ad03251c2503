"""The command line through a hub that runs: followed to the end, interrupted, refused."""

from __future__ import annotations

import json
import signal
import unittest
from typing import Any

from tests.e2e.commands import CommandLineCase, bad_release
from tests.e2e.harness import WAIT_S


class WithHubTest(CommandLineCase):
    def test_upgrade_and_rollback_are_followed_to_their_ends(self) -> None:
        hub = self.hub().start()
        status = self.run_hub("status", "--json")
        self.assertEqual((0, "1.0.0"), (status.returncode,
                                        json.loads(status.stdout)["hub"]["version"]))
        plan = self.run_hub("plan", "--json")
        self.assertEqual((0, "1.1.0"), (plan.returncode, json.loads(plan.stdout)["target"]))

        proxies = {"http_proxy": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
        done = self.run_hub("upgrade", **proxies)
        self.assertEqual(0, done.returncode, done.stderr)
        self.assertEqual("Upgraded: 1.0.0 -> 1.1.0, and proven.", done.stdout.splitlines()[-1])
        self.assertEqual("1.1.0", (hub.health() or {}).get("version"))
        again = self.run_hub("upgrade")
        self.assertEqual(0, again.returncode)
        self.assertIn("Nothing to do", again.stdout)

        back = self.run_hub("rollback", "--json")
        self.assertEqual(0, back.returncode, back.stderr)
        self.assertEqual(("succeeded", "1.0.0"), _two(back.stdout, "phase", "target_version"))
        self.assertEqual("1.0.0", (hub.health() or {}).get("version"))
        self.assertEqual(3, len(self.run_hub("history").stdout.splitlines()))
        self.assertEqual([], self.tokens())
        self.assertEqual(0, hub.stop())

    def test_ctrl_c_ends_the_following_and_not_the_operation(self) -> None:
        hub = self.hub().start()
        following = self.start("upgrade")
        assert following.stdout is not None
        following.stdout.readline()
        following.send_signal(signal.SIGINT)
        _out, err = following.communicate(timeout=WAIT_S)
        self.assertEqual(130, following.returncode)
        self.assertIn("the operation goes on; see: hub.pyz status", err)
        self.assertEqual("succeeded", hub.finished()["phase"])
        self.assertEqual([], self.tokens())
        hub.stop()

    def test_a_release_that_is_taken_back_ends_with_5_and_its_last_words(self) -> None:
        self.publish(bad_release("1.2.0"))
        hub = self.hub().start()
        done = self.run_hub("upgrade")
        self.assertEqual(5, done.returncode, done.stdout + done.stderr)
        self.assertIn("nothing works in this home", done.stdout)
        self.assertIn("1.0.0 runs\n", done.stdout)
        self.assertIn("hub.pyz upgrade --version 1.2.0", done.stdout)
        self.assertEqual("1.0.0", (hub.health() or {}).get("version"))
        hub.stop()

    def test_a_second_upgrade_ends_with_4(self) -> None:
        hub = self.hub().start()
        self.assertEqual(0, self.run_hub("upgrade", "--no-wait").returncode)
        done = self.run_hub("upgrade")
        self.assertEqual((4, 1), (done.returncode, done.stderr.count("\n")), done.stderr)
        hub.finished()
        hub.stop()


def _two(text: str, *names: str) -> tuple[Any, ...]:
    value = json.loads(text)
    return tuple(value[name] for name in names)


if __name__ == "__main__":
    unittest.main()
