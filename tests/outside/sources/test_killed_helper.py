"""Killed at each moment of killed.py: the helper alone."""

from __future__ import annotations

import unittest

from hub_upgrade.domain import operation as op
from hub_upgrade.host import processes
from tests.e2e.harness import FINISHED, Hub, command_of, descendants, wait_for
from tests.outside.sources import killed, registry
from tests.outside.sources.beside import OLD
from tests.outside.sources.killed import helper_of, kill
from tests.outside.sources.machine import clean_environment


def setUpModule() -> None:
    clean_environment()


class Killed(killed.KilledCase):
    def end_it(self, hub: Hub) -> None:
        kill(helper_of(hub))

    def test_nobody_meets_its_tool_still_at_work(self) -> None:
        machine, hub = self.scene("installing")
        self.slow(machine, registry.FILES)
        helper = helper_of(hub)
        tools = [pid for pid in descendants(helper) if "helper" not in command_of(pid)]
        self.assertTrue(tools)
        self.assertEqual(machine.record()["step"], op.REWRITING)
        kill(helper)

        def taken_up() -> bool:
            record = machine.record()
            return record["helper_pid"] != helper or record["phase"] in FINISHED

        wait_for(taken_up, "another helper")
        self.assertEqual([pid for pid in tools if processes.start_time(pid)], [])
        machine.mend()
        self.assertEqual(hub.finished()["phase"], "failed")
        self.assertEqual((machine.runs(), machine.place.installed()), (OLD, OLD))


if __name__ == "__main__":
    unittest.main()
