"""examples/Dockerfile under Docker: homes, restart policies, and other images for the same home."""

from __future__ import annotations

import unittest

from tests.outside.restarters import containers_cases as cases
from tests.outside.restarters.containers_engine import Docker

ENGINE = Docker()


def setUpModule() -> None:
    ENGINE.set_up()
    cases.images(ENGINE)


class Homes(cases.Homes):
    engine = ENGINE
    redeployed = ("docker compose pull", "docker run -v parachute:/parachute")


class OthersHomes(cases.OthersHomes):
    engine = ENGINE
    in_memory = ("--tmpfs=/parachute:mode=700,uid=1939,gid=1939",)


class Policies(cases.Policies):
    engine = ENGINE


class Images(cases.Images):
    engine = ENGINE


if __name__ == "__main__":
    unittest.main()
