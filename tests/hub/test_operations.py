"""The open operation as the hub's loop sees it: gone on with by another helper, told of once."""

from __future__ import annotations

import os
import subprocess
import sys
import unittest
from typing import Any, cast
from unittest import mock

from hub_upgrade.domain import operation as op
from hub_upgrade.domain.operation import Operation, Undo
from hub_upgrade.host import log, processes
from hub_upgrade.host.files import Lock
from hub_upgrade.hub.operations import FIRST_PAUSE_S, LONGEST_PAUSE_S, OpenOperation
from hub_upgrade.upgrade import recovery
from tests.upgrade.scene import Scene


class FakeLoop:
    time = 1000.0

    def now(self) -> float:
        return self.time

    def on_late(self, _act: Any) -> None:
        """Nothing is ever late here."""


class FakeHooks:
    def __init__(self) -> None:
        self.ends: list[str] = []
        self.asked = 0
        self.done = True

    def ended(self, record: Operation) -> None:
        self.ends.append(record.operation_id)

    def restored(self, _record: Operation) -> bool:
        self.asked += 1
        return self.done


class OpenOperationTest(Scene):
    def setUp(self) -> None:
        super().setUp()
        self.loop, self.hooks = FakeLoop(), FakeHooks()
        self.started: list[float] = []
        silenced = mock.patch.object(log, "say")
        silenced.start()
        self.addCleanup(silenced.stop)

    def make(self) -> OpenOperation:
        loop: Any = self.loop
        hooks: Any = self.hooks
        return OpenOperation(
            self.home, self.store, self.running, loop, lambda: True, self.start, hooks
        )

    def start(self, _operation: Operation, lock: Lock) -> int:
        self.assertIsNone(Lock.try_take(self.home.operation_lock), "it is not held for the helper")
        self.assertTrue(lock.still_ours())
        self.started.append(self.loop.time)
        return 0

    def claim(self, **fields: Any) -> Operation:
        """A managed hub's operation, half rewritten by a helper that is dead."""
        record = Operation(
            "o1", phase=op.RUNNING, step=op.REWRITING, install="package", undo=Undo(op.TREE, "x"),
            helper_pid=os.getpid(), helper_start_time="1",
        )  # fmt: skip
        return self.store.claim(record._replace(**fields))

    def test_another_helper_goes_on_with_pauses_that_grow(self) -> None:
        self.claim()
        operations = self.make()
        for _ in range(4000):
            operations.settle()
            self.loop.time += 0.1
        gaps = [after - before for before, after in zip(self.started, self.started[1:])]
        self.assertEqual(self.started[0], 1000.0)
        for number, gap in enumerate(gaps):
            expected = min(FIRST_PAUSE_S * 2**number, LONGEST_PAUSE_S)
            self.assertAlmostEqual(gap, expected, delta=0.2)
        self.assertGreater(len(gaps), 8)

    def test_a_new_operation_begins_with_a_short_pause_again(self) -> None:
        self.claim()
        operations = self.make()
        for _ in range(4):
            operations.settle()
            self.loop.time += LONGEST_PAUSE_S
        self.store.update("o1", lambda record: record._replace(phase=op.FAILED))
        operations.settle()
        self.claim(operation_id="o2")
        operations.settle()
        self.loop.time += FIRST_PAUSE_S + 0.01
        operations.settle()
        self.assertAlmostEqual(self.started[-1] - self.started[-2], FIRST_PAUSE_S, delta=0.02)

    def test_nobody_is_started_beside_a_lock_that_is_held(self) -> None:
        self.claim()
        operations, lock = self.make(), self.take()
        for _ in range(50):
            operations.settle()
            self.loop.time += 10
        self.assertEqual(self.started, [])
        lock.release()
        operations.settle()
        self.assertEqual(len(self.started), 1)

    def test_nobody_is_started_beside_a_helper_that_lives(self) -> None:
        pid = os.getpid()
        self.claim(helper_pid=pid, helper_start_time=processes.start_time(pid))
        operations = self.make()
        operations.settle()
        self.assertEqual((self.started, operations.helper()[0]), ([], pid))

    def test_a_helper_that_cannot_be_started_is_tried_again(self) -> None:
        self.claim()
        operations = self.make()
        with mock.patch.object(operations, "_start_helper", side_effect=OSError(11, "no fork")):
            operations.settle()
        lock = Lock.try_take(self.home.operation_lock)
        assert lock is not None
        lock.release()
        self.loop.time += FIRST_PAUSE_S + 0.01
        operations.settle()
        self.assertEqual(len(self.started), 1)

    def test_a_lock_that_cannot_be_taken_is_told_with_the_same_pauses(self) -> None:
        self.claim()
        operations = self.make()
        os.mkdir(self.home.operation_lock)
        for _ in range(100):
            operations.settle()
            self.loop.time += 0.1
        said = cast("mock.Mock", log.say).call_args_list
        self.assertEqual(len(said), 4, said)  # after 0, 1, 3 and 7 seconds
        self.assertIn("no helper can be started: Is a directory", said[0][0][1])

    def test_what_was_not_begun_is_over_with_its_helper(self) -> None:
        self.claim(undo=None, step=op.STAGING)
        self.make().settle()
        self.assertEqual((self.started, self.record().phase), ([], op.FAILED))
        self.assertIn("nothing was changed", self.record().error or "")

    def test_with_a_stop_nobody_is_started(self) -> None:
        self.claim()
        self.make().settle(recovery.HUB_STOPPED)
        self.assertEqual(self.started, [])
        self.assertFalse(self.record().finished)

    def test_the_helper_that_was_started_is_known_before_it_stands_in_the_record(self) -> None:
        record = self.claim()
        operations = self.make()
        child = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE)
        self.addCleanup(child.communicate)
        operations.started(record, child.pid)
        self.assertEqual(operations.helper()[0], child.pid)
        child.kill()
        child.wait()
        self.assertEqual(operations.helper(), (0, None))

    def test_an_end_is_told_once(self) -> None:
        self.claim(operation_id="o0", phase=op.SUCCEEDED)
        operations = self.make()
        changes: list[int] = []
        operations.changed = lambda: changes.append(1)
        operations.settle()
        self.assertEqual(self.hooks.ends, [])  # an earlier hub has told that
        self.claim(phase=op.FAILED)
        for _ in range(3):
            operations.settle()
        self.assertEqual((self.hooks.ends, changes), (["o1"], [1]))

    def test_what_ran_already_is_told_by_the_version_that_runs(self) -> None:
        operations = self.make()
        for target in ("1.1.0", None):
            self.claim(operation_id=f"to-{target}", phase=op.SUCCEEDED, target_version=target,
                       current_version="1.0.0")  # fmt: skip
            operations.settle()
        said = [call[0][1] for call in cast("mock.Mock", log.say).call_args_list]
        self.assertEqual(
            ["upgrade to-1.1.0 ended as succeeded: 1.1.0",
             "upgrade to-None ended as succeeded: 1.0.0"], said,
        )  # fmt: skip

    def test_after_rollback_comes_before_the_end_of_the_record(self) -> None:
        self.claim(undo=None, install="pyz", step=op.STAGING)
        operations = self.make()
        self.hooks.done = False
        with mock.patch.object(recovery, "wants_restoring", return_value=True):
            operations.settle()
            self.assertEqual((self.hooks.asked, self.record().finished), (1, False))
            self.hooks.done = True
            operations.settle()
        self.assertTrue(self.record().finished)


if __name__ == "__main__":
    unittest.main()
