"""A managed hub's operation in a world of plain values, killed before and after each act of it."""

from __future__ import annotations

import os
import unittest
from unittest import mock

from hub_upgrade.domain import operation as op
from hub_upgrade.domain.operation import Request, Undo
from hub_upgrade.errors import HostError
from hub_upgrade.host import commands, managed_store
from hub_upgrade.host.files import Lock
from tests.upgrade.managed_world import FakeRewriter, Killed, ManagedCase


class ManagedTest(ManagedCase):
    # --- one by one ---

    def test_an_upgrade_is_proven_by_a_new_process(self) -> None:
        self.claim()
        self.assertEqual(self.go(), 0)
        record = self.record()
        self.assertEqual((record.phase, record.target_version), (op.SUCCEEDED, "1.1.0"))
        self.assertEqual(record.integrity, "sha512-1.1.0")
        self.assertEqual(self.hooks(), ["backup"])
        self.assertIn("| installing", record.log)
        self.is_true("upgrade")
        previous = managed_store.read(self.home).previous
        self.assertEqual(previous and previous.version, "1.0.0")

    def test_what_runs_already_is_not_restarted(self) -> None:
        self.world.registry["latest"] = "1.0.0"
        self.claim()
        self.assertEqual(self.go(), 0)
        self.assertEqual((self.record().phase, self.world.restarts), (op.SUCCEEDED, 0))
        self.assertIsNone(self.record().undo)

    def test_a_disk_that_changed_under_the_hub_is_only_restarted(self) -> None:
        self.world.disk = "1.1.0"
        self.claim()
        self.assertEqual(self.go(), 0)
        self.assertEqual((self.world.restarts, self.hooks()), (1, []))
        self.assertEqual(self.record().undo, Undo(op.NOTHING, "-"))

    def test_a_disk_that_changed_to_something_else_is_to_be_restarted_first(self) -> None:
        self.world.disk = "1.0.5"
        self.claim()
        self.assertEqual(self.go(), 1)
        self.assertIn("1.0.5 lies on the disk, and 1.0.0 runs", self.record().error or "")
        self.assertEqual((self.world.disk, self.world.restarts), ("1.0.5", 0))

    def test_a_downgrade_is_refused_with_the_command_that_forces_it(self) -> None:
        self.claim(request=Request("0.9.0"))
        self.assertEqual(self.go(), 1)
        force = "hub.pyz upgrade --version 0.9.0 --allow-downgrade"
        self.assertIn(force, self.record().error or "")
        self.assertEqual(self.hooks(), [])
        self.is_true("downgrade")

    def test_a_sick_version_is_taken_back_and_not_tried_again(self) -> None:
        self.world.sick.add("1.1.0")
        self.claim()
        self.assertEqual(self.go(), 5)
        record = self.record()
        self.assertEqual(record.rolled_back_to, "1.0.0")
        self.assertIn("it answers 500", record.error or "")
        self.assertEqual(self.hooks(), ["backup", "restore"])
        self.assertEqual(self.world.kept, {})
        self.is_true("sick")
        self.claim(operation_id="o2")
        self.assertEqual(self.go(), 1)
        self.assertIn("failed here before", self.record().error or "")
        self.world.sick.clear()
        self.claim(operation_id="o3", request=Request("1.1.0"))
        self.assertEqual(self.go(), 0)
        self.assertEqual(managed_store.read(self.home).rejected, ())

    def test_two_homes_upgrade_one_hub_one_after_the_other(self) -> None:
        other = Lock.on_directory(self.home.root)
        assert other is not None
        self.addCleanup(other.release)
        self.claim()
        self.assertEqual(self.go(), 1)
        error = self.record().error or ""
        self.assertIn(f"another home's upgrade is at work in {self.home.root}: wait", error)
        self.assertEqual((self.world.disk, self.world.kept, self.hooks()), ("1.0.0", {}, []))
        other.release()
        self.claim(operation_id="o2")
        self.assertEqual(self.go(), 0)

    def test_what_is_rewritten_is_gone_on_with_also_while_another_home_is_at_work(self) -> None:
        self.claim()
        self.world.kill_at = len(self.world.acts) + 100
        self.world.fails = lambda: setattr(self.world, "kill_at", len(self.world.acts))
        with self.assertRaises(Killed):
            self.go()
        self.world.kill_at = -1
        other = Lock.on_directory(self.home.root)
        assert other is not None
        self.addCleanup(other.release)
        self.go()
        self.is_true("gone on with")

    def test_one_that_its_runtime_started_again_while_it_was_rewritten_is_proven(self) -> None:
        """Nobody could have it restarted: the process that we were told of is gone."""

        def is_started() -> None:
            self.world.disk = "1.1.0"
            self.world.start()

        self.world.fails = is_started
        self.claim()
        self.assertEqual((self.go(), self.world.restarts), (0, 0))
        self.is_true("by its runtime")

    def test_a_tool_that_fails_is_put_back_without_a_restart(self) -> None:
        def fails() -> None:
            raise HostError("bun failed: no space left on device")

        self.world.fails = fails
        self.claim()
        self.assertEqual(self.go(), 1)
        self.assertIn("no space left on device", self.record().error or "")
        self.assertEqual((self.world.restarts, self.record().rolled_back_to), (0, None))
        self.is_true("tool")

    def test_a_tool_that_is_missing_is_told_with_its_exit_127(self) -> None:
        def fails() -> None:
            raise commands.missing("bun is not on the path: install it first")

        self.world.fails = fails
        self.claim()
        self.assertEqual(self.go(), 1)
        self.assertIn("install it first (exit 127)", self.record().error or "")
        self.is_true("missing")

    def test_before_upgrade_that_fails_stops_before_anything_is_rewritten(self) -> None:
        self.settings = self.settings._replace(before_upgrade=("sh", "-c", "echo full >&2; exit 3"))
        self.claim()
        self.assertEqual(self.go(), 1)
        error = "before_upgrade failed (exit 3): full; nothing was changed"
        self.assertEqual(self.record().error, error)
        self.assertNotIn("swap", self.world.acts)
        self.assertEqual(self.world.kept, {})
        self.is_true("hook")

    def test_a_rollback_goes_to_what_was_kept_and_is_proven(self) -> None:
        self.claim()
        self.go()
        self.claim(operation_id="o2", kind=op.ROLLBACK, current_version="1.1.0")
        self.assertEqual(self.go(), 0)
        record = self.record()
        self.assertEqual((record.phase, record.target_version), (op.SUCCEEDED, "1.0.0"))
        self.assertEqual((self.world.disk, self.world.running), ("1.0.0", "1.0.0"))
        self.assertEqual(self.hooks(), ["backup", "restore"])
        self.assertEqual(self.world.kept, {})
        self.assertEqual(managed_store.read(self.home).rejected, ("1.1.0",))
        self.claim(operation_id="o3", kind=op.ROLLBACK)
        self.go()
        self.assertIn("no version kept", self.record().error or "")

    def test_without_a_pid_the_record_waits_for_whoever_restarts_the_hub(self) -> None:
        self.world.told = False
        self.claim()
        self.go()
        self.assertEqual((self.record().phase, self.world.restarts), (op.RESTARTING, 0))
        self.go()
        self.assertEqual(self.record().phase, op.RESTARTING)
        self.world.start()
        self.go()
        self.assertEqual(self.record().phase, op.SUCCEEDED)
        self.is_true("waited")

    def test_redeploy_required_touches_nothing(self) -> None:
        self.claim()
        self.assertEqual(self.go(op.REDEPLOY_REQUIRED), 3)
        self.assertEqual((self.record().reason, self.record().source), ("why", "npm"))
        self.assertEqual(set(self.world.acts), {"record", "recorded"})

    def test_a_restart_that_is_refused_leaves_the_old_one_running_and_nothing_is_rejected(
        self,
    ) -> None:
        self.world.refuses = True
        self.claim()
        self.assertEqual(self.go(), 1)
        record = self.record()
        self.assertIn("NOT restarted: it does not end", record.error or "")
        self.assertIn("1.0.0 runs on", record.error or "")
        self.assertIsNone(record.rolled_back_to)
        self.assertEqual(managed_store.read(self.home).rejected, ())
        self.assertEqual((self.world.restarts, self.hooks()), (0, ["backup"]))
        self.is_true("refused")

    def test_what_was_kept_and_is_gone_is_told_and_nothing_waits_for_it(self) -> None:
        def fails() -> None:
            self.world.kept.clear()
            raise HostError("bun failed")

        self.world.fails = fails
        self.claim()
        self.assertEqual(self.go(), 1)
        self.assertIn("what was kept of 1.0.0 is gone", self.record().error or "")

    # --- killed at each act ---

    def test_what_is_back_ends_the_operation_also_where_its_dependencies_are_owed(self) -> None:
        self.world.sick.add("1.1.0")
        self.world.owed = "bun install failed: no network; it is owed"
        self.claim()
        self.assertEqual(self.go(), 5)
        error = self.record().error or ""
        self.assertIn("it answers 500; 1.0.0 runs; bun install failed", error)
        self.assertIn(self.world.owed, self.record().log)
        self.is_true("owed")

    def test_a_way_back_that_fails_is_gone_again_for_the_reason_that_it_was_begun_for(self) -> None:
        self.world.sick.add("1.1.0")
        self.claim()
        reverts = mock.patch.object(FakeRewriter, "revert", side_effect=HostError("no space"))
        with reverts as revert:
            self.assertEqual(self.go(), 1)
        self.assertEqual(revert.call_count, 1)
        self.assertFalse(self.record().finished)
        self.assertEqual(self.go(), 5)
        self.assertIn("it answers 500; 1.0.0 runs", self.record().error or "")
        self.is_true("the second time")

    def test_what_cannot_be_remembered_is_told_and_keeps_no_hub_down(self) -> None:
        for sick, phase in ((True, op.FAILED), (False, op.SUCCEEDED)):
            self.doCleanups()
            self.setUp()
            os.mkdir(managed_store.path_of(self.home))
            self.world.sick = {"1.1.0"} if sick else set()
            self.claim()
            self.go()
            self.assertEqual(self.record().phase, phase)
            self.assertIn("not remembered: ", "\n".join(self.record().log))
            self.is_true("without a memory")

    def test_a_helper_killed_at_any_act_of_an_upgrade_leaves_the_truth(self) -> None:
        self.assertGreater(self.every_life(sick=False, kind=op.UPGRADE), 20)

    def test_a_helper_killed_at_any_act_of_taking_back_leaves_the_truth(self) -> None:
        self.assertGreater(self.every_life(sick=True, kind=op.UPGRADE), 25)

    def test_a_helper_killed_at_any_act_of_a_rollback_leaves_the_truth(self) -> None:
        self.assertGreater(self.every_life(sick=False, kind=op.ROLLBACK), 20)


if __name__ == "__main__":
    unittest.main()
