"""The `http.server` handler, fed whole requests from memory; every limit of a request.

Strict where leniency is an attack (RFC 9112, sections 5 to 7 and 11): what two parsers could
read in two ways is refused, and the connection closed.
"""

from __future__ import annotations

from time import time

from hub_upgrade.errors import RefusedError
from hub_upgrade.shapes import NamedTuple
from hub_upgrade.web.lean_http import BaseHTTPRequestHandler
from hub_upgrade.web.messages import Headers, Response, shortened

MAX_HEAD = 16 * 1024
MAX_BODY = 64 * 1024
MAX_FIELDS = 100
"""Lines of a head: a dictionary of thousands would take forty times the bytes that were sent."""
LONGEST_NUMBER = 18
"""Digits of a `content-length` that are looked at: no number of bytes is longer."""

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
STREAM_HEADERS = (
    b"content-type: text/event-stream\r\ncache-control: no-store\r\nx-accel-buffering: no\r\n"
    b"connection: close\r\n"
)

_TOKEN = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_TOKEN_TEXT = _TOKEN.decode("ascii")
_FIELD = bytes([9, *range(0x20, 0x7F), *range(0x80, 0x100)])
"""What may stand in a line of a head: no control character but the tab."""
_HEAD = _FIELD + b"\r\n"
_HOST = frozenset("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-._~%:[]")
_NO_BREAKS = {ord("\r"): " ", ord("\n"): " ", 0: " "}
_ONCE = frozenset({"host", "authorization", "transfer-encoding"})
"""Given twice, these mean two things: which one counts must not be a matter of taste."""


class Parsed(NamedTuple):
    """The head of a request, understood; `size` and `length` are bytes of head and body."""

    method: str
    path: str
    query: str
    fields: dict[str, str]
    size: int
    length: int
    keep: bool
    expects: bool
    old: bool


def head_end(data: bytes, looked_at: int) -> int:
    """Where the head of a request ends, 0 if it has not all come; only new bytes are looked at.

    Raises RefusedError for what will never be one: so that garbage (a TLS greeting, a binary
    protocol, lines that end in LF alone) is answered at once and not by a time-out.
    """
    start = max(0, looked_at - 3)
    end = data.find(b"\r\n\r\n", start) + 4
    if end > MAX_HEAD or (end < 4 and len(data) > MAX_HEAD):
        raise RefusedError("bad_request", f"the headers are over {MAX_HEAD} bytes", 431)
    if end >= 4:
        return end
    new = data[start:]
    if new.translate(None, _HEAD) or new.count(b"\n") > new.count(b"\r\n") + new.startswith(b"\n"):
        raise malformed("control characters, or lines that do not end in CR LF")
    return 0


def malformed(what: str) -> RefusedError:
    """The refusal of something that is not HTTP/1.1."""
    return RefusedError("bad_request", f"this is not a valid HTTP/1.1 request: {what}", 400)


