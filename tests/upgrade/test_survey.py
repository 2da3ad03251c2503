"""A look at the managed hub is of one moment: it may come up in the midst of it."""

from __future__ import annotations

import unittest
from typing import Any
from unittest import mock

from hub_upgrade.domain.install import Decision, Place
from hub_upgrade.domain.managed import Managed
from hub_upgrade.domain.restart import Choice
from hub_upgrade.host.files import Home
from hub_upgrade.upgrade import survey as module
from hub_upgrade.upgrade.hub_watch import Seen
from hub_upgrade.upgrade.survey_record import Survey, from_wire, to_wire

GONE = (5,)
"""PIDs of processes that have ended since."""


class FakeWatch:
    """A hub whose process is seen so at each look, and whose version is so."""

    def __init__(self, version: str, *pids: int) -> None:
        self._version = version
        self._pids = list(pids)

    def pid(self) -> int:
        return self._pids.pop(0)

    def look(self) -> Seen:
        return Seen(self._version, True, "", True, "")


class SurveyTest(unittest.TestCase):
    def survey(self, version: str, *pids: int) -> Survey:
        """Decided by the process that was seen."""
        watch: Any = FakeWatch(version, *pids)

        def decided(process: Any) -> Decision:
            return Decision("npm", "in-place" if process else "redeploy-required", "", (), Place())

        with mock.patch.object(module, "hub_process") as process, \
                mock.patch.object(module, "place_facts") as facts, \
                mock.patch.object(module, "place") as place:  # fmt: skip
            process.look = lambda pid: None if pid in GONE else mock.Mock(pid=pid)
            facts.probe_managed = lambda _home, _managed, process, _environ, _persists: process
            place.decide_managed = decided
            return module.survey(Home("/h"), Managed(), watch, None, Choice("exit", "a test"))

    def test_one_that_came_up_meanwhile_is_looked_at_again(self) -> None:
        seen = self.survey("2.0.0", 0, 7)
        self.assertEqual((seen.pid, seen.decision.mode), (7, "in-place"))

    def test_one_whose_process_is_not_to_be_seen_is_looked_at_twice_and_no_more(self) -> None:
        self.assertEqual(self.survey("2.0.0", 0, 0).pid, 0)

    def test_one_that_ends_while_it_is_looked_at_is_down(self) -> None:
        down = self.survey("", GONE[0])
        self.assertEqual((down.pid, down.decision.mode), (0, "redeploy-required"))
        seen = self.survey("2.0.0", GONE[0], 7)
        self.assertEqual((seen.pid, seen.decision.mode), (7, "in-place"))

    def test_one_look_is_enough_for_one_that_runs_and_for_one_that_does_not(self) -> None:
        self.assertEqual(self.survey("2.0.0", 7).pid, 7)
        down = self.survey("", 0)
        self.assertEqual((down.pid, down.decision.mode), (0, "redeploy-required"))
        self.assertEqual(from_wire(to_wire(down)), down)


if __name__ == "__main__":
    unittest.main()
