"""`boot.json` and `next.json` are format 1 for ever: what is missing or unknown is forgiven."""

from __future__ import annotations

import json
import unittest
from typing import Any

from hub_upgrade.domain import boot_record
from hub_upgrade.domain.boot_record import BootRecord, Next, Trial, Verdict

DIGEST = "b" * 64
RECORD = BootRecord(
    current="1.0.0-aaaaaaaaaaaaaaaa",
    previous="0.9.0-9999999999999999",
    trial=Trial("1.1.0-bbbbbbbbbbbbbbbb", DIGEST, "op", "upgrade", 2),
    rejected=("c" * 64,),
    factory_seen="a" * 64,
    verdicts=(Verdict("older", "rejected", "x", DIGEST, "why", "then", ("a line",)),),
    rebuilt="2024-01-01T00:00:00.000Z",
)
NEXT = Next("op", "rollback", "1.0.0-aaaaaaaaaaaaaaaa", "a" * 64, True)


def read(**changed: Any) -> BootRecord:
    wire = json.loads(json.dumps(boot_record.boot_to_wire(RECORD)))
    found = boot_record.boot_from_wire({**wire, **changed})
    assert found is not None
    return found


class Boot(unittest.TestCase):
    def test_what_is_written_reads_the_same(self) -> None:
        wire = json.loads(json.dumps(boot_record.boot_to_wire(RECORD)))
        self.assertEqual(boot_record.boot_from_wire(wire), RECORD)

    def test_the_names_on_the_wire_are_the_contract_s(self) -> None:
        wire = boot_record.boot_to_wire(RECORD)
        fixed = {"format", "current", "previous", "trial", "rejected", "factory_seen", "verdicts"}
        self.assertLessEqual(fixed, set(wire))
        self.assertEqual(
            set(wire["trial"]), {"release", "digest", "operation_id", "kind", "tries_left"}
        )
        self.assertEqual(
            set(wire["verdicts"][0]),
            {"operation_id", "verdict", "release", "digest", "reason", "at", "output"},
        )

    def test_another_format_is_no_record(self) -> None:
        for other in (0, 2, "1", None):
            self.assertIsNone(boot_record.boot_from_wire({"format": other}))

    def test_fields_that_nobody_knows_and_fields_that_are_missing_are_forgiven(self) -> None:
        self.assertEqual(read(new_field=[1]), RECORD)
        self.assertEqual(boot_record.boot_from_wire({"format": 1}), BootRecord())

    def test_a_field_of_the_wrong_type_costs_only_itself(self) -> None:
        for name in ("current", "previous", "trial", "rejected", "factory_seen", "verdicts"):
            for wrong in (7, [7], {"a": 1}, "", True):
                with self.subTest(name=name, wrong=wrong):
                    found = read(**{name: wrong})
                    for other in RECORD._fields:
                        if other != name:
                            self.assertEqual(getattr(found, other), getattr(RECORD, other))

    def test_a_name_that_would_leave_the_directory_is_none(self) -> None:
        for name in ("../x", "/etc", ".", "..", ".hidden", "a/b"):
            self.assertIsNone(read(current=name).current)

    def test_a_trial_with_senseless_tries_has_none_left(self) -> None:
        for tries in (-1, "3", None, 10**9):
            trial = {**boot_record.boot_to_wire(RECORD)["trial"], "tries_left": tries}
            found = read(trial=trial).trial
            self.assertEqual(found and found.tries_left, 0)

    def test_it_knows_the_operations_of_its_trial_and_its_verdicts(self) -> None:
        self.assertTrue(RECORD.knows("op"))
        self.assertTrue(RECORD.knows("older"))
        self.assertFalse(RECORD.knows("another"))


class NextFile(unittest.TestCase):
    def test_what_is_written_reads_the_same(self) -> None:
        wire = json.loads(json.dumps(boot_record.next_to_wire(NEXT)))
        self.assertEqual(boot_record.next_from_wire({**wire, "later": 1}), NEXT)

    def test_what_names_no_release_is_none(self) -> None:
        wire = boot_record.next_to_wire(NEXT)
        for name, wrong in (("format", 2), ("operation_id", ""), ("release", "../x"),
                            ("digest", "short")):  # fmt: skip
            self.assertIsNone(boot_record.next_from_wire({**wire, name: wrong}))

    def test_only_true_means_named(self) -> None:
        for value in (1, "yes", None):
            found = boot_record.next_from_wire({**boot_record.next_to_wire(NEXT), "named": value})
            self.assertFalse(found and found.named)


if __name__ == "__main__":
    unittest.main()
