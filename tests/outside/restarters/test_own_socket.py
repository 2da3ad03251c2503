"""A socket of systemd's, which is there whether the hub runs or not."""

from __future__ import annotations

import contextlib
import os
import unittest

from tests.e2e.harness import build, wait_for
from tests.outside.restarters.machines import BOTH
from tests.outside.restarters.own_unit import (
    InsideProber,
    OwnCase,
    OwnUnit,
    became,
    upgraded,
)


class Socket(OwnCase):
    def test_the_first_request_starts_it_and_no_restart_refuses_anybody(self) -> None:
        for scope in BOTH:
            with self.subTest(scope):
                unit = self.unit(scope=scope)
                unit.drop_in("RestartSec=100ms")
                unit.lay(build("1.0.0"))
                unit.install("--socket")
                self.taken_up(unit)
                self.started_by_a_request(unit)
                self.nobody_refused(unit)
                self.there_before_its_address(unit)
                self.assertEqual(unit.unit("uninstall").returncode, 0)
                self.assertEqual(unit.version(), "")
                left = self.machine.systemctl("cat", f"{unit.name}.socket", scope=scope)
                self.assertNotEqual(left.returncode, 0, left.stdout)

    def taken_up(self, unit: OwnUnit) -> None:
        """The launcher listens on the very socket that the manager holds."""
        manager = self.machine.process
        if unit.scope == "user":
            told = self.machine.sh(f"systemctl show --property=MainPID user@$(id -u {unit.owner})")
            manager = self.machine.outside(int(told.partition("=")[2]))
        shared = sockets_of(manager) & sockets_of(unit.launcher_pid)
        listening = self.machine.sh(f"ss -Htlne 'sport = :{unit.port}'")
        inodes = [f"socket:[{word[4:]}]" for word in listening.split() if word.startswith("ino:")]
        self.assertEqual(len(inodes), 1, listening)
        self.assertIn(inodes[0], shared)

    def started_by_a_request(self, unit: OwnUnit) -> None:
        unit.systemctl("stop")
        became(unit, "inactive")
        self.assertEqual(unit.processes(), [])
        self.assertEqual(unit.version(), "1.0.0")
        became(unit, "active")
        self.taken_up(unit)

    def nobody_refused(self, unit: OwnUnit) -> None:
        """Not by a restart, a kill of all of it, an upgrade, nor a restart after it."""
        prober = InsideProber(unit)
        try:
            self.another_start(unit, "restart")
            self.another_start(unit, "kill", "--signal=KILL")
            upgraded(unit, "1.1.0")
            self.another_start(unit, "restart")
        finally:
            report = prober.stop()
        self.assertEqual(report.wrong, [])
        self.assertEqual({version for _status, version in report.answers}, {"1.0.0", "1.1.0"})
        self.taken_up(unit)

    def there_before_its_address(self, unit: OwnUnit) -> None:
        """As at a boot, when the network has not brought it yet."""
        unit.install("--socket", "--host", "10.9.9.9", healthy=False)
        became(unit, "active")
        self.assertIn("10.9.9.9", self.machine.sh(f"ss -Htln 'sport = :{unit.port}'"))

    def another_start(self, unit: OwnUnit, *words: str) -> None:
        """By systemctl, and waited for."""
        before = unit.show("InvocationID")
        unit.systemctl(*words)
        wait_for(lambda: unit.show("InvocationID") != before, f"{words}: another start")
        unit.wait_healthy()


def sockets_of(pid: int) -> set[str]:
    """The sockets that a process has open."""
    place = f"/proc/{pid}/fd"
    links = set()
    for name in os.listdir(place):
        with contextlib.suppress(FileNotFoundError):  # closed just now
            links.add(os.readlink(os.path.join(place, name)))
    return {link for link in links if link.startswith("socket:")}


if __name__ == "__main__":
    unittest.main()
