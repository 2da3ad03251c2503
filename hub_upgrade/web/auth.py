"""`Authorization: Bearer <token>` (RFC 6750) -> who sent it."""

from __future__ import annotations

from collections.abc import Callable

from hub_upgrade.host.token_entries import digest
from hub_upgrade.host.token_store import Principal, TokenStore


def digest_of(header: str) -> str:
    """The SHA-256 of the token in such a header: who it was, without what makes one that."""
    return digest(header.partition(" ")[2].strip(" "))


def bearer(tokens: TokenStore) -> Callable[[str | None], Principal | None]:
    """What tells from the value of an `Authorization` header who sent it; None for nobody.

    The scheme is compared without case (RFC 9110, section 11.1).
    """

    def authenticate(header: str | None) -> Principal | None:
        if header is None:
            return None
        scheme, _, token = header.partition(" ")
        return tokens.check(token.strip(" ")) if scheme.lower() == "bearer" else None

    return authenticate
