"""Somebody else's hub in podman's container: as its process 1, and beside `hub.pyz serve`.

That an upgrade whose code lies where it would not last is none, for each way of installing, and
what another program's own helper does there, is what the suite of sources shows."""

from __future__ import annotations

import unittest

from tests.outside.restarters import containers_managed
from tests.outside.sources.box import set_up_module


def setUpModule() -> None:
    set_up_module()


class ProcessOne(containers_managed.ProcessOne):
    """In podman."""


class UnderAnInit(containers_managed.UnderAnInit):
    """In podman."""


class Beside(containers_managed.Beside):
    """In podman."""


if __name__ == "__main__":
    unittest.main()
