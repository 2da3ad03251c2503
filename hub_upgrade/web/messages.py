"""Plain values between a connection and a handler: neither knows the other."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from hub_upgrade.host.children import ChildResult
from hub_upgrade.host.token_store import Principal
from hub_upgrade.shapes import Any, NamedTuple, Union

MAX_ECHO = 100
"""Nothing that a client sent is repeated to it, or in a log, beyond this many characters."""

__all__ = [
    "Answer", "ChildResult", "Headers", "Later", "Principal", "Request", "Response", "Stream",
    "error_response", "json_response", "shortened",
]  # fmt: skip

Headers = tuple[tuple[str, str], ...]


class Request(NamedTuple):
    """One whole request: `path` without its query, header names in lower case.

    `principal` is set where the route asks for a scope, `params` where its path has `<names>`.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    peer: str
    principal: Principal | None = None
    params: Mapping[str, str] = {}


class Response(NamedTuple):
    """An answer; `content-length`, `date`, `content-type` (JSON) and `cache-control` are added."""

    status: int
    body: bytes
    headers: Headers = ()


class Later(NamedTuple):
    """An answer that waits for a one-shot child: the loop runs it, `finish` makes the answer."""

    argv: list[str]
    timeout_s: float
    finish: Callable[[ChildResult], Response]


class Stream(NamedTuple):
    """An answer that goes on: the present object of a feed, then one event for each change of it
    (server-sent events). `Connections` knows the feeds by name.

    `who` is the digest of the token that it was asked with: it ends when that is good no more.
    """

    name: str
    who: str = ""


Answer = Union[Response, Later, Stream]


def json_response(status: int, value: Any, headers: Headers = ()) -> Response:
    """An answer of one JSON value."""
    return Response(status, json.dumps(value, separators=(",", ":")).encode("ascii"), headers)


def error_response(status: int, code: str, sentence: str, headers: Headers = ()) -> Response:
    """The shape of every error: a code for programs, a sentence an operator can act on."""
    return json_response(status, {"error": code, "error_description": sentence}, headers)


def shortened(text: str) -> str:
    """What a client sent, in quotes, printable and bounded, fit for a sentence."""
    return repr(text if len(text) <= MAX_ECHO else text[: MAX_ECHO - 3] + "...")
