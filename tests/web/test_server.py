from __future__ import annotations

import subprocess
import sys
import unittest
from pathlib import Path

from hub_upgrade.errors import RefusedError
from hub_upgrade.web.messages import Response
from hub_upgrade.web.server import MAX_BODY, MAX_FIELDS, MAX_HEAD, Handler, Parsed, head_end

ROOT = str(Path(__file__).resolve().parents[2])


def head(first: str = "GET / HTTP/1.1", *fields: str, host: str = "Host: localhost") -> bytes:
    return "\r\n".join([first, *([host] if host else []), *fields, "", ""]).encode("latin-1")


class ParseTest(unittest.TestCase):
    def read(self, data: bytes) -> Parsed:
        self.assertEqual(head_end(data, 0), len(data))
        return Handler().read(data)

    def refused(self, data: bytes) -> tuple[int, str]:
        with self.assertRaises(RefusedError, msg=data[:200]) as caught:
            if head_end(data, 0) == len(data):
                Handler().read(data)
        self.assertLess(len(caught.exception.sentence), 400)
        return caught.exception.status, caught.exception.code

    def test_a_request_is_understood(self) -> None:
        parsed = self.read(head("POST /a/b?c=d HTTP/1.1", "X-A:  b c\t", "Content-Length: 7"))
        self.assertEqual((parsed.method, parsed.path, parsed.query), ("POST", "/a/b", "c=d"))
        self.assertEqual(parsed.fields["x-a"], "b c")
        self.assertEqual((parsed.length, parsed.keep, parsed.expects), (7, True, False))

    def test_repeated_fields_are_one_list(self) -> None:
        self.assertEqual(self.read(head("GET / HTTP/1.1", "A: 1", "a: 2")).fields["a"], "1, 2")

    def test_absolute_form_names_the_host(self) -> None:
        for target, path in (("http://hub:80/x", "/x"), ("HTTPS://hub:80", "/")):
            parsed = self.read(head(f"GET {target} HTTP/1.1"))
            self.assertEqual((parsed.fields["host"], parsed.path), ("hub:80", path))

    def test_what_is_not_http_is_a_bad_request(self) -> None:
        for first in (
            "", "GET", "GET /", "GET  / HTTP/1.1", " GET / HTTP/1.1", "GET / HTTP/1.1 ",
            "GET / HTTP/0.9", "GET / HTTP/1.2", "GET / HTTP/2.0", "GET / HTTP/1.1x",
            "GET / http/1.1",
            "G(T / HTTP/1.1", "GET x HTTP/1.1", "GET /a b HTTP/1.1", "GET /\x7f HTTP/1.1",
            "GET /\xe9 HTTP/1.1", "GET\t/ HTTP/1.1", "GET /\t HTTP/1.1", "GET /#f HTTP/1.1",
            "CONNECT hub:443 HTTP/1.1", "GET ftp://hub/ HTTP/1.1", "GET http:///x HTTP/1.1",
            "GET http://user@hub/ HTTP/1.1", "GET http://hub?x HTTP/1.1",
        ):  # fmt: skip
            self.assertEqual(self.refused(head(first)), (400, "bad_request"), first)

    def test_fields_that_two_parsers_could_read_in_two_ways_are_refused(self) -> None:
        for field in (
            "Content-Length : 5", " Content-Length: 5", "\tfolded", "no colon", ": nameless",
            "Content-Length: +5", "Content-Length: 5, 5", "Content-Length: 0x5", "Content-Length:",
            "Content-Length: \xb2", "Content-Length: -1", "Content-Length: 5 5", "X\xe9: a",
            "A: b\x00", "A: b\rC: d", "A: b\nC: d", "A: \x0b", "A(b): c", "Host: localhost",
        ):  # fmt: skip
            self.assertEqual(
                self.refused(head("GET / HTTP/1.1", field)), (400, "bad_request"), field
            )
        self.assertEqual(
            self.refused(head("POST / HTTP/1.1", "Content-Length: 5", "Content-Length: 6"))[0], 400
        )
        self.assertEqual(
            self.refused(head("GET / HTTP/1.1", "Authorization: a", "Authorization: b"))[0], 400
        )

    def test_the_same_length_twice_is_one(self) -> None:
        parsed = self.read(head("POST / HTTP/1.1", "Content-Length: 5", "content-length: 5"))
        self.assertEqual(parsed.length, 5)

    def test_a_host_is_needed_and_must_be_one(self) -> None:
        self.assertEqual(self.refused(head(host=""))[0], 400)
        self.assertEqual(self.read(head("GET / HTTP/1.0", host="")).fields, {})
        for host in ("a b", "a/b", "a@b", "a,b", 'a"b', "a\xe9"):
            self.assertEqual(self.refused(head(host=f"Host: {host}"))[0], 400, host)

    def test_a_transfer_encoding_is_411_whatever_else_is_said(self) -> None:
        for extra in ((), ("Content-Length: 5",)):
            data = head("POST / HTTP/1.1", "Transfer-Encoding: xchunked", *extra)
            self.assertEqual(self.refused(data), (411, "length_required"))

    def test_the_limits_are_exact(self) -> None:
        self.assertEqual(
            self.read(head("POST / HTTP/1.1", f"Content-Length: {MAX_BODY}")).length, MAX_BODY
        )
        for length in (MAX_BODY + 1, "9" * 5000):
            self.assertEqual(
                self.refused(head("POST / HTTP/1.1", f"Content-Length: {length}"))[0], 413
            )
        room = MAX_HEAD - len(head("GET / HTTP/1.1", "A: "))
        self.read(head("GET / HTTP/1.1", "A: " + "b" * room))
        self.assertEqual(self.refused(head("GET / HTTP/1.1", "A: " + "b" * (room + 1)))[0], 431)
        self.assertEqual(self.refused(b"GET / HTTP/1.1\r\nA: " + b"b" * MAX_HEAD)[0], 431)
        many = [f"x-{number}: y" for number in range(MAX_FIELDS)]
        self.read(head("GET / HTTP/1.1", *many[1:]))
        self.assertEqual(self.refused(head("GET / HTTP/1.1", *many))[0], 431)

    def test_a_secret_in_a_line_that_makes_no_sense_is_not_repeated(self) -> None:
        for line in ("Authorization Bearer hub_secret", "Authorization\tBearer: hub_secret"):
            with self.assertRaises(RefusedError) as caught:
                self.read(head("GET / HTTP/1.1", line))
            self.assertNotIn("secret", caught.exception.sentence)

    def test_garbage_is_refused_before_it_is_whole(self) -> None:
        for data in (b"\x16\x03\x01", b"GET / HTTP/1.1\nHost: x\n\n", b"GET /\x00"):
            self.assertEqual(self.refused(data)[0], 400)

    def test_half_a_line_break_is_no_garbage(self) -> None:
        data = head("GET / HTTP/1.1", "A: b")
        for cut in range(1, len(data)):
            self.assertEqual(head_end(data[:cut], 0), 0)
            self.assertEqual(
                head_end(data[: cut + 1], cut), len(data) if cut + 1 == len(data) else 0
            )

    def test_the_end_of_a_head_is_found_wherever_it_was_cut(self) -> None:
        data = head() + b"GET /next"
        end = len(head())
        for cut in range(end):
            self.assertEqual(head_end(data, cut), end)

    def test_connection_wishes(self) -> None:
        for version, wish, keep in (
            ("1.1", "keep-alive", True), ("1.1", "upgrade, CLOSE", False), ("1.1", "closed", True),
            ("1.0", "Keep-Alive", True), ("1.0", "x", False), ("1.0", "close, keep-alive", False),
        ):  # fmt: skip
            self.assertEqual(
                self.read(head(f"GET / HTTP/{version}", f"Connection: {wish}")).keep, keep, wish
            )

    def test_what_was_sent_is_shortened(self) -> None:
        with self.assertRaises(RefusedError) as caught:
            Handler().read(head("GET / HTTP/1.1", "a(" + "b" * 5000))
        self.assertLess(len(caught.exception.sentence), 300)


