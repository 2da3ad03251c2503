"""The handlers. They know no socket and never wait: what may wait is a `Later`."""

from __future__ import annotations

import json
from collections.abc import Callable
from urllib.parse import parse_qsl

from hub_upgrade.domain.install import PYZ
from hub_upgrade.domain.operation import Operation
from hub_upgrade.errors import RefusedError
from hub_upgrade.host import interpreter, releases
from hub_upgrade.host.children import ChildResult
from hub_upgrade.host.token_store import ADMIN, READ, TokenStore
from hub_upgrade.settings import Settings
from hub_upgrade.shapes import Any
from hub_upgrade.upgrade import accept
from hub_upgrade.upgrade.accept import Desk
from hub_upgrade.upgrade.ports import Store
from hub_upgrade.web.messages import (
    Answer,
    Later,
    Request,
    Response,
    error_response,
    json_response,
)
from hub_upgrade.web.routes import Route

SERVICE = "parachute-hub"
PLAN_TIMEOUT_S = 30.0
ACCEPTED_FIELDS = ("operation_id", "target_version", "channel", "mode", "source", "reason")
MOST_QUERY_FIELDS = 20
LAST_WORDS = 300
"""Characters of what a failed child printed that are repeated to a client."""


class App:
    """What the handlers work with; all of it is there before the first request.

    `clock` is monotonic and in seconds, as is `started`; `missing` names what `/ready` waits for.
    `program` is the file that runs, for the one-shot children.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        version: str,
        digest: str,
        instance: str,
        started_at: str,
        started: float,
        clock: Callable[[], float],
        launcher_version: str | None,
        trouble: str | None,
        program: str,
        status_store: Store,
        tokens: TokenStore,
        desk: Desk,
        missing: Callable[[], list[str]],
    ) -> None:
        self.settings = settings
        self.version = version
        self.digest = digest
        self.instance = instance
        self.started_at = started_at
        self.started = started
        self.clock = clock
        self.launcher_version = launcher_version
        self.trouble = trouble
        self.program = program
        self.status_store = status_store
        self.tokens = tokens
        self.desk = desk
        self.missing = missing
        self.health = json_response(
            200,
            {
                "status": "ok",
                "service": SERVICE,
                "version": version,
                "release": digest,
                "instance": instance,
            },
        )


def get_health(_request: Request, app: App) -> Answer:
    """What is running. Made once: it touches neither disk nor network nor a module."""
    return app.health


def get_ready(_request: Request, app: App) -> Answer:
    """Whether everything answers that should, or what is missing."""
    missing = app.missing()
    if not missing:
        return json_response(200, {"status": "ready", "missing": []})
    sentence = f"not everything answers yet; missing: {', '.join(missing)}"
    body = {"error": "not_ready", "error_description": sentence, "missing": missing}
    return json_response(503, body)


def get_hub(_request: Request, app: App) -> Answer:
    """The running hub: never what is installed beside it."""
    about: dict[str, Any] = {
        "version": app.version,
        "release": app.digest,
        "instance": app.instance,
        "started_at": app.started_at,
        "uptime_ms": int((app.clock() - app.started) * 1000),
        "source": PYZ,
        "install_source": PYZ,
        "launcher_version": app.launcher_version,
    }
    if app.settings.config_error:
        about["config_error"] = app.settings.config_error
    if app.trouble:
        about["trouble"] = app.trouble
    if app.desk.running.release is None and releases.PRIVATE not in app.program:
        about["in_place"] = f"no copy could be made: do not replace {app.program} while this runs"
    return json_response(200, about)


def post_upgrade(request: Request, app: App) -> Answer:
    """202 with the accepted operation, before anything is rewritten; or why not."""
    body = read_object(request.body)
    channel, version, downgrade = read_upgrade(body)
    who = requested_by(request)
    return _accepted(accept.accept_upgrade(app.desk, channel, version, downgrade, who))


def post_rollback(request: Request, app: App) -> Answer:
    """202 with the accepted rollback to the previous good release; or why not."""
    read_object(request.body)
    return _accepted(accept.accept_rollback(app.desk, requested_by(request)))


def get_status(_request: Request, app: App) -> Answer:
    """The record of the last operation, as it lies on the disk."""
    wire = app.status_store.wire()
    if wire is None:
        return error_response(404, "not_found", "no operation was ever started on this hub")
    return Response(200, wire)


def get_history(_request: Request, app: App) -> Answer:
    """The operations that ended, newest first."""
    return json_response(200, {"operations": app.status_store.history()})


def get_plan(request: Request, app: App) -> Answer:
    """The dry run, made by a child: it may have to wait for the release source."""
    wanted, named, downgrade = read_upgrade(read_query(request.query))
    channel = accept.check_channel(wanted, app.version)
    version = accept.check_version(named)
    argv = interpreter.command(app.program, "plan", "--json", "--here")
    argv += ["--config-dir", app.settings.home.root]
    for flag, value in (
        ("--releases", app.desk.releases), ("--channel", channel), ("--version", version),
        ("--trouble", app.trouble),
    ):
        if value:
            argv.append(f"{flag}={value}")
    if downgrade:
        argv.append("--allow-downgrade")
    return Later(argv, PLAN_TIMEOUT_S, planned)


def planned(result: ChildResult) -> Response:
    """The child's plan, or why there is none."""
    if result.status is None:
        sentence = f"the release source did not answer within {PLAN_TIMEOUT_S:g} s; try again"
        return error_response(503, "overloaded", sentence)
    try:
        plan = json.loads(result.stdout.decode("utf-8"))
    except ValueError:
        plan = None
    if isinstance(plan, dict) and "current" in plan:
        return json_response(200, plan)
    if isinstance(plan, dict) and isinstance(plan.get("error_description"), str):
        return error_response(503, "overloaded", plan["error_description"][:LAST_WORDS])
    raise RuntimeError(f"plan exited with {result.status}: {result.stderr[-2000:]!r}")


