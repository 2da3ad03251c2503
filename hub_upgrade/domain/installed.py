"""What lies on the disk, told apart from what runs. Pure."""

from __future__ import annotations

from hub_upgrade.shapes import NamedTuple


class Installed(NamedTuple):
    """What lies on the disk: its version, "" for nothing there, and what tells it from any other
    content (a git commit), or ""."""

    version: str
    digest: str = ""
