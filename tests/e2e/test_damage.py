"""A sample of the damage to home; `tests.crash.test_damage_all` has the whole table."""

from __future__ import annotations

import unittest

from tests.e2e import damaged, patients
from tests.e2e.moments import all_of

SAMPLE = (
    ("boot.json", "half"),
    ("boot.json", "nothing"),
    ("hub.pyz", "random"),
    ("next.json", "future"),
    ("tokens", "dangling"),
    ("operation.lock", "directory"),
    ("release", "mode 000"),
)


class DamageTest(unittest.TestCase):
    def test_the_best_release_serves_on_a_damaged_home_and_can_be_upgraded(self) -> None:
        template = patients.Template()
        self.addCleanup(template.close)
        nobody = patients.can_be_nobody()
        table = [row for row in SAMPLE if nobody or row[1] != "mode 000"]
        all_of(self, table, lambda name, kind: damaged.check(template, name, kind), versions=())
