"""The entries of `tokens.json`, format 1: plain values, and what makes one valid.

    {format, tokens: [{name, sha256, scopes, created_at, expires_at?, kind?}],
             codes: [{name, sha256, expires_at}]}

Fields that this release does not know are kept: a newer one may have written them.
"""

from __future__ import annotations

import base64
import os

from hub_upgrade.errors import UsageError
from hub_upgrade.host import files
from hub_upgrade.host.files import Home, Unreadable
from hub_upgrade.shapes import Any, NamedTuple

FORMAT = 1
READ = "hub:read"
ADMIN = "hub:admin"
SCOPES = (ADMIN, READ)
PREFIX = "hub_"
RANDOM_BYTES = 32
LONGEST_TOKEN = 200
LONGEST_NAME = 100
ID_DIGITS = 12
TOKEN = "token"  # noqa: S105 - a kind of entry
SESSION = "session"


class Principal(NamedTuple):
    """Who a token belongs to. `scopes` holds what is implied too: `hub:admin` may also read."""

    name: str
    scopes: frozenset[str]


class Entry(NamedTuple):
    """One token as it is checked."""

    digest: str
    expires_at: str | None
    principal: Principal


class TokenInfo(NamedTuple):
    """One token as an operator sees it; `kind` is `token` or `session`."""

    id: str
    name: str
    scopes: tuple[str, ...]
    created_at: str | None
    expires_at: str | None
    kind: str


class Session(NamedTuple):
    """What a sign-in code was exchanged for."""

    token: str
    scopes: tuple[str, ...]
    expires_at: str


def read(home: Home) -> dict[str, Any]:
    """The whole file, `tokens` and `codes` lists; empty ones for none. Raises Unreadable."""
    raw = files.read_json(home.tokens)
    if raw is None:
        return {"format": FORMAT, "tokens": [], "codes": []}
    if raw.get("format") != FORMAT or not isinstance(raw.get("tokens"), list):
        raise Unreadable(home.tokens, f"it does not hold tokens of format {FORMAT}")
    codes = raw.get("codes")
    return {**raw, "codes": codes if isinstance(codes, list) else []}


def entry(item: Any) -> Entry | None:
    """A token that can be checked; None for what is none."""
    sha256, name, scopes = (field(item, key) for key in ("sha256", "name", "scopes"))
    expires_at = field(item, "expires_at")
    if not isinstance(sha256, str) or len(sha256) != 64 or not sha256.isascii():
        return None
    if not isinstance(name, str) or not isinstance(scopes, list):
        return None
    if expires_at is not None and not _is_time(expires_at):
        return None
    return Entry(sha256, expires_at, principal(name, scopes))


def principal(name: str, scopes: Any) -> Principal:
    """A name with its scopes and those that they imply; unknown ones are good for nothing."""
    held = {scope for scope in scopes if scope in SCOPES}
    if ADMIN in held:
        held.add(READ)
    return Principal(name, frozenset(held))


def info(item: Any) -> TokenInfo | None:
    """A living token for people; None for what is none, or expired."""
    found = entry(item)
    if found is None or expired(found.expires_at):
        return None
    created_at = field(item, "created_at")
    return TokenInfo(
        id=found.digest[:ID_DIGITS],
        name=found.principal.name,
        scopes=tuple(scope for scope in SCOPES if scope in item["scopes"]),
        created_at=created_at if isinstance(created_at, str) else None,
        expires_at=found.expires_at,
        kind=SESSION if field(item, "kind") == SESSION else TOKEN,
    )


def made(secret: str, name: str, **more: Any) -> dict[str, Any]:
    """A new entry: of the secret itself only its SHA-256 is kept."""
    return {"name": name, "sha256": digest(secret), **more}


def new_secret() -> str:
    """256 random bits, safe in a header and in a URL's fragment."""
    return base64.urlsafe_b64encode(os.urandom(RANDOM_BYTES)).decode().rstrip("=")


def digest(secret: str) -> str:
    """The SHA-256 of a secret, in hexadecimal digits; of any text, since JSON can hold any."""
    return files.sha256(secret.encode("utf-8", "surrogatepass"))


def field(item: Any, key: str) -> Any:
    """The value of an entry's field, None for none, whatever the entry is."""
    return item.get(key) if isinstance(item, dict) else None


def _is_time(value: Any) -> bool:
    """Whether it is a time as we write it, so that comparing the texts compares the times."""
    shape = "0000-00-00T00:00:00.000Z"
    if not isinstance(value, str) or len(value) != len(shape) or not value.isascii():
        return False
    return all(
        char.isdigit() if like == "0" else char == like for char, like in zip(value, shape)
    )


def expired(expires_at: str | None) -> bool:
    """Whether that moment has come; None never does."""
    return expires_at is not None and expires_at <= files.now_rfc3339()


def is_expired(item: Any) -> bool:
    """Whether it is an entry whose time is over."""
    expires_at = field(item, "expires_at")
    return _is_time(expires_at) and expired(expires_at)


def check_new(scopes: tuple[str, ...], name: str) -> None:
    """Raises UsageError for what cannot be a token's scopes or name."""
    for scope in scopes:
        if scope not in SCOPES:
            raise UsageError(f"unknown scope {scope[:100]!r}; allowed: {', '.join(SCOPES)}")
    if not scopes:
        raise UsageError(f"a token needs a scope: {', '.join(SCOPES)}")
    if not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
        raise UsageError(f"a token's name is 1 to {LONGEST_NAME} printable characters")
