"""What the HTTP API answers and what the status file bears of a hub that bun, npm, pip or git
installed: sections 2 and 3 of the contract, by the API's own description."""

from __future__ import annotations

import os
import re
import stat
import unittest
from typing import Any

from hub_upgrade.web.openapi import SCHEMAS
from tests.outside.sources.beside import NEW, OLD, OURS, BesideCase
from tests.outside.sources.machine import clean_environment
from tests.outside.sources.place_git import GitPlace
from tests.outside.sources.places import BunPlace, NpmPlace, PipPlace

TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,), "boolean": (bool,), "array": (list,), "object": (dict,),
    "integer": (int,), "number": (int, float), "null": (type(None),),
}  # fmt: skip
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def setUpModule() -> None:
    clean_environment()


class Shapes(BesideCase):
    def fits(self, value: Any, schema: dict[str, Any], where: str) -> None:
        """Fail where the value is not as the description says."""
        if "$ref" in schema:
            schema = SCHEMAS[schema["$ref"].rpartition("/")[2]]
        types = schema.get("type", [])
        types = [types] if isinstance(types, str) else types
        kinds = tuple(kind for name in types for kind in TYPES[name])
        self.assertIn(type(value), kinds or (type(value),), where)
        self.assertIn(value, schema.get("enum", [value]), where)
        if schema.get("format") == "date-time":
            self.assertRegex(value, TIME, where)
        for name in schema.get("required", []):
            self.assertIn(name, value, where)
        for name, inner in schema.get("properties", {}).items():
            if isinstance(value, dict) and name in value:
                self.fits(value[name], inner, f"{where}.{name}")
        for number, item in enumerate(value if isinstance(value, list) else []):
            self.fits(item, schema.get("items", {}), f"{where}[{number}]")


class Source(Shapes):
    """One test a class; the classes below say of what."""

    install = ""

    def test_answers_and_record_are_as_they_are_described(self) -> None:
        machine = self.beside()
        hub = self.hub(machine)
        machine.place.publish(NEW)
        about = self.get(machine)
        self.fits(about, SCHEMAS["Hub"], "/api/hub")
        self.assertEqual((about["version"], about["launcher_version"]), (OLD, OURS))
        self.assertEqual(about["install_source"], self.install)
        self.assertEqual(len(about.get("git_head", "")), 40 if self.install == "git" else 0)
        plan = self.get(machine, "/api/hub/upgrade/plan")
        self.fits(plan, SCHEMAS["Plan"], "plan")
        self.assertEqual((plan["current"], plan["target"], plan["stops"]), (OLD, NEW, []))
        accepted = self.post(machine)
        self.fits(accepted, SCHEMAS["Accepted"], "202")
        record = self.end(machine, "succeeded", accepted["operation_id"])
        self.fits(record, SCHEMAS["Status"], "the status file")
        self.assertEqual((record["current_version"], record["target_version"]), (OLD, NEW))
        self.assertTrue(record["integrity"])
        self.fits(self.get(machine, "/api/hub/upgrade/status"), SCHEMAS["Status"], "status")
        self.fits(self.get(machine, "/api/hub/upgrade/history"), SCHEMAS["History"], "history")
        path = os.path.join(machine.home, "hub-upgrade-status.json")
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
        self.assertEqual((hub.health() or {})["version"], OURS)
        self.told(machine, version=NEW, previous=OLD)


class BunShapes(Source):
    kind, install = BunPlace, "package"


class NpmShapes(Source):
    kind, install = NpmPlace, "package"


class PipShapes(Source):
    kind, install = PipPlace, "package"


class GitShapes(Source):
    kind, install = GitPlace, "git"


def load_tests(
    loader: unittest.TestLoader, _tests: unittest.TestSuite, _pattern: str | None
) -> unittest.TestSuite:
    """The four, without what they are derived from."""
    found = (BunShapes, NpmShapes, PipShapes, GitShapes)
    return unittest.TestSuite(loader.loadTestsFromTestCase(case) for case in found)


if __name__ == "__main__":
    unittest.main()
