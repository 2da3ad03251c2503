"""`hub.pyz unit`: hub.pyz kept alive by systemd, or by launchd on macOS."""

from __future__ import annotations

import os
import pwd
import socket
import sys

from hub_upgrade.cli import entry
from hub_upgrade.cli.arguments import JSON, Arguments, Command, Option
from hub_upgrade.cli.unit_launchd import Launchd
from hub_upgrade.cli.unit_systemd import Systemd
from hub_upgrade.domain import units
from hub_upgrade.domain.restart import LABEL, UNIT
from hub_upgrade.domain.units import DEFAULT_NAME, Wanted
from hub_upgrade.errors import HostError, UsageError
from hub_upgrade.host import interpreter
from hub_upgrade.settings import Settings, load
from hub_upgrade.shapes import NamedTuple, Union

INSTALL, UNINSTALL, STATUS, RESTART, LOGS = "install", "uninstall", "status", "restart", "logs"
ODD_IN_PROGRAM = frozenset("$'\"\\")
"""What systemd does not take in the path of a program, however quoted."""
HERE = ("0.0.0.0", "::", "::1", "localhost")  # noqa: S104 - compared, nothing listens there
COMMAND = Command(
    "unit",
    "Let systemd (launchd on macOS) start hub.pyz serve with the machine and keep it alive:\n"
    "root's for a user of its own, anybody else's as a unit of theirs. With --dry-run the files\n"
    "and commands are only shown.",
    "hub.pyz unit install --user parachute --releases /srv/releases",
    "0 done, there already, or not there any more; 1 failed or refused; 2 wrong usage",
    "NAME.service, NAME.socket in /etc/systemd/system or ~/.config/systemd/user; on macOS a\n"
    "LABEL.plist in a Library; home is made if it is not there, and stays",
    (
        Option("--name", f"of the unit, for several on one machine ({DEFAULT_NAME})", "NAME"),
        Option("--user", "who runs it; as root only", "NAME"),
        Option("--as-root", "root itself runs it"),
        Option("--host", "the address to listen on", "HOST"),
        Option("--port", "the port (PORT of its settings; 1939)", "PORT"),
        Option("--releases", "the release repository to follow", "DIR"),
        Option("--writable", "may be written too, beside home; can be repeated", "DIR", many=True),
        Option("--socket", "systemd holds the port, also while nothing runs"),
        Option("--launchd", "show launchd's file, on any machine (with --dry-run)"),
        Option("--dry-run", "show files and commands, and change nothing"),
        Option("--force", "also over, or remove, a file that is not by hub.pyz"),
        Option("-n", "logs: so many lines (50)", "LINES"),
        Option("-f", "logs: follow"),
        JSON,
    ),
    (Option("action", choices=(INSTALL, UNINSTALL, STATUS, RESTART, LOGS), needed=True),),
)


class Owner(NamedTuple):
    """Who runs it; without a name it is whoever asks, by a manager of their own."""

    name: str
    home: str


Keeper = Union[Systemd, Launchd]


def main(argv: list[str]) -> int:
    """Do it; returns the exit code."""
    return entry.run(COMMAND, argv, unit)


def unit(given: Arguments) -> int:
    """Check what was given, and do it."""
    name = (given.name or DEFAULT_NAME).removesuffix(".service")
    problem = units.name_problem(name)
    if problem:
        raise UsageError(f"--name {problem}")
    launchd = given.launchd or sys.platform == "darwin"
    if given.launchd and sys.platform != "darwin" and not given.dry_run:
        raise UsageError("--launchd is for macOS; here its file is shown with --dry-run")
    if launchd and (given.socket or given.writable):
        raise UsageError("--socket and --writable are for systemd")
    if given.n is not None and not (given.n.isascii() and given.n.isdigit()):
        raise UsageError(f"-n must be a number of lines, not {given.n[:100]!r}")
    owner = _owner(given, given.action == INSTALL)
    keeper: Keeper
    if launchd:
        keeper = Launchd(given, name, bool(owner.name), owner.home)
    else:
        keeper = Systemd(given, name, bool(owner.name))
    if given.action == INSTALL:
        return keeper.install(_wanted(given, name, owner, launchd))
    return {
        UNINSTALL: keeper.uninstall,
        STATUS: keeper.status,
        RESTART: keeper.restart,
        LOGS: keeper.logs,
    }[given.action]()


