"""The page's three files: their headers, and that nothing in them needs more than these allow."""

from __future__ import annotations

import re
import unittest
from html.parser import HTMLParser

from hub_upgrade.web.assets import PAGE, SCRIPT, STYLE
from hub_upgrade.web.messages import Request, Response
from hub_upgrade.web.routes import dispatch
from tests.web.harness import World
from tests.web.test_api import ApiTest

FILES = {
    "/": "text/html; charset=utf-8",
    "/app.js": "text/javascript; charset=utf-8",
    "/style.css": "text/css; charset=utf-8",
}
POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "connect-src": "'self'",
    "img-src": "'self' data:",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}
USUAL = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
NAMESPACE = "http://www.w3.org/2000/svg"
"""What an SVG outside of HTML must bear: a name, which no browser asks for."""
ADDRESSES = frozenset({"href", "src", "action", "formaction", "data", "poster", "srcset", "cite"})


class HeadersTest(ApiTest):
    def file(self, path: str) -> tuple[dict[str, str], str]:
        """Headers and text of one file, as anybody gets it."""
        answer = self.answer("GET", path, token="nobody")
        assert isinstance(answer, Response)
        self.assertEqual(200, answer.status)
        self.assertEqual(len(answer.headers), len(dict(answer.headers)), "a header twice")
        return dict(answer.headers), answer.body.decode("utf-8")

    def test_each_says_what_it_is(self) -> None:
        for path, kind in FILES.items():
            headers, text = self.file(path)
            self.assertEqual(kind, headers["content-type"])
            self.assertGreater(len(text), 1000)

    def test_each_bears_the_policy_and_the_usual_headers(self) -> None:
        for path in FILES:
            headers, _ = self.file(path)
            parts = (part.strip().partition(" ") for part in
                     headers["content-security-policy"].split(";"))
            self.assertEqual(POLICY, {name: value for name, _, value in parts})
            for name, value in USUAL.items():
                self.assertEqual(value, headers[name], path)
            self.assertIn("camera=()", headers["permissions-policy"])

    def test_a_query_does_not_matter_and_a_foreign_name_does(self) -> None:
        for path in FILES:
            self.assertEqual(self.file(path), self.file(f"{path}?v=1&code=x"))
            request = Request("GET", path, "", {"host": "evil.example"}, b"", "")
            answer = dispatch(self.table, request, self.app)
            assert isinstance(answer, Response)
            self.assertEqual(421, answer.status)

    def test_there_is_nothing_else_to_be_had(self) -> None:
        for path in ("/index.html", "/app.js/", "/page/app.js", "/../app.js", "/favicon.ico",
                     "/APP.JS", "/app.js%00", "//", "/assets.py"):
            self.assertEqual(404, self.ask("GET", path)[0], path)

    def test_over_a_connection_head_is_get_without_the_body_and_nothing_is_kept(self) -> None:
        world = World(lambda request: dispatch(self.table, request, self.app))
        self.addCleanup(world.close)
        world.connections.start()
        for path, kind in FILES.items():
            client = world.client()
            status, headers, body = client.get(path).answer()
            client.send(f"HEAD {path} HTTP/1.1\r\nHost: [::1]\r\n\r\n".encode())
            of_head = client.answer(of_head=True)
            self.assertEqual((200, kind, b""), (status, headers["content-type"], of_head[2]))
            self.assertEqual("no-store", headers["cache-control"])
            self.assertEqual(str(len(body)), headers["content-length"])
            for both in (headers, of_head[1]):
                both.pop("date")
            self.assertEqual((200, headers), of_head[:2])
            self.assertEqual(b"", client.pull())


class Elements(HTMLParser):
    """Every element of a page with its attributes, and the text inside of script and style."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.inline: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.found and self.cdata_elem and data.strip():
            self.inline.append(data)


class ContentTest(unittest.TestCase):
    def setUp(self) -> None:
        self.page, self.script, self.style = (
            response.body.decode("utf-8") for response in (PAGE, SCRIPT, STYLE)
        )
        self.elements = Elements(self.page)

    def test_the_page_has_nothing_inline_that_its_policy_forbids(self) -> None:
        self.assertEqual([], self.elements.inline)
        for tag, attributes in self.elements.found:
            self.assertNotIn(tag, ("style", "base", "iframe", "object", "embed"))
            self.assertNotIn("http-equiv", attributes)
            wrong = [name for name in attributes if name == "style" or name.startswith("on")]
            self.assertEqual([], wrong, tag)

    def test_its_addresses_are_relative_so_that_any_prefix_of_a_proxy_works(self) -> None:
        found = [
            (name, value or "")
            for _, attributes in self.elements.found
            for name, value in attributes.items()
            if name in ADDRESSES
        ]
        own = sorted(value for _, value in found if not value.startswith("data:image/svg+xml,"))
        self.assertEqual(["app.js", "style.css"], own)
        self.assertEqual([], re.findall(r"url\((?!#)|@import|@font-face", self.style))

    def test_the_script_asks_under_the_page_s_own_path_only(self) -> None:
        asked = re.findall(r"\b(?:ask|load|fetch|open|URL)\(\s*(['\"`])(.*?)\1", self.script)
        paths = [path for _, path in asked]
        self.assertIn("api/hub", paths)
        self.assertIn("api/session", paths)
        for path in paths:
            self.assertRegex(path, r"\Aapi/|\A\.\Z")
        self.assertEqual([], re.findall(r"['\"`]/[a-z]", self.script), "a path from the root")
        self.assertEqual([], re.findall(r"\bimport\b|importScripts|XMLHttpRequest|EventSource\("
                                        r"|WebSocket|sendBeacon", self.script))

    def test_nothing_names_another_origin(self) -> None:
        other = re.compile(r"[a-z]+:\\?/\\?/|['\"`(=]\s*//", re.IGNORECASE)
        for text in (self.page, self.script, self.style):
            self.assertEqual([], other.findall(text.replace(f"'{NAMESPACE}'", "")))

    def test_what_is_shown_is_set_as_text_and_no_text_is_run(self) -> None:
        dangerous = (
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|srcdoc|DOMParser"
            r"|createContextualFragment|\beval\b|\bFunction\(|javascript:|set(Timeout|Interval)\(['\"`]"
        )
        self.assertEqual([], re.findall(dangerous, self.script))
        self.assertEqual([], re.findall(r"setAttribute\(\s*['\"`](?:on|style|src)", self.script))


if __name__ == "__main__":
    unittest.main()
