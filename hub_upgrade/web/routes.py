"""One table, (method, path, scope) -> handler, and the order in which a request is refused."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable
from urllib.parse import unquote

from hub_upgrade.errors import HostError, RefusedError
from hub_upgrade.host import log
from hub_upgrade.host.children import ChildResult
from hub_upgrade.shapes import Any, NamedTuple, Optional
from hub_upgrade.web.hosts import Hosts
from hub_upgrade.web.messages import (
    Answer,
    Later,
    Principal,
    Request,
    Response,
    error_response,
    shortened,
)

Handler = Callable[[Request, Any], Answer]
"""`handler(request, app)`: knows no socket, never waits; raises RefusedError to refuse."""

Authenticate = Callable[[Optional[str]], Optional[Principal]]
"""Who sent an `Authorization` header of this value (None: there is none); None for nobody."""

DISK_TROUBLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


class Route(NamedTuple):
    """One line of the table. `<name>` in the path stands for one segment of it; `scope` None is
    for anyone; `any_host` answers whatever name the hub is reached by."""

    method: str
    path: str
    scope: str | None
    handler: Handler
    any_host: bool = False


class _Place(NamedTuple):
    """All the routes of one path."""

    by_method: dict[str, Route]
    allow: str
    any_host: bool


class Table:
    """The routes, ready to be looked up; exact paths are found at once."""

    def __init__(self, routes: Iterable[Route], authenticate: Authenticate, hosts: Hosts) -> None:
        grouped: dict[str, dict[str, Route]] = {}
        for route in routes:
            methods = grouped.setdefault(route.path, {})
            methods[route.method] = route
            if route.method == "GET":
                methods.setdefault("HEAD", route)
        self.authenticate = authenticate
        self.hosts = hosts
        self.exact: dict[str, _Place] = {}
        self._patterns: list[tuple[list[str], _Place]] = []
        for path, methods in grouped.items():
            any_host = any(route.any_host for route in methods.values())
            place = _Place(methods, ", ".join(sorted(methods)), any_host)
            if "<" in path:
                self._patterns.append((path.split("/"), place))
            else:
                self.exact[path] = place

    def search(self, path: str) -> tuple[_Place | None, dict[str, str]]:
        """The routes of a path that is not in `exact`, and what stands in it for `<names>`."""
        segments = path.split("/")
        for pattern, place in self._patterns:
            params = _match(pattern, segments)
            if params is not None:
                return place, params
        return None, {}


def _match(pattern: list[str], segments: list[str]) -> dict[str, str] | None:
    if len(pattern) != len(segments):
        return None
    params = {}
    for expected, segment in zip(pattern, segments):
        if expected.startswith("<"):
            value = unquote(segment)
            if not value or "/" in value or not value.isprintable():
                return None
            params[expected[1:-1]] = value
        elif expected != segment:
            return None
    return params


def dispatch(table: Table, request: Request, app: Any) -> Answer:
    """Answer one request; never raises, and refuses in the contract's order of precedence."""
    place = table.exact.get(request.path)
    params: dict[str, str] = {}
    try:
        if place is None:
            place, params = table.search(request.path)
        if (place is None or not place.any_host) and not table.hosts.ours(
            request.headers.get("host", "")
        ):
            return _misdirected(request)
        if place is None:
            sentence = f"there is nothing at {shortened(request.path)}"
            return error_response(404, "not_found", sentence)
        route = place.by_method.get(request.method)
        if route is None:
            return _not_allowed(request, place)
        if route.scope is not None:
            principal = table.authenticate(request.headers.get("authorization"))
            if principal is None or route.scope not in principal.scopes:
                return _forbidden(principal, route.scope)
            request = Request(*request[:6], principal, params)  # in half the time of _replace
        elif params:
            request = request._replace(params=params)
        answer = route.handler(request, app)
    except Exception as error:  # noqa: BLE001 - one bug must not take the hub's one loop along
        return failed(error)
    return _guarded(answer) if isinstance(answer, Later) else answer


def _guarded(later: Later) -> Later:
    def finish(result: ChildResult) -> Response:
        try:
            return later.finish(result)
        except Exception as error:  # noqa: BLE001 - as above
            return failed(error)

    return later._replace(finish=finish)


def failed(error: Exception) -> Response:
    """The answer for what a handler raised: a refusal, the machine's trouble, or a bug of ours."""
    if isinstance(error, RefusedError):
        return error_response(error.status, error.code, error.sentence)
    if isinstance(error, HostError):
        return error_response(507, "cannot_record", error.sentence)
    if isinstance(error, OSError) and error.errno in DISK_TROUBLE:
        return error_response(507, "cannot_record", f"nothing can be written: {error.strerror}")
    log.say("hub", f"a bug: {type(error).__name__}: {error} ({_way(error)})", log.ERROR)
    return error_response(
        500, "internal_error", "this is a bug in the hub; what it was doing is in the hub's log"
    )


def _way(error: BaseException) -> str:
    """Where it came from, the innermost first: what a traceback says, on one line."""
    places: list[str] = []
    trace = error.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename.rpartition("hub_upgrade/")[2]
        places.append(f"{name}:{trace.tb_lineno}")
        trace = trace.tb_next
    return ", ".join(places[::-1])


def _misdirected(request: Request) -> Response:
    host = request.headers.get("host", "")
    sentence = (
        f"the hub does not go by the name {shortened(host)}; if it should, add that name to"
        ' "allowed_hosts" in hub.json'
    )
    return error_response(421, "misdirected_request", sentence)


def _not_allowed(request: Request, place: _Place) -> Response:
    sentence = f"{shortened(request.method)} is not possible here, only {place.allow}"
    return error_response(405, "method_not_allowed", sentence, (("allow", place.allow),))


def _forbidden(principal: Principal | None, scope: str) -> Response:
    if principal is None:
        return error_response(
            401,
            "unauthenticated",
            "a valid token is needed, as `Authorization: Bearer TOKEN`; make one with:"
            f" hub.pyz token create --scope {scope}",
            (("www-authenticate", "Bearer"),),
        )
    return error_response(
        403,
        "insufficient_scope",
        f"this needs a token with the scope {scope}; make one with:"
        f" hub.pyz token create --scope {scope}",
        (("www-authenticate", f'Bearer error="insufficient_scope", scope="{scope}"'),),
    )
