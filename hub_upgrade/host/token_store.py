"""`tokens.json`: who may ask the hub for what, and the codes that are exchanged for a session.
Only the SHA-256 of a token or a code is ever kept."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from hub_upgrade.shapes import Any

try:  # what `hmac.compare_digest` is, without hmac's memory
    from _operator import _compare_digest as _same
except ImportError:  # another Python than CPython
    from hmac import compare_digest as _same

from hub_upgrade.errors import HostError
from hub_upgrade.host import files
from hub_upgrade.host.files import Home, Unreadable
from hub_upgrade.host.status_store import take_state_lock
from hub_upgrade.host.token_entries import (
    ADMIN,
    LONGEST_TOKEN,
    PREFIX,
    READ,
    SCOPES,
    SESSION,
    Entry,
    Principal,
    Session,
    TokenInfo,
    check_new,
    digest,
    entry,
    expired,
    field,
    info,
    is_expired,
    made,
    new_secret,
    principal,
    read,
)

__all__ = [
    "ADMIN", "LOCAL", "READ", "SCOPES", "Principal", "Session", "TokenInfo", "TokenStore",
]  # fmt: skip

MOST_TOKENS = 200
MOST_CODES = 20
"""Codes that wait to be used; the oldest goes when there are more."""
CODE_S = 15 * 60.0
SESSION_S = 30 * 86400.0
LOCAL = "local:"
"""What the name of the command line's own short-lived token begins with."""
RACY_S = 0.1
"""Two replacements within one tick of the file system's clock can look alike: what was written so
short a time ago is read again."""

Kept = dict[str, Any]


