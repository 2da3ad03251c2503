"""`tokens.json`: who may ask the hub for what. Only the SHA-256 of a token is ever kept."""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Callable

from hub_upgrade.shapes import Any, NamedTuple

try:  # what `hmac.compare_digest` is, without hmac's memory
    from _operator import _compare_digest as _same
except ImportError:  # another Python than CPython
    from hmac import compare_digest as _same

from hub_upgrade.errors import HostError, UsageError
from hub_upgrade.host import files
from hub_upgrade.host.files import Home, Unreadable
from hub_upgrade.host.status_store import take_state_lock

FORMAT = 1
READ = "hub:read"
ADMIN = "hub:admin"
SCOPES = (ADMIN, READ)
PREFIX = "hub_"
RANDOM_BYTES = 32
LONGEST_TOKEN = 200
LONGEST_NAME = 100
MOST_TOKENS = 200
RACY_S = 0.1
"""Two replacements within one tick of the file system's clock can look alike: what was written so
short a time ago is read again."""


class Principal(NamedTuple):
    """Who a token belongs to. `scopes` holds what is implied too: `hub:admin` may also read."""

    name: str
    scopes: frozenset[str]


class _Entry(NamedTuple):
    digest: str
    expires_at: str | None
    principal: Principal


class TokenStore:
    """The tokens of one home: checked from memory as long as the file stays as it is."""

    def __init__(self, home: Home, recheck_s: float = 0.0) -> None:
        self._home = home
        self._recheck_s = recheck_s
        self._fresh_until = 0.0
        self._path = home.tokens  # put together once: it is looked at for every request
        self._signature: tuple[int, ...] | None = None
        self._entries: tuple[_Entry, ...] = ()
        self.moved_aside: str | None = None
        """Where the last writing put a file that could not be read as tokens."""

    def check(self, token: str) -> Principal | None:
        """Whose token this is, or None: unknown, expired, or no tokens to be read. Never raises.

        Every kept digest is compared, each in constant time, whatever was found before.
        """
        if not 0 < len(token) <= LONGEST_TOKEN:
            return None
        digest = _digest(token)
        for _ in range(2):
            found: _Entry | None = None
            for entry in self._current():
                if _same(entry.digest, digest):
                    found = entry
            if found is not None:
                return None if _expired(found.expires_at) else found.principal
            self._fresh_until = 0.0  # it may have been made since the last look
        return None

    def create(
        self, scopes: tuple[str, ...], name: str, expires_at: float | None = None
    ) -> str:
        """Make a token and return it, the only time it can be seen; wall-clock seconds.

        Raises UsageError for a bad scope or name, HostError when it cannot be recorded.
        """
        _check_new(scopes, name)
        token = PREFIX + base64.urlsafe_b64encode(os.urandom(RANDOM_BYTES)).decode().rstrip("=")
        entry: dict[str, Any] = {
            "name": name,
            "sha256": _digest(token),
            "scopes": list(scopes),
            "created_at": files.now_rfc3339(),
        }
        if expires_at is not None:
            entry["expires_at"] = files.rfc3339(expires_at)

        def add(kept: list[Any]) -> list[Any]:
            living = [item for item in kept if not _is_expired_entry(item)]
            if len(living) >= MOST_TOKENS:
                raise HostError(
                    f"{self._home.tokens} holds {len(living)} tokens, the most allowed"
                )
            return [*living, entry]

        self._change(add)
        return token

    def forget(self, token: str) -> None:
        """Remove this very token, if it is there; raises HostError."""
        digest = _digest(token)
        self._change(lambda kept: [item for item in kept if _field(item, "sha256") != digest])

    def unreadable(self) -> str:
        """Why what lies there are no tokens, or nothing."""
        try:
            _read(self._home)
        except Unreadable as error:
            return str(error)
        return ""

    def _current(self) -> tuple[_Entry, ...]:
        """The file's tokens; it is looked at no more often than every `recheck_s` seconds."""
        now = time.monotonic()
        if now < self._fresh_until:
            return self._entries
        self._fresh_until = now + self._recheck_s
        try:
            found = os.stat(self._path)
        except OSError:
            self._signature, self._entries = None, ()
            return ()
        signature = (
            found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
        )
        if signature != self._signature:
            try:
                kept = _read(self._home)
            except Unreadable:
                kept = []
            entries = [_entry(item) for item in kept[:MOST_TOKENS]]
            self._entries = tuple(entry for entry in entries if entry is not None)
            self._signature = signature if time.time() - found.st_mtime > RACY_S else None
        return self._entries

    def _change(self, change: Callable[[list[Any]], list[Any]]) -> None:
        """Read, change and replace under `state.lock`; what this release cannot read is kept."""
        self._fresh_until = 0.0
        try:
            files.make_directory(self._home.root)
            lock = take_state_lock(self._home)
            try:
                try:
                    kept = _read(self._home)
                except Unreadable:
                    self.moved_aside = files.move_aside(self._home.tokens)
                    kept = []
                wanted = change(list(kept))
                if wanted != kept:
                    value = {"format": FORMAT, "tokens": wanted}
                    files.write_json(self._home.tokens, value)
            finally:
                lock.release()
        except OSError as error:
            why = error.strerror or error
            raise HostError(f"{self._home.tokens} cannot be written: {why}") from error


def _read(home: Home) -> list[Any]:
    raw = files.read_json(home.tokens)
    if raw is None:
        return []
    kept = raw.get("tokens")
    if raw.get("format") != FORMAT or not isinstance(kept, list):
        raise Unreadable(home.tokens, f"it does not hold tokens of format {FORMAT}")
    return kept


def _entry(item: Any) -> _Entry | None:
    digest, name, scopes = (_field(item, key) for key in ("sha256", "name", "scopes"))
    expires_at = _field(item, "expires_at")
    if not isinstance(digest, str) or len(digest) != 64 or not digest.isascii():
        return None
    if not isinstance(name, str) or not isinstance(scopes, list):
        return None
    if expires_at is not None and not _is_time(expires_at):
        return None
    held = {scope for scope in scopes if scope in SCOPES}
    if ADMIN in held:
        held.add(READ)
    return _Entry(digest, expires_at, Principal(name, frozenset(held)))


def _field(item: Any, key: str) -> Any:
    return item.get(key) if isinstance(item, dict) else None


def _is_time(value: Any) -> bool:
    """Whether it is a time as we write it, so that comparing the texts compares the times."""
    shape = "0000-00-00T00:00:00.000Z"
    if not isinstance(value, str) or len(value) != len(shape) or not value.isascii():
        return False
    return all(
        char.isdigit() if like == "0" else char == like for char, like in zip(value, shape)
    )


def _expired(expires_at: str | None) -> bool:
    return expires_at is not None and expires_at <= files.now_rfc3339()


def _is_expired_entry(item: Any) -> bool:
    expires_at = _field(item, "expires_at")
    return _is_time(expires_at) and _expired(expires_at)


def _digest(token: str) -> str:
    return files.sha256(token.encode("utf-8", "surrogateescape"))


def _check_new(scopes: tuple[str, ...], name: str) -> None:
    for scope in scopes:
        if scope not in SCOPES:
            raise UsageError(f"unknown scope {scope[:100]!r}; allowed: {', '.join(SCOPES)}")
    if not scopes:
        raise UsageError(f"a token needs a scope: {', '.join(SCOPES)}")
    if not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
        raise UsageError(f"a token's name is 1 to {LONGEST_NAME} printable characters")
