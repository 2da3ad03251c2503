"""hub.pyz as a job of launchd, on macOS: a user's agent, or root's daemon."""

from __future__ import annotations

import os
import plistlib
import time
from collections.abc import Callable
from xml.parsers.expat import ExpatError

from hub_upgrade.cli import entry, unit_files
from hub_upgrade.cli.arguments import Arguments
from hub_upgrade.domain import units
from hub_upgrade.domain.units import Wanted
from hub_upgrade.errors import HostError
from hub_upgrade.host import commands, files
from hub_upgrade.restarters import launchd

LIMIT_S = 60.0
POLL_S = 0.1
IN_PROGRESS = 36
"""How bootout ends while the job does (EINPROGRESS on macOS)."""


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
        self._bootout = ("launchctl", "bootout", self._target)

    def install(self, wanted: Wanted) -> int:
        """The file, then launchd's word for it; nothing where all of it is so already."""
        text = units.property_list(wanted, self._log(), self._user_home)
        start = [("launchctl", "enable", self._target),
                 ("launchctl", "bootstrap", self._domain, self._path)]  # fmt: skip
        if self._given.dry_run:
            return unit_files.show({self._path: text}, start)
        unit_files.may_write({self._path: text}, self._given.force)
        loaded = launchd.look(self._target)[0] is not None
        if loaded and not unit_files.differs(self._path, text):
            return self._tell(f"{self._name} is installed and runs; nothing was changed", False)
        if loaded:
            self._leave()
        files.make_directory(os.path.dirname(self._path), 0o755)
        files.write_durably(self._path, text, 0o644)
        for argv in start:
            self._do(argv)
        return self._tell(f"{self._name} runs, and is started again whenever it ends", True)

    def uninstall(self) -> int:
        """Stopped and removed; what it never wrote stays."""
        if not os.path.lexists(self._path):
            return self._tell(f"{self._name} is not installed; nothing was changed", False)
        unit_files.may_remove([self._path], self._given.force)
        if self._given.dry_run:
            return unit_files.show({}, [self._bootout, ("rm", self._path)])
        if launchd.look(self._target)[0] is not None:
            self._leave()
        files.remove_durably(self._path)
        return self._tell(f"{self._name} is stopped and removed; home stays", True)

    def status(self) -> int:
        """How it is, as launchd tells."""
        job, _why = launchd.look(self._target)
        state = job.fields.get("state", "loaded") if job else "not loaded"
        installed, pid = os.path.lexists(self._path), job.pid if job else 0
        if self._given.json:
            entry.print_json({
                "name": self._name, "manager": "launchd", "scope": self._domain,
                "installed": installed, "file": self._path if installed else None,
                "active": state, "main_pid": pid or None,
                "ours": unit_files.is_ours(self._path),
            })  # fmt: skip
        elif not installed:
            print(f"{self._name} is not installed")
        else:
            print(f"{self._name}: {state}" + (f", main process {pid}" if pid else ""))
        return 0

    def restart(self) -> int:
        """It is asked to stop, and launchd starts it again (`kickstart -k` would kill it)."""
        stop, start = ("kill", "SIGTERM", self._target), ("kickstart", self._target)
        if self._given.dry_run:
            return unit_files.show({}, [("launchctl", *stop)])
        job, _why = launchd.look(self._target)
        before = job.pid if job else 0
        self._do(("launchctl", *(stop if before else start)))
        self._wait_for(lambda now: now is not None and now.pid not in (0, before), "start anew")
        return self._tell(f"{self._name} was restarted", True)

    def logs(self) -> int:
        """The file that it prints to."""
        follow = ["-f"] if self._given.f else []
        argv = ["tail", "-n", self._given.n or "50", *follow, self._written_to()]
        return unit_files.become(argv, self._given.dry_run)

    def _log(self) -> str:
        return f"{self._user_home}/Library/Logs/{self._name}.log"

    def _written_to(self) -> str:
        """Where the job that is installed prints to: another user's may be asked about by root."""
        try:
            with open(self._path, "rb") as file:
                return str(plistlib.load(file)["StandardOutPath"])
        except (OSError, KeyError, ValueError, ExpatError):
            return self._log()

    def _leave(self) -> None:
        """Stop it, and wait: a bootstrap beside a job that is still ending leaves none loaded."""
        done = commands.run(list(self._bootout), LIMIT_S)
        if done.status not in (0, IN_PROGRESS):
            raise HostError(f"{unit_files.typed(self._bootout)}: {unit_files.words_of(done)}")
        self._wait_for(lambda now: now is None, "end")

    def _wait_for(self, so: Callable[[launchd.Job | None], bool], what: str) -> None:
        """launchctl answers before launchd has done it, and between two starts that waits 10 s."""
        deadline = time.monotonic() + LIMIT_S
        while not so(launchd.look(self._target)[0]):
            if time.monotonic() > deadline:
                raise HostError(f"{self._target} does not {what}")
            time.sleep(POLL_S)

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
