"""What every story of a managed hub ends with: what is recorded is true, and no start too many."""

from __future__ import annotations

import subprocess
import unittest
from typing import Any

from tests.e2e.harness import wait_for
from tests.outside.restarters.machines import Managers
from tests.outside.restarters.managed_boot import boot
from tests.outside.restarters.managed_machine import OtherHub


class ManagedCase(unittest.TestCase):
    """One machine for all the tests of a class: each of them begins anew."""

    machine: Managers
    scope = "system"
    user = ""

    @classmethod
    def setUpClass(cls) -> None:
        cls.machine = boot(cls)

    def setUp(self) -> None:
        self.hub = OtherHub(self.machine, self.scope, self.user)
        self.addCleanup(self.hub.end)

    def assert_ended(
        self, phase: str, runs: str, started: tuple[str, ...], lies_there: str = ""
    ) -> dict[str, Any]:
        """The record is terminal and says so; this version answers, and lies on the disk; these
        versions were started since the story began, each under an invocation of its own, and the
        newest start is the unit's main process."""
        hub = self.hub
        record, told = hub.record(), hub.told()
        self.assertEqual(record.get("phase"), phase, told)
        hub.until(runs)
        starts = hub.starts()
        self.assertEqual(tuple(one.version for one in starts), started, told)
        self.assertEqual(len({one.invocation for one in starts}), len(starts), f"{starts} {told}")
        shown = hub.obeyed("show", "--property=MainPID,InvocationID,ActiveState", hub.unit)
        now = dict(line.split("=", 1) for line in shown.splitlines())
        newest = (str(starts[-1].pid), starts[-1].invocation, "active")
        self.assertEqual((now["MainPID"], now["InvocationID"], now["ActiveState"]), newest, told)
        self.assertEqual(hub.head(), lies_there or runs, told)
        return record

    def until_it_is(self, state: str) -> None:
        """Wait for that state of its unit's."""
        shown = f"ActiveState={state}"
        asked = ("show", "--property=ActiveState", self.hub.unit)
        self.hub.wait(lambda: self.hub.obeyed(*asked) == shown, state)

    def assert_says(self, record: dict[str, Any], *words: str) -> None:
        """An operator who reads the record reads this."""
        text = "\n".join([record.get("error") or "", *record.get("log", ())])
        for word in words:
            self.assertIn(word, text, self.hub.told())

    def assert_no_scope_is_left(self) -> None:
        """What a helper ran in is gone with it."""
        wait_for(lambda: not self.hub.scopes(), f"no scope: {self.hub.scopes()}")

    def upgrade(self, *flags: str, code: int = 0, **env: str) -> subprocess.CompletedProcess[str]:
        """`hub.pyz upgrade`, followed to its end."""
        done = self.hub.hub_pyz("upgrade", *flags, **env)
        self.assertEqual(done.returncode, code, f"{done.stdout}{done.stderr}\n{self.hub.told()}")
        return done

    def goes_on(self, version: str, *before: str) -> None:
        """The next upgrade works, after these starts."""
        self.hub.publish(version)
        self.upgrade()
        self.assert_ended("succeeded", version, (*before, version))
