"""What may go wrong with pip, its index and the disk."""

from __future__ import annotations

import json
import shutil
import unittest
from pathlib import Path

from tests.outside.sources import package_cases  # the module: unittest runs classes that it sees
from tests.outside.sources.package_cases import ignore
from tests.outside.sources.places import PipPlace


class Pip(package_cases.PackageCase):
    kind = PipPlace
    least = 14

    def withdraw(self, version: str) -> None:
        self.place.registry.unpublish(self.place.package, version)

    def manifest_in(self, version: str) -> str:
        return f"parachute_test_hub-{version}.dist-info/METADATA"

    def remove_tool(self) -> None:
        for path in self.place.bin.glob("python*"):
            path.unlink()

    def packages(self) -> list[Path]:
        return [self.place.manifest.parent]

    def link(self) -> None:
        told = {"url": "file:///checkout", "dir_info": {"editable": True}}
        (self.place.manifest.parent / "direct_url.json").write_text(json.dumps(told))

    def test_a_python_without_pip_is_a_missing_tool(self) -> None:
        assert isinstance(self.place, PipPlace)
        shutil.rmtree(self.place.site_packages / "pip")
        error = self.host_error(
            lambda: self.source.resolve("latest", None), "No module named pip", "(exit 127)"
        )
        self.assertEqual(error.exit_code, 127)

    def test_what_was_yanked_is_not_chosen_but_may_be_named(self) -> None:
        self.place.publish("1.1.0")
        self.place.publish("1.2.0")
        self.place.registry.yank(self.place.package, "1.2.0")
        self.assertEqual(self.source.resolve("latest", None).version, "1.1.0")
        self.assertEqual(self.source.resolve("latest", "1.2.0").version, "1.2.0")

    def test_candidates_are_installed_and_read_as_semantic_versions(self) -> None:
        self.place.publish("1.1.0-rc.2", "rc")
        resolved = self.source.resolve("rc", None)
        self.assertEqual(resolved.version, "1.1.0-rc.2")
        self.source.swap(resolved, ignore)
        self.assertEqual(self.source.installed().version, "1.1.0-rc.2")

    def test_an_index_that_says_no_digest_is_resolved_all_the_same(self) -> None:
        self.place.publish("1.1.0")
        digest = self.source.resolve("latest", None).digest
        for entry in self.place.registry._pip[self.place.package].values():
            entry.pop("sha256")
        found = self.source.resolve("latest", None)
        self.assertEqual(found.version, "1.1.0")
        self.assertIn(found.digest, ("", digest))  # by its age, pip looks at the file itself


if __name__ == "__main__":
    unittest.main()