def _owner(given: Arguments, needed: bool) -> Owner:
    """Raises UsageError where it is not clear who shall run it."""
    root = os.geteuid() == 0
    if not root:
        if given.user or given.as_root:
            raise UsageError("--user and --as-root are for root; yours is a unit of your own")
        return Owner("", os.path.expanduser("~"))
    if given.user and given.as_root:
        raise UsageError("--user and --as-root exclude each other")
    if needed and not given.user and not given.as_root:
        raise UsageError("as root, say who shall run the hub: --user NAME (or --as-root)")
    try:
        found = pwd.getpwnam(given.user or "root")
    except KeyError:
        raise UsageError(
            f"there is no user {given.user[:100]!r}; to make one: useradd --create-home NAME"
        ) from None
    if found.pw_uid == 0 and needed and not given.as_root:
        raise UsageError("root runs the hub only with --as-root")
    return Owner(found.pw_name, found.pw_dir)


def _wanted(given: Arguments, name: str, owner: Owner, launchd: bool) -> Wanted:
    """What shall be kept alive; raises UsageError and HostError."""
    home = given.config_dir or os.environ.get("PARACHUTE_HOME") or "~/.parachute"
    home = _place(home, owner)
    flags = {"config-dir": home}
    if given.releases and "://" not in given.releases:
        given.releases = _place(given.releases, owner)
    for flag in ("host", "port", "releases"):
        value = getattr(given, flag)
        if value is not None:
            flags[flag] = value
    settings = load(flags, {})
    _needs_name_of_its_own(name, settings, launchd)
    words = [word for flag, value in flags.items() for word in (f"--{flag}", value)]
    writable = tuple(_place(one, owner) for one in given.writable or ())
    command = (*interpreter.command(_program(), "serve"), *words)
    for text in (*command, *writable):
        problem = units.path_problem(text)
        if problem:
            raise UsageError(problem)
    if not launchd and ODD_IN_PROGRAM.intersection(command[0]):
        raise UsageError(f"systemd cannot start {command[0]}: start hub.pyz by another Python")
    return Wanted(
        name=name,
        user=owner.name,
        command=command,
        home=home,
        writable=writable,
        stop_s=settings.stop_s,
        socket=_address(settings) if given.socket else "",
        online=not given.socket and not _is_here(settings.host.strip("[]")),
    )


def _is_here(host: str) -> bool:
    """Whether this machine has that address whatever network it is in."""
    return host in HERE or host.startswith("127.")


def _place(path: str, owner: Owner) -> str:
    if path == "~" or path.startswith("~/"):
        path = owner.home + path[1:]
    return os.path.abspath(path)


def _program() -> str:
    path = os.path.abspath(sys.argv[0])
    if not os.path.isfile(path) or path.endswith(".py"):
        raise HostError("a unit runs a built hub.pyz; make one with: python3 build_pyz.py")
    return path


def _needs_name_of_its_own(name: str, settings: Settings, launchd: bool) -> None:
    """The other hub's unit is not ours, also while it is not installed."""
    other = settings.hub
    if other is None or other.restart not in ("auto", "launchd" if launchd else "systemd"):
        return
    ours = units.label(name) if launchd else f"{name}.service"
    its = other.label or LABEL if launchd else other.unit or UNIT
    if ours == its:
        raise UsageError(
            f"{ours} is the {'label' if launchd else 'unit'} of the hub that hub.json names: give "
            "this one another --name, such as --name hub-keeper"
        )


def _address(settings: Settings) -> str:
    """What the socket unit listens on; raises UsageError."""
    host = settings.host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.inet_pton(family, host)
    except OSError:
        raise UsageError(f"--socket needs an IP address for --host, not {host[:100]!r}") from None
    if not settings.port:
        raise UsageError("--socket needs a port other than 0")
    return f"[{host}]:{settings.port}" if ":" in host else f"{host}:{settings.port}"
