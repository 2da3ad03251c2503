"""Killed at each moment of killed.py: the hub alone: its helper lives on."""

from __future__ import annotations

import unittest

from tests.e2e.harness import Hub, wait_for
from tests.outside.sources import killed
from tests.outside.sources.killed import ended, kill
from tests.outside.sources.machine import clean_environment


def setUpModule() -> None:
    clean_environment()


class Killed(killed.KilledCase):
    helper_lives_on = True

    def end_it(self, hub: Hub) -> None:
        process, old = hub.process, hub.hub_pid()
        assert process is not None
        kill(old)
        wait_for(
            lambda: process.poll() is not None or hub.hub_pid() not in (0, old), "another hub"
        )
        if process.poll() is not None:
            ended(hub)


if __name__ == "__main__":
    unittest.main()
