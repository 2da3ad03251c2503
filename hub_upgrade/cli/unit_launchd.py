"""hub.pyz as a job of launchd, on macOS: a user's agent, or root's daemon."""

from __future__ import annotations

import os

from hub_upgrade.cli import entry, unit_files
from hub_upgrade.cli.arguments import Arguments
from hub_upgrade.domain import units
from hub_upgrade.domain.units import Wanted
from hub_upgrade.errors import HostError
from hub_upgrade.host import commands, files

LIMIT_S = 60.0


class Launchd:
    """One job. Every method returns the exit code, and raises HubError."""

    def __init__(self, given: Arguments, name: str, system: bool, user_home: str) -> None:
        self._given = given
        self._name = name
        self._user_home = user_home
        label = units.label(name)
        library = "/Library/LaunchDaemons" if system else f"{user_home}/Library/LaunchAgents"
        self._path = os.path.join(library, f"{label}.plist")
        self._domain = "system" if system else f"gui/{os.getuid()}"
        self._target = f"{self._domain}/{label}"

    def install(self, wanted: Wanted) -> int:
        """The file, then launchd's word for it; nothing where all of it is so already."""
        text = units.property_list(wanted, self._log(), self._user_home)
        start = [("launchctl", "enable", self._target),
                 ("launchctl", "bootstrap", self._domain, self._path)]  # fmt: skip
        if self._given.dry_run:
            return unit_files.show({self._path: text}, start)
        unit_files.may_write({self._path: text}, self._given.force)
        loaded = self._is_loaded()
        if loaded and not unit_files.differs(self._path, text):
            return self._tell(f"{self._name} is installed and runs; nothing was changed", False)
        files.make_directory(os.path.dirname(self._path), 0o755)
        files.write_durably(self._path, text, 0o644)
        if loaded:
            self._do(("launchctl", "bootout", self._target))
        for argv in start:
            self._do(argv)
        return self._tell(f"{self._name} runs, and is started again whenever it ends", True)

    def uninstall(self) -> int:
        """Stopped and removed; what it never wrote stays."""
        there = os.path.lexists(self._path)
        leave = ("launchctl", "bootout", self._target)
        if self._given.dry_run:
            return unit_files.show({}, [leave, ("rm", self._path)] if there else [])
        if not there:
            return self._tell(f"{self._name} is not installed; nothing was changed", False)
        unit_files.may_remove([self._path], self._given.force)
        if self._is_loaded():
            self._do(leave)
        files.remove_durably(self._path)
        return self._tell(f"{self._name} is stopped and removed; home stays", True)

    def status(self) -> int:
        """How it is, as launchd tells."""
        done = commands.run(["launchctl", "print", self._target], LIMIT_S)
        lines = [line.strip() for line in done.stdout.decode("utf-8", "replace").splitlines()]
        found = dict(line.split(" = ", 1) for line in reversed(lines) if " = " in line)
        state = found.get("state", "not loaded")
        installed, pid = os.path.lexists(self._path), found.get("pid", "")
        if self._given.json:
            entry.print_json({
                "name": self._name, "manager": "launchd", "scope": self._domain,
                "installed": installed, "file": self._path if installed else None,
                "active": state, "main_pid": int(pid) if pid.isdecimal() else None,
                "ours": unit_files.is_ours(self._path),
            })  # fmt: skip
        elif not installed:
            print(f"{self._name} is not installed")
        else:
            print(f"{self._name}: {state}" + (f", main process {pid}" if pid else ""))
        return 0

    def restart(self) -> int:
        """By launchd."""
        argv = ("launchctl", "kickstart", "-k", self._target)
        if self._given.dry_run:
            return unit_files.show({}, [argv])
        self._do(argv)
        return self._tell(f"{self._name} was restarted", True)

    def logs(self) -> int:
        """The file that it prints to."""
        follow = ["-f"] if self._given.f else []
        argv = ["tail", "-n", self._given.n or "50", *follow, self._log()]
        return unit_files.become(argv, self._given.dry_run)

    def _log(self) -> str:
        return f"{self._user_home}/Library/Logs/{self._name}.log"

    def _is_loaded(self) -> bool:
        return commands.run(["launchctl", "print", self._target], LIMIT_S).status == 0

    def _do(self, argv: tuple[str, ...]) -> None:
        done = commands.run(list(argv), LIMIT_S)
        if done.status != 0:
            raise HostError(f"{unit_files.typed(argv)}: {unit_files.words_of(done)}")

    def _tell(self, text: str, changed: bool) -> int:
        if self._given.json:
            entry.print_json({"name": self._name, "changed": changed})
        else:
            print(text)
        return 0
