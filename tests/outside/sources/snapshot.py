"""A directory to the byte, for tests that say "nothing has changed"."""

from __future__ import annotations

import os
import stat


def snapshot(root: str, without: tuple[str, ...] = ()) -> bytes:
    """Names, modes and content of everything below `root`, in one order; what bears one of the
    names `without` is passed over, wherever it lies."""
    lines = []
    for directory, names, files in os.walk(os.fsencode(root)):
        names[:] = sorted(name for name in names if os.fsdecode(name) not in without)
        for name in sorted([*names, *files]):
            if os.fsdecode(name) in without:
                continue
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
