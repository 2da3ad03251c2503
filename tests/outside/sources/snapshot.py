"""A directory to the byte, for tests that say "nothing has changed"."""

from __future__ import annotations

import os
import stat

OURS = ".parachute-"
"""How the names begin of what is set aside: it comes and goes, and is no part of what is
installed."""


def set_aside(root: str) -> list[str]:
    """What is set aside below `root` now; some of it may be going."""
    walked = os.walk(root)  # passes over what has gone meanwhile
    return [name for _, names, _ in walked for name in names if name.startswith(OURS)]


def snapshot(root: str, without: tuple[str, ...] = ()) -> bytes:
    """Names, modes and content of everything below `root`, in one order; what bears one of the
    names `without`, or is set aside, is passed over, wherever it lies."""

    def counts(name: bytes) -> bool:
        word = os.fsdecode(name)
        return word not in without and not word.startswith(OURS)

    lines = []
    for directory, names, files in os.walk(os.fsencode(root)):
        names[:] = sorted(filter(counts, names))
        for name in sorted([*names, *filter(counts, files)]):
            path = os.path.join(directory, name)
            found = os.lstat(path)
            content = b""
            if stat.S_ISLNK(found.st_mode):
                content = os.readlink(path)
            elif stat.S_ISREG(found.st_mode):
                with open(path, "rb") as file:
                    content = file.read()
            place = os.path.relpath(path, os.fsencode(root))
            lines.append(b"%s %o %s" % (place, found.st_mode, content))
    return b"\n".join(lines)
