"""A real hub to measure: the built file, a home and a release repository in a scratch directory."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from typing import NamedTuple

from tests.e2e.harness import Hub, build, cli

PROBATION_S = 1.0


class Scene(NamedTuple):
    """A directory of its own, the hub in it, and the repository that it follows."""

    directory: str
    hub: Hub
    repository: str

    def publish(self, path: str) -> None:
        """Make a file the latest release."""
        done = cli(path, "release", "publish", self.repository, "--channel", "latest", path)
        if done.returncode:
            raise SystemExit(done.stderr)


@contextlib.contextmanager
def scene(version: str = "1.0.0") -> Iterator[Scene]:
    """Made, and taken away with all that runs in it."""
    directory = tempfile.mkdtemp(prefix="bench-")
    home = os.path.join(directory, "home")
    repository = os.path.join(directory, "repository")
    os.mkdir(home, 0o700)
    with open(os.path.join(home, "hub.json"), "w", encoding="utf-8") as file:
        json.dump({"probation_s": PROBATION_S, "home_persists": True}, file)
    installed = shutil.copyfile(build(version), os.path.join(directory, "hub.pyz"))
    made = Scene(directory, Hub(installed, home, repository), repository)
    made.publish(installed)
    try:
        yield made
    finally:
        made.hub.kill_all()
        shutil.rmtree(directory, ignore_errors=True)
