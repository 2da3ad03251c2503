"""Resolving a channel to one exact release, and staging it beside what runs."""

from __future__ import annotations

import os
import tempfile
import unittest
from pathlib import Path

from hub_upgrade import repository
from hub_upgrade.errors import HostError, RefusedError
from hub_upgrade.host import files, releases
from hub_upgrade.host.files import Home
from hub_upgrade.sources.pyz import PyzSource


def nothing(_done: int, _whole: int) -> None:
    """Progress that nobody follows."""


class Pyz(unittest.TestCase):
    def setUp(self) -> None:
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.root = Path(holder.name)
        self.home = Home(str(self.root / "home"))
        os.mkdir(self.home.root, 0o700)
        self.directory = str(self.root / "repository")
        self.source = PyzSource(self.home, self.directory)

    def publish(self, version: str, channel: str = "latest") -> str:
        file = self.root / "file"
        file.write_bytes(version.encode() * 1000)
        return repository.publish(self.directory, channel, str(file), version)

    def refused(self, where: str | None, part: str) -> None:
        with self.assertRaises(RefusedError) as caught:
            PyzSource(self.home, where).resolve("latest", None)
        self.assertEqual(caught.exception.code, "no_release_source")
        self.assertEqual(caught.exception.status, 409)
        self.assertIn(part, caught.exception.sentence)

    def test_a_channel_resolves_to_a_version_and_a_digest(self) -> None:
        digest = self.publish("1.0.0")
        self.publish("1.1.0-rc.1", "rc")
        self.assertEqual(self.source.resolve("latest", None)[:3], ("1.0.0", digest, ""))
        self.assertEqual(self.source.resolve("rc", None).version, "1.1.0-rc.1")

    def test_rc_resolves_to_a_newer_stable_and_says_so(self) -> None:
        self.publish("1.1.0-rc.1", "rc")
        self.publish("1.1.0", "latest")
        resolved = self.source.resolve("rc", None)
        self.assertEqual(resolved.version, "1.1.0")
        self.assertIn("stays rc", resolved.note)

    def test_an_exact_version_is_found_after_the_channel_moved_on(self) -> None:
        digest = self.publish("1.0.0")
        self.publish("1.1.0")
        self.assertEqual(self.source.resolve("latest", "v1.0.0").digest, digest)

    def test_what_is_not_there_is_refused(self) -> None:
        self.publish("1.0.0")
        for channel, version in (("latest", "9.9.9"), ("latest", "nonsense")):
            with self.assertRaises(RefusedError) as caught:
                self.source.resolve(channel, version)
            self.assertEqual(caught.exception.code, "no_such_version")
        empty = str(self.root / "other")
        file = self.root / "file"
        repository.publish(empty, "rc", str(file), "1.0.0")
        with self.assertRaises(RefusedError):
            PyzSource(self.home, empty).resolve("latest", None)

    def test_no_source_says_how_to_configure_one(self) -> None:
        for where in (None, ""):
            self.refused(where, "--releases DIR")

    def test_a_url_is_refused_until_releases_are_signed(self) -> None:
        for where in ("https://example.org/releases", "http://localhost/", "file:///srv/releases"):
            self.refused(where, "until releases are signed")

    def test_nothing_published_yet_is_refused(self) -> None:
        self.refused(str(self.root / "nowhere"), "release publish")

    def test_a_relative_directory_is_below_home(self) -> None:
        digest = self.publish("1.0.0")
        source = PyzSource(self.home, "../repository")
        self.assertEqual(source.resolve("latest", None).digest, digest)

    def test_staging_adds_a_whole_release_and_again_is_safe(self) -> None:
        digest = self.publish("1.0.0")
        resolved = self.source.resolve("latest", None)
        for _ in range(2):
            name = self.source.stage(resolved, nothing)
            self.assertEqual(name, releases.name_of("1.0.0", digest))
            self.assertTrue(releases.is_whole(self.home, name, digest))
        self.assertEqual(os.listdir(self.home.releases), [name])
        self.assertEqual(files.sha256_file(releases.path_of(self.home, name)), digest)

    def test_staging_tells_how_far_it_is(self) -> None:
        self.publish("1.0.0")
        told: list[tuple[int, int]] = []
        self.source.stage(self.source.resolve("latest", None), lambda *pair: told.append(pair))
        self.assertEqual(told[-1], (5000, 5000))

    def test_a_release_that_changed_after_it_was_resolved_is_not_staged(self) -> None:
        digest = self.publish("1.0.0")
        resolved = self.source.resolve("latest", None)
        stored = Path(self.directory) / "targets" / f"{digest}.hub-1.0.0.pyz"
        for data in (b"", b"1.0.0", b"2.0.0" * 1000):
            stored.write_bytes(data)
            with self.assertRaises(HostError):
                self.source.stage(resolved, nothing)
        self.assertFalse(os.path.exists(self.home.releases))

    def test_what_was_resolved_stays_pinned_when_the_channel_moves(self) -> None:
        digest = self.publish("1.0.0")
        resolved = self.source.resolve("latest", None)
        self.publish("1.1.0")
        name = self.source.stage(resolved, nothing)
        self.assertEqual(name, releases.name_of("1.0.0", digest))


if __name__ == "__main__":
    unittest.main()
