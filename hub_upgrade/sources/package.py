"""Packages: the Rewriter (upgrade/ports.py) of the manager that installed one."""

from __future__ import annotations

from hub_upgrade.domain.install import Place
from hub_upgrade.domain.managed import BUN, NPM, PIP, Managed
from hub_upgrade.sources.node import BunSource, NpmSource
from hub_upgrade.sources.pip import PipSource
from hub_upgrade.sources.rewriter import PackageSource

SOURCES: dict[str, type[PackageSource]] = {BUN: BunSource, NPM: NpmSource, PIP: PipSource}


def package_source(place: Place, managed: Managed) -> PackageSource:
    """The Rewriter for the package that was found at this place."""
    return SOURCES[place.manager](place.package or managed.package, place.prefix)
