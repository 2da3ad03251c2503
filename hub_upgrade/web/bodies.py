"""What was sent, as values of the right type: bodies and query strings."""

from __future__ import annotations

import json
from urllib.parse import parse_qsl

from hub_upgrade.errors import RefusedError
from hub_upgrade.shapes import Any

MOST_QUERY_FIELDS = 20


def read_object(body: bytes) -> dict[str, Any]:
    """The JSON object of a body, {} for none; raises RefusedError `invalid_body`."""
    if not body:
        return {}
    try:
        value = json.loads(body.decode("utf-8"), parse_constant=_not_json)
    except (ValueError, RecursionError) as error:
        raise _invalid_body("the body is not JSON") from error
    if not isinstance(value, dict):
        raise _invalid_body("the body must be a JSON object")
    return value


def read_upgrade(body: dict[str, Any]) -> tuple[str | None, str | None, bool, bool]:
    """channel, version, allow_downgrade and self; raises RefusedError `invalid_body` for a wrong
    type."""
    for field, kind, name in (
        ("channel", str, "a string"), ("version", str, "a string"),
        ("allow_downgrade", bool, "true or false"), ("self", bool, "true or false"),
    ):
        if field in body and not isinstance(body[field], kind):
            raise _invalid_body(f"{field} must be {name}")
    switches = body.get("allow_downgrade", False), body.get("self", False)
    return (body.get("channel"), body.get("version"), *switches)


def read_query(query: str) -> dict[str, Any]:
    """The same fields from a query string; raises RefusedError."""
    try:
        fields: dict[str, Any] = dict(
            parse_qsl(query, keep_blank_values=True, max_num_fields=MOST_QUERY_FIELDS)
        )
    except ValueError as error:
        raise _invalid_body("the query has too many fields") from error
    words = {"true": True, "1": True, "false": False, "0": False}
    for name in ("allow_downgrade", "self"):
        if name in fields:
            fields[name] = words.get(fields[name])
    return fields


def _not_json(word: str) -> None:
    """Python reads NaN and Infinity, JSON has no such words (RFC 8259, section 6)."""
    raise ValueError(word)


def _invalid_body(sentence: str) -> RefusedError:
    return RefusedError("invalid_body", sentence, 400)