class Handler(BaseHTTPRequestHandler):
    """Request heads in, answers out, both as bytes; it has no socket and keeps no connection."""

    protocol_version = "HTTP/1.1"
    server_version = "parachute-hub"

    def __init__(self) -> None:  # no call of the base class: that one reads from a socket
        self._second = 0
        self._prefixes: dict[int, bytes] = {}

    def version_string(self) -> str:
        """What runs, without the versions that tell an attacker what to try."""
        return self.server_version

    def read(self, head: bytes) -> Parsed:
        """Understand a whole head, blank line included. Raises RefusedError."""
        self.raw_requestline = head
        self.parse_request()
        fields = self.fields
        path, _, query = self.path.partition("?")
        length = body_length(fields)
        old = self.request_version == "HTTP/1.0"
        expects = not old and length > 0 and fields.get("expect", "").lower() == "100-continue"
        return Parsed(
            self.command,
            path,
            query,
            fields,
            len(head),
            length,
            not self.close_connection,
            expects,
            old,
        )

    def parse_request(self) -> bool:
        """The base class's duty without its mail parser, which takes five times as long.

        Sets `command`, `path`, `request_version`, `fields` and `close_connection`. Raises
        RefusedError instead of answering: there is nobody here to answer.
        """
        head = self.raw_requestline[:-4]
        lines = head.decode("latin-1").split("\r\n")
        if head.translate(None, _FIELD) != b"\r\n" * (len(lines) - 1):
            raise malformed("control characters, or lines that do not end in CR LF")
        self.requestline = line = lines[0]
        words = line.split(" ")
        if len(words) != 3 or not words[0] or words[0].strip(_TOKEN_TEXT):
            raise malformed("its first line is not METHOD TARGET HTTP/1.1")
        self.command, self.path, self.request_version = words
        if self.request_version not in ("HTTP/1.1", "HTTP/1.0"):
            raise malformed(f"the protocol {shortened(words[2])} is not spoken here")
        self.fields = fields = read_fields(lines)
        self._find_host(fields)
        wishes = fields.get("connection")
        if wishes is None:
            self.close_connection = self.request_version == "HTTP/1.0"
        else:
            words = [word.strip(" \t") for word in wishes.lower().split(",")]
            keep = self.request_version == "HTTP/1.1" or "keep-alive" in words
            self.close_connection = "close" in words or not keep
        return True

    def _find_host(self, fields: dict[str, str]) -> None:
        """Origin and absolute form of a target; the host of the latter wins (section 3.2.2)."""
        target = self.path
        host = fields.get("host")
        if host is None:
            if self.request_version == "HTTP/1.1":
                raise malformed("it has no Host")
            host = ""
        if not target.isascii() or "\t" in target or "#" in target:
            raise malformed("its target has characters that must be percent-encoded")
        if not target.startswith("/"):
            scheme, separator, rest = target.partition("://")
            if not separator or scheme.lower() not in ("http", "https"):
                if target == "*":
                    return
                raise malformed("its target is neither a path nor a URL")
            host, slash, path = rest.partition("/")
            if "?" in host or not host:
                raise malformed("its target has no path, or no host")
            self.path = slash + path if slash else "/"
            fields["host"] = host
        if not _HOST.issuperset(host):
            raise malformed("its Host is not a host name")

    def render(self, response: Response, keep: bool, head_only: bool, old: bool) -> bytes:
        """The bytes of an answer; `old` is for a client of HTTP/1.0, which must be told to stay."""
        status, body, headers = response
        if int(time()) != self._second:
            self._look_at_the_clock()
        if headers or old or not keep:
            prefix = self._prefix(status, _own_headers(headers, keep, old))
        else:  # what most answers are: all of it but the length stays the same for a second
            prefix = self._prefixes.get(status) or self._remember_prefix(status)
        if head_only:
            return b"%b%d\r\n\r\n" % (prefix, len(body))
        return b"%b%d\r\n\r\n%b" % (prefix, len(body), body)

    def stream_head(self) -> bytes:
        """The head of an answer of events, which only the end of its connection ends."""
        self._look_at_the_clock()
        return self._top(200, STREAM_HEADERS) + b"\r\n"

    def _look_at_the_clock(self) -> None:
        self._second = int(time())
        self._prefixes.clear()

    def _remember_prefix(self, status: int) -> bytes:
        prefix = self._prefixes[status] = self._prefix(status, b"")
        return prefix

    def _prefix(self, status: int, extra: bytes) -> bytes:
        """Status line and headers, up to the number of bytes that follow."""
        if b"content-type:" not in extra:
            extra += b"content-type: application/json\r\n"
        if b"cache-control:" not in extra:
            extra += b"cache-control: no-store\r\n"
        return self._top(status, extra) + b"content-length: "

    def _top(self, status: int, headers: bytes) -> bytes:
        phrase = self.responses.get(status, ("", ""))[0]
        date = self.date_time_string(self._second)
        first = f"HTTP/1.1 {status} {phrase}\r\nserver: {self.version_string()}\r\ndate: {date}\r\n"
        return first.encode("latin-1") + headers


def read_fields(lines: list[str]) -> dict[str, str]:
    """The header lines after the first, as a mapping; raises RefusedError."""
    if len(lines) > MAX_FIELDS + 1:
        raise RefusedError("bad_request", f"there are more than {MAX_FIELDS} header lines", 431)
    fields: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon or not name or name.strip(_TOKEN_TEXT):
            first = line.partition(" ")[0]  # and not what follows: it may be a secret
            raise malformed(f"the header line {shortened(first)} has no proper name")
        name = name.lower()
        value = value.strip(" \t")
        before = fields.get(name)
        if before is not None:
            if name in _ONCE or (name == "content-length" and before != value):
                raise malformed(f"it has {name} twice")
            if name != "content-length":
                value = f"{before}, {value}"
        fields[name] = value
    return fields


def body_length(fields: dict[str, str]) -> int:
    """How many bytes of body follow. Raises RefusedError."""
    if "transfer-encoding" in fields:
        raise RefusedError(
            "length_required", "send the body with a Content-Length, not in chunks", 411
        )
    text = fields.get("content-length")
    if text is None:
        return 0
    if not (text.isascii() and text.isdigit()):
        raise malformed("its Content-Length is not a number")
    length = int(text) if len(text) <= LONGEST_NUMBER else MAX_BODY + 1
    if length > MAX_BODY:
        raise RefusedError("bad_request", f"the body is over {MAX_BODY} bytes", 413)
    return length


def _own_headers(headers: Headers, keep: bool, old: bool) -> bytes:
    """The headers of one answer; none can break out of its line."""
    lines = [f"{name.lower()}: {value}" for name, value in headers]
    if not keep:
        lines.append("connection: close")
    elif old:
        lines.append("connection: keep-alive")
    text = "".join(line.translate(_NO_BREAKS) + "\r\n" for line in lines)
    return text.encode("latin-1", "replace")
