"""What the machine says about where an upgrade would go: probe() -> Facts."""

from __future__ import annotations

import os

from hub_upgrade.domain.install import PYZ, Facts
from hub_upgrade.host.files import Home


def probe(home: Home, trouble: str | None) -> Facts:
    """Facts for a hub that runs as a release of its own home; quick, and writes nothing.

    access(2) knows of read-only mounts too. A full disk is not "not writable": the request then
    ends as one that cannot be recorded.
    """
    if trouble:
        return Facts(source=PYZ, releases=home.releases, trouble=trouble)
    there = home.releases
    while not os.path.lexists(there):  # what is missing is made, where its parent can be written
        there = os.path.dirname(there)
    writable = os.path.isdir(there) and os.access(there, os.W_OK | os.X_OK)
    return Facts(source=PYZ, releases=home.releases, releases_writable=writable)
