"""In place only when nothing speaks against it."""

from __future__ import annotations

import unittest

from hub_upgrade.domain.install import Facts, decide

GOOD = Facts(source="pyz", releases="/h/releases", releases_writable=True)


class Decide(unittest.TestCase):
    def test_a_writable_place_for_releases_is_in_place(self) -> None:
        decision = decide(GOOD)
        self.assertEqual((decision.mode, decision.source), ("in-place", "pyz"))
        self.assertIn("/h/releases: writable", decision.evidence)

    def test_every_doubt_means_redeploy_and_says_what_to_do(self) -> None:
        doubts = {
            "chown": GOOD._replace(trouble="it cannot be written; mend it with: chown"),
            "cannot be told": GOOD._replace(source="unknown"),
            "cannot be written": GOOD._replace(releases_writable=False),
            "/h/releases cannot": GOOD._replace(releases_writable=None),
            "tmpfs": GOOD._replace(volatile="it is on tmpfs"),
            "cannot": Facts(),
        }
        for words, facts in doubts.items():
            decision = decide(facts)
            self.assertEqual(decision.mode, "redeploy-required", facts)
            self.assertIn(words, decision.reason)
            self.assertIn("replace the installed hub.pyz", decision.reason)

    def test_in_a_container_the_advice_is_another(self) -> None:
        facts = GOOD._replace(volatile="it is in the image", container="/.dockerenv")
        self.assertIn("mount a volume", decide(facts).reason)


if __name__ == "__main__":
    unittest.main()
