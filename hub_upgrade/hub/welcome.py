"""The first way in: a token from a file, or a sign-in link for a hub that has no token yet."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hub_upgrade.errors import HostError
from hub_upgrade.host import files, log
from hub_upgrade.host.files import Unreadable
from hub_upgrade.host.loop import Loop
from hub_upgrade.host.token_store import TokenStore

ADMIN_TOKEN_FILE = "PARACHUTE_ADMIN_TOKEN_FILE"  # noqa: S105 - the name of a variable
ADMIN_NAME = "admin-file"
LINK_NAME = "link:serve"
SHORTEST_TOKEN = 16
LONGEST_TOKEN = 200
MOST_BYTES = 4096
LOOK_EVERY_S = 1.0


def seed(tokens: TokenStore, environ: Mapping[str, str]) -> str | None:
    """Take the token of `PARACHUTE_ADMIN_TOKEN_FILE`; what is wrong with it, or None."""
    path = environ.get(ADMIN_TOKEN_FILE)
    if not path:
        return None
    try:
        text = files.read_regular(path, MOST_BYTES).decode("ascii").strip()
    except OSError as error:
        return f"{ADMIN_TOKEN_FILE}: {path} cannot be read: {error.strerror}"
    except Unreadable as error:
        return f"{ADMIN_TOKEN_FILE}: {error}"
    except ValueError:
        text = ""
    if not SHORTEST_TOKEN <= len(text) <= LONGEST_TOKEN or not text.isprintable() or " " in text:
        return (
            f"{ADMIN_TOKEN_FILE}: {path} must hold one token of {SHORTEST_TOKEN} to "
            f"{LONGEST_TOKEN} printable ASCII characters, without spaces"
        )
    tokens.seed(text, ADMIN_NAME)
    return None


class Welcome:
    """Prints a sign-in link once this process is a committed hub and nobody has a token."""

    def __init__(
        self, loop: Loop, tokens: TokenStore, origin: str, committed: Callable[[], bool]
    ) -> None:
        self._loop = loop
        self._tokens = tokens
        self._origin = origin
        self._committed = committed

    def look(self) -> None:
        """Look now, and again every second until there is a token or a link: a release on trial
        prints no secret."""
        if self._tokens.any():
            return
        if not self._committed():
            self._loop.call_later(LOOK_EVERY_S, self.look)
            return
        try:
            code = self._tokens.create_code(LINK_NAME)
        except HostError as error:
            log.say("hub", f"no sign-in link can be made: {error.sentence}", log.WARNING)
            return
        link = f"{self._origin}/#code={code}"
        log.say("hub", f"sign in, once and within 15 minutes: {link}", link=link)
