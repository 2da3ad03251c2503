"""Ports of loopback that nobody else is given, also while nobody listens there."""

from __future__ import annotations

import os
import socket
import weakref

_ours: list[socket.socket] = []


def held_port(owner: object = _ours) -> int:
    """A port that is held as long as its owner lives, or else this process.

    It is bound, and listened at by nobody. Whoever binds or connects without naming a port gets
    another one; who names it and says SO_REUSEADDR, as servers do, can listen there, and again
    after a restart.
    """
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    port = int(held.getsockname()[1])
    if owner is _ours:
        _ours.append(held)
    else:
        weakref.finalize(owner, os.close, held.detach())
    return port
