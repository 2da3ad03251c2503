"""Every damage to every file of home (a covering set, or all): stopped, serving, on trial."""

from __future__ import annotations

import unittest

from tests.crash.choice import crash, seed, wholly
from tests.e2e import damage, damaged, patients
from tests.e2e.moments import all_of

COVERED = 4
"""Kinds for each file, when it is not all of them."""


@crash
class AllDamageTest(unittest.TestCase):
    template: patients.Template
    kinds: list[str]

    @classmethod
    def setUpClass(cls) -> None:
        cls.template = patients.Template()
        cls.addClassCleanup(cls.template.close)
        nobody = patients.can_be_nobody()
        cls.kinds = [kind for kind in damage.KINDS if nobody or kind != "mode 000"]

    def rows(self, names: list[str], each: int) -> list[tuple[str, str]]:
        """So many kinds for each file, every kind about as often; or all of them."""
        if wholly():
            return [(name, kind) for name in names for kind in self.kinds]
        order = seed().sample(self.kinds, len(self.kinds))
        return [
            (name, order[(number * each + more) % len(order)])
            for number, name in enumerate(names)
            for more in range(each)
        ]

    def test_the_best_release_serves_on_a_damaged_home_and_can_be_upgraded(self) -> None:
        table = self.rows([target.name for target in damage.TARGETS], COVERED)
        all_of(self, table, lambda n, k: damaged.check(self.template, n, k), versions=())

    def test_a_hub_under_which_home_is_damaged_serves_on_and_can_be_upgraded(self) -> None:
        table = self.rows(list(damage.LIVE), 2)
        all_of(self, table, lambda n, k: damaged.check_live(self.template, n, k), versions=())

    def test_a_trial_is_judged_although_the_record_is_damaged(self) -> None:
        kinds = self.kinds if wholly() else seed().sample(self.kinds, 3)
        table = [(kind,) for kind in kinds]
        all_of(self, table, lambda k: damaged.check_on_trial(self.template, k), versions=())

    def test_a_rollback_is_made_although_its_marks_are_damaged(self) -> None:
        kinds = ("random", "directory", "dangling") if wholly() else ("directory",)
        table = [(name, kind) for name in damage.MARKS for kind in kinds]
        all_of(self, table, lambda n, k: damaged.check_rollback(self.template, n, k), versions=())
