"""Following an operation through a hub: what is printed, and which exit code it ends with."""

from __future__ import annotations

import contextlib
import io
import json
import os
import unittest
from collections.abc import Iterable, Iterator
from typing import Any
from unittest import mock

from hub_upgrade.cli import client, follow, rollback, upgrade
from hub_upgrade.cli.live import Screen
from hub_upgrade.domain.operation import (
    FAILED,
    REDEPLOY_REQUIRED,
    ROLLBACK,
    SUCCEEDED,
    Operation,
    Undo,
    to_wire,
    with_lines,
)
from hub_upgrade.host import managed_store
from hub_upgrade.host.status_store import StatusStore
from tests.cli.scene import CliCase

POST = "/api/hub/upgrade"
STATUS = "/api/hub/upgrade/status"
ACCEPTED = {"operation_id": "an-id", "target_version": None, "channel": "latest",
            "mode": "in-place", "source": "pyz", "reason": "it is writable"}  # fmt: skip
START = Operation("an-id", current_version="1.0.0", target_version="1.1.0", install="pyz")
PROVEN = START._replace(
    phase=SUCCEEDED, step="proving", undo=Undo("release", "1.0.0-x"), log=("one", "two")
)
TAKEN_BACK = START._replace(
    phase=FAILED, step="proving", error="it answered 500; 1.0.0 runs", rolled_back_to="1.0.0"
)


