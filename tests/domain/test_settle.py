"""What a record must say, from what the launcher decided."""

from __future__ import annotations

import itertools
import unittest

from hub_upgrade.domain import operation as op
from hub_upgrade.domain.boot_record import BootRecord, Next, Trial, Verdict
from hub_upgrade.domain.operation import Operation
from hub_upgrade.domain.settle import UNKNOWN, Running, Unknown, settle

A, B = "1.0.0-" + "a" * 16, "1.1.0-" + "b" * 16
DA, DB = "a" * 64, "b" * 64
OLD = Running("1.0.0", A, DA)
NEW = Running("1.1.0", B, DB)
NEXT = Next("o1", "upgrade", B, DB, False)
TRIAL = Trial(B, DB, "o1", "upgrade", 2)
BASE = BootRecord(current=A)


def verdict(word: str, output: tuple[str, ...] = ()) -> Verdict:
    return Verdict("o1", word, B, DB, "it exited with status 3", "t", output)


def record(phase: str = op.RESTARTING) -> Operation:
    return Operation(
        "o1", phase=phase, current_version="1.0.0", target_version="1.1.0", current_release=A,
        target_release=B, target_digest=DB,
    )  # fmt: skip


class Settle(unittest.TestCase):
    def settled(
        self,
        rec: Operation,
        boot: BootRecord | Unknown | None,
        nxt: Next | Unknown | None = None,
        running: Running | None = OLD,
        alive: bool = True,
    ) -> Operation:
        found = settle(rec, boot, nxt, running, alive, "now").record
        assert found is not None
        return found

    def test_a_commit_is_a_success_also_of_a_rollback(self) -> None:
        boot = BootRecord(current=B, verdicts=(verdict("committed"),))
        for kind in op.KINDS:
            end = self.settled(record()._replace(kind=kind), boot, None, NEW)
            self.assertEqual((end.phase, end.error, end.finished_at), ("succeeded", None, "now"))
            self.assertIn("1.1.0 is proven", end.log[-1])

    def test_a_rejection_is_a_failure_with_reason_version_and_last_words(self) -> None:
        lines = tuple(f"line {n}" for n in range(80))
        end = self.settled(record(), BASE._replace(verdicts=(verdict("rejected", lines),)))
        self.assertEqual((end.phase, end.rolled_back_to), ("failed", "1.0.0"))
        self.assertIn("it exited with status 3", end.error or "")
        self.assertIn("1.0.0 runs", end.error or "")
        self.assertEqual(end.log[-1], "| line 79")
        self.assertEqual(len([line for line in end.log if line.startswith("| ")]), 50)

    def test_the_rejected_release_does_not_call_itself_the_one_gone_back_to(self) -> None:
        end = self.settled(record(), BASE._replace(verdicts=(verdict("rejected"),)), None, NEW)
        self.assertEqual(end.rolled_back_to, "1.0.0")

    def test_what_is_handed_over_or_on_trial_stays_open(self) -> None:
        for boot, nxt in ((BASE, NEXT), (None, NEXT), (BASE._replace(trial=TRIAL), None)):
            for alive in (True, False):
                self.assertEqual(self.settled(record(), boot, nxt, OLD, alive), record())
        why = settle(record(), BASE._replace(trial=TRIAL), None, None, False, "now").why
        self.assertIn("decided at the next start", why)

    def test_another_programs_record_is_told_with_its_own_hubs_version(self) -> None:
        theirs = Operation("o1", phase=op.PENDING, current_version="7.0.0")
        for version, told in (("7.0.0", "nothing was changed, 7.0.0 runs on"),
                              ("unknown", "nothing was changed")):  # fmt: skip
            end = self.settled(theirs._replace(current_version=version), BASE)
            self.assertTrue((end.error or "").endswith(told), end.error)

    def test_what_cannot_be_read_is_no_answer(self) -> None:
        self.assertEqual(self.settled(record(), UNKNOWN), record())
        self.assertEqual(self.settled(record(), BASE, UNKNOWN), record())
        self.assertEqual(self.settled(record(), None), record())

    def test_without_helper_handover_or_verdict_it_failed_and_nothing_was_changed(self) -> None:
        for phase in (op.PENDING, op.RUNNING, op.RESTARTING):
            end = self.settled(record(phase), BASE)
            self.assertEqual((end.phase, end.rolled_back_to), ("failed", None))
            self.assertIn("nothing was changed, 1.0.0 runs on", end.error or "")

    def test_before_the_handover_a_missing_boot_record_hides_nothing(self) -> None:
        self.assertEqual(self.settled(record(op.RUNNING), None).phase, "failed")

    def test_a_target_that_is_current_is_a_success(self) -> None:
        for phase in (op.PENDING, op.RUNNING, op.RESTARTING):
            end = self.settled(record(phase), BootRecord(current=B), None, NEW)
            self.assertEqual(end.phase, "succeeded")

    def test_a_target_on_trial_for_another_reason_is_waited_for(self) -> None:
        trial = TRIAL._replace(operation_id=None, kind="factory")
        boot = BASE._replace(trial=trial)
        self.assertEqual(self.settled(record(op.RUNNING), boot), record(op.RUNNING))

    def test_where_the_verdict_was_lost_the_record_says_so(self) -> None:
        end = self.settled(record(), BASE._replace(rebuilt="t2"))
        self.assertEqual(end.phase, "failed")
        self.assertIn("outcome unknown: 1.0.0 runs", end.error or "")
        same = record()._replace(boot_rebuilt="t2")
        end = self.settled(same, BASE._replace(rebuilt="t2"))
        self.assertIn("nothing was changed", end.error or "")

    def test_a_terminal_record_never_changes_and_an_open_one_only_ends(self) -> None:
        boots: list[BootRecord | Unknown | None] = [
            None,
            UNKNOWN,
            BASE,
            BootRecord(current=B),
            BASE._replace(trial=TRIAL),
            BASE._replace(rebuilt="t"),
            BASE._replace(verdicts=(verdict("rejected"),)),
            BootRecord(current=B, verdicts=(verdict("committed"),)),
        ]
        for boot, nxt, running, alive, phase in itertools.product(
            boots, (None, UNKNOWN, NEXT, NEXT._replace(operation_id="o0")), (None, OLD, NEW),
            (True, False), op.PHASES,
        ):  # fmt: skip
            before = record(phase)
            after = self.settled(before, boot, nxt, running, alive)
            if phase in op.TERMINAL:
                self.assertIs(after, before)
            elif after != before:
                self.assertIn(after.phase, (op.SUCCEEDED, op.FAILED))
                again = self.settled(after, boot, nxt, running, alive)
                self.assertIs(again, after)
                if after.phase == op.FAILED:
                    self.assertFalse(isinstance(boot, BootRecord) and boot.current == B)

    def test_there_is_nothing_to_settle_without_a_record(self) -> None:
        self.assertIsNone(settle(None, BASE, None, OLD, True, "now").record)


if __name__ == "__main__":
    unittest.main()
