"""Upgrades of a hub that is kept by its unit: the manager never sees anything of them."""

from __future__ import annotations

import unittest
from concurrent.futures import ThreadPoolExecutor

from tests.e2e import bad
from tests.e2e.harness import build
from tests.e2e.moments import pausing
from tests.outside.restarters.machines import BOTH
from tests.outside.restarters.own_unit import OwnCase, upgraded

VERSIONS = [f"1.{number}.0" for number in range(1, 21)]
"""Of those that can be held, which nobody does here: their preflight is a short one."""
NAMES = ("dies late in probation", "hangs after it is ready", "answers 500")
BAD = [way for way in bad.WAYS if way.name in NAMES]


class Upgrades(OwnCase):
    def test_twenty_in_a_row_with_the_unit_active_throughout(self) -> None:
        for version in ("1.0.0", *VERSIONS):
            pausing(version)  # before there are threads: each is built only once
        with ThreadPoolExecutor(len(BOTH)) as pool:
            began = [pool.submit(self.twenty, scope) for scope in BOTH]
            for scope, future in zip(BOTH, began):
                with self.subTest(scope):
                    future.result()

    def twenty(self, scope: str) -> None:
        unit = self.unit("parachute-hub", 1939 + BOTH.index(scope), scope=scope)
        unit.lay(pausing("1.0.0"))
        unit.install()
        with self.steady(unit):
            for version in VERSIONS:
                upgraded(unit, version, pausing(version))
        verdicts = [one["verdict"] for one in unit.boot()["verdicts"]]
        self.assertEqual(verdicts, ["committed"] * len(VERSIONS))

    def test_a_bad_release_is_taken_back_with_the_unit_active_throughout(self) -> None:
        unit = self.installed()
        for number, way in enumerate(BAD):
            with self.subTest(way.name), self.steady(unit):
                overlay = {bad.HUB: bad.spoilt(way.name, way.code, bad.REAL_HOME)}
                unit.publish(build(f"1.1.{number}", overlay))
                record = unit.finished(unit.upgrade())
                self.assertEqual(record["phase"], "failed", record)
                self.assertEqual(record["rolled_back_to"], "1.0.0", record)
                self.assertIn(way.taken_back, record["error"])
                self.assertEqual(unit.version(), "1.0.0")
        with self.steady(unit):
            upgraded(unit, "1.2.0")


if __name__ == "__main__":
    unittest.main()
