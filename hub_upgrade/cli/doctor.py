"""`hub.pyz doctor`: what is wrong, and what to do. `--health` is a container's health check: it
runs every few seconds, so it imports next to nothing; all the rest is in `checkup`."""

from __future__ import annotations

import importlib
import json
import os
import socket
import sys
import time

LIMIT_S = 3.0
MOST_BYTES = 65536
REQUEST = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
STRANGER = "something else answers there"
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound


def main(argv: list[str]) -> int:
    """Look after everything, or only whether the hub answers; returns the exit code."""
    if "--health" in argv and "--help" not in argv and "-h" not in argv:
        return health([word for word in argv if word != "--health"])
    return int(importlib.import_module("hub_upgrade.cli.checkup").main(argv))


def health(argv: list[str]) -> int:
    """Whether a hub answers, within 3 s, in one line. Takes no lock and touches no file."""
    root = os.environ.get("PARACHUTE_HOME") or "~/.parachute"
    words = [*"".join(argv[:1]).split("=", 1), *argv[1:]]
    named = words[0] == "--config-dir" and len(words) < 3
    if named and any(words[1:]):
        root = words[1]
    elif argv:
        what = "--config-dir needs a value" if named else f"unknown argument {argv[0][:100]!r}"
        print(f"hub.pyz doctor: {what}; see: hub.pyz doctor --help", file=sys.stderr)
        return 2
    until = time.monotonic() + LIMIT_S
    failed = []
    for host, port in _places(os.path.expanduser(root)):
        version, why = _ask(host, port, until)
        if not why:
            print(f"ok: hub {version} answers on {host} port {port}")
            return 0
        failed.append(f"{host} port {port}: {why}")
    why = "; ".join(failed) or "PORT is no port"
    print(f"hub.pyz doctor: no hub answers ({why})", file=sys.stderr)
    return 1


def _places(root: str) -> list[tuple[str, int]]:
    """Where a hub may listen: as serve.json says, then as a `serve` of this environment would."""
    found = []
    try:
        with open(os.path.join(root, "serve.json"), "rb") as file:
            address = str(json.load(file)["address"]).rpartition("//")[2]
        found.append(address.rpartition(":")[::2])
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        pass
    found.append(
        (os.environ.get("PARACHUTE_BIND_HOST") or "127.0.0.1", os.environ.get("PORT") or "1939")
    )
    bare = [(host.strip("[]"), port) for host, port in found if port.isdecimal()]
    places = [(EVERYWHERE.get(host, host), int(port[:6])) for host, port in bare]
    return list(dict.fromkeys(places))


def _ask(host: str, port: int, until: float) -> tuple[str, str]:
    """The version that answers, or why it is no answer."""
    data = b""
    try:
        with socket.create_connection((host, port), _left(until)) as connection:
            connection.sendall(REQUEST)
            while len(data) < MOST_BYTES:
                connection.settimeout(_left(until))
                piece = connection.recv(MOST_BYTES)
                if not piece:
                    break
                data += piece
    except (OSError, OverflowError) as error:
        return "", getattr(error, "strerror", None) or str(error)
    head, _, body = data.partition(b"\r\n\r\n")
    try:
        value = json.loads(body.decode("utf-8"))
        if value.get("error") == "overloaded":  # it serves others: no reason to be replaced
            return "(overloaded)", ""
        sound = head.split(b" ")[1] == b"200" and value["service"] == "parachute-hub"
        return str(value["version"])[:100], "" if sound else STRANGER
    except (ValueError, LookupError, AttributeError, RecursionError):
        return "", STRANGER


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError(f"no answer within {LIMIT_S:g} s")
    return left
