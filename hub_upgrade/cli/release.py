"""`hub.pyz release publish`: put a file into a release repository."""

from __future__ import annotations

import json
import os

from hub_upgrade import repository
from hub_upgrade.cli import entry
from hub_upgrade.cli.arguments import JSON, Arguments, Command, Option
from hub_upgrade.domain.versions import CHANNELS, is_version
from hub_upgrade.errors import RefusedError, UsageError
from hub_upgrade.host import commands, interpreter
from hub_upgrade.settings import ONLY_LOCAL
from hub_upgrade.shapes import Any

ASK_LIMIT_S = 20.0


COMMAND = Command(
    "release",
    "Put FILE into the release repository DIRECTORY (made if it is not there), and point a\n"
    "channel to it. Hubs follow it with serve --releases DIRECTORY.",
    "hub.pyz release publish /srv/releases dist/hub.pyz --channel rc",
    "0 done, 1 failed or refused, 2 wrong usage",
    "metadata/ and targets/ in DIRECTORY; nothing in home",
    (Option("--channel", "what points to it", "CHANNEL", CHANNELS, needed=True), JSON),
    (
        Option("action", choices=("publish",), needed=True),
        Option("directory", "the release repository", needed=True),
        Option("file", "a hub.pyz; it is run to tell its version", needed=True),
    ),
)


def main(argv: list[str]) -> int:
    """Publish one file; returns the exit code."""
    return entry.run(COMMAND, argv, publish)


def publish(given: Arguments) -> int:
    """Publish, and say what."""
    if "://" in given.directory:
        raise UsageError(f"{given.directory[:200]}: {ONLY_LOCAL}")
    directory = os.path.abspath(given.directory)
    version = version_of(given.file)
    digest = repository.publish(directory, given.channel, given.file, version)
    if given.json:
        told = {"version": version, "channel": given.channel, "digest": digest}
        entry.print_json({**told, "directory": directory})
    else:
        print(f"{directory}: {given.channel} is now {version} (sha256 {digest})")
    return 0


def version_of(file: str) -> str:
    """What a release says of itself when it is run; raises RefusedError."""
    if not os.path.isfile(file):
        raise RefusedError("not_a_release", f"{file} is not a release that runs: it is no file")
    argv = interpreter.command(os.path.abspath(file), "version", "--json")
    done = commands.run(argv, ASK_LIMIT_S)
    try:
        told: Any = json.loads(done.stdout.decode("utf-8"))
        version = told["version"]
    except (ValueError, TypeError, KeyError, RecursionError):
        version = None
    if done.status != 0 or not isinstance(version, str) or not is_version(version):
        words = done.last_line() or f"it ended with {done.status} and told no version"
        raise RefusedError("not_a_release", f"{file} is not a release that runs: {words}")
    return version
