from __future__ import annotations

import errno
import json
import unittest
from typing import Any
from unittest import mock

from hub_upgrade.errors import HostError, RefusedError
from hub_upgrade.host import log
from hub_upgrade.host.children import ChildResult
from hub_upgrade.web.hosts import Hosts, names
from hub_upgrade.web.messages import Later, Principal, Request, Response, json_response
from hub_upgrade.web.routes import Route, Table, dispatch

PRINCIPALS = {
    "Bearer reader": Principal("reader", frozenset({"hub:read"})),
    "Bearer admin": Principal("admin", frozenset({"hub:read", "hub:admin"})),
}


def show(request: Request, app: Any) -> Response:
    principal = request.principal
    return json_response(
        200, {"who": principal and principal.name, "params": dict(request.params), "app": app}
    )


def raises(error: Exception) -> Any:
    def handler(_request: Request, _app: object) -> Response:
        raise error

    return handler


ROUTES = [
    Route("GET", "/health", None, show, any_host=True),
    Route("GET", "/open", None, show),
    Route("GET", "/read", "hub:read", show),
    Route("POST", "/admin", "hub:admin", show),
    Route("GET", "/both", None, show),
    Route("POST", "/both", "hub:admin", show),
    Route("POST", "/modules/<name>/start", "hub:admin", show),
    Route("GET", "/files/<name>", None, show),
    Route("GET", "/refuses", None, raises(RefusedError("upgrade_in_flight", "wait", 409))),
    Route("GET", "/host", None, raises(HostError("the disk is broken"))),
    Route("GET", "/full", None, raises(OSError(errno.ENOSPC, "No space left on device"))),
    Route("GET", "/bug", None, raises(KeyError("secret"))),
]


class DispatchTest(unittest.TestCase):
    def ask(self, method: str, path: str, token: str | None = None, host: str = "localhost") -> Any:
        headers = {"host": host}
        if token:
            headers["authorization"] = f"Bearer {token}"
        table = Table(ROUTES, lambda value: PRINCIPALS.get(value or ""), Hosts([]))
        answer = dispatch(table, Request(method, path, "", headers, b"", "127.0.0.1"), "the app")
        self.assertIsInstance(answer, Response)
        return answer

    def code(self, *arguments: Any, **more: Any) -> tuple[int, str]:
        answer = self.ask(*arguments, **more)
        return answer.status, json.loads(answer.body)["error"]

    def test_a_handler_gets_the_request_and_the_app(self) -> None:
        value = json.loads(self.ask("GET", "/read", "reader").body)
        self.assertEqual(value, {"who": "reader", "params": {}, "app": "the app"})

    def test_refusals_come_in_the_order_of_the_contract(self) -> None:
        self.assertEqual(self.code("PUT", "/nowhere", host="evil"), (421, "misdirected_request"))
        self.assertEqual(self.code("PUT", "/admin", host="evil"), (421, "misdirected_request"))
        self.assertEqual(self.code("PUT", "/nowhere"), (404, "not_found"))
        self.assertEqual(self.code("PUT", "/admin"), (405, "method_not_allowed"))
        self.assertEqual(self.code("POST", "/admin"), (401, "unauthenticated"))
        self.assertEqual(self.code("POST", "/admin", "unknown"), (401, "unauthenticated"))
        self.assertEqual(self.code("POST", "/admin", "reader"), (403, "insufficient_scope"))
        self.assertEqual(self.ask("POST", "/admin", "admin").status, 200)

    def test_a_foreign_host_is_told_which_key_to_set_and_health_answers_any(self) -> None:
        answer = self.ask("GET", "/open", host="proxy.example")
        self.assertIn("allowed_hosts", json.loads(answer.body)["error_description"])
        self.assertEqual(self.ask("GET", "/health", host="proxy.example").status, 200)

    def test_405_names_what_is_allowed_and_401_the_scheme(self) -> None:
        self.assertIn(("allow", "GET, HEAD, POST"), self.ask("DELETE", "/both").headers)
        self.assertIn(("allow", "POST"), self.ask("GET", "/admin").headers)
        self.assertIn(("www-authenticate", "Bearer"), self.ask("GET", "/read").headers)

    def test_head_goes_where_get_goes_under_the_same_scope(self) -> None:
        self.assertEqual(self.ask("HEAD", "/open").status, 200)
        self.assertEqual(self.code("HEAD", "/read"), (401, "unauthenticated"))
        self.assertEqual(self.code("HEAD", "/admin"), (405, "method_not_allowed"))

    def test_names_in_a_path_are_one_segment_each(self) -> None:
        value = json.loads(self.ask("POST", "/modules/a%20b/start", "admin").body)
        self.assertEqual(value["params"], {"name": "a b"})
        self.assertEqual(json.loads(self.ask("GET", "/files/x").body)["params"], {"name": "x"})
        for path in (
            "/files/",
            "/files/a/b",
            "/files/a%2Fb",
            "/files/%00",
            "/files/%ff%0a",
            "/files",
        ):
            self.assertEqual(self.code("GET", path), (404, "not_found"), path)

    def test_errors_of_the_operator_and_of_the_machine_have_their_code(self) -> None:
        self.assertEqual(self.code("GET", "/refuses"), (409, "upgrade_in_flight"))
        self.assertEqual(self.code("GET", "/host"), (507, "cannot_record"))
        self.assertEqual(self.code("GET", "/full"), (507, "cannot_record"))

    def test_a_bug_is_500_and_its_traceback_goes_to_the_log_alone(self) -> None:
        with mock.patch.object(log, "say") as said:
            answer = self.ask("GET", "/bug")
        self.assertEqual((answer.status, json.loads(answer.body)["error"]), (500, "internal_error"))
        self.assertNotIn(b"secret", answer.body)
        self.assertNotIn(b"Traceback", answer.body)
        self.assertIn("KeyError: 'secret' (", str(said.call_args))
        self.assertIn("test_routes.py:", str(said.call_args))

    def test_a_bug_when_a_child_is_done_is_500_too(self) -> None:
        def later(_request: Request, _app: object) -> Later:
            return Later(["true"], 1, lambda _result: 1 / 0)  # type: ignore[arg-type,return-value]

        table = Table([Route("GET", "/", None, later)], lambda _value: None, Hosts([]))
        answer = dispatch(table, Request("GET", "/", "", {"host": "localhost"}, b"", ""), None)
        assert isinstance(answer, Later)
        with mock.patch.object(log, "say"):
            self.assertEqual(answer.finish(ChildResult(0, b"", b"")).status, 500)

    def test_what_a_client_sent_is_not_echoed_at_length(self) -> None:
        for answer in (
            self.ask("GET", "/" + "a" * 10_000),
            self.ask("GET", "/open", host="b" * 10_000),
            self.ask("C" * 10_000, "/open"),
        ):
            self.assertLess(len(answer.body), 400)


