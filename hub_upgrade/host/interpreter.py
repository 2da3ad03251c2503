"""Which interpreter runs a release."""

from __future__ import annotations

import os
import sys


def find() -> str:
    """`sys.executable`, or, when that is gone, the first `python3` on the path; "" for none."""
    if sys.executable and os.access(sys.executable, os.X_OK):
        return sys.executable
    for directory in os.environ.get("PATH", os.defpath).split(os.pathsep):
        candidate = os.path.join(directory, "python3")
        if os.access(candidate, os.X_OK) and not os.path.isdir(candidate):
            return candidate
    return ""


def command(release_path: str, *arguments: str) -> list[str]:
    """The argument list that runs a release: isolated, and without site packages."""
    return [find(), "-I", "-S", release_path, *arguments]
