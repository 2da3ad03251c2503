"""What another program's helper has left, told by whoever looks next; and the helper alone beside
a checkout."""

from __future__ import annotations

import json
import unittest
from typing import Any

from tests.e2e.harness import FINISHED, wait_for
from tests.outside.sources import programs
from tests.outside.sources.alone import OTHER, AloneCase, AloneMachine
from tests.outside.sources.machine import clean_environment
from tests.outside.sources.place_git import GitPlace
from tests.outside.sources.test_alone_pids import PAUSE

LOOKERS = ("helper", "status", "serve")


def setUpModule() -> None:
    clean_environment()


class LeftByAnother(AloneCase):
    def looked(self, machine: AloneMachine, op: str, by: str) -> dict[str, Any]:
        """The end of it, by whoever looks."""
        if by == "serve":
            if machine.hub is None:
                machine.serve()
            return machine.ended(op)
        if by == "helper":
            machine.helper(op, "--hub-pid", str(machine.pid()))
        return machine.settled()

    def test_what_was_restarted_is_told_by_what_runs(self) -> None:
        for by in LOOKERS:
            machine = self.alone(ready_timeout_s=1)
            for target, current, phase in (
                ("1.0.0", "0.9.0", "succeeded"), ("1.1.0", "1.0.0", "failed"),
                ("1.0.0", "1.0.0", "failed"), (None, "1.0.0", "failed"),
            ):  # fmt: skip
                with self.subTest(by, target=target, current=current):
                    fields = {"target_version": target, "current_version": current}
                    op = machine.write(phase="restarting", **fields)
                    record = self.looked(machine, op, by)
                    self.is_of_the_contract(record)
                    self.assertEqual(record["phase"], phase, record)
                    self.assertIn("1.0.0", record.get("error", "1.0.0"))
                    self.stays(machine)
                    self.assertNotIn("Nothing was changed", machine.command("status").stdout)

    def test_what_was_never_begun_is_told_with_the_hubs_own_version(self) -> None:
        for by in ("status", "serve"):
            machine = self.alone()
            op = machine.write(current_version="7.7.7")
            record = self.looked(machine, op, by)
            self.is_of_the_contract(record)
            self.assertEqual(record["phase"], "failed")
            self.assertIn("nothing was changed, 7.7.7 runs on", record["error"])
            self.stays(machine)

    def test_what_is_begun_is_nobody_elses(self) -> None:
        machine = self.alone(before_upgrade=PAUSE)
        machine.publish("1.1.0")
        op = machine.ask()
        wait_for((machine.home / "paused").exists, machine.helper_log(op))
        before = machine.record()
        done = machine.helper(op, "--hub-pid", str(machine.pid()))
        self.assertEqual((done.returncode, done.stderr), (4, ""))
        self.assertIn("owned by another process", done.stdout)
        self.assertEqual(machine.command("upgrade").returncode, 4)
        self.assertEqual(machine.command("status").returncode, 0)
        self.assertEqual(machine.record(), before)
        (machine.home / "go").touch()
        self.assertEqual(machine.ended(op)["phase"], "succeeded")
        self.assertEqual(machine.starts(), 2)


class BesideACheckout(AloneCase):
    kind = GitPlace

    def test_it_is_upgraded(self) -> None:
        machine = self.alone()
        machine.publish("1.1.0")
        record = machine.ended(machine.ask())
        self.is_of_the_contract(record)
        self.assertEqual((record["phase"], record["install"]), ("succeeded", "git"), record)
        self.assertEqual((machine.runs(), machine.starts()), ("1.1.0", 2))

    def test_a_commit_that_is_sick_and_tells_the_same_version_is_taken_back(self) -> None:
        machine = self.alone(ready_timeout_s=5)
        before = machine.place.tree()
        manifest = json.dumps({"name": "hub", "version": "1.0.0"}).encode()
        files = {**OTHER, "package.json": manifest}
        machine.place.publish("1.0.1", behaviour=programs.SICK, files=files)
        record = machine.ended(machine.ask())
        self.is_of_the_contract(record)
        self.assertEqual((record["phase"], record["rolled_back_to"]), ("failed", "1.0.0"), record)
        self.assertEqual((machine.place.tree(), machine.runs()), (before, "1.0.0"))
        self.assertEqual(machine.starts(), 3)
        self.assertIn(record["phase"], FINISHED)


if __name__ == "__main__":
    unittest.main()
