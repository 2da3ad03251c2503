"""The single slot and the history."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import shutil
import tempfile
import time
import unittest
from unittest import mock

from hub_upgrade.domain import operation as op
from hub_upgrade.domain.operation import Operation, with_line
from hub_upgrade.domain.transitions import finish
from hub_upgrade.host import files, status_store
from hub_upgrade.host.files import Home, Lock
from hub_upgrade.host.status_store import (
    HISTORY_LIMIT,
    MemoryStatusStore,
    NotRecordedError,
    StatusStore,
)


def done(record: Operation) -> Operation:
    return finish(record, op.FAILED, files.now_rfc3339(), "no")


def quickly(path: str, data: bytes) -> None:
    """A whole replacement without syncs: for what is not about power cuts."""
    temporary = f"{path}.{os.getpid()}"
    with open(temporary, "wb") as file:
        file.write(data)
    os.replace(temporary, path)


def add_lines(root: str, name: str, count: int) -> None:
    store = StatusStore(Home(root), quickly)
    for number in range(count):
        store.update("o1", lambda r, n=number: with_line(r, f"{name} {n}"))  # type: ignore[misc]


class InHome(unittest.TestCase):
    def setUp(self) -> None:
        self.root = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.root)
        self.home = Home(self.root)
        self.store = StatusStore(self.home)


class Slot(InHome):
    def test_what_is_claimed_is_read_by_another_store(self) -> None:
        claimed = self.store.claim(Operation("o1"))
        self.assertEqual(StatusStore(self.home).read(), claimed)
        self.assertEqual(os.stat(self.home.status).st_mode & 0o777, 0o600)

    def test_a_path_that_is_no_utf8_is_kept_as_it_is_and_told_in_plain_unicode(self) -> None:
        where = os.fsdecode(b"/t\xff/\xc3\xa9")
        record = Operation("o1", place=("git", where), undo=op.Undo(op.TREE, where))
        claimed = self.store.claim(record)
        for store in (self.store, StatusStore(self.home)):
            self.assertEqual(store.read(), claimed)
            self.assertIn("/t?/é", (store.wire() or b"").decode("utf-8"))
            self.assertNotIn(b"\\u", store.wire() or b"")

    def test_a_write_for_another_operation_is_a_no_op(self) -> None:
        self.store.claim(Operation("o1"))
        self.assertIsNone(self.store.update("o2", done))
        found = self.store.read()
        assert found is not None
        self.assertEqual(found.phase, op.PENDING)

    def test_a_terminal_record_is_never_overwritten(self) -> None:
        self.store.claim(Operation("o1"))
        ended = self.store.update("o1", done)
        self.assertIsNone(self.store.update("o1", lambda r: r._replace(phase=op.RUNNING)))
        self.assertEqual(self.store.read(), ended)

    def test_what_another_process_writes_is_seen_at_once_and_read_only_then(self) -> None:
        self.assertIsNone(self.store.wire())
        other = StatusStore(self.home)
        other.claim(Operation("o1"))
        for number in range(50):
            other.update("o1", lambda r, n=number: r._replace(reason=f"{n:03}"))  # type: ignore[misc]
            self.assertEqual(json.loads(self.store.wire() or b"")["reason"], f"{number:03}")
        old = time.time() - 10
        os.utime(self.home.status, (old, old))
        first = self.store.wire()
        self.assertIs(self.store.wire(), first)
        os.unlink(self.home.status)
        self.assertIsNone(self.store.wire())

    def test_two_replacements_within_one_tick_of_the_clock_are_told_apart(self) -> None:
        self.assertGreater(status_store.RACY_S, 0.01)  # a tick of the clock
        racy = mock.patch.object(status_store, "RACY_S", 60)  # within it, however slow the disk is
        racy.start()
        self.addCleanup(racy.stop)
        self.store.claim(Operation("o1"))
        found = os.stat(self.home.status)
        self.assertIn(b'"o1"', self.store.wire() or b"")
        with open(self.home.status, "r+b") as file:  # as if a freed inode were used again at once
            content = file.read().replace(b'"o1"', b'"o2"')
            file.seek(0)
            file.write(content)
        os.utime(self.home.status, ns=(found.st_atime_ns, found.st_mtime_ns))
        self.assertEqual(os.stat(self.home.status).st_ino, found.st_ino)
        self.assertIn(b'"o2"', self.store.wire() or b"")

    def test_what_is_malformed_reads_as_none_and_only_a_claim_moves_it_aside(self) -> None:
        for content in (b"", b"{", b"\xff\x00", b"[]", b'{"operation_id": 3}', None):
            if content is None:
                os.mkdir(self.home.status)
            else:
                with open(self.home.status, "wb") as file:
                    file.write(content)
            self.assertIsNone(self.store.read())
            self.assertIsNone(self.store.wire())
            self.assertIsNone(self.store.update("o1", done))
            self.assertFalse(os.path.lexists(self.home.status + ".corrupt"))
            self.assertEqual(self.store.history(), [])
            self.store.claim(Operation("o1"))
            self.assertTrue(os.path.lexists(self.home.status + ".corrupt"))
            os.unlink(self.home.status)
            shutil.rmtree(self.home.status + ".corrupt", ignore_errors=True)
            if os.path.lexists(self.home.status + ".corrupt"):
                os.unlink(self.home.status + ".corrupt")

    def test_a_dangling_link_in_the_slot_is_no_record_and_not_followed(self) -> None:
        target = os.path.join(self.root, "elsewhere")
        os.symlink(target, self.home.status)
        self.assertIsNone(self.store.read())
        self.store.claim(Operation("o1"))
        self.assertFalse(os.path.lexists(target))

    def test_a_full_disk_leaves_the_slot_as_it_was(self) -> None:
        claimed = self.store.claim(Operation("o1"))

        def full(_path: str, _data: bytes) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        store = StatusStore(self.home, full)
        with self.assertRaises(NotRecordedError) as caught:
            store.update("o1", done)
        self.assertTrue(caught.exception.full)
        with self.assertRaises(NotRecordedError):
            store.claim(Operation("o2"))
        self.assertEqual(self.store.read(), claimed)

    def test_state_lock_is_waited_for_only_so_long(self) -> None:
        self.store.claim(Operation("o1"))
        lock = Lock.try_take(self.home.state_lock)
        assert lock is not None
        with self.assertRaises(NotRecordedError):
            self.store.update("o1", done)
        lock.release()
        self.assertIsNotNone(self.store.update("o1", done))

    def test_many_writers_lose_nothing(self) -> None:
        patient = mock.patch.object(status_store, "LOCK_WAIT_S", 60)  # they are only slow
        patient.start()
        self.addCleanup(patient.stop)
        self.store.claim(Operation("o1"))
        context = multiprocessing.get_context("fork")
        writers = [context.Process(target=add_lines, args=(self.root, name, 40)) for name in "abcd"]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        found = self.store.read()
        assert found is not None
        self.assertEqual(len(found.log), 160)

    def test_a_claim_removes_what_dead_writers_left(self) -> None:
        left = os.path.join(self.root, ".hub-upgrade-status.json.123.tmp")
        theirs = os.path.join(self.root, ".other.tmp")
        for path in (left, theirs):
            with open(path, "wb"):
                pass
        self.store.claim(Operation("o1"))
        self.assertFalse(os.path.exists(left))
        self.assertTrue(os.path.exists(theirs))


class History(InHome):
    def end(self, operation_id: str) -> None:
        self.store.claim(Operation(operation_id))
        self.store.update(operation_id, done)

    def test_it_holds_the_ended_operations_newest_first_and_once(self) -> None:
        for name in ("o1", "o2", "o3"):
            self.end(name)
        self.store.claim(Operation("o4"))
        ids = [entry["operation_id"] for entry in self.store.history()]
        self.assertEqual(ids, ["o3", "o2", "o1"])

    def test_it_keeps_the_last_hundred_with_the_ends_of_their_logs(self) -> None:
        fast = StatusStore(self.home, quickly)
        for number in range(HISTORY_LIMIT + 5):
            fast.claim(Operation(f"o{number}", log=("x",) * 400))
            fast.update(f"o{number}", done)
        history = self.store.history()
        self.assertEqual(len(history), HISTORY_LIMIT)
        self.assertEqual(history[0]["operation_id"], f"o{HISTORY_LIMIT + 4}")
        self.assertEqual(len(history[0]["log"]), 50)

    def test_an_end_that_missed_the_history_is_shown_and_added_by_the_next_claim(self) -> None:
        def no_history(path: str, data: bytes) -> None:
            if path == self.home.history:
                raise OSError(errno.ENOSPC, "full")
            files.write_durably(path, data)

        self.store = StatusStore(self.home, no_history)
        self.end("o1")
        self.assertFalse(os.path.exists(self.home.history))
        self.assertEqual([e["operation_id"] for e in self.store.history()], ["o1"])
        self.store = StatusStore(self.home)
        self.end("o2")
        ids = [entry["operation_id"] for entry in self.store.history()]
        self.assertEqual(ids, ["o2", "o1"])

    def test_bad_lines_are_passed_over(self) -> None:
        self.end("o1")
        with open(self.home.history, "ab") as file:
            file.write(b"nonsense\n[]\n\xff\n")
        self.end("o2")
        ids = [entry["operation_id"] for entry in self.store.history()]
        self.assertEqual(ids, ["o2", "o1"])

    def test_a_redeploy_that_ends_at_once_is_in_it(self) -> None:
        self.store.claim(finish(Operation("o1"), op.REDEPLOY_REQUIRED, "now"))
        self.assertEqual([e["operation_id"] for e in self.store.history()], ["o1"])


class Memory(unittest.TestCase):
    def test_it_behaves_as_the_file_does(self) -> None:
        store = MemoryStatusStore()
        self.assertIsNone(store.read())
        self.assertIsNone(store.wire())
        store.claim(Operation("o1"))
        self.assertIsNone(store.update("o2", done))
        ended = store.update("o1", done)
        assert ended is not None
        self.assertEqual(ended.phase, op.FAILED)
        self.assertIsNone(store.update("o1", done))
        self.assertEqual(json.loads(store.wire() or b"")["phase"], op.FAILED)
        self.assertEqual([e["operation_id"] for e in store.history()], ["o1"])


if __name__ == "__main__":
    unittest.main()
