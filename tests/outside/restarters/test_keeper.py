"""`hub.pyz unit` for a `serve` that looks after another hub: what its sandbox takes for that."""

from __future__ import annotations

import json
import unittest
from typing import Any, ClassVar

from tests.outside.restarters.machines import USER, Managers
from tests.outside.restarters.managed_boot import PROGRAM, boot
from tests.outside.restarters.managed_machine import NEW, OLD, SERVE_PORT, OtherHub

KEEPER = "hub-keeper"


class Keeper(unittest.TestCase):
    machine: ClassVar[Managers]

    @classmethod
    def setUpClass(cls) -> None:
        cls.machine = boot(cls)

    def keep(self, hub: OtherHub, *flags: str) -> None:
        """Install a unit for it, the root way."""
        words = f"--name {KEEPER} --config-dir {hub.home} --port {SERVE_PORT} {' '.join(flags)}"
        self.machine.sh(f"python3 {PROGRAM} unit install {words}")

    def begun(self, hub: OtherHub, **settings: Any) -> OtherHub:
        self.addCleanup(hub.end)
        remove = f"python3 {PROGRAM} unit uninstall --name {KEEPER}"
        self.addCleanup(self.machine.sh, remove)
        hub.begin({"restart": "exit"} if settings else None, **settings)
        return hub

    def upgrade(self, hub: OtherHub, expected: int) -> str:
        done = hub.hub_pyz("upgrade")
        self.assertEqual(done.returncode, expected, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def test_roots_own_restarts_it_by_its_unit(self) -> None:
        hub = self.begun(OtherHub(self.machine, "system"))
        self.keep(hub, "--as-root", "--writable", hub.checkout)
        hub.publish(NEW)
        told = self.upgrade(hub, 0)
        self.assertIn("restarted by: systemd, parachute-hub.service (system)", told)
        self.assertEqual((hub.version(), hub.head()), (NEW, NEW))

    def test_a_users_writes_its_checkout_only_where_it_was_named(self) -> None:
        hub = self.begun(OtherHub(self.machine, "system", USER), Restart="always")
        self.keep(hub, "--user", USER)
        hub.publish(NEW)
        told = self.upgrade(hub, 3)
        self.assertIn("hub.pyz unit install --writable", told)
        self.assertEqual((hub.version(), hub.head()), (OLD, OLD))
        self.keep(hub, "--user", USER, "--writable", hub.checkout)
        self.upgrade(hub, 0)
        self.assertEqual((hub.version(), hub.head()), (NEW, NEW))
        status = self.machine.sh(f"python3 {PROGRAM} unit status --name {KEEPER} --json")
        self.assertEqual(json.loads(status)["restarts"], 0)

    def test_the_name_of_its_unit_is_not_taken(self) -> None:
        hub = self.begun(OtherHub(self.machine, "system"))
        done = self.machine.run(
            f"python3 {PROGRAM} unit install --as-root --config-dir {hub.home} --force"
        )
        self.assertEqual(done.returncode, 2)
        self.assertIn("parachute-hub.service is the unit of the hub that hub.json names",
                      done.stderr)  # fmt: skip


if __name__ == "__main__":
    unittest.main()
