"""Signing in: a code that came in a link's fragment is exchanged for a session's token."""

from __future__ import annotations

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


class Door(Protocol):
    """What signing in needs of the hub."""

    tokens: TokenStore


def post_session(request: Request, app: Door) -> Response:
    """200 with a session's token, once for each code; or why not."""
    code = read_object(request.body).get("code")
    if not isinstance(code, str):
        sentence = "code must be a string: what stands behind #code= in the sign-in link"
        raise RefusedError("invalid_body", sentence, 400)
    session = app.tokens.redeem(code)
    if session is None:
        log.say("hub", f"a sign-in code was refused, from {request.peer}", log.WARNING)
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
