"""Files and directories of others, as far as they are to be read. Never raises."""

from __future__ import annotations

import os

from hub_upgrade.host import files

MOST_BYTES = 16 * 1024 * 1024


def text_of(path: str, limit: int = MOST_BYTES) -> str:
    """The text of a file of at most `limit` bytes, "" where there is none to read."""
    try:
        return os.fsdecode(files.read_regular(path, limit))
    except (OSError, files.Unreadable):
        return ""


def names_in(directory: str) -> list[str]:
    """What a directory has in it, sorted; nothing where there is none to read."""
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []
