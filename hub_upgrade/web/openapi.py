"""What the hub's HTTP API is, as OpenAPI 3.1: made from the very table that requests are found by.

What a table cannot say (fields, the refusals of single routes) stands in `ABOUT`; a route that is
not there has no description, and making one is a KeyError.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from hub_upgrade.domain import versions
from hub_upgrade.domain.operation import CHANNELS, KINDS, MODES, PHASES, STEPS
from hub_upgrade.shapes import Any, NamedTuple
from hub_upgrade.web.routes import Route

Schema = dict[str, Any]

EVENTS = "text/event-stream"
TEXT: Schema = {"type": "string"}
MAYBE: Schema = {"type": ["string", "null"]}
FLAG: Schema = {"type": "boolean"}
TEXTS: Schema = {"type": "array", "items": TEXT}
TIME: Schema = {"type": "string", "format": "date-time"}
NUMBER: Schema = {"type": "number"}
VERSION: Schema = {
    "type": "string",
    "pattern": f"^{versions.PATTERN}$",
    "maxLength": versions.LONGEST_VERSION,
    "description": "an exact semantic version",
}
CHANNEL: Schema = {"type": "string", "enum": list(CHANNELS)}
UPGRADE: Schema = {
    "type": "object",
    "properties": {"channel": CHANNEL, "version": VERSION, "allow_downgrade": FLAG, "self": FLAG},
}
ROLLBACK: Schema = {"type": "object", "properties": {"self": FLAG}}
CODE: Schema = {"type": "object", "properties": {"code": TEXT}, "required": ["code"]}


def _object(fields: dict[str, Schema], *optional: str) -> Schema:
    required = [name for name in fields if name not in optional]
    return {"type": "object", "properties": fields, "required": required}


def _schema(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _list(schema: str) -> Schema:
    return {"type": "array", "items": _schema(schema)}


SCHEMAS: dict[str, Schema] = {
    "Error": _object({"error": TEXT, "error_description": TEXT}),
    "Event": _object({
        "data": {
            "type": "string", "contentMediaType": "application/json",
            "contentSchema": {"$ref": "#/components/schemas/Status"},
        },
    }),
    "Health": _object({
        "status": {"const": "ok"}, "service": TEXT, "version": TEXT, "release": TEXT,
        "instance": TEXT,
    }),
    "Ready": _object({"status": {"const": "ready"}, "missing": TEXTS}),
    "Session": _object({"token": TEXT, "scopes": TEXTS, "expires_at": TIME}),
    "Hub": _object({
        "version": TEXT, "release": TEXT, "instance": TEXT, "started_at": TIME,
        "uptime_ms": {"type": "integer"}, "source": TEXT, "install_source": TEXT,
        "launcher_version": MAYBE, "channel": CHANNEL, "mode": {"enum": list(MODES)},
        "reason": TEXT, "evidence": TEXTS, "previous": MAYBE, "scopes": TEXTS,
        "container_build_time": TEXT, "available_version": TEXT, "config_error": TEXT,
        "trouble": TEXT, "in_place": TEXT, "git_head": TEXT, "bun_linked_path": TEXT,
    }, "container_build_time", "available_version", "config_error", "trouble", "in_place",
        "git_head", "bun_linked_path"),
    "Accepted": _object({
        "operation_id": TEXT, "target_version": MAYBE, "channel": CHANNEL,
        "mode": {"enum": list(MODES)}, "source": TEXT, "reason": MAYBE,
    }),
    "Status": _object({
        "operation_id": TEXT, "kind": {"enum": list(KINDS)}, "phase": {"enum": list(PHASES)},
        "mode": {"enum": list(MODES)}, "current_version": TEXT, "target_version": MAYBE,
        "channel": CHANNEL, "log": TEXTS, "started_at": TIME, "finished_at": TIME,
        "error": TEXT, "step": {"enum": list(STEPS)}, "source": TEXT, "reason": MAYBE,
        "evidence": TEXTS, "requested_by": MAYBE, "rolled_back_to": MAYBE, "updated_at": TIME,
    }, "finished_at", "error", "source", "reason", "evidence", "requested_by", "rolled_back_to",
        "updated_at"),
    "History": _object({"operations": _list("Status")}),
    "Plan": _object({
        "current": TEXT, "target": MAYBE, "channel": CHANNEL, "mode": {"enum": list(MODES)},
        "source": TEXT, "reason": TEXT, "evidence": TEXTS, "already_current": FLAG, "note": TEXT,
        "stops": _list("Error"), "installed": TEXT,
    }, "installed"),
    "Modules": _object({"modules": {"type": "array", "items": {"type": "object"}}}),
    "Description": {"type": "object"},
}  # fmt: skip


class About(NamedTuple):
    """What the table does not say of a route: `answer` names a schema, or is a media type; a
    `success` of 0 is for a route that has none yet."""

    summary: str
    answer: str
    success: int = 200
    body: Schema | None = None
    query: bool = False
    refusals: tuple[int, ...] = ()


ABOUT = {
    "GET /": About("The operator's page", "text/html"),
    "GET /app.js": About("The page's script", "text/javascript"),
    "GET /style.css": About("The page's style", "text/css"),
    "GET /health": About("What is running", "Health"),
    "GET /ready": About("Whether everything answers that should", "Ready"),
    "POST /api/session": About(
        "Exchange a sign-in code for a session", "Session", 200, CODE, False, (400, 401, 507)
    ),
    "GET /api/openapi.json": About("This description", "Description"),
    "GET /api/hub": About("The running hub", "Hub"),
    "POST /api/hub/upgrade": About(
        "Start an upgrade", "Accepted", 202, UPGRADE, False, (400, 409, 507)
    ),
    "GET /api/hub/upgrade/status": About(
        "The last operation", "Status", refusals=(404,)
    ),
    "GET /api/hub/upgrade/events": About(
        "The last operation, and every change of it", EVENTS
    ),
    "GET /api/hub/upgrade/plan": About(
        "What an upgrade would do, without doing it", "Plan", query=True, refusals=(400,)
    ),
    "GET /api/hub/upgrade/history": About("The operations that ended, newest first", "History"),
    "POST /api/hub/rollback": About(
        "Go back to the previous good release", "Accepted", 202, ROLLBACK, False,
        (400, 409, 507),
    ),
    "GET /api/modules": About("The modules", "Modules"),
    "POST /api/modules/<name>/start": About("Start a module", "Modules", 0, refusals=(404,)),
    "POST /api/modules/<name>/stop": About("Stop a module", "Modules", 0, refusals=(404,)),
    "POST /api/modules/<name>/restart": About("Restart a module", "Modules", 0, refusals=(404,)),
    "GET /api/modules/<name>/logs": About("What a module printed", "Modules", 0, refusals=(404,)),
}  # fmt: skip

REFUSALS = {
    400: (
        "not HTTP/1.1; or what a body or a query says cannot be",
        ("bad_request", "invalid_channel", "invalid_body", "invalid_version"),
    ),
    401: ("no token, or none that is known", ("unauthenticated", "invalid_code")),
    403: ("a token without the scope", ("insufficient_scope",)),
    404: ("there is none", ("not_found",)),
    405: ("another method, named in Allow", ("method_not_allowed",)),
    408: ("it did not come whole in time", ("request_timeout",)),
    409: (
        "not now, or not from here",
        ("upgrade_in_flight", "no_release_source", "invalid_config", "nothing_to_roll_back"),
    ),
    411: ("a body in chunks", ("length_required",)),
    413: ("a body over 64 KiB", ("bad_request",)),
    421: ("the Host is not one of ours", ("misdirected_request",)),
    431: ("headers over 16 KiB, or more than a hundred", ("bad_request",)),
    500: ("a bug", ("internal_error",)),
    503: ("too much to do, or not ready", ("overloaded", "not_ready")),
    507: ("the disk takes nothing", ("cannot_record",)),
}
"""What an error's status means, and the codes that come with it."""
HEADERS = {401: "WWW-Authenticate", 403: "WWW-Authenticate", 405: "Allow"}
ALWAYS = (400, 405, 408, 411, 413, 431, 500, 503)


