"""`status`, `history` and `plan`: with a hub and without."""

from __future__ import annotations

import json
import os
import unittest
from typing import Any
from unittest import mock

from hub_upgrade.cli import history, plan, status, upgrade
from hub_upgrade.domain.boot_record import BootRecord, Next, Trial, Verdict
from hub_upgrade.domain.operation import (
    FAILED,
    RESTARTING,
    SUCCEEDED,
    TREE,
    Operation,
    Undo,
    to_wire,
)
from hub_upgrade.host import boot_store, files
from hub_upgrade.host.files import Lock
from hub_upgrade.host.status_store import StatusStore
from tests.cli.scene import CliCase, FakeHub

DIGEST = "ab" * 32
NAME = f"1.1.0-{DIGEST[:16]}"
OPEN = Operation("an-id", phase="running", step="staging", current_version="1.0.0")


class StatusTest(CliCase):
    def setUp(self) -> None:
        super().setUp()
        files.make_directory(self.home.releases)
        self.store = StatusStore(self.home)

    def status(self) -> tuple[str, dict[str, Any]]:
        """What is said to people, and to programs; the exit code is always 0."""
        code, out, err = self.run_command(status.main)
        self.assertEqual((0, ""), (code, err))
        code, told, err = self.run_command(status.main, "--json")
        self.assertEqual((0, ""), (code, err))
        return out, json.loads(told)

    def test_there_was_never_an_operation(self) -> None:
        text, told = self.status()
        self.assertIn("no hub runs", text)
        self.assertIn("never", text)
        self.assertEqual({"operation_id": None, "hub": {"running": False}}, told)

    def test_a_home_that_is_not_there_is_not_made(self) -> None:
        os.rmdir(self.home.releases)
        os.rmdir(self.home.root)
        self.status()
        self.assertFalse(os.path.exists(self.home.root))

    def test_the_hub_that_runs_is_told(self) -> None:
        hub = self.serve()
        text, told = self.status()
        self.assertIn(f"hub 1.0.0 runs at http://127.0.0.1:{hub.port}", text)
        self.assertEqual(("1.0.0", os.getpid()), (told["hub"]["version"], told["hub"]["pid"]))
        self.assertEqual([], self.tokens())

    def test_the_hub_that_is_looked_after_is_told_with_its_version(self) -> None:
        other = FakeHub()
        self.addCleanup(other.close)
        url = f"http://127.0.0.1:{other.port}/health"
        files.write_json(self.home.hub_json, {"hub": {"health_url": url}})
        text, told = self.status()
        self.assertIn(f"no hub runs; the managed hub at {url} is 1.0.0\n", text)
        self.assertEqual({"health_url": url, "version": "1.0.0"}, told["hub"]["managed"])
        self.serve()
        other.instance, other.replies = "", {}
        with mock.patch.object(other, "reply", return_value=(500, {})):
            text, told = self.status()
        self.assertIn("hub 1.0.0 runs at ", text)
        self.assertIn(f"); the managed hub at {url} tells no version\n", text)
        self.assertEqual("", told["hub"]["managed"]["version"])

    def test_a_finished_operation_is_told_in_a_sentence_and_as_the_record(self) -> None:
        record = self.store.claim(OPEN._replace(phase=FAILED, error="the disk is full"))
        text, told = self.status()
        self.assertIn("The upgrade failed: the disk is full", text)
        self.assertEqual(to_wire(record), {k: v for k, v in told.items() if k != "hub"})

    def test_what_nobody_will_finish_is_settled_when_no_launcher_is_alive(self) -> None:
        self.store.claim(OPEN)
        self.assertEqual(FAILED, self.status()[1]["phase"])

    def test_with_a_launcher_alive_nothing_is_settled(self) -> None:
        self.store.claim(OPEN)
        self.serve()
        before = files.read_regular(self.home.status)
        text, told = self.status()
        self.assertEqual("running", told["phase"])
        self.assertIn("upgrade an-id: running (staging)", text)
        self.assertNotIn("note", told)
        self.assertEqual(before, files.read_regular(self.home.status))

    def test_a_helper_that_lives_is_left_alone(self) -> None:
        self.store.claim(OPEN)
        lock = Lock.try_take(self.home.operation_lock)
        assert lock is not None
        self.addCleanup(lock.release)
        self.assertEqual("running", self.status()[1]["phase"])

    def test_a_record_that_cannot_be_settled_is_told_all_the_same(self) -> None:
        os.mkdir(self.home.operation_lock)  # as one of another user's, for root too
        undo = Undo(TREE, "/kept")
        verdict = Verdict("an-id", "rejected", NAME, DIGEST, "it hangs", "now", ())
        boot_store.write_boot(self.home, BootRecord(verdicts=(verdict,)))
        waits = Operation("an-id", phase=RESTARTING, step="proving", target_release=NAME)
        for record in (OPEN._replace(step="rewriting", install="package", undo=undo), waits):
            self.store.claim(record)
            code, out, err = self.run_command(status.main)
            self.assertEqual(code, 0, err)
            self.assertIn(f"upgrade an-id: {record.phase} ({record.step})", out)
            self.assertIn(f"{self.home.operation_lock} cannot be locked: Is a directory", err)

    def test_a_managed_record_that_cannot_be_locked_is_watched_all_the_same(self) -> None:
        os.mkdir(self.home.operation_lock)
        record = OPEN._replace(step="rewriting", install="package", undo=Undo(TREE, "/kept"))
        self.store.claim(record)
        end = record._replace(phase=FAILED, step="proving", error="it hangs")
        code, out, err = self.watch(record, end)
        self.assertEqual((0, 1), (code, err.count("cannot be locked")), err)
        self.assertIn("upgrade an-id: running (rewriting)", out)
        self.assertIn("The upgrade failed: it hangs", out)

    def test_watching_shows_nothing_that_a_terminal_would_obey(self) -> None:
        self.serve()
        self.store.claim(OPEN._replace(requested_by="\x1b]0;t\x07"))
        _code, out, _err = self.watch(OPEN._replace(phase=FAILED, error="why"))
        self.assertTrue(out.replace("\n", "").isprintable(), out)

    def test_what_is_pending_with_no_launcher_is_decided_at_the_next_start(self) -> None:
        self.store.claim(OPEN._replace(phase=RESTARTING, step="proving", target_release=NAME))
        trial = Trial(NAME, DIGEST, "an-id", "upgrade", 2)
        boot_store.write_boot(self.home, BootRecord(trial=trial))
        text, told = self.status()
        self.assertEqual("decided at the next start", told["note"])
        self.assertIn("decided at the next start", text)
        self.assertEqual(RESTARTING, told["phase"])
        boot_store.write_boot(self.home, BootRecord())
        boot_store.write_next(self.home, Next("an-id", "upgrade", NAME, DIGEST, False))
        self.assertEqual("decided at the next start", self.status()[1]["note"])

    def test_who_asked_is_told(self) -> None:
        self.store.claim(OPEN._replace(phase=FAILED, requested_by="laptop from 10.0.0.7"))
        self.assertIn("asked by laptop from 10.0.0.7", self.status()[0])

    def watch(self, *records: Operation) -> tuple[int, str, str]:
        """What is told while the record becomes one after the other."""
        waiting = list(records)

        def sleep(_seconds: float) -> None:
            record = waiting.pop(0)
            if record.operation_id == OPEN.operation_id:
                self.store.update(record.operation_id, lambda _before: record)
            else:
                self.store.claim(record)

        with mock.patch("time.sleep", side_effect=sleep):
            return self.run_command(status.main, "--watch")

    def test_what_is_open_is_watched_to_its_end(self) -> None:
        self.serve()
        self.store.claim(OPEN)
        end = OPEN._replace(phase=FAILED, step="verifying", error="the disk is full")
        code, out, err = self.watch(OPEN._replace(step="verifying"), end)
        self.assertEqual((0, ""), (code, err))
        self.assertIn("staging: ", out)
        self.assertEqual("The upgrade failed: the disk is full", out.splitlines()[-2])

    def test_what_another_operation_has_followed_is_found_in_the_history(self) -> None:
        self.serve()
        self.store.claim(OPEN)
        end = OPEN._replace(phase=FAILED, error="the disk is full")
        with mock.patch("hub_upgrade.cli.client.launcher_holds", return_value=True):
            code, out, _err = self.watch(end, Operation("another"))
        self.assertEqual((0, "The upgrade failed: the disk is full"), (code, out.splitlines()[-2]))

    def test_with_nothing_open_watching_is_looking(self) -> None:
        self.assertIn("never", self.run_command(status.main, "--watch")[1])

    def test_watching_ends_when_nobody_goes_on_with_it(self) -> None:
        self.store.claim(OPEN._replace(phase=RESTARTING, step="proving", target_release=NAME))
        trial = Trial(NAME, DIGEST, "an-id", "upgrade", 2)
        boot_store.write_boot(self.home, BootRecord(trial=trial))
        self.serve()
        with mock.patch("time.sleep", side_effect=lambda _seconds: self.lock.release()):
            code, out, _err = self.run_command(status.main, "--watch")
        self.assertEqual(0, code)
        self.assertIn("decided at the next start", out.splitlines()[-1])

    def test_ctrl_c_ends_the_watching_alone(self) -> None:
        self.serve()
        self.store.claim(OPEN)
        with mock.patch("time.sleep", side_effect=KeyboardInterrupt):
            code, _out, err = self.run_command(status.main, "--watch")
        self.assertEqual((130, 1), (code, err.count("\n")))

    def test_what_is_watched_for_a_program_is_told_at_its_end_alone(self) -> None:
        self.serve()
        self.store.claim(OPEN)
        end = OPEN._replace(phase=FAILED, error="the disk is full")

        def finish(_seconds: float) -> None:
            self.store.update("an-id", lambda _before: end)

        with mock.patch("time.sleep", side_effect=finish):
            code, out, _err = self.run_command(status.main, "--watch", "--json")
        told = json.loads(out)
        self.assertEqual((0, FAILED, True), (code, told["phase"], told["hub"]["running"]))

    def test_no_state_of_the_files_is_a_crash(self) -> None:
        self.store.claim(OPEN._replace(phase=SUCCEEDED))
        for path in (
            self.home.status,
            self.home.serve_json,
            self.home.boot_json,
            self.home.next_json,
            self.home.tokens,
            self.home.history,
        ):
            for content in (b"", b"{", b"[]", b"{}", os.urandom(50)):
                with open(path, "wb") as file:
                    file.write(content)
                self.status()
            os.unlink(path)


