"""`hub.pyz token`: tokens for the HTTP API, and links that sign a browser in."""

from __future__ import annotations

import os
import sys
import time

from hub_upgrade.cli import client, entry
from hub_upgrade.cli.arguments import JSON, Arguments, Command, Option
from hub_upgrade.errors import HostError, RefusedError, UsageError
from hub_upgrade.host.files import Home
from hub_upgrade.host.token_store import SCOPES, TokenInfo, TokenStore
from hub_upgrade.settings import public_origin

UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
LONGEST_S = 3650 * 86400
TAKES = {
    "create": ("scope", "name", "expires"),
    "list": ("json",),
    "revoke": ("word", "json"),
    "link": ("name",),
}
COMMAND = Command(
    "token",
    "create  make a token for the HTTP API, and print it alone on stdout: it is shown only once\n"
    "list    show the tokens there are, and the sessions of browsers that signed in by a link\n"
    "revoke  take tokens and sessions away, by id or by name, at once\n"
    "link    print a link, alone on stdout, that signs a browser in: once, within 15 minutes;\n"
    "        the session may do everything and lives 30 days",
    "hub.pyz token create --scope hub:admin --name laptop --expires 30d",
    "0 done, 1 failed, 2 wrong usage",
    "tokens.json in home (only the SHA-256 of a token is kept), under state.lock; home is made",
    (
        Option("--scope", "create: hub:admin includes hub:read", "SCOPE", SCOPES),
        Option("--name", "create, link: the name in records and logs (USER-RANDOM)", "NAME"),
        Option("--expires", "create: how long it is good: 90m, 12h, 30d (for ever)", "TIME"),
        JSON._replace(does="list, revoke: the answer as JSON"),
    ),
    (
        Option("action", choices=tuple(TAKES), needed=True),
        Option("word", "revoke: an id or a name"),
    ),
)


def main(argv: list[str]) -> int:
    """Do it; returns the exit code."""
    return entry.run(COMMAND, argv, token)


def token(given: Arguments) -> int:
    """The one that was asked for."""
    for name in ("scope", "name", "expires", "json", "word"):
        value = getattr(given, name)
        if value and name not in TAKES[given.action]:
            what = f"argument {value[:100]!r}" if name == "word" else f"--{name}"
            raise UsageError(f"{given.action} takes no {what}")
    home = entry.home_in(given)
    client.ensure_own(home)
    acts = {"create": create, "list": show, "revoke": revoke, "link": link}
    return acts[given.action](home, given)


def create(home: Home, given: Arguments) -> int:
    """Make one token and print it."""
    if given.scope is None:
        raise UsageError(f"--scope is missing: {' or '.join(SCOPES)}")
    expires_at = time.time() + duration(given.expires) if given.expires is not None else None
    store = TokenStore(home)
    made = store.create((given.scope,), given.name or _own_name(), expires_at)
    _told_aside(home, store)
    print(made)
    return 0


def show(home: Home, given: Arguments) -> int:
    """List them, as a table or as JSON."""
    found = TokenStore(home).listed()
    if given.json:
        entry.print_json({"tokens": [_wire(one) for one in found]})
    elif not found:
        print("there are no tokens; for a browser: hub.pyz token link")
    else:
        rows = [("ID", "NAME", "SCOPES", "KIND", "CREATED", "EXPIRES")]
        rows += [
            (one.id, one.name, ",".join(one.scopes), one.kind, one.created_at or "?",
             one.expires_at or "never")
            for one in found
        ]  # fmt: skip
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        for row in rows:
            cells = (f"{cell:<{width}}" for cell, width in zip(row, widths))
            print(entry.printable("  ".join(cells).rstrip()))
    return 0


def revoke(home: Home, given: Arguments) -> int:
    """Take away by id or name, and say what."""
    if given.word is None:
        raise UsageError("revoke needs the id or the name of what to take away")
    gone = TokenStore(home).revoke(given.word)
    if not gone:
        shown = given.word[:100]
        raise RefusedError("not_found", f"there is no token {shown!r}; see: hub.pyz token list")
    if given.json:
        entry.print_json({"revoked": [_wire(one) for one in gone]})
        return 0
    if len(gone) > 1:
        print(f"{len(gone)} of that name, and all of them are revoked:")
    for one in gone:
        print(entry.printable(f"revoked: {one.kind} {one.id} {one.name} ({', '.join(one.scopes)})"))
    return 0


def link(home: Home, given: Arguments) -> int:
    """Print a link that signs a browser in."""
    origin = public_origin(os.environ, "")
    found = _hub(home, bool(origin))
    if found is not None:
        origin = public_origin(os.environ, str(found.serving["address"]))
    if not origin:
        raise HostError(
            "no hub runs, and a link leads to one: start it with hub.pyz serve, or say in "
            "PARACHUTE_HUB_ORIGIN where it will be"
        )
    store = TokenStore(home)
    code = store.create_code(given.name or f"link:{_own_name()}")
    _told_aside(home, store)
    if found is None:
        print("hub.pyz token: no hub runs: the link is good once one does", file=sys.stderr)
    print(f"{origin}/#code={code}")
    return 0


def _hub(home: Home, known: bool) -> client.Found | None:
    """The hub that runs; where it is may be known all the same."""
    try:
        return client.locate(home)
    except client.NoAnswerError:
        if known:
            return None
        raise


def _own_name() -> str:
    return f"{client.user_name()}-{os.urandom(3).hex()}"


def _wire(one: TokenInfo) -> dict[str, object]:
    return {**one._asdict(), "scopes": list(one.scopes)}


def _told_aside(home: Home, store: TokenStore) -> None:
    if store.moved_aside:
        sentence = f"{home.tokens} could not be read, and is now {store.moved_aside}"
        print(f"hub.pyz token: {sentence}; its tokens are no good any more", file=sys.stderr)


def duration(text: str) -> float:
    """Seconds of `90m`, `12h`, `30d`; raises UsageError."""
    number, unit = text[:-1], text[-1:]
    if not (number.isascii() and number.isdigit() and len(number) < 10) or unit not in UNITS_S:
        raise UsageError(f"--expires must be like 90m, 12h or 30d, not {text[:100]!r}")
    seconds = int(number) * UNITS_S[unit]
    if not 0 < seconds <= LONGEST_S:
        raise UsageError(f"--expires must be up to {LONGEST_S // 86400}d, not {text[:100]!r}")
    return float(seconds)