def describe(routes: Iterable[Route], version: str) -> dict[str, Any]:
    """The description of these routes; raises KeyError for one that `ABOUT` does not know."""
    paths: dict[str, Any] = {}
    for route in routes:
        place = paths.setdefault(re.sub("<([a-z]+)>", r"{\1}", route.path), {})
        place[route.method.lower()] = _operation(route, ABOUT[f"{route.method} {route.path}"])
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "parachute-hub", "version": version,
            "description": "Every GET may be asked by HEAD. Fields are added, never changed.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": SCHEMAS,
            "responses": {f"Error{code}": _refusal(code) for code in REFUSALS},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }  # fmt: skip


def _operation(route: Route, about: About) -> dict[str, Any]:
    made: dict[str, Any] = {
        "operationId": f"{route.method.lower()}{re.sub('[^a-z]+', '_', route.path)}".rstrip("_"),
        "summary": about.summary,
        "responses": _responses(route, about),
    }
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in re.findall("<([a-z]+)>", route.path)
    ]
    if about.query:
        words = {"type": "string", "enum": ["true", "false", "1", "0"]}
        fields = {"channel": CHANNEL, "version": VERSION, "allow_downgrade": words, "self": words}
        parameters += [
            {"name": name, "in": "query", "required": False, "schema": schema}
            for name, schema in fields.items()
        ]
    if parameters:
        made["parameters"] = parameters
    if about.body is not None:
        required = bool(about.body.get("required"))
        content = {"application/json": {"schema": about.body}}
        made["requestBody"] = {"required": required, "content": content}
    if route.scope is not None:
        made["security"] = [{"token": []}]
        made["description"] = f"Needs a token with the scope {route.scope}."
    return made


def _responses(route: Route, about: About) -> dict[str, Any]:
    kind = about.answer if "/" in about.answer else "application/json"
    schema = TEXT if kind.startswith("text/") else _schema(about.answer)
    if kind == EVENTS:  # what one event is, as every reader of OpenAPI 3.1 takes it
        schema = _schema("Event")
    success = {"description": about.summary, "content": {kind: {"schema": schema}}}
    answers: dict[str, Any] = {str(about.success): success} if about.success else {}
    codes = {*ALWAYS, *about.refusals}
    codes |= set() if route.any_host else {421}
    codes |= {401, 403} if route.scope is not None else set()
    for code in sorted(codes):
        answers[str(code)] = {"$ref": f"#/components/responses/Error{code}"}
    return answers


def _refusal(code: int) -> dict[str, Any]:
    """The answer of that status, which every route that has it shares."""
    text, words = REFUSALS[code]
    narrowed = {"properties": {"error": {"enum": list(words)}}}
    schema = {"allOf": [_schema("Error"), narrowed]}
    made = {"description": text, "content": {"application/json": {"schema": schema}}}
    if code in HEADERS:
        made["headers"] = {HEADERS[code]: {"required": True, "schema": TEXT}}
    return made
