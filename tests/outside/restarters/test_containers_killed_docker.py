"""Under Docker, killed or stopped at each moment of an upgrade."""

from __future__ import annotations

import unittest

from tests.outside.restarters import containers_killed
from tests.outside.restarters.containers_engine import Docker

ENGINE = Docker()


def setUpModule() -> None:
    ENGINE.set_up()
    containers_killed.images(ENGINE)


class Scene(containers_killed.Killed):
    engine = ENGINE


class Kills(containers_killed.Kills):
    scene = Scene


def load_tests(loader: unittest.TestLoader, *_: object) -> unittest.TestSuite:
    """The scene is no test."""
    return loader.loadTestsFromTestCase(Kills)


if __name__ == "__main__":
    unittest.main()
