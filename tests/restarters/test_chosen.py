"""Who restarts a hub, found out by looking at its process and asking its manager."""

from __future__ import annotations

import os
import unittest
from typing import Any
from unittest import mock

from hub_upgrade.domain.managed import Managed
from hub_upgrade.domain.restart import EXIT, LAUNCHD, NONE, SYSTEM, SYSTEMD, USER, Choice
from hub_upgrade.host import control_group, hub_process
from hub_upgrade.restarters import chosen
from hub_upgrade.restarters.container import ContainerRestarter, NobodyRestarter
from hub_upgrade.restarters.launchd import LaunchdRestarter
from hub_upgrade.restarters.systemd import SystemdRestarter
from tests.restarters.systemctl import Systemd

UNIT = "parachute-hub.service"
OTHER = "bun.service"


class ChosenTest(unittest.TestCase):
    """Control groups and parents are said here; the manager is a stand-in."""

    def setUp(self) -> None:
        self.systemd = Systemd()
        self.addCleanup(self.systemd.close)
        self.service = ("", "")
        self.parents: dict[int, str] = {}
        for patched in (
            mock.patch.dict(os.environ, PATH=self.systemd.path),
            mock.patch.object(chosen, "BOOTED", self.systemd.path),
            mock.patch.object(control_group, "service_of", lambda _pid: self.service),
            mock.patch.object(hub_process, "ancestors", lambda _pid: list(self.parents)),
            mock.patch.object(hub_process, "name_of", lambda pid: self.parents[pid]),
        ):
            patched.start()
            self.addCleanup(patched.stop)

    def look(self, pid: int, ours: bool = True, **said: Any) -> Choice:
        return chosen.look(Managed(**said), pid, ours)

    def test_a_process_of_the_usual_unit_is_the_managers(self) -> None:
        for scope in (SYSTEM, USER):
            self.service = (UNIT, scope)
            found = self.look(self.systemd.install(UNIT, scope))
            self.assertEqual(found[:1] + found[2:], (SYSTEMD, UNIT, scope, ""))
        self.assertEqual(self.systemd.asked(), [], "and the manager is only looked at")

    def test_the_main_process_of_another_unit_is_too_and_what_a_shell_started_there(self) -> None:
        pid = self.systemd.install(OTHER)
        self.service = (OTHER, SYSTEM)
        self.assertEqual(self.look(pid).name, OTHER)
        for parents, kind in (
            ({pid: "sh", 1: "systemd"}, SYSTEMD),
            ({7: "npm start", pid: "bash", 1: "systemd"}, SYSTEMD),
            ({pid: "supervisord", 1: "systemd"}, EXIT),
            ({7: "pm2", pid: "sh", 1: "systemd"}, EXIT),
            ({1: "systemd"}, EXIT),
        ):
            self.parents = parents
            self.assertEqual(self.look(pid + 1).kind, kind, parents)

    def test_a_manager_that_does_not_answer_is_found_out_before_anything_is_touched(self) -> None:
        self.service = (OTHER, SYSTEM)
        self.systemd.set(no_manager=SYSTEM)
        found = self.look(7)
        self.assertEqual((found.kind, found.name), (SYSTEMD, OTHER))

    def test_a_bare_process_is_asked_to_stop_unless_the_unit_is_installed(self) -> None:
        self.assertEqual(self.look(7).kind, EXIT)
        pid = self.systemd.install(UNIT)
        self.assertIn("is not in it", self.look(pid + 1).refused)
        self.systemd.install(UNIT, ExecStart="{ path=/usr/bin/python3 ; argv[]=python3 /opt/hub.pyz"
                             " serve ; ignore_errors=no }")  # fmt: skip
        self.assertEqual(self.look(pid + 1).kind, EXIT, "that one is our own")
        self.systemd.install(UNIT, LoadState="masked")
        self.assertEqual(self.look(pid + 1).kind, EXIT)

    def test_a_unit_that_is_named_is_believed_however_it_was_loaded(self) -> None:
        for state in ("loaded", "masked"):
            pid = self.systemd.install(OTHER, LoadState=state)
            self.assertIn("is not in it", self.look(pid + 1, unit=OTHER).refused)
        self.assertEqual(self.look(7, unit="none.service").name, "none.service")

    def test_an_alias_is_its_unit(self) -> None:
        pid = self.systemd.install("hub.service", Id=OTHER)
        self.service = (OTHER, SYSTEM)
        found = self.look(pid, unit="hub.service")
        self.assertEqual((found.kind, found.name, found.refused), (SYSTEMD, OTHER, ""))

    def test_without_systemd_nobody_is_asked_what_it_knows(self) -> None:
        self.service = (UNIT, SYSTEM)
        pid = self.systemd.install(UNIT)
        with mock.patch.object(chosen, "BOOTED", "/nonexistent"):
            self.assertEqual(self.look(pid).kind, EXIT)
        self.assertEqual(self.look(pid, restart="none").kind, NONE)
        self.assertEqual(self.look(pid, restart="exit").kind, EXIT)
        self.assertEqual(self.systemd.all_asked(), [])

    def test_process_1_is_refused_where_the_operation_is_our_own(self) -> None:
        self.assertIn("process 1", self.look(1).refused)
        self.assertEqual(self.look(1, ours=False).refused, "")

    def test_so_is_all_that_process_1_waits_for(self) -> None:
        others: list[int] = []

        def children(pid: int) -> list[int]:
            return [{1: 5}.get(pid, 7), *others]

        with mock.patch.object(hub_process, "children", children):
            for names, alone in (
                ({5: "npm start", 1: "tini"}, True), ({5: "npm run x", 1: "docker-init"}, True),
                ({5: "sh", 1: "tini"}, False), ({5: "npm start", 1: "sh"}, False),
                ({5: "npm start", 1: "systemd"}, False), ({5: "supervisord", 1: "tini"}, False),
            ):
                self.parents = names
                found = self.look(7).refused
                self.assertEqual("all that process 1 waits for" in found, alone, names)
            self.parents = {5: "npm start", 1: "tini"}
            self.assertEqual(self.look(7, ours=False).refused, "")
            others.append(8)
            self.assertEqual(self.look(7).refused, "", "another is waited for too")

    def test_on_a_mac_launchd_is_asked_for_the_label(self) -> None:
        def domain_with(label: str, pid: int) -> str:
            return "gui/501" if (label, pid) == ("x.hub", 7) else ""

        with mock.patch.object(chosen, "domain_with", domain_with), \
                mock.patch("sys.platform", "darwin"):  # fmt: skip
            self.assertEqual(self.look(7).kind, EXIT)
            found = self.look(7, label="x.hub")
        self.assertEqual(found[:1] + found[2:], (LAUNCHD, "x.hub", "gui/501", ""))

    def test_each_choice_has_its_part(self) -> None:
        for kind, part in ((SYSTEMD, SystemdRestarter), (LAUNCHD, LaunchdRestarter),
                           (EXIT, ContainerRestarter), (NONE, NobodyRestarter)):  # fmt: skip
            self.assertIsInstance(chosen.made(Choice(kind, "", "x", SYSTEM), 7), part)


if __name__ == "__main__":
    unittest.main()