# --- what was sent ------------------------------------------------------------------------------


def read_object(body: bytes) -> dict[str, Any]:
    """The JSON object of a body, {} for none; raises RefusedError `invalid_body`."""
    if not body:
        return {}
    try:
        value = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise _invalid_body("the body is not JSON") from error
    if not isinstance(value, dict):
        raise _invalid_body("the body must be a JSON object")
    return value


def read_upgrade(body: dict[str, Any]) -> tuple[str | None, str | None, bool]:
    """channel, version and allow_downgrade; raises RefusedError `invalid_body` for a wrong type."""
    for field, kind, name in (
        ("channel", str, "a string"), ("version", str, "a string"),
        ("allow_downgrade", bool, "true or false"),
    ):
        if field in body and not isinstance(body[field], kind):
            raise _invalid_body(f"{field} must be {name}")
    return body.get("channel"), body.get("version"), body.get("allow_downgrade", False)


def read_query(query: str) -> dict[str, Any]:
    """The same fields from a query string; raises RefusedError."""
    try:
        fields: dict[str, Any] = dict(
            parse_qsl(query, keep_blank_values=True, max_num_fields=MOST_QUERY_FIELDS)
        )
    except ValueError as error:
        raise _invalid_body("the query has too many fields") from error
    if "allow_downgrade" in fields:
        words = {"true": True, "1": True, "false": False, "0": False}
        fields["allow_downgrade"] = words.get(fields["allow_downgrade"])
    return fields


def requested_by(request: Request) -> str:
    """Who asked, for the record: the token's name and the address."""
    name = request.principal.name if request.principal is not None else "nobody"
    return f"{name} from {request.peer}"


def _invalid_body(sentence: str) -> RefusedError:
    return RefusedError("invalid_body", sentence, 400)


def _accepted(operation: Operation) -> Response:
    return json_response(202, {name: getattr(operation, name) for name in ACCEPTED_FIELDS})


ROUTES = (
    Route("GET", "/health", None, get_health, any_host=True),
    Route("GET", "/ready", None, get_ready, any_host=True),
    Route("GET", "/api/hub", READ, get_hub),
    Route("POST", "/api/hub/upgrade", ADMIN, post_upgrade),
    Route("GET", "/api/hub/upgrade/status", READ, get_status),
    Route("GET", "/api/hub/upgrade/plan", READ, get_plan),
    Route("GET", "/api/hub/upgrade/history", READ, get_history),
    Route("POST", "/api/hub/rollback", ADMIN, post_rollback),
)
