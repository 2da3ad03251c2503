"""The tables of legal moves."""

from __future__ import annotations

import unittest

from hub_upgrade.domain import operation as op
from hub_upgrade.domain import transitions
from hub_upgrade.domain.operation import Operation
from hub_upgrade.domain.transitions import LIMITS_S, NEXT_PHASE, NEXT_STEP, advance, finish
from hub_upgrade.errors import IllegalTransitionError


class Tables(unittest.TestCase):
    def test_every_phase_and_step_has_its_row_and_its_limit(self) -> None:
        self.assertEqual(set(NEXT_PHASE), set(op.PHASES))
        self.assertEqual(set(NEXT_STEP), set(op.STEPS))
        self.assertEqual(set(LIMITS_S), set(op.STEPS))
        self.assertEqual(set(transitions.PHASES_OF_STEP), set(op.STEPS))

    def test_a_terminal_phase_leads_nowhere(self) -> None:
        for phase in op.TERMINAL:
            self.assertEqual(NEXT_PHASE[phase], frozenset())

    def test_the_contracts_order_is_the_only_one(self) -> None:
        for before in op.PHASES:
            for after in op.PHASES:
                record = Operation("x", phase=before)
                if before == after or after in NEXT_PHASE[before]:
                    self.assertEqual(advance(record, phase=after).phase, after)
                else:
                    with self.assertRaises(IllegalTransitionError):
                        advance(record, phase=after)

    def test_the_diagram_in_the_docstring_bears_the_same_steps(self) -> None:
        text = transitions.__doc__ or ""
        lines = [line for line in text.splitlines() if "accepted ->" in line]
        told = [[word.strip(" []") for word in line.split("->")] for line in lines]
        for steps in told:
            self.assertEqual(sorted(steps, key=op.STEPS.index), steps)
            for before, after in zip(steps, steps[1:]):
                self.assertIn(after, NEXT_STEP[before])
        self.assertEqual({*told[0], *told[1], op.BACKING_UP}, set(op.STEPS))

    def test_a_step_outside_of_its_phase_is_a_bug(self) -> None:
        with self.assertRaises(IllegalTransitionError):
            advance(Operation("x"), step=op.RESOLVING)
        record = Operation("x", phase=op.RUNNING, step=op.PREFLIGHT)
        with self.assertRaises(IllegalTransitionError):
            advance(record, step=op.HANDING_OVER)
        self.assertEqual(
            advance(record, phase=op.RESTARTING, step=op.HANDING_OVER).step, op.HANDING_OVER
        )

    def test_a_helper_that_takes_up_a_dead_ones_work_starts_again(self) -> None:
        for step in (op.RESOLVING, op.STAGING, op.VERIFYING, op.PREFLIGHT):
            record = Operation("x", phase=op.RUNNING, step=step)
            self.assertEqual(advance(record, step=op.RESOLVING).step, op.RESOLVING)

    def test_an_end_is_an_end(self) -> None:
        ended = finish(Operation("x", phase=op.RUNNING), op.FAILED, "now", "why")
        self.assertEqual((ended.finished_at, ended.error), ("now", "why"))
        with self.assertRaises(IllegalTransitionError):
            finish(ended, op.SUCCEEDED, "later")


if __name__ == "__main__":
    unittest.main()
