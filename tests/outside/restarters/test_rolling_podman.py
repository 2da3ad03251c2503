"""Two containers with one home, in podman."""

from __future__ import annotations

import unittest

from tests.outside.restarters import containers_killed, containers_rolling
from tests.outside.restarters.containers_engine import Podman

ENGINE = Podman()


def setUpModule() -> None:
    ENGINE.set_up()
    containers_killed.images(ENGINE)


class Scene(containers_rolling.Rolling):
    engine = ENGINE


class Lives(containers_rolling.Lives):
    scene = Scene


def load_tests(loader: unittest.TestLoader, *_: object) -> unittest.TestSuite:
    """The scene is no test."""
    return loader.loadTestsFromTestCase(Lives)


if __name__ == "__main__":
    unittest.main()
