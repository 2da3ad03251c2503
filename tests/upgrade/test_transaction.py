"""The linear preparation of an operation."""

from __future__ import annotations

import errno
import os
import unittest
from typing import Any

from hub_upgrade.domain import operation as op
from hub_upgrade.domain.boot_record import Next
from hub_upgrade.domain.operation import Operation, Request
from hub_upgrade.errors import RefusedError
from hub_upgrade.host import boot_store, files, releases
from hub_upgrade.host.status_store import StatusStore
from hub_upgrade.settings import load
from hub_upgrade.upgrade import transaction
from hub_upgrade.upgrade.transaction import Transaction
from tests.upgrade.scene import Scene

NEWER = files.sha256(b"newer")


def refuse() -> None:
    raise RefusedError("preflight", "it does not start")


class Prepare(Scene):
    def start(self, store: StatusStore | None = None, **fields: Any) -> int:
        operation = Operation(
            "o1", current_version="1.0.0", current_release=self.current, started_at="t"
        )._replace(**fields)
        self.store.claim(operation)
        self.take()
        return Transaction(
            operation, self.home, store or self.store, self.source,
            self.preflight, self.launcher, self.log, load({"config-dir": self.home.root}, {}),
        ).run()  # fmt: skip

    def failed(self, **values: Any) -> str:
        """Run to a failure that leaves everything as it was; its sentence."""
        before = sorted(os.listdir(self.home.releases))
        self.assertEqual(self.start(**values), 1)
        record = self.record()
        self.assertEqual(record.phase, op.FAILED)
        self.assertEqual(self.launcher.handed, [])
        self.assertEqual(sorted(os.listdir(self.home.releases)), before)
        self.assertIsNotNone(record.finished_at)
        return record.error or ""

    def test_a_newer_release_is_prepared_and_handed_over(self) -> None:
        self.assertEqual(self.start(), 0)
        name = releases.name_of("1.1.0", NEWER)
        self.assertEqual(self.launcher.handed, [Next("o1", "upgrade", name, NEWER, False)])
        record = self.record()
        self.assertEqual((record.phase, record.step), (op.RESTARTING, op.PROVING))
        self.assertEqual((record.target_version, record.target_release), ("1.1.0", name))
        self.assertEqual(record.target_digest, NEWER)
        self.assertEqual(record.undo, op.Undo("release", self.current))
        self.assertEqual(record.helper_pid, os.getpid())
        self.assertEqual(self.preflight.tried, [releases.path_of(self.home, name)])
        self.assertIn("a note", record.log)

    def test_every_step_is_recorded_before_its_act(self) -> None:
        seen: list[str] = []

        def handed(nxt: Next) -> bool:
            record = self.record()
            seen.append(record.step)
            self.assertEqual((record.phase, record.target_release), (op.RESTARTING, nxt.release))
            self.assertIsNotNone(record.undo)
            return True

        self.source.before_staging = lambda: seen.append(self.record().step)
        self.preflight.on_prove = lambda: seen.append(self.record().step)
        self.launcher.on_hand_over = handed
        self.start()
        self.assertEqual(seen, [op.STAGING, op.PREFLIGHT, op.HANDING_OVER])

    def test_a_step_that_cannot_be_recorded_stops_before_its_act(self) -> None:
        # resolving, staging, its progress, verifying, preflight, handing over
        for room, tried in enumerate((0, 0, 0, 0, 0, 1)):
            self.setUp()
            self.assertEqual(self.start(store=self.filling(room)), 1)
            self.assertEqual((self.launcher.handed, len(self.preflight.tried)), ([], tried), room)
            self.assertIn(self.record().phase, (op.PENDING, op.RUNNING))
            self.assertFalse(releases.is_whole(self.home, releases.name_of("1.1.0", NEWER)))
            self.doCleanups()
        self.setUp()
        self.assertEqual(self.start(store=self.filling(6)), 0)
        self.assertEqual(len(self.launcher.handed), 1)

    def filling(self, room: int) -> StatusStore:
        """A store whose disk takes `room` more writes."""
        left = [room]

        def write(path: str, data: bytes) -> None:
            if left[0] <= 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            left[0] -= 1
            files.write_durably(path, data)

        return StatusStore(self.home, write)

    def test_a_full_disk_while_staging_fails_clean(self) -> None:
        def full() -> None:
            raise OSError(errno.ENOSPC, "No space left on device", "releases/x")

        self.source.before_staging = full
        self.assertIn("No space left on device", self.failed())

    def test_what_runs_already_is_a_success_without_a_restart(self) -> None:
        self.source.channels["latest"] = "1.0.0"
        self.assertEqual(self.start(), 0)
        record = self.record()
        self.assertEqual((record.phase, record.error), (op.SUCCEEDED, None))
        self.assertIn("nothing was restarted", record.log[-1])
        self.assertEqual(self.launcher.handed, [])

    def test_what_runs_without_being_the_current_release_is_not_taken_for_proven(self) -> None:
        self.source.channels["latest"] = "1.0.0"
        boot_store.write_boot(self.home, self.boot._replace(current=self.before))
        self.start()
        self.assertEqual([nxt.release for nxt in self.launcher.handed], [self.current])

    def test_other_bytes_of_the_same_version_are_another_release(self) -> None:
        self.source.files["1.0.0"] = b"rebuilt"
        self.source.channels["latest"] = "1.0.0"
        self.start()
        self.assertEqual(len(self.launcher.handed), 1)

    def test_a_downgrade_is_refused_with_the_command_that_forces_it(self) -> None:
        self.source.channels["latest"] = "0.9.0"
        self.assertIn("upgrade --version 0.9.0 --allow-downgrade", self.failed())
        self.setUp()
        self.source.channels["latest"] = "0.9.0"
        self.start(request=Request(None, True))
        self.assertEqual([nxt.release for nxt in self.launcher.handed], [self.before])

    def test_a_rejected_release_is_tried_again_only_when_it_is_named(self) -> None:
        boot_store.write_boot(self.home, self.boot._replace(rejected=(NEWER,)))
        self.assertIn("upgrade --version 1.1.0", self.failed())
        self.setUp()
        boot_store.write_boot(self.home, self.boot._replace(rejected=(NEWER,)))
        self.start(request=Request("1.1.0", False))
        self.assertTrue(self.launcher.handed[0].named)

    def test_an_unresolvable_target_is_refused(self) -> None:
        self.assertIn("there is no 7.0.0", self.failed(request=Request("7.0.0", False)))

    def test_a_release_that_fails_its_preflight_is_taken_away_again(self) -> None:
        self.preflight.on_prove = refuse
        self.assertEqual(self.failed(), "it does not start")

    def test_a_release_that_was_there_before_is_not_taken_away(self) -> None:
        name = releases.add(self.home, "1.1.0", b"newer")

        self.preflight.on_prove = refuse
        self.failed()
        self.assertTrue(releases.is_whole(self.home, name, NEWER))

    def test_a_newer_launchers_release_names_the_file_to_replace(self) -> None:
        self.preflight.needs = 2
        self.assertIn("replace /opt/hub.pyz", self.failed())
        self.assertEqual(self.preflight.tried, [])

    def test_a_bug_is_one_sentence_in_the_record_and_a_traceback_in_the_log(self) -> None:
        def bug() -> None:
            raise ZeroDivisionError("secret")

        self.preflight.on_prove = bug
        error = self.failed()
        self.assertIn("ZeroDivisionError", error)
        self.assertNotIn("secret", error)
        self.assertIn("Traceback", self.read_log())

    def test_a_boot_record_that_cannot_be_read_is_waited_for(self) -> None:
        with open(self.home.boot_json, "w", encoding="ascii") as file:
            file.write("{")
        wait, transaction.BOOT_WAIT_S = transaction.BOOT_WAIT_S, 0.15
        self.addCleanup(setattr, transaction, "BOOT_WAIT_S", wait)
        self.assertIn("boot.json", self.failed())

    def test_a_handover_that_cannot_be_written_fails_and_changes_nothing(self) -> None:
        def full(_nxt: Next) -> bool:
            raise OSError(errno.ENOSPC, "No space left on device")

        self.launcher.on_hand_over = full
        self.assertEqual(self.start(), 1)
        record = self.record()
        self.assertEqual(record.phase, op.FAILED)
        self.assertIn("No space left on device; nothing was changed", record.error or "")

    def test_without_a_launcher_it_is_decided_at_the_next_start(self) -> None:
        self.launcher.on_hand_over = lambda _nxt: False
        self.launcher.runs = False
        self.assertEqual(self.start(), 0)
        self.assertEqual(self.record().step, op.HANDING_OVER)
        self.assertIn("decided at the next start", self.read_log())

    def test_a_record_that_was_taken_away_stops_the_helper_before_its_act(self) -> None:
        def another() -> None:
            self.store.claim(Operation("o2"))

        self.source.before_staging = another
        self.assertEqual(self.start(), 1)
        self.assertEqual((self.launcher.handed, self.preflight.tried), ([], []))
        self.assertEqual(self.record(), self.record()._replace(operation_id="o2", phase=op.PENDING))

    def test_a_rollback_goes_to_the_release_that_was_accepted(self) -> None:
        digest = files.sha256(b"before")
        self.start(
            kind=op.ROLLBACK, target_version="0.9.0", target_release=self.before,
            target_digest=digest,
        )  # fmt: skip
        self.assertEqual(
            self.launcher.handed, [Next("o1", "rollback", self.before, digest, False)]
        )
        self.assertEqual(len(self.preflight.tried), 1)

    def test_a_rollback_to_a_damaged_release_is_refused(self) -> None:
        path = releases.path_of(self.home, self.before)
        os.chmod(path, 0o600)
        with open(path, "wb") as file:
            file.write(b"x")
        error = self.failed(
            kind=op.ROLLBACK, target_release=self.before, target_digest=files.sha256(b"before")
        )
        self.assertIn("missing or damaged", error)


if __name__ == "__main__":
    unittest.main()
