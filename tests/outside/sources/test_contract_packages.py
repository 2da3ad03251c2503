"""The contract, kept by the sources that need a package manager and its registry."""

from __future__ import annotations

import os
import tempfile
import unittest
from unittest import mock

from tests.outside.sources import contract
from tests.outside.sources.places import BunPlace, NpmPlace, PackagePlace, PipPlace


def installed(test: unittest.TestCase, kind: type[PackagePlace]) -> PackagePlace:
    """A place with version 1.0.0, in whose environment this process is until the test ends."""
    holder = tempfile.TemporaryDirectory()
    test.addCleanup(holder.cleanup)
    place = kind(holder.name)
    test.addCleanup(place.close)
    place.publish("1.0.0")
    place.install("1.0.0")
    patched = mock.patch.dict(os.environ, place.environment, clear=True)
    patched.start()
    test.addCleanup(patched.stop)
    return place


class Bun(contract.RewriterContract):
    def make_scene(self) -> contract.Scene:
        return installed(self, BunPlace)


class Npm(contract.RewriterContract):
    def make_scene(self) -> contract.Scene:
        return installed(self, NpmPlace)


class Pip(contract.RewriterContract):
    def make_scene(self) -> contract.Scene:
        return installed(self, PipPlace)


if __name__ == "__main__":
    unittest.main()