class HistoryTest(CliCase):
    def test_the_newest_comes_first_and_each_is_one_line(self) -> None:
        store = StatusStore(self.home)
        for name, error in (("first", "why\nnot"), ("second", None)):
            store.claim(
                Operation(
                    name,
                    phase=FAILED,
                    current_version="1.0.0",
                    error=error,
                    target_version="1.1.0",
                    finished_at="2026-01-01T00:00:00.000Z",
                    requested_by=f"{name} from 10.0.0.7",
                )
            )
        code, out, _err = self.run_command(history.main)
        self.assertEqual((0, 2), (code, len(out.splitlines())))
        self.assertIn(
            "1.0.0 -> 1.1.0 failed, asked by first from 10.0.0.7: why not", out.splitlines()[1]
        )
        told = json.loads(self.run_command(history.main, "--json")[1])
        names = [record["operation_id"] for record in told["operations"]]
        self.assertEqual(["second", "first"], names)

    def test_none_is_no_failure(self) -> None:
        self.assertEqual(0, self.run_command(history.main)[0])
        told = self.run_command(history.main, "--json")[1]
        self.assertEqual({"operations": []}, json.loads(told))


class PlanTest(CliCase):
    plan = {"current": "1.0.0", "target": "1.1.0", "channel": "rc", "mode": "in-place",
            "source": "pyz", "reason": "it is writable", "evidence": ["a mount"], "note": "a note",
            "already_current": False, "stops": []}  # fmt: skip

    def answer(self, **changed: Any) -> tuple[int, str, str]:
        self.hub.replies["/api/hub/upgrade/plan"] = lambda: (200, {**self.plan, **changed})
        return self.run_command(plan.main, "--channel", "rc", "--allow-downgrade")

    def setUp(self) -> None:
        super().setUp()
        self.hub = self.serve()

    def test_the_hub_that_runs_is_asked(self) -> None:
        code, out, _err = self.answer()
        self.assertEqual(0, code)
        for words in ("1.0.0", "1.1.0", "rc", "in-place", "it is writable", "a mount", "a note"):
            self.assertIn(words, out)
        self.assertIn(
            "/api/hub/upgrade/plan?channel=rc&allow_downgrade=true",
            [path for _m, path, _t, _b in self.hub.asked],
        )

    def test_what_would_stop_it_is_exit_code_1_and_a_redeploy_3(self) -> None:
        stop = {"error": "downgrade", "error_description": "it is below"}
        code, out, _err = self.answer(stops=[stop])
        self.assertEqual(1, code)
        self.assertIn("it is below", out)
        self.assertEqual(3, self.answer(mode="redeploy-required", stops=[stop])[0])

    def test_already_current_is_exit_code_0(self) -> None:
        code, out, _err = self.answer(already_current=True)
        self.assertEqual(0, code)
        self.assertIn("Nothing to do", out)

    def test_a_dry_run_is_the_plan_in_the_same_words(self) -> None:
        for changed in (
            {},
            {"stops": [{"error": "x", "error_description": "it is below"}]},
            {"mode": "redeploy-required"},
            {"already_current": True},
        ):
            said = self.answer(**changed)
            dry = self.run_command(
                upgrade.main, "--dry-run", "--channel", "rc", "--allow-downgrade"
            )
            self.assertEqual(said, dry)
        self.assertFalse([path for method, path, _t, _b in self.hub.asked if method == "POST"])

    def test_the_hub_s_own_child_asks_nobody(self) -> None:
        self.run_command(plan.main, "--here")  # a source tree is no hub.pyz: it ends there
        self.assertEqual([], self.hub.asked)

    def test_a_hub_s_error_is_one_line(self) -> None:
        self.hub.replies["/api/hub/upgrade/plan"] = lambda: (
            500,
            {"error": "internal_error", "error_description": "a bug"},
        )
        code, out, err = self.run_command(plan.main)
        self.assertEqual((1, "", "hub.pyz plan: a bug\n"), (code, out, err))


if __name__ == "__main__":
    unittest.main()
