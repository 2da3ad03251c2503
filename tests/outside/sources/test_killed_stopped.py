"""Stopped at each moment of killed.py: nothing: serve is stopped, as its operator does it."""

from __future__ import annotations

import unittest

from hub_upgrade.domain import operation as op
from hub_upgrade.host import processes
from tests.e2e.harness import Hub
from tests.e2e.stops import left_on
from tests.outside.sources import killed, registry
from tests.outside.sources.beside import OLD
from tests.outside.sources.machine import clean_environment


def setUpModule() -> None:
    clean_environment()


class Stopped(killed.KilledCase):
    def end_it(self, hub: Hub) -> None:
        self.assertEqual(hub.stop(), 0, hub.output())

    def test_a_helper_that_goes_on_is_stopped_too(self) -> None:
        machine, hub = self.scene("installing")
        before = machine.place.tree()
        self.slow(machine, registry.FILES)
        self.hold(op.REVERTING)
        killed.kill(killed.helper_of(hub))
        self.held(op.REVERTING)
        second = machine.record()["helper_pid"]
        self.assertTrue(processes.start_time(second))
        self.assertEqual(hub.stop(), 0, hub.output())
        self.assertIsNone(processes.start_time(second))
        self.assertEqual(left_on(str(machine.home)), [])
        self.go_on()
        machine.mend()
        hub.start(**machine.environment)  # type: ignore[arg-type]
        self.assertEqual(hub.finished()["phase"], op.FAILED)
        self.assertEqual((machine.runs(), machine.place.tree()), (OLD, before))


if __name__ == "__main__":
    unittest.main()