class FollowTest(CliCase):
    def setUp(self) -> None:
        super().setUp()
        self.hub = self.serve()
        self.hub.replies[POST] = lambda: (202, ACCEPTED)
        patch = mock.patch.object(follow, "POLL_S", 0.001)
        patch.start()
        self.addCleanup(patch.stop)

    def records(self, *records: Operation) -> None:
        """What the status is, one after the other; the last one stays."""
        waiting = list(records)

        def reply() -> tuple[int, Any]:
            return 200, to_wire(waiting.pop(0) if len(waiting) > 1 else waiting[0])

        self.hub.replies[STATUS] = reply

    def upgrade(self, *argv: str) -> tuple[int, str, str]:
        return self.run_command(upgrade.main, *argv)

    def posted(self) -> list[Any]:
        return [body for method, _path, _token, body in self.hub.asked if method == "POST"]

    def test_each_line_and_step_is_printed_once_and_a_sentence_ends_it(self) -> None:
        staging = START._replace(phase="running", step="staging", log=("one",))
        self.records(START, staging, staging, PROVEN)
        code, out, err = self.upgrade()
        self.assertEqual((0, ""), (code, err))
        self.assertEqual(
            [
                "resolving: which release is it?",
                "  one",
                "staging: putting it beside what runs",
                "verifying: is it whole?",
                "preflight: trying it on a spare socket",
                "handing-over: handing it to the launcher",
                "proving: it serves, on probation",
                "  two",
                "Upgraded: 1.0.0 -> 1.1.0, and proven.",
            ],
            out.splitlines(),
        )
        self.assertEqual([], self.tokens())

    def test_the_flags_are_what_is_sent(self) -> None:
        self.records(PROVEN)
        self.upgrade("--channel", "rc", "--version", "v1.1.0", "--allow-downgrade")
        self.upgrade()
        sent = {"allow_downgrade": True, "channel": "rc", "version": "1.1.0"}
        self.assertEqual([sent, {"allow_downgrade": False}], self.posted())

    def test_every_end_has_its_exit_code_and_its_words(self) -> None:
        already = START._replace(phase=SUCCEEDED, step="resolving")
        failed = START._replace(phase=FAILED, error="the disk is full")
        redeploy = START._replace(phase=REDEPLOY_REQUIRED, reason="redeploy the image")
        for record, code, words in (
            (PROVEN, 0, "Upgraded: 1.0.0 -> 1.1.0"),
            (already, 0, "Nothing to do"),
            (failed, 1, "the disk is full"),
            (redeploy, 3, "redeploy the image"),
        ):
            self.records(record)
            got, out, _err = self.upgrade()
            self.assertEqual(code, got)
            self.assertIn(words, out)

    def test_what_was_taken_back_is_told_with_what_to_do_next_and_where_its_log_is(self) -> None:
        os.mkdir(self.home.logs)
        with open(os.path.join(self.home.logs, "upgrade-an-id.log"), "w", encoding="utf-8"):
            pass
        self.records(TAKEN_BACK)
        code, out, _err = self.upgrade()
        self.assertEqual(5, code)
        told = out.splitlines()[-3:]
        self.assertEqual("It answered 500; 1.0.0 runs", told[0])
        self.assertIn("hub.pyz upgrade --version 1.1.0", told[1])
        self.assertIn(f"{self.home.logs}/upgrade-an-id.log", told[2])

    def test_json_is_the_record_alone(self) -> None:
        self.records(START, TAKEN_BACK)
        code, out, err = self.upgrade("--json")
        self.assertEqual((5, ""), (code, err))
        self.assertEqual(to_wire(TAKEN_BACK), json.loads(out))

    def test_no_wait_says_only_that_it_was_accepted(self) -> None:
        code, out, _err = self.upgrade("--no-wait")
        self.assertEqual(0, code)
        self.assertIn("an-id", out)
        self.assertEqual(ACCEPTED, json.loads(self.upgrade("--no-wait", "--json")[1]))
        self.hub.replies[POST] = lambda: (202, {**ACCEPTED, "mode": REDEPLOY_REQUIRED})
        self.assertEqual(3, self.upgrade("--no-wait")[0])

    def test_ctrl_c_ends_the_following_alone(self) -> None:
        self.records(START)
        with mock.patch("time.sleep", side_effect=KeyboardInterrupt):
            code, _out, err = self.upgrade()
        self.assertEqual(130, code)
        self.assertIn("the operation goes on; see: hub.pyz status", err)
        self.assertEqual([], self.tokens())

    def test_a_refusal_is_one_line_and_in_json_an_object_too(self) -> None:
        refusal = {"error": "upgrade_in_flight", "error_description": "an-id is in flight"}
        self.hub.replies[POST] = lambda: (409, refusal)
        code, out, err = self.upgrade()
        sentence = "an-id is in flight; to follow it: hub.pyz status --watch"
        self.assertEqual((4, "", f"hub.pyz upgrade: {sentence}\n"), (code, out, err))
        code, out, _err = self.upgrade("--json")
        self.assertEqual((4, refusal), (code, json.loads(out)))

    def test_an_operation_that_another_has_followed_is_found_in_the_history(self) -> None:
        self.records(Operation("another"))
        self.hub.replies["/api/hub/upgrade/history"] = lambda: (
            200,
            {"operations": [to_wire(Operation("x")), to_wire(PROVEN)]},
        )
        self.assertEqual(0, self.upgrade()[0])
        self.hub.replies["/api/hub/upgrade/history"] = lambda: (200, {"operations": []})
        code, _out, err = self.upgrade()
        self.assertEqual(1, code)
        self.assertIn("hub.pyz history", err)

    def test_a_hub_that_is_stopped_meanwhile_leaves_the_decision_to_the_next_start(self) -> None:
        def stopped() -> tuple[int, Any]:
            self.lock.release()
            self.hub.drop_next = 100
            return 200, to_wire(START)

        self.hub.replies[STATUS] = stopped
        with mock.patch.object(client, "PAUSE_S", 0.001):
            code, _out, err = self.upgrade()
        self.assertEqual(1, code)
        self.assertIn("decided at the next start", err)

    def test_a_hub_that_is_stopped_after_the_end_has_told_it_in_the_record(self) -> None:
        def stopped() -> tuple[int, Any]:
            StatusStore(self.home).claim(PROVEN)
            self.lock.release()
            self.hub.drop_next = 100
            return 200, to_wire(START)

        self.hub.replies[STATUS] = stopped
        self.assertEqual(0, self.upgrade()[0])

    def test_an_operation_that_has_ended_and_whose_helper_tidies_up_is_waited_for(self) -> None:
        busy = {"error": "upgrade_in_flight", "error_description": "another process holds it"}
        answers = [(409, busy), (409, busy), (202, ACCEPTED)]
        self.hub.replies["/api/hub/upgrade"] = lambda: answers.pop(0)
        self.records(PROVEN)
        StatusStore(self.home).claim(PROVEN._replace(operation_id="the-one-before"))
        self.assertEqual(0, self.upgrade()[0])
        self.assertEqual(3, len(self.posted()))
        answers += [(409, busy)] * 99
        with mock.patch.object(follow, "LEAVING_S", 0.0):
            self.assertEqual(4, self.upgrade()[0])
        StatusStore(self.home).claim(START)
        left = len(answers)
        self.assertEqual(4, self.upgrade()[0])
        self.assertEqual(left - 1, len(answers))

    def test_another_source_than_the_hub_s_is_wrong_usage(self) -> None:
        code, _out, err = self.upgrade("--releases", "/elsewhere")
        self.assertEqual((2, 1), (code, err.count("\n")))
        self.assertEqual([], self.posted())

    def test_a_rollback_is_followed_in_its_own_words(self) -> None:
        self.hub.replies["/api/hub/rollback"] = lambda: (202, ACCEPTED)
        back = PROVEN._replace(kind=ROLLBACK, current_version="1.1.0", target_version="1.0.0")
        self.records(back)
        code, out, _err = self.run_command(rollback.main)
        self.assertEqual((0, "Rolled back: 1.1.0 -> 1.0.0."), (code, out.splitlines()[-1]))
        self.assertNotIn("staging", out)

    def test_wrong_usage_is_one_line_and_asks_no_hub(self) -> None:
        for argv in (
            ["--channel", "beta"],
            ["--version"],
            ["--version", "1"],
            ["--bogus"],
            ["x"],
            ["--vers", "1.0.0"],
        ):
            code, out, err = self.upgrade(*argv)
            self.assertEqual((2, "", 1), (code, out, err.count("\n")), (argv, err))
        self.assertEqual([], self.hub.asked)


