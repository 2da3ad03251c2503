"""Upgrades of a hub that is kept by its unit: the manager never sees anything of them."""

from __future__ import annotations

import unittest

from tests.e2e import bad
from tests.e2e.harness import build
from tests.e2e.moments import pausing
from tests.outside.restarters.own_unit import OwnCase, OwnUnit, upgraded

VERSIONS = [f"1.{number}.0" for number in range(1, 21)]
"""Of those that can be held, which nobody does here: their preflight is a short one."""
NAMES = ("dies late in probation", "hangs after it is ready", "answers 500")
BAD = [way for way in bad.WAYS if way.name in NAMES]


class Upgrades(OwnCase):
    def test_twenty_in_a_row_with_the_unit_active_throughout(self) -> None:
        for version in ("1.0.0", *VERSIONS):
            pausing(version)  # before there are threads: each is built only once
        self.together(self.twenty)

    def twenty(self, unit: OwnUnit) -> None:
        unit.lay(pausing("1.0.0"))
        unit.install()
        with self.steady(unit):
            for version in VERSIONS:
                upgraded(unit, version, pausing(version))
        verdicts = [one["verdict"] for one in unit.boot()["verdicts"]]
        self.assertEqual(verdicts, ["committed"] * len(VERSIONS))

    def test_a_bad_release_is_taken_back_with_the_unit_active_throughout(self) -> None:
        for program in (build("1.0.0"), *map(spoilt, BAD), build("1.2.0")):
            self.assertTrue(program)  # before there are threads: each is built only once
        self.together(self.taken_back)

    def taken_back(self, unit: OwnUnit) -> None:
        unit.lay(build("1.0.0"))
        unit.install()
        for way in BAD:
            with self.steady(unit):
                unit.publish(spoilt(way))
                record = unit.finished(unit.upgrade())
                told = f"{way.name}: {record}"
                self.assertEqual(record["phase"], "failed", told)
                self.assertEqual(record["rolled_back_to"], "1.0.0", told)
                self.assertIn(way.taken_back, record["error"], told)
                self.assertEqual(unit.version(), "1.0.0", told)
        with self.steady(unit):
            upgraded(unit, "1.2.0")


def spoilt(way: bad.Bad) -> str:
    """The release that is bad in that way."""
    overlay = {bad.HUB: bad.spoilt(way.name, way.code, bad.REAL_HOME)}
    return build(f"1.1.{BAD.index(way)}", overlay)


if __name__ == "__main__":
    unittest.main()
