"""`hub.pyz release publish`: put a file into a release repository."""

from __future__ import annotations

import argparse
import json
import os

from hub_upgrade import repository
from hub_upgrade.cli import entry
from hub_upgrade.domain.versions import CHANNELS, is_version
from hub_upgrade.errors import RefusedError
from hub_upgrade.host import commands, interpreter
from hub_upgrade.shapes import Any

ASK_LIMIT_S = 20.0


def main(argv: list[str]) -> int:
    """Publish one file; returns the exit code."""
    made = entry.parser(
        "release",
        "Put FILE into the release repository DIR (made if it is not there), and point a channel "
        "to it.\nAny static web server can serve DIR; hubs follow it with serve --releases DIR.",
        "hub.pyz release publish /srv/releases --channel rc dist/hub.pyz",
        "0 done, 1 failed or refused, 2 wrong usage",
        "metadata/ and targets/ in DIR; nothing in home",
    )
    made.add_argument("action", choices=["publish"], help="what to do")
    made.add_argument("directory", metavar="DIR", help="the release repository")
    made.add_argument("file", metavar="FILE", help="a hub.pyz; it is run to tell its version")
    made.add_argument("--channel", required=True, choices=CHANNELS, help="what points to it")
    made.add_argument("--json", action="store_true", help="the answer as JSON")
    return entry.run(made, argv, publish)


def publish(arguments: argparse.Namespace) -> int:
    """Publish, and say what."""
    directory = os.path.abspath(arguments.directory)
    version = version_of(arguments.file)
    digest = repository.publish(directory, arguments.channel, arguments.file, version)
    if arguments.json:
        told = {"version": version, "channel": arguments.channel, "digest": digest}
        entry.print_json({**told, "directory": directory})
    else:
        print(f"{directory}: {arguments.channel} is now {version} (sha256 {digest})")
    return 0


def version_of(file: str) -> str:
    """What a release says of itself when it is run; raises RefusedError."""
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
