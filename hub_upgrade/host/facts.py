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
    writable = os.path.isdir(home.releases) and os.access(home.releases, os.W_OK | os.X_OK)
    return Facts(source=PYZ, releases=home.releases, releases_writable=writable)