class RenderTest(unittest.TestCase):
    def lines(self, response: Response, *, keep: bool = True, head_only: bool = False) -> list[str]:
        return Handler().render(response, keep, head_only, False).decode("latin-1").split("\r\n")

    def test_an_answer_has_the_headers_of_the_contract(self) -> None:
        lines = self.lines(Response(404, b"{}"))
        self.assertEqual(lines[0], "HTTP/1.1 404 Not Found")
        for expected in (
            "content-type: application/json", "cache-control: no-store", "content-length: 2",
        ):  # fmt: skip
            self.assertEqual(lines.count(expected), 1)
        self.assertEqual(
            sum(line.startswith("date: ") and line.endswith("GMT") for line in lines), 1
        )
        self.assertEqual(lines[-2:], ["", "{}"])

    def test_no_version_is_told(self) -> None:
        text = "\n".join(self.lines(Response(200, b"")))
        self.assertNotIn("Python", text)
        self.assertIn("server: parachute-hub\n", text)

    def test_a_handlers_own_headers_win(self) -> None:
        lines = self.lines(
            Response(200, b"", (("Content-Type", "text/html"), ("cache-control", "max-age=1")))
        )
        kinds = [line for line in lines if line.startswith(("content-type", "cache-control"))]
        self.assertEqual(kinds, ["content-type: text/html", "cache-control: max-age=1"])

    def test_no_header_breaks_out_of_its_line(self) -> None:
        lines = self.lines(Response(200, b"", (("location", "a\r\nset-cookie: b\u20ac"),)))
        self.assertIn("location: a  set-cookie: b?", lines)

    def test_the_date_moves_on(self) -> None:
        handler = Handler()
        handler.render(Response(200, b""), True, False, False)
        handler._second -= 10
        handler._prefixes[200] = b"stale"
        self.assertNotIn(b"stale", handler.render(Response(200, b""), True, False, False))


class LeanImportTest(unittest.TestCase):
    def test_neither_tls_nor_compressors_are_loaded_and_both_can_be_afterwards(self) -> None:
        code = (
            "import sys; sys.path.insert(0, sys.argv[1])\n"
            "import hub_upgrade.web.connections, hub_upgrade.web.routes\n"
            "heavy = {'ssl', '_hashlib', 'hashlib', 'bz2', 'lzma', 'subprocess', 'argparse',"
            " 'dataclasses', 'asyncio', 'traceback', 'tempfile', 'uuid', 'logging'}\n"
            "print(sorted(heavy & set(sys.modules)))\n"
            "import bz2, lzma\n"
        )
        argv = [sys.executable, "-I", "-S", "-c", code, ROOT]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
        self.assertEqual((done.stdout.strip(), done.stderr), ("[]", ""))


if __name__ == "__main__":
    unittest.main()
