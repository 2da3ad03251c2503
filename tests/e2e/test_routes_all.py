"""Every route of the table, on the real file, with everything that can be wrong with a request.

What is wrong is tried route by route, so that a new line of the table is covered by being there.
"""

from __future__ import annotations

import json
import re
import unittest
from collections.abc import Iterable
from typing import Any

from hub_upgrade.host import files
from hub_upgrade.host.token_store import ADMIN, READ
from hub_upgrade.web.api import ROUTES
from hub_upgrade.web.openapi import describe
from hub_upgrade.web.server import MAX_BODY
from tests.e2e import served, wrong
from tests.e2e.harness import cli
from tests.e2e.served import Case
from tests.e2e.wire import STREAM, Answer, Wire, request
from tests.e2e.wrong import FOREIGN, LONG, MARK, Told

ECHO = 100
"""Characters of what was sent that may come back."""


class RoutesTest(unittest.TestCase):
    scene: served.Served
    wire: Wire
    cases: list[Case]
    before: dict[str, Any] | None

    @classmethod
    def setUpClass(cls) -> None:
        cls.scene = served.Served()
        cls.addClassCleanup(cls.scene.doCleanups)
        cls.scene.setUp()
        cls.wire = Wire(cls.scene.served.port)
        cls.addClassCleanup(cls.wire.close)
        cls.before = cls.scene.served.health()
        cls.cases = [Case(route) for route in ROUTES]
        for case in cls.cases:
            right = f"Bearer {cls.scene.admin}"
            data = request(case.route.method, case.target, authorization=right)
            case.base = cls.wire.ask(data).told

    @classmethod
    def tearDownClass(cls) -> None:
        """After all of it the hub is what it was, and nobody could write into its log."""
        hub = cls.scene.served
        text = hub.output()
        if hub.health() != cls.before:
            raise AssertionError(f"{hub.health()} instead of {cls.before}; log: {text[-2000:]}")
        told = re.compile(r"(launcher|hub): [\x20-\x7e]{1,300}")
        strange = [line for line in text.splitlines() if not told.fullmatch(line)]
        never = ("Traceback", "a bug:", LONG[:9], *cls.scene.secrets)
        found = [word for word in never if word in text]
        if strange or found:
            raise AssertionError(f"{strange[:3]} {found} in the log: {text[-2000:]}")
        if hub.stop() != 0:
            raise AssertionError("it did not stop as it should")

    # --- one answer -----------------------------------------------------------------------------

    def ask(self, case: Case, *lines: str, **more: Any) -> Answer:
        """One request to the route: right in everything that is not said otherwise."""
        method = more.pop("method", case.route.method)
        target = more.pop("target", case.target)
        more.setdefault("authorization", f"Bearer {self.scene.admin}")
        return self.send(request(method, target, *lines, **more), method == "HEAD")

    def send(self, data: bytes, head_only: bool = False) -> Answer:
        """The answer to these bytes, which is as every answer of a hub must be."""
        answer = self.wire.ask(data, head_only)
        shown = f"{data[:300]!r} -> {answer.raw_head} {answer.body[:500]!r}"
        headers, text = answer.headers, answer.raw_head + answer.body.decode("utf-8")
        self.assertNotRegex(answer.raw_head.replace("\r\n", ""), r"[\x00-\x1f\x7f-\xff]", shown)
        self.assertEqual("no-store", headers.get("cache-control"), shown)
        self.assertLessEqual(text.count(MARK), ECHO, shown)
        for word in ("Traceback", *self.scene.secrets):
            self.assertNotIn(word, text)
        if answer.status >= 400:
            self.assertEqual("application/json", headers["content-type"], shown)
            if not head_only:
                self.assertEqual(["error", "error_description"], sorted(answer.value), shown)
                self.assertTrue(answer.value["error_description"].strip(), shown)
        self.assertEqual(answer.status == 405, "allow" in headers, shown)
        self.assertEqual(answer.status in (401, 403), "www-authenticate" in headers, shown)
        self.assertTrue(headers.get("www-authenticate", "Bearer").startswith("Bearer"), shown)
        return answer

    def expect(self, wanted: Told, what: object, answer: Answer) -> None:
        """That status and code; the answer to a HEAD has no code to be looked at."""
        with self.subTest(what=str(what)[:120]):
            got = (answer.status, wanted[1]) if not answer.body else answer.told
            self.assertEqual(wanted, got, answer.body[:300])

    def every(self, wanted: Told | None, case: Case, requests: Iterable[dict[str, Any]]) -> None:
        """Each of these keyword arguments of `ask` gets that answer, or the right one for None."""
        for more in requests:
            self.expect(wanted or case.base, f"{case.name} {more}", self.ask(case, **more))

    def closed(self, wanted: Told, what: object, answer: Answer) -> None:
        """That answer, and no more on this connection: what follows could be read in two ways."""
        self.expect(wanted, what, answer)
        self.assertEqual("close", answer.headers.get("connection"), what)

    # --- what can be wrong ----------------------------------------------------------------------

    def test_what_is_right_is_answered_as_it_is_documented(self) -> None:
        for case in self.cases:
            with self.subTest(case.name):
                self.assertIn(case.base[0], (*case.about.refusals, case.about.success))
                self.assertNotIn(case.base[0], (401, 403, 405))

    def test_the_description_is_the_command_line_s_too(self) -> None:
        printed = cli(self.scene.served.program, "openapi").stdout.encode()
        for _ in range(2):
            answer = self.send(request("GET", "/api/openapi.json"))
            self.assertEqual((200, printed), (answer.status, answer.body))
        self.assertEqual(json.loads(printed), describe(ROUTES, "1.0.0"))

    def test_methods(self) -> None:
        for case in self.cases:
            known = {other.route.method for other in self.cases if other.path == case.path}
            known |= {"HEAD"} if "GET" in known else set()
            for method in [method for method in wrong.METHODS if method not in known]:
                answer = self.ask(case, method=method)
                self.expect((405, "method_not_allowed"), f"{method[:20]} {case.path}", answer)
                self.assertEqual(", ".join(sorted(known)), answer.headers["allow"])
            for method in wrong.NO_METHODS:
                answer = self.ask(case, method=method)
                self.closed((400, "bad_request"), f"{method} {case.path}", answer)

    def test_head_is_get_without_its_body(self) -> None:
        for case in [case for case in self.cases if case.route.method == "GET"]:
            get, head = self.ask(case), self.ask(case, method="HEAD")
            for headers in (get.headers, head.headers):
                headers.pop("date")
                if case.path == "/api/hub":  # how long it is up has more digits now and then
                    headers.pop("content-length")
            with self.subTest(case.name):
                self.assertEqual((get.status, get.headers, b""),
                                 (head.status, head.headers, head.body))
                self.assertEqual(get.headers["content-type"] == STREAM, not get.body)

    def test_bodies_that_cannot_be_taken(self) -> None:
        chunks = b"5\r\nhello\r\n0\r\n\r\n"
        for case in self.cases:
            for lines in (["Transfer-Encoding: chunked"], ["Transfer-Encoding: identity"],
                          ["Content-Length: 5", "Transfer-Encoding: chunked"]):
                answer = self.send(request(case.route.method, case.target, *lines) + chunks)
                self.closed((411, "length_required"), f"{case.name} {lines}", answer)
            for length in (MAX_BODY + 1, 10**15, "9" * 400):
                answer = self.ask(case, f"Content-Length: {length}")
                self.closed((413, "bad_request"), f"{case.name} {length}", answer)
            answer = self.ask(case, body=b" " * (MAX_BODY + 1))
            self.closed((413, "bad_request"), f"{case.name} 64 KiB and one", answer)
            padded = b"{}" + b" " * (MAX_BODY - 2)
            self.expect(case.base, f"{case.name} 64 KiB", self.ask(case, body=padded))

    def test_bodies_that_are_not_understood(self) -> None:
        for case in self.cases:
            told = (400, "invalid_body") if case.reads_body else case.base
            self.every(told, case, ({"body": body} for body in wrong.NO_OBJECTS))
            self.every(None, case, [{"body": b""}, {"body": b"{}"}, {"body": b'{"unknown":[]}'}])
            for fields in wrong.wrong_fields(case.fields):
                answer = self.ask(case, body=json.dumps(fields).encode())
                self.expect((400, "invalid_body"), f"{case.name} {fields}", answer)
            for field, code in (("channel", "invalid_channel"), ("version", "invalid_version")):
                for word in wrong.NO_WORDS if field in case.fields else ():
                    answer = self.ask(case, body=json.dumps({field: word}).encode())
                    self.expect((400, code), f"{field} {word[:20]!r}", answer)

    def test_header_lines(self) -> None:
        for case in self.cases:
            for line in wrong.BAD_LINES:
                self.closed((400, "bad_request"), f"{case.name} {line}", self.ask(case, line))
            for lines in wrong.HUGE_LINES:
                self.closed((431, "bad_request"), f"{case.name} huge", self.ask(case, *lines))
            for line in wrong.HARMLESS_LINES:
                self.expect(case.base, f"{case.name} {line}", self.ask(case, line))
            answer = self.ask(case, "Expect: 100-continue", body=b"{}")
            self.expect(case.base, f"{case.name} expects", answer)
            for version in wrong.NO_VERSIONS:
                answer = self.ask(case, version=version)
                self.closed((400, "bad_request"), f"{case.name} {version}", answer)
            self.expect(case.base, f"{case.name} of 1.0", self.ask(case, version="HTTP/1.0"))

    def test_tokens(self) -> None:
        admin = self.scene.admin
        nobody = wrong.tokens(self.scene, files.sha256(admin.encode()))
        weak = {ADMIN: (self.scene.reader, self.scene.stranger), READ: (self.scene.stranger,)}
        for case in self.cases:
            told = case.base if case.route.scope is None else (401, "unauthenticated")
            self.every(told, case, ({"authorization": word} for word in nobody))
            for field in ("access_token", "token", "code"):
                target = f"{case.target}{'&' if case.query else '?'}{field}={admin}"
                self.every(told, case, [{"target": target, "authorization": None}])
            for token in weak.get(case.route.scope or "", ()):
                answer = self.ask(case, authorization=f"Bearer {token}")
                self.expect((403, "insufficient_scope"), case.name, answer)
                self.assertIn(str(case.route.scope), answer.headers["www-authenticate"])
            right = ["bearer {}", "BEARER {}", "Bearer  {}", "Bearer {} \t"]
            self.every(None, case, ({"authorization": word.format(admin)} for word in right))
            if case.route.scope == READ:
                self.every(None, case, [{"authorization": f"Bearer {self.scene.reader}"}])

    def test_hosts(self) -> None:
        for case in self.cases:
            foreign = case.base if case.route.any_host else (421, "misdirected_request")
            self.every(None, case, ({"host": host} for host in wrong.OURS))
            self.every(foreign, case, ({"host": host} for host in wrong.NOT_OURS))
            self.every(foreign, case, [{"host": None, "version": "HTTP/1.0"}])
            for host in (*wrong.NO_HOSTS, None):
                answer = self.ask(case, host=host)
                self.closed((400, "bad_request"), f"{case.name} at {host}", answer)
            for origin, told in (
                ("http://localhost:80", case.base), ("HTTPS://[::1]", case.base),
                (f"http://{FOREIGN}", foreign),
            ):  # the target's host wins over the header's (RFC 9112, section 3.2.2)
                for host in ("localhost", FOREIGN):
                    self.every(told, case, [{"target": origin + case.target, "host": host}])
            for origin in ("ftp://localhost", "http://", "http://u@localhost", "x"):
                answer = self.ask(case, target=origin + case.target)
                self.closed((400, "bad_request"), f"{case.name} at {origin}", answer)

    def test_paths(self) -> None:
        paths = {case.path for case in self.cases}
        for case in self.cases:
            for path in [path for path in wrong.near(case.path) if path not in paths]:
                told = {"target": path + case.query, "authorization": None}
                self.every((404, "not_found"), case, [told])
            self.every((404, "not_found"), case, [{"target": "*"}])
            for more in ("x", "?", "x=%00%ff;&=", "a=b&&", LONG):
                target = f"{case.target}{'&' if case.query else '?'}{more}"
                self.every(None, case, [{"target": target}])
            for more in ("#x", "\xfc", " x", "\tx", "\x00", "\x7f"):
                answer = self.ask(case, target=case.target + more)
                self.closed((400, "bad_request"), f"{case.target}{more!r}", answer)

    def test_names_in_a_path(self) -> None:
        for case in [case for case in self.cases if "<" in case.route.path]:
            before, _, after = re.sub("<[a-z]+>", "<>", case.route.path).partition("<>")
            for name in wrong.NO_NAMES:
                target = f"{before}{name}{after}"
                self.every((404, "not_found"), case, [{"target": target, "authorization": None}])
            for name in wrong.NAMES:
                self.every((404, "not_found"), case, [{"target": f"{before}{name}{after}"}])

    def test_of_several_things_wrong_the_first_of_the_contract_is_told(self) -> None:
        for case in self.cases:
            for told, more, lines in wrong.one_by_one(case, self.scene):
                self.expect(told, f"{case.name} {told}", self.ask(case, *lines, **more))


if __name__ == "__main__":
    unittest.main()
