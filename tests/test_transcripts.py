"""Every transcript is one that a test makes, and every refusal is in one of them."""

from __future__ import annotations

import re
import unittest

from tests.e2e.transcripts import DIRECTORY, canonical

TESTS = DIRECTORY.parent / "e2e"
PRODUCT = DIRECTORY.parent.parent / "hub_upgrade"
REFUSED = re.compile(r'(?:RefusedError|_refused)\(\s*"([a-z_]+)"|error_response\(\d+, "([a-z_]+)"')

KEPT = {
    "cannot_record": "cannot-record-upgrade",
    "damaged": "",  # the helper's own doubt of what it has just staged
    "downgrade": "hub-upgrade-downgrade",
    "invalid_channel": "usage-wrong-values",
    "invalid_config": "alone-upgrade-unsafe",
    "invalid_version": "usage-wrong-values",
    "needs_launcher": "hub-upgrade-needs-launcher",
    "no_release_source": "alone-upgrade-no-source",
    "no_such_version": "hub-upgrade-no-such-version",
    "not_a_release": "release-publish-no-release",
    "not_ours": "",  # what lies where systemd looks is the machine's: tests/cli/test_unit.py
    "not_found": "token-revoke-unknown",
    "nothing_to_roll_back": "hub-rollback-nothing",
    "preflight": "hub-upgrade-does-not-start",
    "rejected": "hub-upgrade-rejected",
    "upgrade_in_flight": "hub-upgrade-in-flight",
    "version_exists": "release-publish-other-bytes",
}
"""What can be refused to somebody at the command line, and the transcript that shows it."""
NEVER_TYPED = frozenset(
    {"bad_request", "insufficient_scope", "internal_error", "invalid_body", "invalid_code",
     "length_required", "method_not_allowed", "misdirected_request", "overloaded",
     "request_timeout", "unauthenticated"}
)  # fmt: skip
"""What the command line's own requests never meet: they are well made, and bear a token."""

OF_OTHER_HUBS = frozenset(
    {"bad_signature", "cannot_restart", "detached_head", "dirty_tree", "git_in_progress",
     "linked_package", "no_install_command", "no_upstream", "not_fast_forward", "not_running",
     "restart_first", "unknown_source", "untracked_files"}
)  # fmt: skip
"""What is refused for a hub that git or a package manager installed: tests/outside/sources."""


class TranscriptsTest(unittest.TestCase):
    def test_every_file_is_kept_by_a_test(self) -> None:
        sources = "".join(path.read_text() for path in TESTS.glob("test_t*.py"))
        for path in DIRECTORY.glob("*.txt"):
            words = path.stem.split("-")
            begins = ["-".join(words[:count]) for count in range(1, len(words))]
            names = [f'"{path.stem}"', *(f'"{begin}-{{' for begin in begins)]
            self.assertTrue(any(name in sources for name in names), path.name)

    def test_every_refusal_is_in_one_or_cannot_be_met(self) -> None:
        found: set[str] = set()
        for path in PRODUCT.rglob("*.py"):
            found.update(a or b for a, b in REFUSED.findall(path.read_text()))
        self.assertEqual(set(), found - set(KEPT) - NEVER_TYPED - OF_OTHER_HUBS)
        self.assertEqual(set(), OF_OTHER_HUBS - found)
        for code, name in KEPT.items():
            self.assertTrue(not name or (DIRECTORY / f"{name}.txt").exists(), code)

    def test_every_exit_code_is_in_one(self) -> None:
        text = "".join(path.read_text() for path in DIRECTORY.glob("*.txt"))
        for code in (0, 1, 2, 3, 4, 5, 130):
            self.assertIn(f"exit {code}\n", text)
        self.assertNotIn("Traceback", text)

    def test_no_secret_and_nothing_of_one_run_is_kept(self) -> None:
        for path in DIRECTORY.glob("*.txt"):
            text = path.read_text()
            self.assertNotRegex(text, r"hub_[\w-]{20}|code=[\w-]{20}|/tmp/|:\d\d:\d\d\.", path.name)
            self.assertTrue(text.startswith("$ "), path.name)

    def test_which_step_is_seen_first_makes_no_difference(self) -> None:
        head, steps, lines = "$ hub.pyz upgrade", ["resolving: x", "staging: y"], ["  one", "  two"]
        whole = canonical("\n".join([head, *steps, *lines, "Upgraded"]))
        mixed = [head, steps[0], lines[0], steps[1], lines[1], "Upgraded"]
        self.assertEqual(whole, canonical("\n".join(mixed)))
        other = [head, steps[0], lines[1], steps[1], lines[0], "Upgraded"]
        self.assertNotEqual(whole, canonical("\n".join(other)))


if __name__ == "__main__":
    unittest.main()
