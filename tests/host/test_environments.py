"""Python environments, and whose a file in one is."""

from __future__ import annotations

import os
import unittest

from hub_upgrade.host import environments
from tests.host.test_executed import Tree

SITE = "venv/lib/python3.11/site-packages"


class Environments(Tree):
    def install(self, name: str, record: str) -> None:
        self.make(f"{SITE}/{name}.dist-info/RECORD", record)

    def found(self, package: str) -> environments.Distribution | None:
        return environments.distribution(self.at(SITE), package)

    def test_packages_lie_below_each_version_and_debians_elsewhere(self) -> None:
        wanted = [self.at(f"usr/lib/{place}") for place in ("python3.11/dist-packages",
                  "python3.11/site-packages", "python3/dist-packages")]  # fmt: skip
        for path in [*wanted, self.at("usr/lib/perl5/site-packages")]:
            os.makedirs(path)
        self.assertEqual(sorted(environments.sites(self.at("usr"))), wanted)
        self.assertEqual(environments.sites(self.at("nowhere")), [])

    def test_the_prefix_is_told_by_a_script_or_a_module(self) -> None:
        for path, wanted in (
            ("/srv/venv/bin/hub", "/srv/venv"), ("/usr/lib/python3/dist-packages/x/y.py", "/usr"),
            ("/srv/venv/lib/python3.11/site-packages/hub/cli.py", "/srv/venv"),
            ("/srv/site-packages/hub.py", ""), ("/srv/hub.py", ""),
        ):  # fmt: skip
            self.assertEqual(environments.prefix_of(path), wanted, path)

    def test_an_environment_without_a_python_of_its_own_has_no_pip(self) -> None:
        path = self.make("venv/bin/python3")
        self.assertFalse(environments.has_interpreter(self.at("venv")))
        os.chmod(path, 0o755)
        self.assertTrue(environments.has_interpreter(self.at("venv")))

    def test_names_are_compared_as_installers_do(self) -> None:
        self.install("My_Hub.core-1.0", "")
        for name in ("my-hub-core", "My_Hub.Core", "my--hub_core"):
            self.assertIsNotNone(self.found(name), name)
        for name in ("my-hub", "hub", "@openparachute/hub"):
            self.assertIsNone(self.found(name), name)

    def test_the_record_tells_the_files_and_the_directory(self) -> None:
        self.install("parachute_hub-1.0", "../../../bin/hub,sha256=x,9\n"
                     "aaa/__init__.py,sha256=x,9\nparachute_hub/__init__.py,sha256=x,9\n"
                     '"parachute_hub/a,b.py",sha256=x,9\nparachute_hub-1.0.dist-info/RECORD,,\n')
        found = self.found("parachute-hub")
        assert found is not None
        self.assertEqual(found.directory, self.at(f"{SITE}/parachute_hub"))
        self.assertLess({"../../../bin/hub", "parachute_hub/a,b.py"}, found.names)
        self.assertEqual(found.source, "")
        self.install("flat-1.0", "flat.py,,\n")
        flat = self.found("flat")
        assert flat is not None
        self.assertEqual(flat.directory, self.at(SITE))

    def test_what_is_only_linked_names_its_source(self) -> None:
        self.install("hub-1.0", "")
        url = f"{SITE}/hub-1.0.dist-info/direct_url.json"
        for text, wanted in (
            ('{"url": "file:///srv/my%20hub", "dir_info": {"editable": true}}', "/srv/my hub"),
            ('{"url": "file:///srv/hub", "dir_info": {}}', ""),
            ('{"url": "https://x/y", "dir_info": {"editable": true}}', ""),
            ('{"url": 1, "dir_info": {"editable": true}}', ""), ("[]", ""), ("nonsense", ""),
            ('{"dir_info": []}', ""),
        ):  # fmt: skip
            self.make(url, text)
            found = self.found("hub")
            assert found is not None
            self.assertEqual(found.source, wanted, text)


if __name__ == "__main__":
    unittest.main()