class HostsTest(unittest.TestCase):
    def test_ours_are_loopback_names_addresses_and_those_given(self) -> None:
        hosts = Hosts(["Hub.example", "other.example:8443"])
        for host in (
            "localhost", "LOCALHOST:1939", "hub.localhost", "127.0.0.1", "10.1.2.3:80", "[::1]:80",
            "[fe80::1%eth0]", "[::1]", "hub.example.", "hub.example:80", "other.example",
        ):  # fmt: skip
            self.assertTrue(hosts.ours(host), host)
        for host in (
            "", "evil.example", "hub.example.evil.com", "localhost.evil.com", "1.2.3", "0x7f.1",
            "127.0.0.1.evil.com", "evil:localhost", "[hub]", "xhub.example", "notlocalhost",
            "[::1]evil.com", "[::1].evil.com", "[::1", "[::1]]:80",
        ):  # fmt: skip
            self.assertFalse(hosts.ours(host), host)

    def test_no_flood_of_names_is_remembered_for_ever(self) -> None:
        hosts = Hosts([])
        for number in range(2000):
            hosts.ours(f"{number}.evil")
        self.assertLess(len(hosts._verdicts), 300)

    def test_names_come_from_the_file_and_from_the_platform(self) -> None:
        environ = {
            "PARACHUTE_HUB_ORIGIN": "https://hub.example:8443/path",
            "RENDER_EXTERNAL_URL": "https://app.onrender.com",
            "FLY_APP_NAME": "app",
        }
        found = names(["a.example"], environ)
        expected = ["a.example", "hub.example:8443", "app.onrender.com", "app.fly.dev"]
        self.assertEqual(found, expected)
        self.assertEqual(names([], {"PARACHUTE_HUB_ORIGIN": ""}), [])


if __name__ == "__main__":
    unittest.main()
