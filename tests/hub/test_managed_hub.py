"""What the hub's loop knows of a managed hub: not more than it was told, nor what is over."""

from __future__ import annotations

import json
import unittest
from typing import Any, Callable
from unittest import mock

from hub_upgrade.domain.install import Decision, Place
from hub_upgrade.domain.managed import Managed
from hub_upgrade.errors import RefusedError
from hub_upgrade.host import log
from hub_upgrade.host.children import ChildResult
from hub_upgrade.host.files import Home
from hub_upgrade.host.look import Seen
from hub_upgrade.hub import managed_hub
from hub_upgrade.hub.managed_hub import SURVEY_EVERY_S, ManagedHub
from hub_upgrade.upgrade.survey_record import Survey, to_wire

HERE = Decision("npm", "in-place", "why", ("seen",), Place("package", "bun", "hub", "/d", "/p"))
NOWHERE = Decision("unknown", "redeploy-required", "it does not run", (), Place())
DOWN = Survey(NOWHERE, "", 0, "", "")
UP = Survey(HERE, "2.0.0", 7, "abc", "")


class FakeLoop:
    """Time that stands still, and what is to be done later."""

    def __init__(self) -> None:
        self.time = 100.0
        self.later: list[Callable[[], None]] = []

    def now(self) -> float:
        return self.time

    def call_later(self, _delay: float, act: Callable[[], None]) -> Any:
        self.later.append(act)
        return mock.Mock(cancel=lambda: self.later.remove(act) if act in self.later else None)


class ManagedHubTest(unittest.TestCase):
    def setUp(self) -> None:
        self.loop = FakeLoop()
        self.surveys: list[Callable[[ChildResult], None]] = []
        self.looks: list[Callable[[Seen], None]] = []
        self.said = self.patched(log, "say")
        self.patched(managed_hub, "OneShot", self.survey_begins)
        self.patched(managed_hub, "Look", self.look_begins)
        loop: Any = self.loop
        self.hub = ManagedHub(loop, Home("/home/of/hub"), Managed(), "/hub.pyz")
        self.hub.start()

    def patched(self, what: Any, name: str, *new: Any) -> Any:
        patch = mock.patch.object(what, name, *new)
        made = patch.start()
        self.addCleanup(patch.stop)
        return made

    def survey_begins(
        self, _loop: Any, argv: list[str], _env: Any, _limit_s: float, done: Any
    ) -> None:
        self.assertEqual(argv[-4:], ["/hub.pyz", "survey", "--config-dir", "/home/of/hub"])
        self.surveys.append(done)

    def look_begins(
        self, _loop: Any, _family: Any, address: Any, done: Any, path: str
    ) -> None:
        self.assertEqual((address, path), (("127.0.0.1", 1939), "/health"))
        self.looks.append(done)

    def surveyed(self, found: Survey) -> None:
        """The oldest survey that is under way ends so."""
        told = json.dumps(to_wire(found)).encode()
        self.surveys.pop(0)(ChildResult(0, told, b""))

    def looked(self, version: str) -> None:
        """The look that is under way ends so; the next one begins."""
        body = {"version": version} if version else {}
        self.looks.pop(0)(Seen(200 if version else 0, body, ""))
        for act in self.loop.later:
            act()
        self.loop.later.clear()

    def refused(self) -> None:
        with self.assertRaises(RefusedError) as caught:
            self.hub.survey()
        self.assertEqual((caught.exception.code, caught.exception.status), ("overloaded", 503))

    def test_nothing_is_told_before_anything_is_known(self) -> None:
        self.refused()
        self.looked("2.0.0")
        self.refused()
        self.surveyed(UP)
        self.assertEqual(self.hub.survey(), UP)

    def test_the_version_is_what_answered_a_moment_ago(self) -> None:
        self.surveyed(UP)
        self.looked("v2.1.0")
        self.assertEqual(self.hub.survey(), UP._replace(version="2.1.0"))
        self.surveyed(UP._replace(version="2.1.0", pid=8))
        self.assertEqual(self.hub.survey().pid, 8)

    def test_what_has_changed_or_is_old_is_found_out_anew(self) -> None:
        self.surveyed(UP)
        self.looked("2.0.0")
        self.assertEqual(self.surveys, [])
        self.loop.time += SURVEY_EVERY_S + 1
        self.looked("2.0.0")
        self.assertEqual(len(self.surveys), 1)
        self.looked("2.1.0")  # while that one is under way: once more afterwards
        self.looked("2.2.0")
        self.assertEqual(len(self.surveys), 1)
        self.surveyed(UP)
        self.assertEqual(len(self.surveys), 1)
        self.surveyed(UP)
        self.assertEqual(self.surveys, [])

    def test_where_it_lies_is_not_forgotten_while_it_is_restarted(self) -> None:
        self.surveyed(UP)
        self.looked("")
        self.surveyed(DOWN)
        self.assertEqual(self.hub.survey(), DOWN._replace(decision=HERE))

    def test_that_it_did_not_run_is_no_answer_once_it_does(self) -> None:
        self.surveyed(DOWN)
        self.assertEqual(self.hub.survey(), DOWN)
        self.looked("2.0.0")
        self.refused()
        self.surveyed(UP)
        self.assertEqual(self.hub.survey(), UP)

    def test_that_it_does_not_run_is_no_answer_while_it_is_looked_at(self) -> None:
        self.surveyed(DOWN)
        self.hub.refresh()
        self.refused()
        self.surveyed(DOWN)
        self.assertEqual(self.hub.survey(), DOWN)

    def test_a_survey_that_fails_leaves_what_is_known(self) -> None:
        self.surveyed(UP)
        for output in (b"", b"{}", b"[]", b'{"decision": 1}', b"\xff"):
            self.hub.refresh()
            self.surveys.pop(0)(ChildResult(1, output, b"Traceback\nno room\n"))
            self.assertEqual(self.hub.survey(), UP)
        self.assertIn("no room", self.said.call_args[0][1])

    def test_one_that_cannot_be_started_is_tried_again(self) -> None:
        self.surveyed(UP)
        with mock.patch.object(managed_hub, "OneShot", side_effect=OSError(11, "no fork")):
            self.hub.refresh()
        self.hub.refresh()
        self.assertEqual(len(self.surveys), 1)

    def test_one_that_cannot_even_be_asked_is_down_and_looked_at_again(self) -> None:
        self.surveyed(UP)
        self.looks.pop(0)(Seen(200, {"version": "2.0.0"}, ""))
        no_ipv6 = OSError(97, "Address family not supported by protocol")
        look_again = self.loop.later.pop()
        with mock.patch.object(managed_hub, "Look", side_effect=no_ipv6):
            look_again()
        self.assertEqual((self.hub.version, len(self.looks)), ("", 0))
        self.loop.later.pop()()
        self.looked("2.1.0")
        self.assertEqual(self.hub.version, "2.1.0")


if __name__ == "__main__":
    unittest.main()
