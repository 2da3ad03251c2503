"""Settling with real files."""

from __future__ import annotations

import errno
import os
import signal
import time
import unittest
from unittest import mock

from hub_upgrade.domain import operation as op
from hub_upgrade.domain.boot_record import Next, Trial, Verdict
from hub_upgrade.domain.operation import Operation
from hub_upgrade.domain.transitions import LIMITS_S
from hub_upgrade.host import boot_store, files, processes, releases
from hub_upgrade.upgrade import recovery
from tests.upgrade.scene import Scene

NEWER = files.sha256(b"newer")
NAME = releases.name_of("1.1.0", NEWER)


class Settle(Scene):
    def claim(self, **fields: object) -> Operation:
        record = Operation(
            "o1", phase=op.RESTARTING, step=op.HANDING_OVER, target_release=NAME,
            target_digest=NEWER,
        )  # fmt: skip
        return self.store.claim(record._replace(**fields))  # type: ignore[arg-type]

    def settle(self) -> Operation | None:
        return recovery.settle_now(self.home, self.store, self.running, True)

    def test_a_verdict_ends_the_record_and_reaches_the_history(self) -> None:
        self.claim()
        verdict = Verdict("o1", "rejected", NAME, NEWER, "it hung", "t", ("last words",))
        boot_store.write_boot(self.home, self.boot._replace(verdicts=(verdict,)))
        settled = self.settle()
        assert settled is not None
        self.assertEqual((settled.phase, settled.rolled_back_to), (op.FAILED, "1.0.0"))
        self.assertEqual(self.record(), settled)
        self.assertEqual(len(self.store.history()), 1)

    def test_while_its_helper_lives_nothing_is_settled(self) -> None:
        claimed = self.claim(phase=op.RUNNING, step=op.STAGING)
        lock = self.take()
        self.assertEqual(self.settle(), claimed)
        lock.release()
        settled = self.settle()
        assert settled is not None
        self.assertIn("its helper ended", settled.error or "")

    def test_what_is_handed_over_waits(self) -> None:
        claimed = self.claim()
        boot_store.write_next(self.home, Next("o1", "upgrade", NAME, NEWER, False))
        self.assertEqual(self.settle(), claimed)

    def test_leftovers_of_a_dead_helper_go_with_its_record(self) -> None:
        self.claim(phase=op.RUNNING, step=op.STAGING)
        staging = os.path.join(self.home.releases, ".staging-1")
        os.mkdir(staging)
        with open(os.path.join(staging, "hub.pyz"), "wb"):
            pass
        self.settle()
        self.assertFalse(os.path.exists(staging))
        self.assertTrue(releases.is_whole(self.home, self.current))

    def test_settling_never_raises_where_home_is_no_use(self) -> None:
        self.claim()
        os.mkdir(self.home.operation_lock)
        self.assertEqual(self.settle(), self.record())

    def test_an_end_that_cannot_be_recorded_says_why_and_is_recorded_later(self) -> None:
        claimed = self.claim(phase=op.RUNNING, step=op.STAGING)
        full = OSError(errno.ENOSPC, "No space left on device")
        with mock.patch.object(os, "replace", side_effect=full):
            waiting = self.settle()
        assert waiting is not None
        self.assertEqual(waiting._replace(error=None), claimed)
        self.assertIn("cannot be written: No space left on device", waiting.error or "")
        self.assertEqual(self.record(), claimed)
        settled = self.settle()
        assert settled is not None
        self.assertEqual(settled.phase, op.FAILED)

    def test_a_stop_says_that_it_was_one(self) -> None:
        self.claim(phase=op.RUNNING, step=op.STAGING)
        ended = recovery.settle_now(
            self.home, self.store, self.running, True, recovery.HUB_STOPPED
        )
        assert ended is not None
        self.assertIn("the hub was stopped", ended.error or "")

    def test_busy_is_a_live_owner_or_something_pending(self) -> None:
        self.assertFalse(recovery.busy(self.home))
        lock = self.take()
        self.assertTrue(recovery.busy(self.home))
        lock.release()
        boot_store.write_next(self.home, Next("o1", "upgrade", NAME, NEWER, False))
        self.assertTrue(recovery.busy(self.home))
        boot_store.remove_next(self.home)
        trial = Trial(NAME, NEWER, None, "factory", 1)
        boot_store.write_boot(self.home, self.boot._replace(trial=trial))
        self.assertTrue(recovery.busy(self.home))


class Overdue(unittest.TestCase):
    def test_each_step_has_its_own_time_by_the_lookers_clock(self) -> None:
        watch = recovery.Watch()
        record = Operation("o1", phase=op.RUNNING, step=op.STAGING)
        limit = LIMITS_S[op.STAGING]
        self.assertFalse(watch.overdue(record, 100.0))
        self.assertFalse(watch.overdue(record, 100.0 + limit))
        self.assertTrue(watch.overdue(record, 101.0 + limit))
        later = record._replace(step=op.VERIFYING)
        self.assertFalse(watch.overdue(later, 101.0 + limit))
        self.assertFalse(watch.overdue(None, 101.0 + limit))

    def test_time_in_which_the_looker_slept_does_not_count(self) -> None:
        watch = recovery.Watch()
        record = Operation("o1", phase=op.RUNNING, step=op.VERIFYING)
        watch.overdue(record, 0.0)
        watch.slept(1000.0)
        self.assertFalse(watch.overdue(record, 1000.0))

    def test_a_helper_is_ended_with_its_group_and_a_stranger_is_not(self) -> None:
        pid = processes.spawn(["/bin/sh", "-c", "sleep 60 & wait"], {}, {})
        for _ in range(500):
            if os.getpgid(pid) == pid:
                break
            time.sleep(0.01)
        started = processes.start_time(pid)
        record = Operation("o1", phase=op.RUNNING, helper_pid=pid, helper_start_time="1")
        self.assertFalse(recovery.end_helper(record))
        self.assertTrue(recovery.end_helper(record._replace(helper_start_time=started)))
        _pid, status = os.waitpid(pid, 0)
        self.assertEqual(os.WTERMSIG(status), signal.SIGKILL)


if __name__ == "__main__":
    unittest.main()
