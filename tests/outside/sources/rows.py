"""What may happen to the upgrade of a hub that bun, npm, pip or git installed: one row a test, the
same for each of them, by the command line and the real tools, to the very end."""

from __future__ import annotations

import random
from typing import Any

from tests.outside.sources import programs, registry
from tests.outside.sources.machine import Machine, MachineCase

BULK_MB = 6


class Rows(MachineCase):
    """The rows; each of the modules test_rows_*.py is a column."""

    def upgrade(self, machine: Machine, code: int, *argv: str) -> dict[str, Any]:
        """Upgrade, with this exit code; the record."""
        done = machine.command("upgrade", *argv)
        told = f"{done.stdout}\n{done.stderr}\n{machine.log()}"
        self.assertEqual(done.returncode, code, told)
        self.assertNotIn("Traceback", told)
        return machine.record()

    def stays(self, machine: Machine, starts: int = 1) -> None:
        """1.0.0 runs as if nothing had been."""
        runtime = machine.runtime
        assert runtime is not None
        self.assertEqual((machine.runs(), runtime.starts), ("1.0.0", starts))
        self.assertEqual(machine.place.make_source().installed().version, "1.0.0")

    def goes(self, machine: Machine, version: str, *argv: str) -> dict[str, Any]:
        """An upgrade that must succeed goes there."""
        record = self.upgrade(machine, 0, *argv)
        self.assertEqual((record["phase"], record["target_version"]), ("succeeded", version))
        self.assertEqual(machine.runs(), version)
        self.assertEqual(machine.place.make_source().installed().version, version)
        return record

    # --- which version ---

    def test_an_upgrade_is_proven_and_the_next_one_has_nothing_to_do(self) -> None:
        machine = self.machine()
        machine.place.publish("1.1.0")
        record = self.goes(machine, "1.1.0")
        self.assertTrue(record["integrity"])
        self.assertEqual(record["source"], "container")  # or a container's sign is missing
        assert machine.runtime is not None
        self.assertEqual(machine.runtime.starts, 2)
        record = self.goes(machine, "1.1.0")
        self.assertNotIn("undo", record)
        self.assertEqual(machine.runtime.starts, 2)

    def test_a_candidate_ahead_is_for_its_channel_alone(self) -> None:
        machine = self.machine()
        machine.place.publish("1.1.0-rc.1", "rc")
        record = self.goes(machine, "1.0.0")
        self.assertNotIn("undo", record)
        self.goes(machine, "1.1.0-rc.1", "--channel", "rc")

    def test_a_candidate_behind_the_stable_one_strands_nobody(self) -> None:
        machine = self.machine()
        machine.place.publish("1.1.0-rc.1", "rc")
        machine.place.publish("1.1.0")
        record = self.goes(machine, "1.1.0", "--channel", "rc")
        self.assertEqual(record["channel"], "rc")
        self.assertIn("the channel stays rc", " ".join(record["log"]))

    def test_what_was_published_a_second_ago_is_seen(self) -> None:
        machine = self.machine()
        for version in ("1.1.0", "1.2.0"):
            machine.place.publish(version)
            self.goes(machine, version)

    def test_a_downgrade_is_refused_and_then_allowed(self) -> None:
        machine = self.machine()
        machine.place.publish("1.1.0")
        self.goes(machine, "1.1.0")
        record = self.upgrade(machine, 1, "--version", "1.0.0")
        force = "hub.pyz upgrade --version 1.0.0 --allow-downgrade"
        self.assertIn(force, record["error"])
        self.assertEqual(machine.runs(), "1.1.0")
        self.goes(machine, "1.0.0", "--version", "1.0.0", "--allow-downgrade")

    def test_a_version_that_is_nowhere_is_refused(self) -> None:
        machine = self.machine()
        record = self.upgrade(machine, 1, "--version", "7.7.7")
        self.assertIn("7.7.7", record["error"])
        self.stays(machine)

    # --- a registry or remote that is not well ---

    def unwell(self, fault: str) -> None:
        machine = self.machine()
        machine.place.publish("1.1.0")
        machine.break_down(fault)
        record = self.upgrade(machine, 1)
        self.assertEqual(record["phase"], "failed")
        self.assertTrue(record["error"])
        self.stays(machine)
        machine.mend()
        self.goes(machine, "1.1.0")

    def test_a_registry_that_is_down_changes_nothing(self) -> None:
        self.unwell(registry.DOWN)

    def test_a_registry_that_answers_429_changes_nothing(self) -> None:
        self.unwell(registry.BUSY)

    def test_a_registry_that_answers_500_changes_nothing(self) -> None:
        self.unwell(registry.BROKEN)

    def test_a_registry_that_is_cut_off_changes_nothing(self) -> None:
        self.unwell(registry.CUT)

    def test_a_registry_that_is_slow_is_waited_for(self) -> None:
        machine = self.machine()
        machine.place.publish("1.1.0")
        machine.break_down(registry.SLOW)
        self.goes(machine, "1.1.0")

    def test_a_file_that_is_corrupt_leaves_what_was_there(self) -> None:
        machine = self.machine()
        machine.place.publish("1.1.0")
        machine.place.registry.corrupt(machine.place.package, "1.1.0")
        before = machine.place.tree()
        record = self.upgrade(machine, 1)
        self.assertIn(machine.place.manager, record["error"])
        self.stays(machine)
        self.assertEqual(machine.place.tree(), before)
        machine.place.publish("1.2.0")
        self.goes(machine, "1.2.0")

    def test_another_version_left_on_the_disk_is_no_upgrade(self) -> None:
        machine = self.machine()
        machine.place.publish("1.1.0")
        before = machine.place.tree()
        with machine.with_a_tool_that_does_nothing() as path:
            done = machine.command("upgrade", PATH=path)
        record = machine.record()
        self.assertEqual((done.returncode, record["phase"]), (1, "failed"), done.stderr)
        self.assertIn("1.0.0 lies there afterwards, and not 1.1.0", record["error"])
        self.stays(machine)
        self.assertEqual(machine.place.tree(), before)

    # --- a version that is no good ---

    def taken_back(self, behaviour: str, part: str) -> None:
        machine = self.machine(ready_timeout_s=5)
        machine.place.publish("1.1.0", behaviour=behaviour)
        before = machine.place.tree()
        assert machine.runtime is not None
        machine.runtime.on_restart = machine.place.cut_off
        record = self.upgrade(machine, 5)
        self.assertEqual((record["phase"], record["rolled_back_to"]), ("failed", "1.0.0"))
        self.assertIn(part, record["error"])
        self.assertEqual(machine.runs(), "1.0.0")
        self.assertEqual(machine.place.tree(), before)

    def test_a_version_that_is_sick_is_taken_back_with_the_network_gone(self) -> None:
        self.taken_back(programs.SICK, "it answers 500")

    def test_a_version_that_dies_is_taken_back_with_the_network_gone(self) -> None:
        self.taken_back(programs.DYING, "it was not healthy within 5 s")

    def test_a_version_that_is_another_one_is_taken_back_with_the_network_gone(self) -> None:
        self.taken_back(programs.LYING, "0.0.1 answers, and not 1.1.0")

    def test_a_version_that_never_listens_is_taken_back_with_the_network_gone(self) -> None:
        self.taken_back(programs.SILENT, "it was not healthy within 5 s")

    def test_what_was_taken_back_is_not_tried_again_until_it_is_named(self) -> None:
        machine = self.machine(ready_timeout_s=5)
        machine.place.publish("1.1.0", behaviour=programs.SICK)
        self.upgrade(machine, 5)
        record = self.upgrade(machine, 1)
        self.assertIn("failed here before", record["error"])
        self.upgrade(machine, 5, "--version", "1.1.0")
        machine.place.publish("1.2.0")
        self.goes(machine, "1.2.0")

    # --- going back by hand ---

    def test_a_rollback_goes_back_with_the_network_gone(self) -> None:
        machine = self.machine()
        before = machine.place.tree()
        machine.place.publish("1.1.0")
        self.goes(machine, "1.1.0")
        machine.place.cut_off()
        done = machine.command("rollback")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual((machine.runs(), machine.place.tree()), ("1.0.0", before))
        self.assertEqual(machine.command("rollback").returncode, 1)

    # --- the tool ---

    def test_a_tool_that_is_missing_is_one_sentence(self) -> None:
        machine = self.machine()
        machine.place.publish("1.1.0")
        with machine.without_the_tool() as path:
            done = machine.command("upgrade", PATH=path)
        record = machine.record()
        self.assertEqual((done.returncode, record["phase"]), (1, "failed"), done.stderr)
        self.assertIn(machine.place.manager, record["error"])
        self.stays(machine)
        self.goes(machine, "1.1.0")

    def test_a_full_disk_leaves_what_was_there(self) -> None:
        machine = self.machine(size_mb=160)
        bulk = {"bulk.bin": random.Random(9).randbytes(BULK_MB << 20)}
        machine.place.publish("1.1.0", files=bulk)
        before = machine.place.tree()
        ends = []
        for room_mb in range(0, 60, 2):
            machine.fill(but_mb=room_mb)
            done = machine.command("upgrade")
            machine.empty()
            if done.returncode == 0:
                break
            self.assertNotIn("Traceback", done.stdout + done.stderr)
            self.assertEqual((done.returncode, machine.record()["phase"]), (1, "failed"))
            self.stays(machine)
            self.assertEqual(machine.place.tree(), before, room_mb)
            ends.append(machine.record()["step"])
        self.assertEqual(machine.runs(), "1.1.0")
        self.assertIn("reverting", ends)  # it was full in the midst of it, too
