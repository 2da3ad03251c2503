"""A trial is proven by looks alone, and never blamed for what a look could not see."""

from __future__ import annotations

import unittest
from typing import Any

from hub_upgrade.domain import probation
from hub_upgrade.domain.probation import HEALTHY, INCONCLUSIVE, UNHEALTHY, Expected, Probation

EXPECTED = Expected("1.1.0", "b" * 64)
FINE: dict[str, Any] = {"version": "1.1.0", "release": "b" * 64, "instance": "one"}


def word(status: int, instance: str | None = None, **changed: Any) -> str:
    return probation.judge(EXPECTED, instance, status, {**FINE, **changed}, "")[0]


class OneLook(unittest.TestCase):
    def test_version_digest_and_the_same_instance_are_healthy(self) -> None:
        self.assertEqual(word(200), HEALTHY)
        self.assertEqual(word(200, "one"), HEALTHY)

    def test_another_version_digest_or_instance_is_unhealthy(self) -> None:
        self.assertEqual(word(200, version="1.0.0"), UNHEALTHY)
        self.assertEqual(word(200, release="a" * 64), UNHEALTHY)
        self.assertEqual(word(200, "two"), UNHEALTHY)

    def test_no_instance_at_all_is_unhealthy(self) -> None:
        for none in (None, "", 7):
            with self.subTest(none):
                body = {**FINE, "instance": none}
                self.assertEqual(probation.judge(EXPECTED, None, 200, body, "")[0], UNHEALTHY)

    def test_every_other_status_is_unhealthy_with_its_number(self) -> None:
        for status in (204, 302, 404, 500, 503):
            found, why = probation.judge(EXPECTED, None, status, FINE, "")
            self.assertEqual(found, UNHEALTHY)
            self.assertIn(str(status), why)

    def test_no_answer_and_overloaded_tell_nothing(self) -> None:
        self.assertEqual(word(0), INCONCLUSIVE)
        self.assertEqual(word(503, error="overloaded"), INCONCLUSIVE)


class Throughout(unittest.TestCase):
    def look(self, state: Probation, now: float, status: int = 200) -> Probation:
        after, why = probation.looked(state, EXPECTED, (status, FINE, ""), now)
        self.assertEqual(why, "")
        return after

    def test_it_is_proven_after_the_whole_time_and_not_before(self) -> None:
        state = self.look(Probation(100.0), 100.5)
        state = self.look(state, 110.4)
        self.assertFalse(probation.proven(state, 110.4, 10.0))
        self.assertTrue(probation.proven(self.look(state, 110.5), 110.5, 10.0))

    def test_a_look_that_told_nothing_starts_the_time_anew(self) -> None:
        state = self.look(self.look(Probation(0.0), 1.0), 8.0, status=0)
        self.assertFalse(probation.proven(self.look(state, 11.0), 11.0, 10.0))
        self.assertTrue(probation.proven(self.look(self.look(state, 11.0), 21.0), 21.0, 10.0))

    def test_the_instance_is_remembered_beyond_a_look_that_told_nothing(self) -> None:
        state = self.look(self.look(Probation(0.0), 1.0), 2.0, status=0)
        other = {**FINE, "instance": "two"}
        self.assertIn("changed", probation.looked(state, EXPECTED, (200, other, ""), 3.0)[1])

    def test_it_is_not_provable_after_the_longest_time(self) -> None:
        self.assertFalse(probation.unprovable(Probation(0.0), 300.0, 300.0))
        self.assertTrue(probation.unprovable(Probation(0.0), 300.1, 300.0))

    def test_the_last_look_comes_at_the_very_end(self) -> None:
        state = self.look(Probation(0.0), 0.0)
        self.assertEqual(probation.next_look_in(state, 3.0, 10.0), 1.0)
        self.assertAlmostEqual(probation.next_look_in(state, 9.6, 10.0), 0.4)
        self.assertEqual(probation.next_look_in(Probation(0.0), 9.6, 10.0), 1.0)

    def test_time_in_which_the_launcher_slept_does_not_count(self) -> None:
        state = probation.slept(self.look(Probation(0.0), 1.0), 20.0)
        self.assertFalse(probation.proven(state, 22.0, 10.0))
        self.assertFalse(probation.unprovable(state, 310.0, 300.0))


if __name__ == "__main__":
    unittest.main()
