"""The helper alone in a container, where it dies with the process 1 that it asks to stop."""

from __future__ import annotations

import unittest
from typing import Any

from tests.e2e.harness import FINISHED, wait_for
from tests.outside.sources import programs
from tests.outside.sources.alone import PHASES
from tests.outside.sources.box import HUB, PYTHON, TESTHUB, Box, BoxCase, set_up_module

SETTLERS = ("status", "helper", "serve")


def setUpModule() -> None:
    set_up_module()


class Restarted(BoxCase):
    def left(self, behaviour: str = programs.GOOD) -> tuple[Box, str]:
        """A container that has come up anew with what the helper wrote; the operation."""
        box = self.box()
        box.run(TESTHUB)
        box.publish("1.1.0", behaviour)
        op = box.ask()
        # The helper may see the end of process 1 a moment before its own.
        box.reaches(op, "handing-over", "proving")
        wait_for(lambda: box.output().count("serving") == 2 or behaviour == programs.SILENT,
                 f"another process 1: {box.output()}")  # fmt: skip
        wait_for(lambda: box.inside("/bin/true").returncode == 0, "the container's end")
        record = box.record()
        self.assertEqual((record["phase"], record["target_version"]), ("restarting", "1.1.0"))
        self.assertEqual((record["mode"], record["source"]), ("in-place", "container"), record)
        self.assertEqual(box.installed(), "1.1.0")
        return box, op

    def settle(self, box: Box, op: str, by: str) -> dict[str, Any]:
        """Look, and again for as long as the container ends beneath whoever looks."""

        def look() -> bool:
            if box.record()["phase"] in FINISHED:
                return True
            if by == "serve":
                if not any("serve" in line for line in box.processes()):
                    box.inside(PYTHON, HUB, "serve", detach=True)
            elif by == "helper":
                box.hub("helper", "--op", op, "--channel", "latest", "--hub-pid", "1")
            else:
                box.hub("status")
            self.assertIn(box.record()["phase"], PHASES)
            return False

        wait_for(look, f"the end by {by}: {box.record()} {box.log(op)}")
        return box.record()

    def test_the_helper_dies_with_process_1_and_the_next_look_proves_what_runs(self) -> None:
        for by in SETTLERS:
            with self.subTest(by):
                box, op = self.left()
                self.assertEqual(box.runs(), "1.1.0")
                self.assertEqual(box.processes(), [TESTHUB])
                record = self.settle(box, op, by)
                self.assertEqual((record["phase"], box.runs()), ("succeeded", "1.1.0"), record)
                self.assertEqual(box.output().count("serving"), 2)
                box.close()

    def test_a_sick_version_is_taken_back_by_the_next_looks(self) -> None:
        for by in SETTLERS:
            with self.subTest(by):
                self.taken_back(programs.SICK, by, "it answers 500")

    def test_one_that_never_listens_is_found_by_its_command_and_taken_back(self) -> None:
        self.taken_back(programs.SILENT, "status", "it was not healthy within 4 s")

    def taken_back(self, behaviour: str, by: str, why: str) -> None:
        box, op = self.left(behaviour)
        record = self.settle(box, op, by)
        self.assertEqual((record["phase"], record["rolled_back_to"]), ("failed", "1.0.0"), record)
        self.assertIn(why, record["error"])
        self.assertIn("1.0.0 runs", record["error"])
        self.assertEqual((box.runs(), box.installed()), ("1.0.0", "1.0.0"))
        box.close()

    def test_the_next_upgrade_begins_where_the_last_one_ended(self) -> None:
        box, op = self.left()
        self.settle(box, op, "status")
        box.publish("1.2.0")
        op = box.ask()
        wait_for(lambda: box.runs() == "1.2.0", box.log(op))
        record = self.settle(box, op, "status")
        found = (record["phase"], record["current_version"], record["target_version"])
        self.assertEqual(found, ("succeeded", "1.1.0", "1.2.0"))


if __name__ == "__main__":
    unittest.main()
