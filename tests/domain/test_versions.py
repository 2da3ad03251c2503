"""The order of versions, and what a channel resolves to."""

from __future__ import annotations

import itertools
import unittest

from hub_upgrade.domain.versions import (
    channel_of,
    choose,
    is_downgrade,
    is_version,
    naming,
    normal,
    semantic,
    sort_key,
    told,
)

# Ascending; the middle of it is semver.org's own example (section 11).
ASCENDING = [
    "",
    "1.0",
    "nonsense",
    "0.0.0-0",
    "0.0.0",
    "0.9.10",
    "1.0.0-1",
    "1.0.0-2",
    "1.0.0-11",
    "1.0.0--",
    "1.0.0-alpha",
    "1.0.0-alpha.1",
    "1.0.0-alpha.beta",
    "1.0.0-beta",
    "1.0.0-beta.2",
    "1.0.0-beta.11",
    "1.0.0-rc.1",
    "1.0.0",
    "v1.0.1-rc",
    "1.0.1-rc.2",
    "1.0.1-rc.10",
    "v1.0.1",
    "1.10.0",
    "10.0.0",
]


class Order(unittest.TestCase):
    def test_every_pair_is_ordered_by_precedence(self) -> None:
        for lower, higher in itertools.combinations(ASCENDING, 2):
            with self.subTest(lower=lower, higher=higher):
                self.assertLess(sort_key(lower), sort_key(higher))

    def test_sorting_and_the_highest(self) -> None:
        shuffled = ASCENDING[::2] + ASCENDING[1::2]
        self.assertEqual(sorted(shuffled, key=sort_key), ASCENDING)
        self.assertEqual(max(ASCENDING, key=sort_key), "10.0.0")

    def test_a_leading_v_and_build_metadata_do_not_matter(self) -> None:
        for same in ("v1.2.3-rc.1", "1.2.3-rc.1+build.007", "v1.2.3-rc.1+x-1"):
            self.assertEqual(sort_key(same), sort_key("1.2.3-rc.1"))

    def test_a_downgrade_is_a_target_below_the_current(self) -> None:
        self.assertTrue(is_downgrade("1.0.0", "1.0.0-rc.9"))
        self.assertFalse(is_downgrade("1.0.0", "v1.0.0+other"))
        self.assertFalse(is_downgrade("1.9.0", "1.10.0"))


class Syntax(unittest.TestCase):
    def test_versions(self) -> None:
        for text in (
            "0.0.0",
            "v1.2.3",
            "1.2.3-rc.1",
            "1.0.0-x-y-z.--",
            "1.0.0-0A.is.legal",
            "1.0.0+0.build.1-rc.10000aaa-kk-0.1",
            "1.0.0-alpha+001",
        ):
            self.assertTrue(is_version(text), text)

    def test_what_is_no_version(self) -> None:
        for text in (
            *("", "1", "1.2", "01.2.3", "1.02.3", "1.2.3-01", "1.2.3-", "1.2.3+", "1.2.3-a..b"),
            *("V1.2.3", "vv1.2.3", " 1.2.3", "1.2.3\n", "1.2.3-rc_1", "../1.2.3", "1.2.3/x"),
            *("\u0661.2.3", "1.2.3-\u00e9", "-1.2.3", "1.2.3.4", "1.2.3+a+b", "1.0.0-" + "a" * 95),
        ):
            self.assertFalse(is_version(text), text)

    def test_a_hundred_characters_are_the_most(self) -> None:
        self.assertTrue(is_version("1.0.0-" + "a" * 94))

    def test_the_normal_form_has_no_leading_v(self) -> None:
        self.assertEqual(normal("v1.2.3"), "1.2.3")
        self.assertEqual(normal("1.2.3"), "1.2.3")

    def test_the_channel_is_read_off_the_end(self) -> None:
        for text in ("1.0.0-rc", "1.0.0-rc.1", "v2.0.0-rc.12", "1.0.0-rc.1+b", "1.0.0-beta-rc.1"):
            self.assertEqual(channel_of(text), "rc", text)
        for text in ("1.0.0", "1.0.0-rc1", "1.0.0-rc.x", "1.0.0-rc.1.2", "1.0.0-xrc"):
            self.assertEqual(channel_of(text), "latest", text)
        for text in ("1.0.0+a-rc.1", "1.0.0-x+-rc"):
            self.assertEqual(channel_of(text), "latest", text)


class Choice(unittest.TestCase):
    def test_latest_is_what_the_channel_says(self) -> None:
        self.assertEqual(choose("latest", "1.0.0", "2.0.0-rc.1"), ("1.0.0", ""))
        self.assertEqual(choose("latest", None, "2.0.0-rc.1"), (None, ""))

    def test_rc_is_the_higher_of_both(self) -> None:
        self.assertEqual(choose("rc", "1.0.0", "1.1.0-rc.1"), ("1.1.0-rc.1", ""))
        self.assertEqual(choose("rc", None, "1.1.0-rc.1"), ("1.1.0-rc.1", ""))
        self.assertEqual(choose("rc", None, None), (None, ""))

    def test_nobody_is_stranded_when_stable_overtakes_the_candidates(self) -> None:
        version, note = choose("rc", "1.1.0", "1.1.0-rc.3")
        self.assertEqual(version, "1.1.0")
        self.assertIn("1.1.0-rc.3", note)
        self.assertIn("stays rc", note)
        self.assertEqual(choose("rc", "1.0.0", None)[0], "1.0.0")


class Told(unittest.TestCase):
    def test_python_s_own_way_of_writing_a_version_is_understood(self) -> None:
        for text, version in (
            ("1.2.0rc1", "1.2.0-rc.1"), ("1.2", "1.2.0"), ("2", "2.0.0"),
            ("1.0a2", "1.0.0-alpha.2"), ("v1.2.3", "1.2.3"),
            ("1.2.3-rc.4", "1.2.3-rc.4"), ("01.2.3", "1.2.3"),
        ):  # fmt: skip
            self.assertEqual(told(text), version)

    def test_what_is_neither_stays_what_it_is(self) -> None:
        for text in ("0c7b179a098b", "1.2.3.post1", "1!2.0", "nightly"):
            self.assertIsNone(semantic(text))
            self.assertEqual(told(text), text)
        for value in (None, 7, "", ["1.0.0"]):
            self.assertEqual(told(value), "")

    def test_what_a_terminal_would_obey_or_a_program_cannot_be_given_is_no_version(self) -> None:
        for text in ("\x1b[31m2.0.0", "2.0.0\x00x", "\ud800x", "2.0.0\n2.0.1"):
            self.assertEqual(told(text), "")


class NamingTest(unittest.TestCase):
    def test_a_checkout_knows_a_version_by_its_tag_once_its_branch_has_moved_on(self) -> None:
        command = "hub.pyz upgrade --version 1.2.0"
        self.assertEqual(command, naming("1.2.0", False))
        self.assertEqual(
            f"(once its branch bears another, by the tag v1.2.0) {command}",
            naming("1.2.0", True),
        )
        own = naming("1.2.0", False, itself=True)
        self.assertEqual("hub.pyz upgrade --self --version 1.2.0", own)


if __name__ == "__main__":
    unittest.main()
