"""The contract, kept by each source that needs nothing from a registry."""

from __future__ import annotations

import os
import tempfile
import unittest
from pathlib import Path

from hub_upgrade import repository
from hub_upgrade.host.files import Home
from hub_upgrade.sources.pyz import PyzSource
from tests.outside.sources import contract
from tests.outside.sources.scene_git import GitScene
from tests.outside.sources.snapshot import snapshot


class PyzScene:
    """A release repository, and a home that follows it."""

    def __init__(self, test: unittest.TestCase) -> None:
        holder = tempfile.TemporaryDirectory()
        test.addCleanup(holder.cleanup)
        self.root = Path(holder.name)
        self.home = Home(str(self.root / "home"))
        os.mkdir(self.home.root, 0o700)
        self.publish("1.0.0")

    def publish(self, version: str, channel: str = "latest") -> None:
        file = self.root / "file"
        file.write_bytes(version.encode() * 1000)
        repository.publish(str(self.root / "repository"), channel, str(file), version)

    def make_source(self) -> PyzSource:
        return PyzSource(self.home, str(self.root / "repository"))

    def tree(self) -> bytes:
        return snapshot(self.home.root)

    def cut_off(self) -> None:
        os.rename(self.root / "repository", self.root / "gone")


class Git(contract.RewriterContract):
    def make_scene(self) -> contract.Scene:
        return GitScene(self)


class Pyz(contract.StagerContract):
    def make_scene(self) -> contract.Scene:
        return PyzScene(self)


if __name__ == "__main__":
    unittest.main()
