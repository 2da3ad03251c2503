"""Killed at each moment of killed.py: the launcher alone: its hub stops, and ends the helper."""

from __future__ import annotations

import unittest

from hub_upgrade.host import processes
from tests.e2e.harness import Hub, wait_for
from tests.outside.sources import killed
from tests.outside.sources.killed import ended, helper_of, kill
from tests.outside.sources.machine import clean_environment


def setUpModule() -> None:
    clean_environment()


class Killed(killed.KilledCase):
    def end_it(self, hub: Hub) -> None:
        left = (hub.hub_pid(), helper_of(hub))
        kill(hub.launcher_pid)
        wait_for(lambda: not any(map(processes.start_time, left)), "the end of hub and helper")
        ended(hub)


if __name__ == "__main__":
    unittest.main()
