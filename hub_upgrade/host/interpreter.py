"""Which interpreter runs a release."""

from __future__ import annotations

import os
import sys

OLDEST_MINOR = 9


def find() -> str:
    """`sys.executable`, or, when that is gone, the first `python3` of 3.9 or newer on the path; ""
    for none."""
    if sys.executable and os.access(sys.executable, os.X_OK):
        return sys.executable
    for directory in os.environ.get("PATH", os.defpath).split(os.pathsep):
        candidate = os.path.join(directory, "python3")
        if os.access(candidate, os.X_OK) and not os.path.isdir(candidate) and _fits(candidate):
            return candidate
    return ""


def _fits(path: str) -> bool:
    """Whether it may be a Python 3.9: by its real name (`python3.8`), for a loop cannot ask it."""
    minor = os.path.realpath(path).rpartition("python3.")[2]
    return not minor.isdecimal() or int(minor) >= OLDEST_MINOR


def command(release_path: str, *arguments: str) -> list[str]:
    """The argument list that runs a release: isolated, and without site packages."""
    return [find(), "-I", "-S", release_path, *arguments]
