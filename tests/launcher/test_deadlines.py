from __future__ import annotations

import unittest
from typing import Callable
from unittest import mock

from hub_upgrade.host.loop import Loop
from hub_upgrade.launcher.deadlines import Deadlines


class DeadlinesTest(unittest.TestCase):
    def setUp(self) -> None:
        self.clock = 1000.0
        patch = mock.patch.object(Loop, "now", lambda _loop: self.clock)
        patch.start()
        self.addCleanup(patch.stop)
        self.loop = Loop()
        self.addCleanup(self.loop.close)
        self.deadlines = Deadlines(self.loop)
        self.due: list[str] = []

    def note(self, name: str) -> Callable[[], None]:
        return lambda: self.due.append(name)

    def after(self, seconds: float) -> list[str]:
        """What is due when so much time has passed."""
        self.clock += seconds
        self.loop._run_timers(self.clock)
        return self.due

    def test_a_deadline_is_called_once_when_its_time_has_come(self) -> None:
        self.deadlines.start("ready", 2, self.note("ready"))
        self.assertEqual(self.after(1.9), [])
        self.assertEqual(self.after(0.2), ["ready"])
        self.assertEqual(self.after(10), ["ready"])

    def test_starting_it_again_replaces_it(self) -> None:
        self.deadlines.start("ready", 2, self.note("first"))
        self.deadlines.start("ready", 4, self.note("second"))
        self.assertEqual(self.after(3), [])
        self.assertEqual(self.after(1), ["second"])

    def test_a_cleared_one_is_never_called_and_a_name_nobody_knows_is_no_mistake(self) -> None:
        for name in ("a", "b", "c"):
            self.deadlines.start(name, 1, self.note(name))
        self.deadlines.clear("a", "b", "nobody")
        self.assertEqual(self.after(2), ["c"])
        self.deadlines.start("d", 1, self.note("d"))
        self.deadlines.clear_all()
        self.assertEqual(self.after(2), ["c"])

    def test_one_that_is_due_may_be_started_again_from_its_own_call(self) -> None:
        def again() -> None:
            self.due.append("tick")
            self.deadlines.start("tick", 1, again)

        again()
        self.after(1)
        self.assertEqual(self.after(1), ["tick"] * 3)
        self.deadlines.clear("tick")
        self.assertEqual(self.after(5), ["tick"] * 3)

    def test_one_may_clear_another_that_is_due_at_the_same_moment(self) -> None:
        self.deadlines.start("a", 1, lambda: self.deadlines.clear("b"))
        self.deadlines.start("b", 1, self.note("b"))
        self.assertEqual(self.after(2), [])

    def test_the_time_that_was_slept_away_is_given_back_to_all(self) -> None:
        self.deadlines.start("ready", 5, self.note("ready"))
        self.deadlines.start("end", 2, self.note("end"))
        self.clock += 31
        self.deadlines.shift(30)
        self.assertEqual(self.after(0.9), [])
        self.assertEqual(self.after(0.2), ["end"])
        self.assertEqual(self.after(2.8), ["end"])
        self.assertEqual(self.after(0.2), ["end", "ready"])

    def test_what_is_over_even_so_is_due_at_once_and_not_in_the_past(self) -> None:
        self.deadlines.start("end", 1, self.note("end"))
        self.clock += 31
        self.deadlines.shift(29)
        self.assertEqual(self.after(0), ["end"])

    def test_it_can_still_be_cleared_after_a_shift(self) -> None:
        self.deadlines.start("end", 1, self.note("end"))
        self.deadlines.shift(30)
        self.deadlines.clear("end")
        self.assertEqual(self.after(100), [])


if __name__ == "__main__":
    unittest.main()
