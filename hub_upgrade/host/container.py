"""What on this machine tells whether it is a container: look() -> Container."""

from __future__ import annotations

import os
import sys

from hub_upgrade.domain.container import Container, Seen, recognise

MOST_BYTES = 65536


def look() -> Container:
    """The signs that this is a container; none on a machine."""
    return recognise(
        Seen(
            init=_name_of_process_1() if sys.platform.startswith("linux") else None,
            cgroup=_read("/proc/self/cgroup"),
            dockerenv=os.path.lexists("/.dockerenv"),
            containerenv=os.path.lexists("/run/.containerenv"),
            environ=os.environ,
        )
    )


def _name_of_process_1() -> str:
    """ "" where it cannot be told. Where /proc hides it, this directory is systemd's own sign
    (sd_booted(3))."""
    name = _read("/proc/1/comm").rstrip("\n")
    return name or ("systemd" if os.path.isdir("/run/systemd/system") else "")


def _read(path: str) -> str:
    """The beginning of a small file of the system; "" where there is none to read."""
    try:
        with open(path, "rb") as file:
            return file.read(MOST_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