class TellerTest(unittest.TestCase):
    def told(self, records: Iterable[Operation]) -> list[str]:
        out = io.StringIO()
        teller = follow.Teller(Screen())
        with contextlib.redirect_stdout(out):
            for record in records:
                teller.tell(record)
        return out.getvalue().splitlines()

    def test_a_log_whose_middle_went_goes_on_after_the_line_that_was_told_last(self) -> None:
        def growing() -> Iterator[Operation]:
            operation = START
            for start in range(0, 1500, 100):
                lines = [f"line {number}" for number in range(start, start + 100)]
                operation = with_lines(operation, lines)
                yield operation

        self.assertEqual([f"  line {number}" for number in range(1500)], self.told(growing()))

    def test_a_helper_that_begins_anew_is_told_of_anew(self) -> None:
        said = self.told(
            START._replace(phase="running", step=step)
            for step in ("staging", "resolving", "staging")
        )
        steps = [line.partition(":")[0] for line in said]
        self.assertEqual(["resolving", "staging", "resolving", "staging"], steps)


class AdviceTest(CliCase):
    def test_what_a_checkout_has_left_may_need_a_tag_to_be_named(self) -> None:
        left = PROVEN._replace(phase=FAILED, rolled_back_to="1.0.0", error="it hung")
        command = "hub.pyz upgrade --version 1.1.0"
        managed_store.write(self.home, managed_store.read(self.home).rejecting("1.1.0"))
        for install, said in (
            ("pyz", command), ("package", command),
            ("git", f"(once its branch bears another, by the tag v1.1.0) {command}"),
        ):  # fmt: skip
            told = follow.advice(self.home, left._replace(install=install))
            self.assertEqual([f"It is not tried again until you name it: {said}"], told)

    def test_what_is_not_held_against_a_version_is_not_said_of_it(self) -> None:
        """Its manager never began to start it, for example."""
        left = PROVEN._replace(phase=FAILED, rolled_back_to="1.0.0", error="it hit a limit")
        self.assertEqual([], follow.advice(self.home, left._replace(install="package")))


if __name__ == "__main__":
    unittest.main()
