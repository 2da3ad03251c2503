"""`boot.json`, `next.json` and `serve.json`: what launcher, hub and helper tell each other."""

from __future__ import annotations

import os

from hub_upgrade.domain.boot_record import (
    BootRecord,
    Next,
    boot_from_wire,
    boot_to_wire,
    next_from_wire,
    next_to_wire,
)
from hub_upgrade.host import files
from hub_upgrade.host.files import Home, Unreadable
from hub_upgrade.shapes import Any


def read_boot(home: Home) -> BootRecord | None:
    """The launcher's record, None where there is none; raises Unreadable."""
    raw = files.read_json(home.boot_json)
    if raw is None:
        return None
    record = boot_from_wire(raw)
    if record is None:
        raise Unreadable(home.boot_json, "it is not a boot record of format 1")
    return record


def write_boot(home: Home, record: BootRecord) -> None:
    """Replace the record durably; the launcher alone calls this. Raises OSError."""
    _make_way(home.boot_json)
    files.write_json(home.boot_json, boot_to_wire(record))


def _make_way(path: str) -> None:
    """What cannot be replaced by a file (a directory) is moved aside; raises OSError."""
    if os.path.isdir(path) and not os.path.islink(path):
        files.move_aside(path)


def read_next(home: Home) -> Next | None:
    """What a helper handed over and no launcher has taken up yet; raises Unreadable."""
    raw = files.read_json(home.next_json)
    if raw is None:
        return None
    found = next_from_wire(raw)
    if found is None:
        raise Unreadable(home.next_json, "it does not name a release of format 1")
    return found


def write_next(home: Home, nxt: Next) -> None:
    """Hand a release over to the launcher, durably; raises OSError."""
    files.write_json(home.next_json, next_to_wire(nxt))


def remove_next(home: Home) -> None:
    """Take `next.json` away, durably; raises OSError."""
    files.remove_durably(home.next_json)


def read_serve(home: Home) -> dict[str, Any] | None:
    """Who serves, as the launcher last wrote it; None when it cannot be told. To be proven."""
    try:
        return files.read_json(home.serve_json)
    except Unreadable:
        return None


def write_serve(home: Home, value: dict[str, Any]) -> None:
    """Say who serves; raises OSError."""
    _make_way(home.serve_json)
    files.write_json(home.serve_json, value)
