"""Releases of `hub.pyz` itself: from a release repository into `home/releases`."""

from __future__ import annotations

import os

from hub_upgrade import repository
from hub_upgrade.domain.versions import choose
from hub_upgrade.errors import RefusedError
from hub_upgrade.host import releases
from hub_upgrade.host.files import Home
from hub_upgrade.repository import Progress, Repository, Target
from hub_upgrade.shapes import NamedTuple

NONE = (
    'no release source is configured: start serve with --releases DIR, or set "releases" in '
    "hub.json to the directory of a release repository"
)


class Resolved(NamedTuple):
    """One exact release, pinned by its digest; `note` is for the log, or ""."""

    version: str
    digest: str
    note: str
    target: Target


def followed(where: str | None, home: Home) -> str:
    """The directory that `where` names, relative to home; raises RefusedError for a URL or none."""
    if not where:
        raise RefusedError("no_release_source", NONE)
    if "://" in where:
        raise RefusedError(
            "no_release_source",
            f"{where[:200]} is not followed: until releases are signed, only a local directory "
            "owned by the hub's own user is",
        )
    return os.path.join(home.root, os.path.expanduser(where))


class PyzSource:
    """A release repository, followed."""

    def __init__(self, home: Home, where: str | None) -> None:
        self._home = home
        self._where = where

    def resolve(self, channel: str, version: str | None) -> Resolved:
        """The one release that the channel, or this exact version, means now. Touches nothing.

        Raises RefusedError for what is not there, HostError for a damaged repository.
        """
        directory = followed(self._where, self._home)
        found = repository.read(directory)
        target, note = (found.exact(version), "") if version else _chosen(found, channel)
        if target is None:
            what = f"version {version}" if version else f"the channel {channel}"
            raise RefusedError(
                "no_such_version", f"{directory} holds no release for {what}: nothing was changed"
            )
        return Resolved(target.version, target.digest, note, target)

    def stage(self, resolved: Resolved, progress: Progress) -> str:
        """Put it into `home/releases`, verified, and return its directory's name; again is safe.

        `progress` is called with the bytes done and their whole number. Raises RefusedError,
        HostError or OSError, with nothing half done left behind.
        """
        directory = followed(self._where, self._home)
        data = repository.fetch(directory, resolved.target, progress)
        return releases.add(self._home, resolved.version, data)


def _chosen(found: Repository, channel: str) -> tuple[Target | None, str]:
    latest, rc = found.channel("latest"), found.channel("rc")
    version, note = choose(channel, latest and latest.version, rc and rc.version)
    chosen = rc if channel == "rc" and rc and rc.version == version else latest
    return (chosen if version else None), note
