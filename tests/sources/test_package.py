"""How bun, npm and pip are asked, and how their answers are read. The real ones:
tests/outside/sources."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from hub_upgrade.domain.install import Place
from hub_upgrade.domain.managed import Managed
from hub_upgrade.errors import HostError, RefusedError
from hub_upgrade.host.commands import Result
from hub_upgrade.sources.package import package_source
from hub_upgrade.sources.rewriter import PackageSource, Resolved

TAGS = {"latest": "1.1.0", "rc": "1.2.0-rc.1"}


def answer(version: str, **tags: str) -> Result:
    """What npm and bun print of one version."""
    told = {"version": version, "dist": {"integrity": "sha512-" + version}, "dist-tags": tags}
    return Result(0, json.dumps(told).encode(), b"")


class Asked(unittest.TestCase):
    def setUp(self) -> None:
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.prefix = Path(holder.name).resolve()

    def source(self, manager: str, *answers: Result) -> PackageSource:
        """A source whose tool gives these answers, one after the other."""
        place = Place("package", manager, "hub", "", str(self.prefix))
        source = package_source(place, Managed())
        patched = mock.patch.object(source, "question", side_effect=answers)
        patched.start()
        self.addCleanup(patched.stop)
        return source

    def refused(self, source: PackageSource, channel: str, version: str | None, part: str) -> None:
        with self.assertRaises(RefusedError) as caught:
            source.resolve(channel, version)
        self.assertEqual(caught.exception.code, "no_such_version")
        self.assertIn(part, caught.exception.sentence)

    def test_a_channel_is_pinned_to_the_version_its_tag_means(self) -> None:
        for channel, version in TAGS.items():
            source = self.source("npm", answer("1.1.0", **TAGS), answer(version))
            self.assertEqual(source.resolve(channel, None), (version, "sha512-" + version, ""))

    def test_build_metadata_has_no_part_in_a_version(self) -> None:
        source = self.source("npm", answer("1.1.0", **TAGS), answer("1.1.0+b"))
        self.assertEqual(source.resolve("latest", "v1.1.0+a").version, "1.1.0")

    def test_an_answer_for_another_version_is_none(self) -> None:
        source = self.source("bun", answer("1.1.0", **TAGS), answer("1.1.0"))
        self.refused(source, "rc", "9.9.9", "1.1.0 for latest and 1.2.0-rc.1 for rc")

    def test_a_tag_that_is_no_version_is_refused(self) -> None:
        self.refused(self.source("npm", answer("x", latest="x")), "latest", None, "'x'")

    def test_an_answer_that_makes_no_sense_offers_nothing(self) -> None:
        for told in ({"dist-tags": "x"}, {"dist-tags": {"latest": 5}}, {}):
            result = Result(0, json.dumps({"version": "1.0.0", **told}).encode(), b"")
            self.refused(self.source("npm", result), "latest", None, "it has none")

    def test_silence_is_no_such_version_only_with_a_good_end(self) -> None:
        nothing = Result(0, b"", b"")
        self.refused(self.source("npm", nothing, nothing), "latest", None, "it has none")
        with self.assertRaises(HostError):
            self.source("npm", Result(-9, b"", b"")).resolve("latest", None)

    def test_what_a_tool_says_is_told_without_its_noise(self) -> None:
        npm = b"npm error code E429\nnpm error 429 Too Many Requests - GET http://r/hub\n"
        npm += b"npm error A complete log of this run can be found in: /x\n"
        bun = b"\n429 Too Many Requests: http://r/hub\n\n - have patience\n"
        for manager, said in (("npm", npm), ("bun", bun)):
            with self.assertRaises(HostError) as caught:
                self.source(manager, Result(1, b"", said)).resolve("latest", None)
            self.assertRegex(caught.exception.sentence, "for hub: 429 Too Many Requests[^\n]*$")

    def test_pip_is_read_in_semantic_versions(self) -> None:
        listed = b"Available versions: 1.3.0.dev1, 1.2.0rc1, 1.2.0a1, 1.1, 1.0.0.post1, 1.0.0\n"
        report = {"install": [{"download_info": {"archive_info": {"hashes": {"sha256": "f"}}}}]}
        for channel, version in (("latest", "1.1.0"), ("rc", "1.2.0-rc.1")):
            one = Result(0, json.dumps(report).encode(), b"")
            source = self.source("pip", Result(0, listed, b""), one)
            self.assertEqual(source.resolve(channel, None), (version, "sha256=f", ""))

    def test_an_index_that_pip_passed_over_is_an_error(self) -> None:
        unreached = b"Could not fetch URL http://i/hub/: 503 Server Error - skipping\n"
        found = b"Available versions: 1.0.0\n"
        with self.assertRaises(HostError) as caught:
            self.source("pip", Result(0, unreached + found, b"")).resolve("latest", None)
        self.assertIn("503 Server Error", caught.exception.sentence)
        absent = b"Could not fetch URL http://i/hub/: 404 Client Error - skipping\n"
        source = self.source("pip", Result(1, absent, b"ERROR: none\n"), Result(1, b"", b""))
        self.refused(source, "latest", None, "it has none")

    def test_what_is_installed_is_read_from_its_own_file(self) -> None:
        own = self.prefix / "lib" / "node_modules" / "hub"
        self.assertEqual(self.source("npm").installed().version, "")
        own.mkdir(parents=True)
        for text, version in (
            ('{"version": "1.0.0"}', "1.0.0"), ('{"version": "v1.0.0+build.7"}', "1.0.0"),
            ("{", ""), ("[]", ""), ("{}", ""),
        ):  # fmt: skip
            (own / "package.json").write_text(text)
            self.assertEqual(self.source("npm").installed().version, version, text)

    def test_of_several_distributions_the_whole_one_counts(self) -> None:
        site = self.prefix / "lib" / "python3.11" / "site-packages"
        for version in ("1.0.0", "1.1.0rc2"):
            (site / f"hub-{version}.dist-info").mkdir(parents=True)
            (site / f"hub-{version}.dist-info" / "METADATA").write_text(f"Version: {version}\n")
        self.assertEqual(self.source("pip").installed().version, "")
        (site / "hub-1.1.0rc2.dist-info" / "RECORD").write_text("")
        self.assertEqual(self.source("pip").installed().version, "1.1.0-rc.2")

    def distribution(self, name: str, commands: str, record: bool = True) -> None:
        """As pip installs one: first with the wheel's own RECORD, which knows of no command."""
        site = self.prefix / "lib" / "python3.11" / "site-packages"
        info = site / f"{name}.dist-info"
        info.mkdir(parents=True)
        (self.prefix / "bin").mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Version: {name.partition('-')[2]}\n")
        told = "[console_scripts]\n" + "".join(f"{command} = x:y\n" for command in commands.split())
        (info / "entry_points.txt").write_text(f"[other]\nmine = x:y\n{told}")
        named = commands.split() if record else []
        lines = "".join(f"../../../bin/{command},sha256=x,9\n" for command in named)
        for command in commands.split():
            (self.prefix / "bin" / command).write_text(name)
        (info / "RECORD").write_text(f"x.py,,\n{lines}")

    def test_going_back_pip_takes_what_its_packages_have_and_nothing_else(self) -> None:
        self.distribution("hub-1.0.0", "hub gone")
        self.distribution("found-1.0.0", "found", record=False)
        mine = self.prefix / "bin" / "mine"
        mine.write_text(f"#!{self.prefix}/bin/python\n")
        source = self.source("pip")
        undo = source.keep("a")
        mine.write_text(f"#!{self.prefix}/bin/python\nmore\n")
        (self.prefix / "bin" / "gone").unlink()
        shutil.rmtree(self.prefix / "lib" / "python3.11" / "site-packages" / "hub-1.0.0.dist-info")
        self.distribution("leaf-1.0.0", "leaf")
        self.distribution("hub-1.1.0", "hub new", record=False)
        for _ in range(2):
            source.revert(undo, lambda _piece: None)
            left = {path.name: path.read_text() for path in (self.prefix / "bin").iterdir()}
            self.assertIn("more", left.pop("mine"))
            self.assertEqual(
                left, {"hub": "hub-1.0.0", "gone": "hub-1.0.0", "found": "found-1.0.0"}
            )

    def test_a_prefix_that_is_no_utf8_is_gone_back_to(self) -> None:
        self.prefix = Path(os.fsdecode(os.fsencode(self.prefix) + b"/t\xff"))
        self.distribution("hub-1.0.0", "hub")
        source = self.source("pip")
        said: list[bytes] = []
        undo = source.keep("a")
        (self.prefix / "lib" / "python3.11" / "site-packages").rename(self.prefix / "away")
        source.revert(undo, said.append)
        self.assertIn(b"/t\xff/", b"".join(said))
        self.assertEqual(source.installed().version, "1.0.0")

    def test_a_tool_that_a_signal_ended_is_not_told_by_what_it_said_before(self) -> None:
        said = Result(-9, b"", b"Successfully uninstalled hub-1.0.0\n")
        for manager in ("bun", "npm", "pip"):
            source = self.source(manager, said)
            with self.assertRaises(HostError) as caught:
                source.resolve("latest", None)
            asked = caught.exception.sentence
            ended = mock.patch.object(source, "run", return_value=said)
            with ended, self.assertRaises(HostError) as caught:
                source.swap(Resolved("1.1.0", ""), print)
            for sentence in (asked, caught.exception.sentence):
                self.assertRegex(sentence, r": it was ended by signal 9$")

    def test_a_missing_tool_is_a_sentence_and_127(self) -> None:
        with mock.patch.dict(os.environ, {"PATH": "", "HOME": str(self.prefix)}):
            for manager in ("bun", "npm", "pip"):
                source = package_source(
                    Place("package", manager, "hub", "", str(self.prefix)), Managed()
                )
                with self.assertRaises(HostError) as caught:
                    source.resolve("latest", None)
                self.assertEqual(caught.exception.exit_code, 127)
                sentence = caught.exception.sentence
                self.assertRegex(sentence, rf"^{manager} is not on the path.*first \(exit 127\)$")


if __name__ == "__main__":
    unittest.main()
