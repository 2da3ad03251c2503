"""`managed.json`: where a rollback of the managed hub would go, and what is not tried again.

Written by the holder of `operation.lock` alone; one that cannot be read knows of nothing.
"""

from __future__ import annotations

import os

from hub_upgrade.domain.operation import Undo
from hub_upgrade.domain.versions import told
from hub_upgrade.errors import HostError
from hub_upgrade.host import files
from hub_upgrade.host.files import Home, Unreadable
from hub_upgrade.shapes import Any, NamedTuple

FORMAT = 1
MOST_REJECTED = 50


class Previous(NamedTuple):
    """The version before, and what brings it back."""

    version: str
    undo: Undo


class Memory(NamedTuple):
    """What is remembered of a managed hub; `rejected` are versions or commits."""

    previous: Previous | None = None
    rejected: tuple[str, ...] = ()

    def rejecting(self, name: str) -> Memory:
        """With one more that is not tried again until it is named."""
        others = tuple(one for one in self.rejected if one != name)
        return self._replace(rejected=(*others, name)[-MOST_REJECTED:])

    def proving(self, name: str, previous: Previous | None) -> Memory:
        """With one that is good, and another way back."""
        return Memory(previous, tuple(one for one in self.rejected if one != name))


def path_of(home: Home) -> str:
    """The file."""
    return os.path.join(home.root, "managed.json")


def read(home: Home) -> Memory:
    """What is remembered; never raises."""
    try:
        raw = files.read_json(path_of(home))
    except Unreadable:
        raw = None
    raw = raw if isinstance(raw, dict) else {}
    rejected = raw.get("rejected")
    known = rejected if isinstance(rejected, list) else []
    texts = tuple(one for one in known if isinstance(one, str))
    previous = raw.get("previous")
    return Memory(_previous(previous if isinstance(previous, dict) else {}), texts)


def _previous(raw: dict[str, Any]) -> Previous | None:
    texts: list[Any] = [raw.get(name) for name in ("version", "kind", "value")]
    if not all(isinstance(text, str) and text for text in texts):
        return None
    version, kind, value = texts
    return Previous(told(version), Undo(kind, value))


def write(home: Home, memory: Memory) -> None:
    """Remember it, durably; raises HostError."""
    value: dict[str, Any] = {"format": FORMAT, "rejected": list(memory.rejected), "previous": None}
    if memory.previous is not None:
        version, undo = memory.previous
        value["previous"] = {"version": version, "kind": undo.kind, "value": undo.value}
    path = path_of(home)
    try:
        files.write_json(path, value)
    except OSError as error:
        raise HostError(f"{path} cannot be written: {error.strerror or error}") from error
