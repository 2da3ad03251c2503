"""examples/Dockerfile in podman: others' homes, restart policies, and other images for one home.

Homes of its own are what the suite of containers shows."""

from __future__ import annotations

import unittest

from tests.outside.restarters import containers_cases as cases
from tests.outside.restarters.containers_engine import Podman

ENGINE = Podman()


def setUpModule() -> None:
    ENGINE.set_up()
    cases.images(ENGINE)


class OthersHomes(cases.OthersHomes):
    engine = ENGINE
    in_memory = ("--tmpfs=/parachute", "--user=0")


class Policies(cases.Policies):
    engine = ENGINE


class Images(cases.Images):
    engine = ENGINE


if __name__ == "__main__":
    unittest.main()
