"""What may go wrong with bun, its registry and the disk."""

from __future__ import annotations

import os
import shutil
import unittest
from unittest import mock

from tests.outside.sources import package_cases  # the module: unittest runs classes that it sees
from tests.outside.sources.package_cases import RENAMES, Moments, ignore
from tests.outside.sources.places import BunPlace


class Bun(package_cases.NodeCase):
    kind = BunPlace
    least = 8

    def moments(self) -> list[Moments]:
        """bun moves in several threads at once: its moves are told by what is moved, too."""
        paths = (self.place.package, "test-leaf", "bun.lock")
        return [*((RENAMES, range(1, 9), ("-P", path)) for path in paths), *super().moments()]

    def test_the_place_that_runs_is_rewritten_whatever_a_bunfig_says(self) -> None:
        elsewhere = self.root / "elsewhere"
        config = f'[install]\nglobalDir = "{elsewhere}/g"\nglobalBinDir = "{elsewhere}/b"\n'
        (self.place.home / ".bunfig.toml").write_text(config)
        self.source.swap(self.published(), ignore)
        self.assertEqual(self.source.installed().version, "1.1.0")
        self.assertFalse(elsewhere.exists())

    def test_bun_is_found_below_the_prefix_and_at_home(self) -> None:
        tool = shutil.which("bun")
        assert tool is not None
        for directory in (self.place.prefix, self.place.home / ".bun"):
            own = directory / "bin" / "bun"
            own.parent.mkdir(parents=True, exist_ok=True)
            own.symlink_to(tool)
            with mock.patch.dict(os.environ, {"PATH": str(self.root)}):
                self.assertEqual(self.source.resolve("latest", None).version, "1.0.0")
            own.unlink()


if __name__ == "__main__":
    unittest.main()
