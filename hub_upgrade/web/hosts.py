"""Which `Host` is ours: what keeps a foreign web page from speaking to the hub by its own name."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping

MOST_REMEMBERED = 256
"""Verdicts kept; clients choose the names, so there must be an end."""


class Hosts:
    """Loopback names, IP literals, and the names that the operator or the platform gave."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(bare(name) for name in names)
        self._verdicts: dict[str, bool] = {}

    def ours(self, host: str) -> bool:
        """Whether a `Host` header names us; its port does not matter."""
        verdict = self._verdicts.get(host)
        if verdict is None:
            if len(self._verdicts) >= MOST_REMEMBERED:
                self._verdicts.clear()
            verdict = self._verdicts[host] = self._decide(bare(host))
        return verdict

    def _decide(self, name: str) -> bool:
        if name == "localhost" or name.endswith(".localhost"):  # RFC 6761: loopback everywhere
            return True
        return bool(name) and (name in self._names or is_literal(name))


def bare(host: str) -> str:
    """A host in lower case, without port, brackets and final dot."""
    host = host.strip().lower()
    if host.startswith("["):
        name, closed, port = host[1:].partition("]")
        return name if closed and port[:1] in ("", ":") else host
    if host.count(":") == 1:
        host = host.partition(":")[0]
    return host.removesuffix(".")


def is_literal(name: str) -> bool:
    """Whether this is an IP address: no name server can make that point elsewhere."""
    family = socket.AF_INET6 if ":" in name else socket.AF_INET
    try:
        socket.inet_pton(family, name.partition("%")[0])
    except (OSError, ValueError):
        return False
    return True


def names(allowed: Iterable[str], environ: Mapping[str, str]) -> list[str]:
    """`allowed_hosts` of `hub.json`, and what the environment says the hub is reached by."""
    found = [name for name in allowed if name.strip()]
    for key in ("PARACHUTE_HUB_ORIGIN", "RENDER_EXTERNAL_URL"):
        host = host_of(environ.get(key, ""))
        if host:
            found.append(host)
    app = environ.get("FLY_APP_NAME", "").strip()
    if app:
        found.append(f"{app}.fly.dev")
    return found


def host_of(origin: str) -> str:
    """The host of a URL, or of a bare `host:port`; nothing where there is none."""
    _, separator, rest = origin.strip().partition("://")
    authority = (rest if separator else origin.strip()).partition("/")[0]
    return authority.rpartition("@")[2].partition("?")[0].partition("#")[0]
