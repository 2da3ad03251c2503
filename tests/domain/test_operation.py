"""The record and its wire."""

from __future__ import annotations

import json
import unittest

from hub_upgrade.domain import operation as op
from hub_upgrade.domain.operation import Operation, from_wire, to_wire, with_line


class Wire(unittest.TestCase):
    def full(self) -> Operation:
        return Operation(
            operation_id="o1",
            phase=op.FAILED,
            kind=op.ROLLBACK,
            current_version="1.0.0",
            target_version="0.9.0",
            channel="rc",
            log=("a", "b"),
            started_at="2026-01-01T00:00:00.000Z",
            error="no",
            finished_at="2026-01-01T00:00:01.000Z",
            request=op.Request("0.9.0", True, True),
            step=op.PREFLIGHT,
            progress=op.Progress(1, 2, "bytes"),
            reason="r",
            evidence=("e",),
            undo=op.Undo("release", "1.0.0-00"),
            rolled_back_to="1.0.0",
            requested_by="me",
            helper_pid=7,
            helper_start_time="8",
            current_release="1.0.0-00",
            target_release="0.9.0-11",
            target_digest="ab",
            boot_rebuilt="x",
            integrity="sha512-x",
            process="7:8:9",
            told="6:8:9",
            command="ab",
            failure="why",
            install="package",
            place=("package", "bun", "@x/hub", "/opt/x", "/opt", ""),
            step_limit_s=330,
            restarter="systemd user parachute-hub.service",
            accepted_by=("ab", "http://127.0.0.1:1939/health", "version"),
        )

    def test_a_record_reads_back_as_it_was_written(self) -> None:
        record = self.full()
        self.assertEqual(from_wire(json.loads(json.dumps(to_wire(record)))), record)

    def test_what_does_not_apply_is_left_out_but_the_target_is_always_there(self) -> None:
        wire = to_wire(Operation("o1"))
        self.assertNotIn("error", wire)
        self.assertNotIn("finished_at", wire)
        self.assertIsNone(wire["target_version"])
        self.assertEqual(wire["log"], [])

    def test_anything_with_an_operation_id_is_a_record(self) -> None:
        self.assertEqual(from_wire({"operation_id": "x"}), Operation("x"))

    def test_every_field_of_the_wrong_type_is_defaulted(self) -> None:
        wrong: list[object] = [None, 1.5, True, [], {}, "", "no", [1, None], {"done": "x"}, -1]
        for field in Operation._fields[1:]:
            right = (type(None), type(getattr(self.full(), field)))
            for value in wrong:
                read = from_wire({"operation_id": "x", field: value})
                assert read is not None
                self.assertIn(type(getattr(read, field)), right, (field, value))
                self.assertEqual(from_wire(json.loads(json.dumps(to_wire(read)))), read)

    def test_whose_record_it_is(self) -> None:
        theirs = {"operation_id": "x", "phase": "restarting", "current_version": "7.0.0"}
        for fields, managed in (
            ({}, True), ({"phase": "pending"}, False), ({"target_release": "1.1.0-ab"}, False),
            ({"step": "handing-over"}, False), ({"undo": {"kind": "tree", "value": "v"}}, True),
            ({"undo": {"kind": "release", "value": "v"}}, False),
        ):  # fmt: skip
            read = from_wire({**theirs, **fields})
            assert read is not None
            self.assertEqual((read.is_managed, read.is_of_pyz), (managed, False), fields)
        for told, pid in (("12:34:ab", 12), ("", 0), ("x", 0), (":", 0), ("-1:2", 0)):
            self.assertEqual(Operation("x", told=told).hub_pid, pid)

    def test_what_is_no_record_is_none(self) -> None:
        nothing: list[object] = [None, [], "x", 1, {}, {"operation_id": 1}, {"operation_id": ""}]
        for raw in nothing:
            self.assertIsNone(from_wire(raw))

    def test_exit_codes_are_the_command_lines(self) -> None:
        record = Operation("x")
        self.assertIsNone(record.exit_code)
        for phase, code in (("succeeded", 0), ("failed", 1), ("redeploy-required", 3)):
            self.assertEqual(record._replace(phase=phase).exit_code, code)
        self.assertEqual(self.full().exit_code, 5)


class Log(unittest.TestCase):
    def test_the_middle_of_a_long_log_goes_and_says_how_much(self) -> None:
        record = Operation("x")
        for number in range(1234):
            record = with_line(record, f"line {number}")
        self.assertEqual(len(record.log), op.LOG_LINES)
        self.assertEqual(record.log[0], "line 0")
        self.assertEqual(record.log[249], "line 249")
        self.assertEqual(record.log[-1], "line 1233")
        shown = [line for line in record.log if line.startswith("line ")]
        self.assertEqual(record.log[250], f"[... {1234 - len(shown)} lines left out ...]")

    def test_a_long_line_is_cut_and_several_lines_are_several(self) -> None:
        record = with_line(Operation("x"), "y" * 5000 + "\nz")
        self.assertEqual([len(line) for line in record.log], [op.LOG_CHARACTERS, 1])

    def test_a_log_on_the_disk_is_bounded_when_it_is_read(self) -> None:
        read = from_wire({"operation_id": "x", "log": ["l" * 9000] * 9000})
        assert read is not None
        self.assertEqual(len(read.log), op.LOG_LINES)
        self.assertEqual(len(read.log[0]), op.LOG_CHARACTERS)


if __name__ == "__main__":
    unittest.main()
