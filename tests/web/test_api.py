"""The handlers, through the real table, with a real home and a helper that is none."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import unittest
from typing import Any
from unittest import mock

from hub_upgrade.domain.boot_record import BootRecord
from hub_upgrade.domain.install import Decision
from hub_upgrade.domain.operation import FAILED, Operation
from hub_upgrade.domain.settle import Running
from hub_upgrade.host import boot_store, files, log, releases
from hub_upgrade.host.children import ChildResult
from hub_upgrade.host.files import Home, Lock
from hub_upgrade.host.status_store import StatusStore
from hub_upgrade.host.token_store import ADMIN, READ, TokenStore
from hub_upgrade.settings import load
from hub_upgrade.upgrade.accept import Desk, Patience
from hub_upgrade.upgrade.survey_record import Survey
from hub_upgrade.web.api import ROUTES, App
from hub_upgrade.web.auth import bearer
from hub_upgrade.web.hosts import Hosts
from hub_upgrade.web.messages import Answer, Later, Request, Response
from hub_upgrade.web.routes import Table, dispatch

DIGEST = "ab" * 32


class ApiTest(unittest.TestCase):
    def setUp(self) -> None:
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.home = Home(os.path.join(scratch.name, "home"))
        files.make_directory(self.home.releases)
        boot_store.write_boot(self.home, BootRecord(current=f"1.0.0-{DIGEST[:16]}"))
        self.store = StatusStore(self.home)
        self.tokens = TokenStore(self.home)
        self.admin = self.tokens.create((ADMIN,), "laptop")
        self.reader = self.tokens.create((READ,), "monitor")
        self.started: list[Operation] = []
        self.missing: list[str] = []
        self.now = 1000.0
        self.table = Table(ROUTES, bearer(self.tokens), Hosts([]))
        self.build()

    def build(self, **changed: Any) -> None:
        desk = Desk(
            home=self.home,
            store=self.store,
            running=changed.pop("running", Running("1.0.0", None, DIGEST)),
            releases=changed.pop("releases", "/srv/releases"),
            trouble=None,
            survey=None,
            launcher_alive=lambda: True,
            start_helper=self.start_helper,
            patience=Patience(),
            home_persists=True,
        )
        settings: dict[str, Any] = {
            "settings": load({"config-dir": self.home.root}, {}),
            "version": "1.0.0",
            "digest": DIGEST,
            "instance": "an-instance",
            "started_at": "2026-01-01T00:00:00.000Z",
            "started": 990.0,
            "clock": lambda: self.now,
            "launcher_version": "0.9.0",
            "trouble": None,
            "program": "/home/releases/x/hub.pyz",
            "status_store": self.store,
            "tokens": self.tokens,
            "desk": desk,
            "missing": lambda: self.missing,
            "build_time": None,
            **changed,
        }
        self.app = App(**settings)

    def start_helper(self, operation: Operation, _lock: Lock) -> int:
        self.started.append(operation)
        return os.getpid()

    def answer(
        self, method: str, path: str, body: Any = b"", token: str | None = None
    ) -> Answer:
        path, _, query = path.partition("?")
        headers = {"host": "localhost", "authorization": f"Bearer {token or self.admin}"}
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = Request(method, path, query, headers, data, "192.0.2.7")
        return dispatch(self.table, request, self.app)

    def ask(self, *arguments: Any, **named: Any) -> tuple[int, Any]:
        answer = self.answer(*arguments, **named)
        assert isinstance(answer, Response)
        return answer.status, json.loads(answer.body)

    def refused(self, status: int, code: str, *arguments: Any, **named: Any) -> str:
        got, body = self.ask(*arguments, **named)
        self.assertEqual((status, code), (got, body.get("error")), body)
        self.assertEqual([], self.started)
        return str(body["error_description"])


class ReadingTest(ApiTest):
    def test_health_says_what_runs_and_is_made_only_once(self) -> None:
        status, body = self.ask("GET", "/health")
        self.assertEqual(200, status)
        self.assertEqual(
            {"status": "ok", "service": "parachute-hub", "version": "1.0.0", "release": DIGEST,
             "instance": "an-instance"},
            body,
        )
        self.assertIs(self.answer("GET", "/health"), self.answer("GET", "/health"))

    def test_health_needs_no_token_and_touches_no_disk(self) -> None:
        request = Request("GET", "/health", "", {"host": "anything.example"}, b"", "")
        with mock.patch("builtins.open", side_effect=AssertionError), \
                mock.patch("os.stat", side_effect=AssertionError):
            answer = dispatch(self.table, request, self.app)
        assert isinstance(answer, Response)
        self.assertEqual(200, answer.status)

    def test_ready_says_what_is_missing(self) -> None:
        self.assertEqual(200, self.ask("GET", "/ready")[0])
        self.missing = ["notes", "search"]
        status, body = self.ask("GET", "/ready")
        self.assertEqual((503, ["notes", "search"]), (status, body["missing"]))
        self.assertIn("notes, search", body["error_description"])

    def test_the_hub_tells_about_the_process_that_runs(self) -> None:
        status, body = self.ask("GET", "/api/hub", token=self.reader)
        self.assertEqual(200, status)
        self.assertEqual(
            ("1.0.0", "2026-01-01T00:00:00.000Z", 10_000, "pyz", "pyz", "0.9.0"),
            tuple(body[name] for name in ("version", "started_at", "uptime_ms", "source",
                                          "install_source", "launcher_version")),
        )
        self.assertNotIn("config_error", body)
        self.assertNotIn("trouble", body)

    def test_the_hub_tells_its_troubles(self) -> None:
        with open(self.home.hub_json, "w", encoding="utf-8") as file:
            file.write("{nonsense")
        self.build(trouble="home is read-only", settings=load({"config-dir": self.home.root}, {}))
        body = self.ask("GET", "/api/hub")[1]
        self.assertEqual("home is read-only", body["trouble"])
        self.assertIn("hub.json", body["config_error"])

    def test_the_hub_says_when_the_installed_file_itself_runs(self) -> None:
        for program, said in (("/srv/hub.pyz", True), ("/tmp/hub-factory-1f/hub.pyz", False)):
            self.build(program=program)
            body = self.ask("GET", "/api/hub")[1]
            self.assertEqual(f"do not replace {program}" in body.get("in_place", ""), said)
        self.build(running=Running("1.0.0", "1.0.0-" + DIGEST[:16], DIGEST))
        self.assertNotIn("in_place", self.ask("GET", "/api/hub")[1])

    def test_no_status_before_the_first_operation(self) -> None:
        self.refused(404, "not_found", "GET", "/api/hub/upgrade/status")

    def test_the_status_is_the_record_as_it_is(self) -> None:
        self.store.claim(Operation("an-id", target_version="2.0.0"))
        status, body = self.ask("GET", "/api/hub/upgrade/status", token=self.reader)
        self.assertEqual((200, "an-id", "2.0.0"),
                         (status, body["operation_id"], body["target_version"]))

    def test_history_is_newest_first(self) -> None:
        for name in ("first", "second"):
            self.store.claim(Operation(name, phase=FAILED))
        status, body = self.ask("GET", "/api/hub/upgrade/history", token=self.reader)
        self.assertEqual(200, status)
        names = [record["operation_id"] for record in body["operations"]]
        self.assertEqual(["second", "first"], names)

    def test_reading_needs_a_token_and_writing_a_better_one(self) -> None:
        for path in ("/api/hub", "/api/hub/upgrade/status", "/api/hub/upgrade/plan",
                     "/api/hub/upgrade/history"):
            self.refused(401, "unauthenticated", "GET", path, token="wrong")
        for path in ("/api/hub/upgrade", "/api/hub/rollback"):
            self.refused(401, "unauthenticated", "POST", path, token="wrong")
            self.refused(403, "insufficient_scope", "POST", path, token=self.reader)


class UpgradeTest(ApiTest):
    def test_an_upgrade_is_accepted_with_a_helper_and_a_record(self) -> None:
        status, body = self.ask("POST", "/api/hub/upgrade")
        self.assertEqual(202, status)
        self.assertEqual({"operation_id", "target_version", "channel", "mode", "source", "reason"},
                         set(body))
        self.assertEqual(("latest", "in-place", "pyz", None),
                         (body["channel"], body["mode"], body["source"], body["target_version"]))
        self.assertEqual([body["operation_id"]], [op.operation_id for op in self.started])

    def test_the_record_says_who_asked(self) -> None:
        self.ask("POST", "/api/hub/upgrade")
        record = self.store.read()
        self.assertEqual("laptop from 192.0.2.7", record.requested_by if record else None)

    def test_every_field_is_taken(self) -> None:
        body = {"channel": "rc", "version": "v0.9.0", "allow_downgrade": True, "self": True,
                "unknown": [1]}  # fmt: skip
        status, answer = self.ask("POST", "/api/hub/upgrade", body)
        self.assertEqual((202, "rc", "0.9.0"),
                         (status, answer["channel"], answer["target_version"]))
        self.assertEqual(("0.9.0", True, True), tuple(self.started[0].request))

    def test_a_body_that_is_no_json_object_is_refused(self) -> None:
        for body in (b"x", b"[]", b'"latest"', b"null", b"7", b"\xff", b"{", b"[" * 60_000,
                     b"channel=rc", b'{"channel":"rc"} x'):
            self.refused(400, "invalid_body", "POST", "/api/hub/upgrade", body)

    def test_a_field_of_the_wrong_type_is_refused_and_named(self) -> None:
        for field, value in (("channel", None), ("channel", 7), ("channel", ["rc"]),
                             ("version", 1.2), ("version", None), ("allow_downgrade", "yes"),
                             ("allow_downgrade", 1)):
            text = self.refused(400, "invalid_body", "POST", "/api/hub/upgrade", {field: value})
            self.assertIn(field, text)

    def test_a_channel_of_another_name_is_refused_and_the_names_are_told(self) -> None:
        for channel in ("", "beta", "Latest", "rc ", "latest\n", "../rc"):
            text = self.refused(
                400, "invalid_channel", "POST", "/api/hub/upgrade", {"channel": channel}
            )
            self.assertIn("latest", text)
            self.assertIn("rc", text)

    def test_a_huge_channel_is_not_echoed_whole(self) -> None:
        body = {"channel": "x" * 50_000}
        text = self.refused(400, "invalid_channel", "POST", "/api/hub/upgrade", body)
        self.assertLess(len(text), 300)
        self.assertNotIn("x" * 101, text)

    def test_what_is_no_exact_version_is_refused(self) -> None:
        for version in ("", "1", "latest", "1.2.3; rm", "x" * 5000, "^1.0.0"):
            text = self.refused(
                400, "invalid_version", "POST", "/api/hub/upgrade", {"version": version}
            )
            self.assertLess(len(text), 300)

    def test_a_second_upgrade_is_refused_and_the_first_is_named(self) -> None:
        first = self.ask("POST", "/api/hub/upgrade")[1]["operation_id"]
        lock = Lock.try_take(self.home.operation_lock)  # as the helper that was started does
        assert lock is not None
        self.addCleanup(lock.release)
        self.started.clear()
        text = self.refused(409, "upgrade_in_flight", "POST", "/api/hub/upgrade")
        self.assertIn(first, text)

    def test_without_a_release_source_the_refusal_says_how_to_get_one(self) -> None:
        self.build(releases=None)
        text = self.refused(409, "no_release_source", "POST", "/api/hub/upgrade")
        self.assertIn("--releases", text)

    def test_a_full_disk_is_507_and_no_helper(self) -> None:
        def full(_path: str, _data: bytes) -> None:
            raise OSError(28, "No space left on device")

        self.store = StatusStore(self.home, full)
        self.build()
        text = self.refused(507, "cannot_record", "POST", "/api/hub/upgrade")
        self.assertIn("No space left on device", text)

    def test_nothing_to_roll_back_is_409(self) -> None:
        self.refused(409, "nothing_to_roll_back", "POST", "/api/hub/rollback")

    def test_a_rollback_goes_to_the_previous_release(self) -> None:
        name = releases.add(self.home, "0.9.0", b"the release before")
        boot_store.write_boot(self.home, BootRecord(current="x", previous=name))
        status, body = self.ask("POST", "/api/hub/rollback")
        self.assertEqual((202, "0.9.0"), (status, body["target_version"]))
        self.assertEqual(["rollback"], [operation.kind for operation in self.started])

    def test_a_rollback_s_body_is_checked_too(self) -> None:
        self.refused(400, "invalid_body", "POST", "/api/hub/rollback", b"x")


class PlanTest(ApiTest):
    def later(self, query: str = "") -> Later:
        answer = self.answer("GET", f"/api/hub/upgrade/plan{query}")
        assert isinstance(answer, Later)
        return answer

    def test_the_plan_is_made_by_a_child_of_the_same_file(self) -> None:
        argv = self.later().argv
        self.assertEqual(sys.executable, argv[0])
        self.assertEqual(["/home/releases/x/hub.pyz", "plan", "--json", "--here"], argv[3:7])
        self.assertIn("--releases=/srv/releases", argv)
        self.assertEqual(self.home.root, argv[argv.index("--config-dir") + 1])

    def test_the_query_is_the_request(self) -> None:
        argv = self.later("?channel=rc&version=v2.0.0%2Bx&allow_downgrade=true&other=1").argv
        self.assertEqual(["--channel=rc", "--version=2.0.0+x", "--allow-downgrade"], argv[-3:])

    def test_a_bad_query_starts_no_child(self) -> None:
        path = "/api/hub/upgrade/plan"
        self.refused(400, "invalid_channel", "GET", f"{path}?channel=--json")
        self.refused(400, "invalid_channel", "GET", f"{path}?channel=")
        self.refused(400, "invalid_version", "GET", f"{path}?version=1")
        self.refused(400, "invalid_body", "GET", f"{path}?allow_downgrade=maybe")
        self.refused(400, "invalid_body", "GET", f"{path}?" + "a=b&" * 100)

    def test_the_child_s_plan_is_the_answer_whatever_its_exit_code(self) -> None:
        plan: dict[str, Any] = {"current": "1.0.0", "target": None, "stops": []}
        for code in (0, 1, 3):
            answer = self.later().finish(ChildResult(code, json.dumps(plan).encode(), b""))
            self.assertEqual((200, plan), (answer.status, json.loads(answer.body)))

    def available(self, version: str, query: str = "", **plan: Any) -> Any:
        """What is said to be available where that version runs, after such a plan."""
        decision = Decision("npm", "in-place", "why", (), None)
        seen = Survey(decision, version, 1, "", "")
        self.app.desk = self.app.desk._replace(survey=lambda: seen)
        if plan:
            made = {"current": "1.0.0", "stops": [], **plan}
            self.later(query).finish(ChildResult(0, json.dumps(made).encode(), b""))
        return self.ask("GET", "/api/hub")[1].get("available_version")

    def test_what_is_available_is_the_managed_hub_s_and_not_what_runs(self) -> None:
        self.assertEqual("2.2.0", self.available("2.0.0", target="2.2.0"))
        self.assertEqual("2.2.0", self.available("2.0.0", "?self=true", target="1.1.0"))
        self.assertIsNone(self.available("2.2.0"))

    def test_a_source_that_does_not_answer_is_said(self) -> None:
        answer = self.later().finish(ChildResult(None, b"", b""))
        self.assertEqual((503, "overloaded"), (answer.status, json.loads(answer.body)["error"]))

    def test_a_child_that_crashed_is_a_bug_and_its_words_stay_in_the_log(self) -> None:
        with mock.patch.object(log, "say") as said:
            answer = self.later().finish(ChildResult(1, b"", b"Traceback: /secret/path"))
        self.assertEqual((500, "internal_error"), (answer.status, json.loads(answer.body)["error"]))
        self.assertNotIn(b"secret", answer.body)
        self.assertIn("/secret/path", str(said.call_args))


if __name__ == "__main__":
    unittest.main()