class TokenStore:
    """The tokens of one home: checked from memory as long as the file stays as it is.

    With `memory` nothing is written: what is made ends with the process image. That is for a home
    that cannot be written; what lies there counts all the same.
    """

    def __init__(self, home: Home, recheck_s: float = 0.0, memory: bool = False) -> None:
        self._home = home
        self._recheck_s = recheck_s
        self._fresh_until = 0.0
        self._path = home.tokens  # put together once: it is looked at for every request
        self._signature: tuple[int, ...] | None = None
        self._entries: tuple[Entry, ...] = ()
        self._seeded: tuple[Entry, ...] = ()
        self._memory: Kept | None = {"tokens": [], "codes": []} if memory else None
        self.moved_aside: str | None = None
        """Where the last writing put a file that could not be read as tokens."""

    # --- asking ---------------------------------------------------------------------------------

    def check(self, token: str) -> Principal | None:
        """Whose token this is, or None: unknown, expired, or no tokens to be read. Never raises.

        Every kept digest is compared, each in constant time, whatever was found before.
        """
        if not 0 < len(token) <= LONGEST_TOKEN:
            return None
        wanted = digest(token)
        for _ in range(2):
            found: Entry | None = None
            for known in self._current():
                if _same(known.digest, wanted):
                    found = known
            if found is not None:
                return None if expired(found.expires_at) else found.principal
            self._fresh_until = 0.0  # it may have been made since the last look
        return None

    def known(self, digest: str) -> bool:
        """Whether the token of this digest is good now."""
        return any(
            known.digest == digest and not expired(known.expires_at) for known in self._current()
        )

    def any(self) -> bool:
        """Whether anybody could sign in already; the command line's own tokens do not count."""
        return any(
            not known.principal.name.startswith(LOCAL) and not expired(known.expires_at)
            for known in self._current()
        )

    def listed(self) -> list[TokenInfo]:
        """The living tokens, oldest first; raises HostError when they cannot be read."""
        try:
            kept = read(self._home)
        except Unreadable as error:
            raise HostError(str(error)) from error
        return [known for known in map(info, kept["tokens"]) if known is not None]

    def unreadable(self) -> str:
        """Why what lies there are no tokens, or nothing."""
        try:
            read(self._home)
        except Unreadable as error:
            return str(error)
        return ""

    # --- making and taking away -----------------------------------------------------------------

    def seed(self, token: str, name: str) -> None:
        """Take a token for everything from elsewhere; it is kept in memory alone."""
        self._seeded = (Entry(digest(token), None, principal(name, (ADMIN,))),)
        self._signature, self._fresh_until = None, 0.0

    def create(
        self, scopes: tuple[str, ...], name: str, expires_at: float | None = None
    ) -> str:
        """Make a token and return it, the only time it can be seen; wall-clock seconds.

        Raises UsageError for a bad scope or name, HostError when it cannot be recorded.
        """
        check_new(scopes, name)
        token = PREFIX + new_secret()
        more: Kept = {"scopes": list(scopes), "created_at": files.now_rfc3339()}
        if expires_at is not None:
            more["expires_at"] = files.rfc3339(expires_at)
        self._change(lambda kept: self._with_token(kept, made(token, name, **more)))
        return token

    def create_code(self, name: str) -> str:
        """A code that can be exchanged once, within 15 minutes, for a session of that name.

        Raises UsageError for a bad name, HostError when it cannot be recorded.
        """
        check_new(SCOPES, name)
        code = new_secret()
        new = made(code, name, expires_at=files.rfc3339(time.time() + CODE_S))

        def add(kept: Kept) -> Kept:
            living = [item for item in kept["codes"] if not is_expired(item)]
            return {**kept, "codes": [*living, new][-MOST_CODES:]}

        self._change(add)
        return code

    def redeem(self, code: str) -> Session | None:
        """The session that a living code is exchanged for; the code is used up by it.

        None, with nothing written, for one that is unknown, used or too old. Code and token change
        in one replacement: after a crash it is either unused or exchanged. Raises HostError.
        """
        if not 0 < len(code) <= LONGEST_TOKEN or not self._find_code(self._kept(), code):
            return None
        token = PREFIX + new_secret()
        session = Session(token, SCOPES, files.rfc3339(time.time() + SESSION_S))
        done: list[Any] = []

        def exchange(kept: Kept) -> Kept:
            used = self._find_code(kept, code)
            if not used:
                return kept
            done.append(used)
            left = [item for item in kept["codes"] if item is not used]
            more = {"scopes": list(SCOPES), "created_at": files.now_rfc3339(), "kind": SESSION}
            new = made(token, used["name"], expires_at=session.expires_at, **more)
            return self._with_token({**kept, "codes": left}, new)

        self._change(exchange)
        return session if done else None

    def forget(self, token: str) -> None:
        """Remove this very token, if it is there; raises HostError."""
        gone = digest(token)
        self._drop(lambda item: field(item, "sha256") == gone)

    def revoke(self, word: str) -> list[TokenInfo]:
        """Remove the living tokens of that id or name; returns them. Raises HostError."""
        gone = [known for known in self.listed() if word in (known.id, known.name)]
        ids = {known.id for known in gone}
        if gone:
            self._drop(lambda item: (known := info(item)) is not None and known.id in ids)
        return gone

    # --- the file -------------------------------------------------------------------------------

    def _drop(self, is_gone: Callable[[Any], bool]) -> None:
        def without(kept: Kept) -> Kept:
            return {**kept, "tokens": [item for item in kept["tokens"] if not is_gone(item)]}

        self._change(without)

    def _with_token(self, kept: Kept, new: Kept) -> Kept:
        living = [item for item in kept["tokens"] if not is_expired(item)]
        sessions = [item for item in living if field(item, "kind") == SESSION]
        if len(living) >= MOST_TOKENS and new.get("kind") == SESSION and sessions:
            living.remove(sessions[0])  # whoever signs in again and again locks nobody out
        if len(living) >= MOST_TOKENS:
            raise HostError(
                f"{self._home.tokens} holds {len(living)} tokens, the most allowed; "
                "take some away with: hub.pyz token revoke"
            )
        return {**kept, "tokens": [*living, new]}

    @staticmethod
    def _find_code(kept: Kept, code: str) -> Kept:
        """The living entry of a code; every one is compared, each in constant time."""
        wanted = digest(code)
        found: Kept = {}
        for item in kept["codes"]:
            sha256, name = field(item, "sha256"), field(item, "name")
            if not isinstance(sha256, str) or not sha256.isascii() or not isinstance(name, str):
                continue
            if _same(sha256, wanted) and not is_expired(item):
                found = item
        return found

    def _kept(self) -> Kept:
        if self._memory is not None:
            return self._memory
        try:
            return read(self._home)
        except Unreadable:
            return {"format": 1, "tokens": [], "codes": []}

    def _current(self) -> tuple[Entry, ...]:
        """The file's tokens; it is looked at no more often than every `recheck_s` seconds."""
        now = time.monotonic()
        if now < self._fresh_until:
            return self._entries
        self._fresh_until = now + self._recheck_s
        try:
            found = os.stat(self._path)
        except OSError:
            self._signature, self._entries = None, self._beside(())
            return self._entries
        signature = (
            found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
        )
        if signature != self._signature:
            try:
                kept = read(self._home)["tokens"]
            except Unreadable:
                kept = []
            entries = [entry(item) for item in kept[:MOST_TOKENS]]
            self._entries = self._beside(tuple(item for item in entries if item is not None))
            self._signature = signature if time.time() - found.st_mtime > RACY_S else None
        return self._entries

    def _beside(self, entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
        """What is kept in memory alone, on top."""
        kept = self._memory["tokens"] if self._memory is not None else []
        mine = [entry(item) for item in kept]
        return entries + self._seeded + tuple(item for item in mine if item is not None)

    def _change(self, change: Callable[[Kept], Kept]) -> None:
        """Read, change and replace under `state.lock`; what this release cannot read is kept."""
        self._fresh_until = 0.0
        if self._memory is not None:
            self._memory = change(self._memory)
            self._signature = None
            return
        try:
            files.make_directory(self._home.root)
            lock = take_state_lock(self._home)
            try:
                try:
                    kept = read(self._home)
                except Unreadable:
                    self.moved_aside = files.move_aside(self._home.tokens)
                    kept = read(self._home)
                wanted = change(kept)
                if wanted != kept:
                    files.write_json(self._home.tokens, wanted)
            finally:
                lock.release()
        except OSError as error:
            why = error.strerror or error
            raise HostError(f"{self._home.tokens} cannot be written: {why}") from error
