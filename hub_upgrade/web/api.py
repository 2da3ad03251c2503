"""The handlers. They know no socket and never wait: what may wait is a `Later`."""

from __future__ import annotations

import json
from collections.abc import Callable

from hub_upgrade.domain.operation import Operation
from hub_upgrade.domain.versions import channel_of
from hub_upgrade.host import boot_store, interpreter, managed_store, releases
from hub_upgrade.host.children import ChildResult
from hub_upgrade.host.files import Unreadable
from hub_upgrade.host.token_store import ADMIN, READ, TokenStore
from hub_upgrade.settings import Settings
from hub_upgrade.shapes import Any
from hub_upgrade.upgrade import accept
from hub_upgrade.upgrade.accept import Desk
from hub_upgrade.upgrade.ports import Store
from hub_upgrade.web.assets import get_page, get_script, get_style
from hub_upgrade.web.auth import digest_of
from hub_upgrade.web.bodies import read_object, read_query, read_upgrade
from hub_upgrade.web.messages import (
    Answer,
    Later,
    Request,
    Response,
    Stream,
    error_response,
    json_response,
)
from hub_upgrade.web.modules import get_modules, no_module
from hub_upgrade.web.routes import Route
from hub_upgrade.web.session import Refusals, post_session

SERVICE = "parachute-hub"
UPGRADE_FEED = "upgrade"
"""The feed of the operation's record, given to `Connections` under this name."""
PLAN_TIMEOUT_S = 30.0
ACCEPTED_FIELDS = ("operation_id", "target_version", "channel", "mode", "source", "reason")
DESCRIBE_TIMEOUT_S = 10.0
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
        build_time: str | None,
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
        self.build_time = build_time
        self.refusals = Refusals(clock)
        self.available: str | None = None
        self.description: Response | None = None
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


def get_hub(request: Request, app: App) -> Answer:
    """The running hub: never what is installed beside it."""
    subject = accept.subject_of(app.desk, itself=False)
    decision = subject.decision
    about: dict[str, Any] = {
        "version": subject.version,
        "release": app.digest,
        "instance": app.instance,
        "started_at": app.started_at,
        "uptime_ms": int((app.clock() - app.started) * 1000),
        "source": decision.source,
        "install_source": subject.install,
        "launcher_version": app.launcher_version,
        "channel": channel_of(subject.version),
        "mode": decision.mode,
        "reason": decision.reason,
        "evidence": list(decision.evidence),
        "previous": _previous(app),
        "scopes": sorted(request.principal.scopes) if request.principal is not None else [],
    }
    known = {
        "container_build_time": app.build_time,
        "available_version": app.available if app.available != subject.version else None,
        "config_error": app.settings.config_error,
        "trouble": app.trouble,
    }
    if app.desk.survey is not None:
        seen = app.desk.survey()
        known.update(git_head=seen.git_head, bun_linked_path=seen.linked_path)
    about.update({name: value for name, value in known.items() if value})
    if app.desk.running.release is None and releases.PRIVATE not in app.program:
        about["in_place"] = f"no copy could be made: do not replace {app.program} while this runs"
    return json_response(200, about)


def _previous(app: App) -> str | None:
    """The version that a rollback would go back to."""
    if app.desk.survey is not None:
        previous = managed_store.read(app.settings.home).previous
        return previous.version if previous is not None else None
    try:
        boot = boot_store.read_boot(app.settings.home)
    except Unreadable:
        return None
    return releases.version_of(boot.previous or "") if boot is not None else None


def post_upgrade(request: Request, app: App) -> Answer:
    """202 with the accepted operation, before anything is rewritten; or why not."""
    body = read_object(request.body)
    channel, version, downgrade, itself = read_upgrade(body)
    who = requested_by(request)
    return _accepted(accept.accept_upgrade(app.desk, channel, version, downgrade, who, itself))


def post_rollback(request: Request, app: App) -> Answer:
    """202 with the accepted rollback to the previous good release; or why not."""
    itself = read_upgrade(read_object(request.body))[-1]
    return _accepted(accept.accept_rollback(app.desk, requested_by(request), itself))


def get_status(_request: Request, app: App) -> Answer:
    """The record of the last operation, as it lies on the disk."""
    wire = app.status_store.wire()
    if wire is None:
        return error_response(404, "not_found", "no operation was ever started on this hub")
    return Response(200, wire)


