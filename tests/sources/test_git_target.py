"""How the version is read that a checkout bears. With a real git: tests/outside/sources."""

from __future__ import annotations

import unittest

from hub_upgrade.domain.versions import told
from hub_upgrade.sources.git_target import version_in

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def version_of(**files: str) -> str:
    """The version of a tree with these files, `package` for package.json."""
    named = {"package.json": files.get("package", ""), "VERSION": files.get("version", "")}
    return version_in(lambda name: named[name].encode(), COMMIT)


class Versions(unittest.TestCase):
    def test_what_lies_there_reads_as_what_runs(self) -> None:
        for text, version in (
            ("v1.0.0\n", "1.0.0"), ("1.2", "1.2.0"), ("1.0.0rc1", "1.0.0-rc.1"),
            ("2024.01.05", "2024.1.5"), ("1.0.0-rc.1+build.7", "1.0.0-rc.1"),
            ("build 7", "build 7"),
        ):  # fmt: skip
            self.assertEqual(version_of(version=text), version)
            self.assertEqual(told(text), version)

    def test_package_json_comes_before_version_and_the_commit_after_both(self) -> None:
        package = '{"version": "v2.0.0"}'
        self.assertEqual(version_of(package=package, version="1.0.0"), "2.0.0")
        for useless in ("{", "[]", '{"version": 5}', '{"version": "a\\u0000"}'):
            self.assertEqual(version_of(package=useless, version="1.0.0"), "1.0.0")
        self.assertEqual(version_of(), "0123456789ab")

    def test_digits_that_look_like_a_version_read_alike_on_both_sides(self) -> None:
        commit = "12345678b901" + COMMIT[12:]
        self.assertEqual(version_in(lambda _name: b"", commit), told(commit[:12]))


if __name__ == "__main__":
    unittest.main()
