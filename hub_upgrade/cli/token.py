"""`hub.pyz token`: make tokens for the HTTP API."""

from __future__ import annotations

import argparse
import os
import sys
import time

from hub_upgrade.cli import client, entry
from hub_upgrade.errors import UsageError
from hub_upgrade.host.token_store import SCOPES, TokenStore

UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
LONGEST_S = 3650 * 86400


def main(argv: list[str]) -> int:
    """`hub.pyz token create`; returns the exit code."""
    made = entry.parser(
        "token",
        "Make a token for the HTTP API, and print it, alone, on stdout: it is shown only once.\n"
        "hub:admin includes hub:read.",
        "hub.pyz token create --scope hub:admin --name laptop --expires 30d",
        "0 done, 1 failed, 2 wrong usage",
        "tokens.json in home (only the SHA-256 of a token is kept), under state.lock",
    )
    made.add_argument("action", choices=["create"], help="what to do")
    made.add_argument("--scope", required=True, choices=SCOPES, help="what the token is good for")
    made.add_argument("--name", help="its name in records and logs (USER-RANDOM)")
    made.add_argument("--expires", metavar="TIME", help="how long: 90m, 12h, 30d (for ever)")
    return entry.run(made, argv, create)


def create(arguments: argparse.Namespace) -> int:
    """Make one token and print it."""
    home = entry.home_in(arguments)
    client.ensure_own(home)
    seconds = duration(arguments.expires) if arguments.expires is not None else None
    expires_at = time.time() + seconds if seconds is not None else None
    name = arguments.name
    if name is None:
        name = f"{client.user_name()}-{os.urandom(3).hex()}"
    store = TokenStore(home)
    token = store.create((arguments.scope,), name, expires_at)
    if store.moved_aside:
        print(
            f"hub.pyz token: {home.tokens} could not be read; it is now {store.moved_aside}",
            file=sys.stderr,
        )
    print(token)
    return 0


def duration(text: str) -> float:
    """Seconds of `90m`, `12h`, `30d`; raises UsageError."""
    number, unit = text[:-1], text[-1:]
    if not (number.isascii() and number.isdigit() and len(number) < 10) or unit not in UNITS_S:
        raise UsageError(f"--expires must be like 90m, 12h or 30d, not {text[:100]!r}")
    seconds = int(number) * UNITS_S[unit]
    if not 0 < seconds <= LONGEST_S:
        raise UsageError(f"--expires must be up to {LONGEST_S // 86400}d, not {text[:100]!r}")
    return float(seconds)
