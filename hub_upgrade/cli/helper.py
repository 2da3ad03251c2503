"""`hub.pyz helper`: its command line, checked with the fewest imports; the work is in `wiring`."""

from __future__ import annotations

import importlib
import os
import sys

HELP = """\
usage: hub.pyz helper --op ID --channel latest|rc [--config-dir DIR] [--hub-pid N]

Prepare one accepted operation and hand it over to the launcher; of another program's hub: rewrite,
restart and prove it. The hub starts it; run by hand it takes up an operation that nobody owns.

  --op ID           the operation, as the status file names it
  --channel NAME    its channel: latest or rc
  --config-dir DIR  home (PARACHUTE_HOME; ~/.parachute)
  --hub-pid N       the launcher's PID, or that of the other hub: no other process is asked to stop
                    for the upgrade, and without it nobody is (systemd or launchd, where one of them
                    keeps that hub, restarts it by name)

example: hub.pyz helper --op 2f1c9b1e-6d0a-4c39-8d8e-3c1f0a9b7e55 --channel latest
exit codes: 0 handed over or succeeded, 1 failed, 2 wrong usage, 3 redeploy required,
            4 another process owns the operation, 5 rolled back
files: hub-upgrade-status.json, history.jsonl, managed.json, releases/ and
       logs/upgrade-ID.log in home"""

CHANNELS = ("latest", "rc")
FLAGS = ("op", "channel", "config-dir", "hub-pid")
ECHO = 100


class WrongUsage(Exception):  # noqa: N818 - one sentence, and exit code 2
    """The command line, or the status file beside it, is not what it must be."""


def parse(argv: list[str]) -> dict[str, str]:
    """The flags by name; raises WrongUsage."""
    flags: dict[str, str] = {}
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        name, equals, value = word[2:].partition("=") if word.startswith("--") else ("", "", "")
        if name not in FLAGS:
            raise WrongUsage(f"unknown argument {word[:ECHO]!r}")
        if not equals:
            value = rest.pop(0) if rest and not rest[0].startswith("--") else ""
        if not value:
            raise WrongUsage(f"--{name} needs a value")
        if name in flags:
            raise WrongUsage(f"--{name} is given twice")
        flags[name] = value
    for name in ("op", "channel"):
        if name not in flags:
            raise WrongUsage(f"--{name} is missing")
    if flags["channel"] not in CHANNELS:
        raise WrongUsage(f"the channel must be latest or rc, not {flags['channel'][:ECHO]!r}")
    pid = flags.get("hub-pid", "1")
    if not (pid.isascii() and pid.isdigit() and 0 < int(pid[:12]) < 1 << 31 and len(pid) < 12):
        raise WrongUsage(f"--hub-pid must be a process ID, not {pid[:ECHO]!r}")
    return flags


def main(argv: list[str]) -> int:
    """Prepare the operation; returns the exit code."""
    if argv in (["-h"], ["--help"]):
        print(HELP)
        return 0
    try:
        flags = parse(argv)
    except WrongUsage as error:
        return complain(WrongUsage(f"{error}; see: hub.pyz helper --help"))
    root = flags.get("config-dir") or os.environ.get("PARACHUTE_HOME") or "~/.parachute"
    home = os.path.abspath(os.path.expanduser(root))
    status = os.path.join(home, "hub-upgrade-status.json")
    if not os.path.lexists(status):
        return complain(WrongUsage(f"there is no status file {status}"))
    hub_pid = int(flags["hub-pid"]) if "hub-pid" in flags else None
    # The rest costs ten times as much to import as a usage error may.
    helper = importlib.import_module("hub_upgrade.wiring.helper")
    return int(helper.run(flags["op"], flags["channel"], home, hub_pid, complain))


def complain(error: Exception) -> int:
    """One line on stderr; the exit code of wrong usage."""
    print(f"hub.pyz helper: {error}", file=sys.stderr)
    return 2
