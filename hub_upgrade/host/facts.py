"""What the machine says about where an upgrade would go: probe() -> Facts, look_at() -> Storage."""

from __future__ import annotations

import os
import sys

from hub_upgrade.domain.install import PYZ, Facts, Mount, Storage
from hub_upgrade.host import container, mounts
from hub_upgrade.host.files import Home


def probe(home: Home, trouble: str | None, persists: bool | None) -> Facts:
    """Facts for a hub that runs as a release of its own home; quick, and writes nothing.

    access(2) knows of read-only mounts too. A full disk is not "not writable": the request then
    ends as one that cannot be recorded. Mounts come and go, so everything is looked at anew.
    """
    seen = look_at(home.releases, persists)
    return Facts(
        source=PYZ, home=home.root, releases=home.releases, trouble=trouble or "",
        releases_writable=None if trouble else seen.writable, mount=seen.mount, upper=seen.upper,
        no_mount=seen.no_mount, container=container.look(), persists=persists,
    )  # fmt: skip


def look_at(path: str, persists: bool | None) -> Storage:
    """A directory that would be written, and what it lies on; `persists` is the operator's word."""
    seen = Storage(path, _writable(path), persists=persists)
    if sys.platform == "darwin":  # no list of mounts; whether it is read-only the probe asks
        return seen
    try:
        mount, upper = storage(mounts.read(), os.path.realpath(path))
    except OSError as error:
        return seen._replace(no_mount=f"{mounts.MOUNTINFO} cannot be read: {error.strerror}")
    except ValueError:
        return seen._replace(no_mount=f"{mounts.MOUNTINFO} is not what it should be")
    unseen = "" if mount else f"no mount in {mounts.MOUNTINFO} holds it"
    return seen._replace(mount=mount, upper=upper, no_mount=unseen)


def _writable(path: str) -> bool:
    """Whether a directory takes files; what is missing is made, where its parent takes it."""
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    if not os.path.isdir(path) or not os.access(path, os.W_OK | os.X_OK):
        return False
    try:
        return not os.statvfs(path).f_flag & os.ST_RDONLY
    except OSError:
        return False


def storage(mountinfo: bytes, path: str) -> tuple[Mount | None, Mount | None]:
    """The mount that a real path lies on, and for an overlay that of its upper layer.

    Raises ValueError for what is no list of mounts.
    """
    mount = mounts.covering(mountinfo, path)
    upper = mount.upper if mount is not None else ""
    return mount, mounts.covering(mountinfo, upper) if upper.startswith("/") else None
