"""All that can be wrong with a request, as tables and generators."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hub_upgrade.host.token_store import ADMIN
from hub_upgrade.web.server import MAX_BODY, MAX_FIELDS, MAX_HEAD
from tests.e2e.served import Case, Served

MARK = "Q"
"""No word of ours has it: how often it stands in an answer is how much was repeated."""
LONG = MARK * 3000
FOREIGN = "evil.example"
Told = tuple[int, str]

METHODS = (
    "GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "HEAD", "CONNECT", "get", "Post",
    "BREW", "M-SEARCH", "PROPFIND", "G" * 200, LONG, "!#$%&'*+-.^_`|~0",
)  # fmt: skip
NO_METHODS = ("G(T", "GE:T", "G\x00T", '"GET"', "G\x7fT", "G\xc9T")
NO_VERSIONS = ("HTTP/2.0", "HTTP/0.9", "http/1.1", "HTTP/1.1 ", LONG, "", "HTTP/1.10")

OURS = ("localhost", "LocalHost:80", "localhost.", "hub.localhost", "127.0.0.1", "127.0.0.1:80",
        "10.1.2.3", "[::1]", "[::1]:80", "[fe80::1%25eth0]")  # fmt: skip
NOT_OURS = (
    "", FOREIGN, f"{FOREIGN}:80", f"localhost.{FOREIGN}", "localhost:x:y", "1.2.3", "[::1", ".",
    f"127.0.0.1.{FOREIGN}", f"[::1]{FOREIGN}", "notlocalhost", ":80", LONG, "%6cocalhost", "0x7f.1",
)  # fmt: skip
NO_HOSTS = ("a b", "user@localhost", "localhost/x", "localhost, localhost", "\xfc", '"x"')

HARMLESS_LINES = (
    "X: \xff\xfe", "Expect: 200-ok", "Upgrade: h2c", "Content-Type: text/x", "Accept: text/html",
    "X-Forwarded-Host: evil", f"Origin: http://{FOREIGN}", f"Cookie: a={LONG}", "Content-Length: 0",
    "X:",
)  # fmt: skip
BAD_LINES = (
    "Host: localhost", "Host: evil.example", "Authorization: Bearer x", "Content-Length: x",
    "Content-Length: -1", "Content-Length: +1", "Content-Length: 1, 1", "Content-Length: 0x1",
    "Content-Length:", "Content-Length: 1 1", "Content-Length: \xb2", "Content-Length : 0",
    " folded: x", "\tfolded", "nocolon", ": x", "X : y", "X(y): z", "\xff: x", "X: \x00", LONG,
    "X: \x1b[2J", "X: \x7f", "X: a\rY: b", "X: a\nY: b", "X: a\x0bb", f"{LONG} x: y",
    "Content-Length: 1\r\nContent-Length: 2",
)  # fmt: skip
"""What no parser should take, or what two would take differently."""
HUGE_LINES = (
    [f"X: {LONG}"] * 6, ["X: " + "y" * MAX_HEAD], [f"X-{n}: y" for n in range(MAX_FIELDS)],
)  # fmt: skip

NO_OBJECTS = (
    b"x", b"null", b"true", b"0", b'""', b"[]", b"[{}]", b"{", b"}", b"{}{}", b"{'a':1}", b"\x00",
    b"{}\x00", b"\xff\xfe", b'{"a":"\xff"}', b"\xef\xbb\xbf{}", b"{\x00}", b"a=b&c=d", b" ",
    "{}".encode("utf-16"), b'{"a":NaN}', b'{"a":"\n"}', b"<xml/>", b"[" * MAX_BODY,
    b'{"a":' * 10_000, LONG.encode(), b"{" + LONG.encode(),
)  # fmt: skip
"""Bodies that are no JSON object in UTF-8."""
VALUES: tuple[Any, ...] = (None, 0, 1, 1.5, True, "true", "", [], ["rc"], {}, {"a": 1}, 10**400)
NO_WORDS = ("", " ", LONG, "latest ", "1", "1.0", "--json", "\ud800", "\x00", "\xfc")
"""Texts that are neither a channel nor a version."""
NO_NAMES = ("", "a/b", "a%2Fb", "%00", "%0a", "%1b%5b2J", "%ff%0a", "a%7fb")
NAMES = ("x", "%C3%BC", "%ff", "..", "%2e%2e", "%25", LONG, "%51" * 3000, "<x>")


def wrong_fields(fields: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """For each known field every value of a type that is not its own."""
    for name, schema in fields.items():
        own = {"string": str, "boolean": bool, "integer": int}[schema["type"]]
        yield from ({name: value} for value in VALUES if type(value) is not own)


def near(path: str) -> list[str]:
    """Paths that a lenient server would take for this one."""
    first = f"/%{ord(path[1]):x}{path[2:]}" if path != "/" else "/%2f"
    return [
        f"/{path}", f"{path}/", f"{path};x", f"{path}%00", f"{path}%20", f"{path}%2f", f"/.{path}",
        f"/x/..{path}", f"/api/../{path[1:]}", f"/%2e%2e{path}", f"{path}\\", path.upper(), first,
        f"{path}*", f"/{LONG}", f"{path}/{LONG}", f"{path}/..", f"{path}//", f"/hub{path}",
    ]  # fmt: skip


def tokens(scene: Served, digest: str) -> list[str | None]:
    """Values of `Authorization` that are nobody's."""
    admin = scene.admin
    return [
        None, "", "Bearer", "Bearer ", admin, f"Basic {admin}", f"Bearer:{admin}", f"Token {admin}",
        "Bearer garbage", f"Bearer {admin}x", f"Bearer {admin[:-1]}", f"Bearer {digest}",
        f"Bearer {admin} {admin}", f"Bearer {admin}, Basic x", f"Bearer {scene.revoked}",
        f"Bearer {scene.expired}", f"Bearer {scene.code}", f'Bearer "{admin}"',
        "Bearer " + "x" * 10_000, "Bearer \xff\xfe", f"Bearer {admin.upper()}", "Bearer null",
    ]  # fmt: skip


def one_by_one(case: Case, scene: Served) -> Iterator[tuple[Told, dict[str, Any], list[str]]]:
    """A request with everything wrong at once, and then right in one thing more each time: what it
    must be told, and how to send it."""
    wrong: dict[str, Any] = {
        "host": FOREIGN, "target": f"{case.path}/x/x/x/x", "method": "BREW",
        "authorization": None, "body": b"[",
    }  # fmt: skip
    yield (411, "length_required"), {**wrong, "body": None}, ["Transfer-Encoding: chunked"]
    yield (413, "bad_request"), {**wrong, "body": b"x" * (MAX_BODY + 1)}, []
    yield (431, "bad_request"), wrong, ["X: " + "y" * MAX_HEAD]
    yield (421, "misdirected_request"), wrong, []
    wrong["host"] = "localhost"
    yield (404, "not_found"), wrong, []
    del wrong["target"]
    if not case.route.any_host:
        yield (421, "misdirected_request"), {**wrong, "host": FOREIGN}, []
    yield (405, "method_not_allowed"), wrong, []
    del wrong["method"]
    if case.route.scope is not None:
        yield (401, "unauthenticated"), wrong, []
        wrong["authorization"] = f"Bearer {scene.stranger}"
        yield (403, "insufficient_scope"), wrong, []
    if case.route.scope == ADMIN:
        wrong["authorization"] = f"Bearer {scene.reader}"
        yield (403, "insufficient_scope"), wrong, []
    del wrong["authorization"]
    yield ((400, "invalid_body") if case.reads_body else case.base), wrong, []
    yield case.base, {}, []
