"""Somebody else's hub in Docker's container: as its process 1, beside `hub.pyz serve`, and run from
where no upgrade would reach it, as the suite of sources shows for podman."""

from __future__ import annotations

import unittest

from tests.outside.restarters import containers_managed
from tests.outside.restarters.containers_engine import Docker
from tests.outside.sources import test_alone_places
from tests.outside.sources.box import BoxCase

ENGINE = Docker()


def setUpModule() -> None:
    ENGINE.set_up()
    BoxCase.kind = containers_managed.boxed(ENGINE)


class ProcessOne(containers_managed.ProcessOne):
    """Under Docker."""


class UnderAnInit(containers_managed.UnderAnInit):
    """Under Docker."""


class Beside(containers_managed.Beside):
    """Under Docker."""


class Places(test_alone_places.Places):
    """Under Docker."""


if __name__ == "__main__":
    unittest.main()
