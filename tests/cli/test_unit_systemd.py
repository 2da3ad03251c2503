"""`hub.pyz unit` and a stand-in for systemctl, which says what systemd 252 was seen to say (the
real one: tests/outside/restarters)."""

from __future__ import annotations

import os
import unittest
from pathlib import Path

from hub_upgrade.cli import unit_systemd
from hub_upgrade.domain.units import MARK
from hub_upgrade.host import commands
from hub_upgrade.host.commands import Result
from tests.cli.test_unit import UnitCase

SERVICE, SOCKET = "parachute-hub.service", "parachute-hub.socket"
OURS = f"# {MARK}\n[Service]\nExecStart=/bin/true\n"


class Manager:
    """A manager that reads units in one directory; `hates` is what none may hold."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.hates = "\0"
        self.loaded: dict[str, str] = {}
        self.up: set[str] = set()
        self.enabled: set[str] = set()
        self.asked: list[str] = []

    def reload(self) -> None:
        """What it knows of each unit is what its file says now."""
        self.loaded = {
            path.name: "bad-setting" if self.hates in path.read_text() else "loaded"
            for path in Path(self.directory).iterdir()
        }

    def run(self, argv: list[str], _limit_s: float, env: object = None) -> Result:
        """One command of systemctl's, or of any other tool, which does nothing."""
        words = [word for word in argv[1:] if not word.startswith("-")]
        if argv[0] != "systemctl":
            return Result(0, b"", b"")
        if words[0] == "show":
            return Result(0, self.shown(words[1]).encode(), b"")
        self.asked.append(" ".join(argv[1:]))
        wrong = [why for name in words[1:] if (why := self.does(words[0], name, argv))]
        if words[0] in ("daemon-reload", "enable", "disable"):
            self.reload()
        return Result(1 if wrong else 0, b"", "\n".join(wrong).encode())

    def shown(self, name: str) -> str:
        known = self.loaded.get(name, "not-found")
        path = "" if known == "not-found" else os.path.realpath(os.path.join(self.directory, name))
        active = "active" if name in self.up else "inactive"
        enabled = "enabled" if name in self.enabled else "disabled"
        return (
            f"LoadState={known}\nActiveState={active}\nUnitFileState={enabled}\n"
            f"FragmentPath={path}\nNeedDaemonReload=no\nMainPID=0\n"
        )

    def does(self, verb: str, name: str, argv: list[str]) -> str:
        """Why it does not, or nothing."""
        known = self.loaded.get(name, "not-found")
        if verb == "enable":
            self.enabled.add(name)
        if verb == "disable":
            self.enabled.discard(name)
        if verb == "enable" and "--now" in argv:
            if known != "loaded":
                return f"Failed to start {name}: Unit {name} has a bad unit file setting."
            self.up.add(name)
        elif verb == "stop" or (verb == "disable" and "--now" in argv):
            if known != "loaded" and name not in self.up:
                return f"Failed to stop {name}: Unit {name} not loaded."
            self.up.discard(name)
        return ""


class SystemdCase(UnitCase):
    """As root, with a manager whose directory the units' is."""

    def setUp(self) -> None:
        super().setUp()
        os.mkdir(self.booted)
        self.manager = Manager(self.directory)
        self.replace(commands, "run", self.manager.run)

    def lies(self, name: str, text: str = OURS, up: bool = False) -> Path:
        """A unit that the manager has loaded."""
        path = Path(self.directory, name)
        path.write_text(text)
        self.manager.reload()
        if up:
            self.manager.up.add(name)
        return path

    def install(self, *more: str, code: int = 0) -> str:
        """`unit install`; what it said on stderr."""
        found, out, err = self.unit("install", "--as-root", *more)
        self.assertEqual(found, code, out + err)
        return err


class Uninstalling(SystemdCase):
    def test_what_the_manager_cannot_load_is_removed_all_the_same(self) -> None:
        file = self.lies(SERVICE)
        self.manager.loaded[SERVICE] = "bad-setting"
        code, out, _err = self.unit("uninstall")
        self.assertEqual((code, out), (0, "parachute-hub is stopped and removed; home stays\n"))
        self.assertFalse(file.exists())

    def test_what_is_up_is_stopped_first_the_socket_before_the_service(self) -> None:
        for name in (SOCKET, SERVICE):
            self.lies(name, up=True)
        self.assertEqual(self.unit("uninstall")[0], 0)
        self.assertEqual(
            self.manager.asked[:3],
            [f"stop {SOCKET} {SERVICE}", f"disable {SOCKET} {SERVICE}", "daemon-reload"],
        )
        self.assertEqual((os.listdir(self.directory), self.manager.up), ([], set()))


class Installing(SystemdCase):
    def test_a_unit_that_would_not_load_changes_nothing(self) -> None:
        self.install("--socket")
        files, asked = self.everything(), len(self.manager.asked)
        self.manager.hates = "--port 8080"
        for more in ((), ("--socket",)):
            err = self.install("--port", "8080", *more, code=1)
            self.assertIn(f"{SERVICE} would not load (bad-setting); all of it is as it was", err)
            self.assertEqual(self.everything(), files)
            self.assertEqual(self.manager.loaded, {SERVICE: "loaded", SOCKET: "loaded"})
        self.assertEqual(self.manager.asked[asked:], ["daemon-reload"] * 4)
        self.assertEqual(self.manager.up, {SERVICE, SOCKET})

    def test_nor_where_nothing_was_or_a_link_was(self) -> None:
        self.manager.hates = "ExecStart="
        self.install(code=1)
        self.assertEqual(os.listdir(self.directory), [])
        self.service.symlink_to(os.devnull)
        self.install("--force", code=1)
        self.assertEqual(os.readlink(self.service), os.devnull)

    def test_a_socket_that_is_not_wanted_any_more_goes_even_if_it_cannot_be_loaded(self) -> None:
        self.install("--socket")
        self.manager.loaded[SOCKET] = "bad-setting"
        self.manager.up.discard(SOCKET)
        self.install()
        self.assertEqual(os.listdir(self.directory), [SERVICE])
        self.assertEqual((self.manager.up, self.manager.enabled), ({SERVICE}, {SERVICE}))

    def test_ones_own_unit_is_known_by_whatever_path_one_comes_to_it(self) -> None:
        link = os.path.join(self.scratch, "link")
        os.symlink(self.directory, link)
        for directory in (link, f"{self.scratch}//system"):
            self.replace(unit_systemd, "SYSTEM", directory)
            self.install("--port", str(8000 + len(directory)))

    def test_somebody_elses_unit_of_that_name_is_not_shadowed(self) -> None:
        self.manager.directory = os.path.join(self.scratch, "package")
        os.mkdir(self.manager.directory)
        Path(self.manager.directory, SERVICE).write_text("[Service]\nExecStart=/bin/true\n")
        self.manager.reload()
        self.assertIn("has that name already", self.install(code=1))
        self.assertEqual(os.listdir(self.directory), [])


if __name__ == "__main__":
    unittest.main()
