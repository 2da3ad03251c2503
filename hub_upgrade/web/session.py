"""Signing in: a code that came in a link's fragment is exchanged for a session's token."""

from __future__ import annotations

from collections.abc import Callable

from hub_upgrade.errors import RefusedError
from hub_upgrade.host import log
from hub_upgrade.host.token_store import TokenStore
from hub_upgrade.shapes import Protocol
from hub_upgrade.web.bodies import read_object
from hub_upgrade.web.messages import Request, Response, error_response, json_response

INVALID = error_response(
    401,
    "invalid_code",
    "this sign-in link was used already, or is older than 15 minutes; make another with: "
    "hub.pyz token link",
    (("www-authenticate", "Bearer"),),
)


TOLD_EVERY_S = 1.0


class Refusals:
    """Refused codes, as the log tells of them: once a second, so that nobody fills it by guessing.
    `clock` is monotonic and in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._told_at = float("-inf")
        self._untold = 0

    def tell(self, peer: str) -> None:
        """One more, from there."""
        if self._clock() - self._told_at < TOLD_EVERY_S:
            self._untold += 1
            return
        more = f", and {self._untold} before it" if self._untold else ""
        log.say("hub", f"a sign-in code was refused, from {peer}{more}", log.WARNING)
        self._told_at, self._untold = self._clock(), 0


class Door(Protocol):
    """What signing in needs of the hub."""

    tokens: TokenStore
    refusals: Refusals


def post_session(request: Request, app: Door) -> Response:
    """200 with a session's token, once for each code; or why not."""
    code = read_object(request.body).get("code")
    if not isinstance(code, str):
        sentence = "code must be a string: what stands behind #code= in the sign-in link"
        raise RefusedError("invalid_body", sentence, 400)
    session = app.tokens.redeem(code)
    if session is None:
        app.refusals.tell(request.peer)
        return INVALID
    found = app.tokens.check(session.token)
    log.say("hub", f"signed in: {found.name if found else 'nobody'} from {request.peer}")
    return json_response(
        200,
        {
            "token": session.token,
            "scopes": list(session.scopes),
            "expires_at": session.expires_at,
        },
    )