def get_events(request: Request, _app: App) -> Answer:
    """The same record now, and again whenever it changes, as long as the token is good."""
    return Stream(UPGRADE_FEED, digest_of(request.headers["authorization"]))


def get_history(_request: Request, app: App) -> Answer:
    """The operations that ended, newest first."""
    return json_response(200, {"operations": app.status_store.history()})


def get_plan(request: Request, app: App) -> Answer:
    """The dry run, made by a child: it may have to wait for the release source."""
    wanted, named, downgrade, itself = read_upgrade(read_query(request.query))
    channel = accept.check_channel(wanted, accept.subject_of(app.desk, itself).version)
    version = accept.check_version(named)
    other = itself and app.desk.survey is not None
    argv = interpreter.command(app.program, "plan", "--json", "--here")
    argv += ["--config-dir", app.settings.home.root]
    for flag, value in (
        ("--releases", app.desk.releases), ("--channel", channel), ("--version", version),
        ("--trouble", app.trouble),
    ):
        if value:
            argv.append(f"{flag}={value}")
    argv += [flag for flag, on in (("--allow-downgrade", downgrade), ("--self", itself)) if on]
    return Later(argv, PLAN_TIMEOUT_S, lambda result: planned(result, app, other))


def planned(result: ChildResult, app: App, other: bool) -> Response:
    """The child's plan, or why there is none; `other`: not of the hub that `/api/hub` is about."""
    if result.status is None:
        sentence = f"the release source did not answer within {PLAN_TIMEOUT_S:g} s; try again"
        return error_response(503, "overloaded", sentence)
    try:
        plan = json.loads(result.stdout.decode("utf-8"))
    except ValueError:
        plan = None
    if isinstance(plan, dict) and "current" in plan:
        newer = not plan.get("already_current") and not plan.get("stops")
        if not other:
            app.available = plan.get("target") if newer else None
        return json_response(200, plan)
    if isinstance(plan, dict) and isinstance(plan.get("error_description"), str):
        return error_response(503, "overloaded", plan["error_description"][:LAST_WORDS])
    raise RuntimeError(f"plan exited with {result.status}: {result.stderr[-2000:]!r}")


def get_openapi(_request: Request, app: App) -> Answer:
    """The description of these routes (OpenAPI 3.1), made by a child once."""
    if app.description is not None:
        return app.description

    def described(result: ChildResult) -> Response:
        if result.status != 0:
            raise RuntimeError(f"openapi exited with {result.status}: {result.stderr[-2000:]!r}")
        app.description = Response(200, result.stdout)
        return app.description

    return Later(interpreter.command(app.program, "openapi"), DESCRIBE_TIMEOUT_S, described)


def requested_by(request: Request) -> str:
    """Who asked, for the record: the token's name and the address."""
    name = request.principal.name if request.principal is not None else "nobody"
    return f"{name} from {request.peer}"


def _accepted(operation: Operation) -> Response:
    return json_response(202, {name: getattr(operation, name) for name in ACCEPTED_FIELDS})


ROUTES = (
    Route("GET", "/", None, get_page),
    Route("GET", "/app.js", None, get_script),
    Route("GET", "/style.css", None, get_style),
    Route("GET", "/health", None, get_health, any_host=True),
    Route("GET", "/ready", None, get_ready, any_host=True),
    Route("POST", "/api/session", None, post_session),
    Route("GET", "/api/openapi.json", None, get_openapi),
    Route("GET", "/api/hub", READ, get_hub),
    Route("POST", "/api/hub/upgrade", ADMIN, post_upgrade),
    Route("GET", "/api/hub/upgrade/status", READ, get_status),
    Route("GET", "/api/hub/upgrade/events", READ, get_events),
    Route("GET", "/api/hub/upgrade/plan", READ, get_plan),
    Route("GET", "/api/hub/upgrade/history", READ, get_history),
    Route("POST", "/api/hub/rollback", ADMIN, post_rollback),
    Route("GET", "/api/modules", READ, get_modules),
    Route("POST", "/api/modules/<name>/start", ADMIN, no_module),
    Route("POST", "/api/modules/<name>/stop", ADMIN, no_module),
    Route("POST", "/api/modules/<name>/restart", ADMIN, no_module),
    Route("GET", "/api/modules/<name>/logs", READ, no_module),
)
