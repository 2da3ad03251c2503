"""hub.pyz as a unit of systemd: of the machine's manager, or of a user's own."""

from __future__ import annotations

import os
import pwd
import sys
import time
from collections.abc import Iterable

from hub_upgrade.cli import entry, unit_files
from hub_upgrade.cli.arguments import Arguments
from hub_upgrade.domain import units
from hub_upgrade.domain.restart import BOOTED
from hub_upgrade.domain.units import Wanted
from hub_upgrade.errors import HostError
from hub_upgrade.host import commands, files, hub_process
from hub_upgrade.restarters.systemd import SIGN_IN, environment, wait_for_journal

SYSTEM = "/etc/systemd/system"
SHOWN = ("LoadState", "ActiveState", "SubState", "UnitFileState", "MainPID", "NRestarts",
         "FragmentPath", "NeedDaemonReload")  # fmt: skip
LINGER = "/var/lib/systemd/linger"
"""A file for each user whose manager does not end with their last session."""
YOURS = "; your manager runs while you are logged in, or always: loginctl enable-linger"
ASK_LIMIT_S = 30.0
JOB_LIMIT_S = 300.0
TAIL = 10


class Systemd:
    """One unit of that name. Every method returns the exit code, and raises HubError."""

    def __init__(self, given: Arguments, name: str, system: bool) -> None:
        self._given = given
        self._name = name
        self._service, self._socket = f"{name}.service", f"{name}.socket"
        mine = os.path.join(_config_directory(), "systemd/user")
        self._system = system or (
            given.action in ("status", "restart", "logs")
            and not os.path.exists(os.path.join(mine, self._service))
            and os.path.exists(os.path.join(SYSTEM, self._service))
        )
        self._directory = SYSTEM if self._system else mine
        self._systemctl = ("systemctl",) if self._system else ("systemctl", "--user")

    # --- what is asked for ---

    def install(self, wanted: Wanted) -> int:
        """Files, then the manager's word for them; nothing where all of it is so already."""
        texts = {self._path(name): text.encode() for name, text in units.files(wanted).items()}
        stale = not wanted.socket and unit_files.is_ours(self._path(self._socket))
        if self._given.dry_run:
            todo = [*self._before(wanted), *self._after(list(texts))]
            return unit_files.show(texts, todo)
        unit_files.may_write(texts, self._given.force)
        self._needs_systemd()
        state = self._state(self._service)
        self._shadows_nobody(state)
        changed = [path for path in texts if unit_files.differs(path, texts[path])]
        runs = state["ActiveState"] in ("active", "reloading")
        anew = bool(changed or stale) or state["NeedDaemonReload"] == "yes"
        anew = anew or _is_older(state, texts)
        if runs and state["UnitFileState"] == "enabled" and not anew:
            return self._tell(f"{self._name} is installed and runs; nothing was changed", False)
        for argv in self._before(wanted):
            self._do(argv)
        files.make_directory(self._directory, 0o755)
        self._write({path: texts[path] for path in changed}, list(texts))
        # By one order, or a hub would be down for whoever is killed between two; but a socket takes
        # its port before the service does.
        again = anew and runs and not (stale or wanted.socket)
        if anew and not again:
            self._stop([self._socket, self._service])
        if stale:
            self._do((*self._systemctl, "disable", self._socket))
            files.remove_durably(self._path(self._socket))
        self._forgive()
        for argv in self._after(list(texts)):
            self._do(argv)
        if again:
            self._do((*self._systemctl, "restart", self._service))
        self._tell(f"{self._name} runs, and starts with {self._whom()}", True)
        return 0

    def uninstall(self) -> int:
        """Stopped, disabled, removed; what it never wrote stays."""
        found = [name for name in (self._socket, self._service)
                 if os.path.lexists(self._path(name))]  # fmt: skip
        paths = [self._path(name) for name in found]
        todo: list[tuple[str, ...]] = [
            (*self._systemctl, "stop", *found), (*self._systemctl, "disable", *found),
            ("rm", *paths), (*self._systemctl, "daemon-reload"),
        ]  # fmt: skip
        if not found and os.path.lexists(os.path.join(SYSTEM, self._service)):
            raise HostError(f"{SYSTEM}/{self._service} is root's: as root, type the same again")
        if not found:
            return self._tell(f"{self._name} is not installed; nothing was changed", False)
        unit_files.may_remove(paths, self._given.force)
        if self._given.dry_run:
            return unit_files.show({}, todo)
        self._needs_systemd()
        self._stop(found)
        self._do(todo[1])
        for path in paths:
            files.remove_durably(path)
        self._do(todo[3])
        self._forgive()
        return self._tell(f"{self._name} is stopped and removed; home stays", True)

    def status(self) -> int:
        """How it is, as the manager tells."""
        self._needs_systemd()
        state = self._state(self._service)
        installed = state["LoadState"] != "not-found"
        pid = int(state["MainPID"] or 0)
        if self._given.json:
            entry.print_json({
                "name": self._name, "manager": "systemd",
                "scope": "system" if self._system else "user", "installed": installed,
                "file": state["FragmentPath"] or None, "enabled": state["UnitFileState"] or None,
                "active": state["ActiveState"], "state": state["SubState"],
                "main_pid": pid or None, "restarts": int(state["NRestarts"] or 0),
                "ours": unit_files.is_ours(state["FragmentPath"]),
            })  # fmt: skip
        elif not installed:
            print(f"{self._name} is not installed")
        else:
            process = f", main process {pid}" if pid else ""
            active = f"{state['ActiveState']} ({state['SubState']})"
            print(f"{self._name}: {state['UnitFileState']}, {active}{process}")
        return 0

    def restart(self) -> int:
        """By the manager; it is waited for."""
        argv = (*self._systemctl, "restart", self._service)
        if self._given.dry_run:
            return unit_files.show({}, [argv])
        self._needs_systemd()
        self._forgive()
        self._do(argv)
        return self._tell(f"{self._name} was restarted", True)

    def logs(self) -> int:
        """The journal takes our place."""
        argv = self._journal(self._given.n or "50")
        if self._given.f:
            argv.append("--follow")
        return unit_files.become(argv, self._given.dry_run)

    # --- how ---

    def _path(self, name: str) -> str:
        return os.path.join(self._directory, name)

    def _before(self, wanted: Wanted) -> list[tuple[str, ...]]:
        """That this user can run the file at all, and has a home, which the sandbox must find."""
        todo: list[tuple[str, ...]] = []
        other = wanted.user not in ("", "root")
        who = ("runuser", "-u", wanted.user, "--") if other else ()
        if other:
            todo.append((*who, *wanted.command[: wanted.command.index("serve")], "version"))
        if not os.path.isdir(wanted.home):
            todo.append((*who, "mkdir", "-p", "-m", "700", wanted.home))
        return todo

    def _write(self, changed: dict[str, bytes], paths: list[str]) -> None:
        """Nothing was stopped yet: units that cannot be loaded are put back as they were."""
        back = unit_files.replace(changed)
        self._do((*self._systemctl, "daemon-reload"))
        for name in map(os.path.basename, paths):
            known = self._state(name)["LoadState"]
            if known != "loaded":
                self._print_tail()
                back()
                self._do((*self._systemctl, "daemon-reload"))
                raise HostError(f"{name} would not load ({known}); all of it is as it was")

    def _stop(self, names: list[str]) -> None:
        """What is up; of what could not be loaded, systemctl says that it is no unit."""
        up = [name for name in names if self._is_up(name)]
        if up:
            self._do((*self._systemctl, "stop", *up))

    def _after(self, paths: list[str]) -> list[tuple[str, ...]]:
        names = sorted(os.path.basename(path) for path in paths)
        names.reverse()  # the socket before the service, which would hold its port
        return [(*self._systemctl, "daemon-reload"), (*self._systemctl, "enable", "--now", *names)]

    def _needs_systemd(self) -> None:
        if not os.path.isdir(BOOTED):
            raise HostError(
                "systemd does not run here: let what does run hub.pyz serve as its user; it stays "
                "in the foreground"
            )

    def _shadows_nobody(self, state: dict[str, str]) -> None:
        """A unit of this name may come from a package: ours would take its place unseen."""
        there = state["FragmentPath"]
        ours = os.path.realpath(self._path(self._service))
        if there and os.path.realpath(there) != ours and not self._given.force:
            raise HostError(f"{there} has that name already: choose another --name (or --force)")

    def _state(self, unit: str) -> dict[str, str]:
        argv = (*self._systemctl, "show", unit, f"--property={','.join(SHOWN)}")
        done = commands.run(list(argv), ASK_LIMIT_S, env=environment())
        if done.status != 0:
            asked, mine = " ".join(self._systemctl), "" if self._system else YOURS
            raise HostError(f"{asked} tells nothing: {unit_files.words_of(done)}{mine}")
        lines = done.stdout.decode("utf-8", "replace").splitlines()
        found = dict(line.partition("=")[::2] for line in lines)
        return {name: found.get(name, "") for name in SHOWN}

    def _forgive(self) -> None:
        """A start limit that was hit would refuse the next start too; not for what never failed."""
        argv = [*self._systemctl, "reset-failed", self._service]
        commands.run(argv, ASK_LIMIT_S, env=environment())

    def _is_up(self, unit: str) -> bool:
        return self._state(unit)["ActiveState"] not in ("inactive", "failed")

    def _do(self, argv: tuple[str, ...]) -> commands.Result:
        """Run it; raises HostError with its words, and the journal's last of a job that failed."""
        job = bool({"--now", "restart", "stop"}.intersection(argv))
        done = commands.run(list(argv), JOB_LIMIT_S if job else ASK_LIMIT_S, env=environment())
        if done.status == 0:
            return done
        if job and self._state(self._service)["ActiveState"] != "active":
            self._print_tail()
        raise HostError(f"{unit_files.typed(argv)}: {unit_files.words_of(done)}")

    def _print_tail(self) -> None:
        wait_for_journal()
        done = commands.run([*self._journal(str(TAIL)), "--output=cat", "--no-pager"], ASK_LIMIT_S)
        for line in done.stdout.decode("utf-8", "replace").splitlines():
            if SIGN_IN not in line:
                print(f"  {entry.printable(line)}", file=sys.stderr)

    def _journal(self, lines: str) -> list[str]:
        which = "--unit" if self._system else "--user-unit"
        return ["journalctl", f"{which}={self._service}", f"--lines={lines}"]

    def _whom(self) -> str:
        return "the machine" if self._system else "your session"

    def _tell(self, text: str, changed: bool) -> int:
        if self._given.json:
            entry.print_json({"name": self._name, "changed": changed})
        else:
            print(text)
            if self._given.action == "install" and not self._system and not _lingers():
                print("it ends when you log out; to let it run without you: loginctl enable-linger")
        return 0


def _is_older(state: dict[str, str], paths: Iterable[str]) -> bool:
    """Whether what runs was started before one of its files was written: by an install that was
    killed in the midst of it."""
    process = hub_process.identity(int(state["MainPID"] or 0))
    if not process:
        return False
    started = time.time() - hub_process.age_s(process)
    return any(os.stat(path).st_mtime > started for path in paths if os.path.exists(path))


def _lingers() -> bool:
    try:
        return os.path.exists(os.path.join(LINGER, pwd.getpwuid(os.getuid()).pw_name))
    except KeyError:
        return False


def _config_directory() -> str:
    return os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
