"""What every command shares: one line for what went wrong, its exit code, and never a traceback."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable

from hub_upgrade.cli import arguments
from hub_upgrade.cli.arguments import Arguments, Command
from hub_upgrade.errors import HubError, RefusedError, UsageError
from hub_upgrade.host.files import Home
from hub_upgrade.settings import home_of
from hub_upgrade.shapes import Any

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_REDEPLOY = 3
INTERRUPTED = 130
NEXT = {
    "cannot_record": "; what is wrong says: hub.pyz doctor",
    "upgrade_in_flight": "; to follow it: hub.pyz status --watch",
    "nothing_to_roll_back": "; a certain one: hub.pyz upgrade --version V --allow-downgrade",
}
"""What to do next, where a refusal's own sentence leaves that to whoever shows it."""


def home_in(given: Arguments) -> Home:
    """The home that `--config-dir`, the environment or the default names."""
    flags = {"config-dir": given.config_dir} if given.config_dir else {}
    return home_of(flags, os.environ)


def run(command: Command, argv: list[str], work: Callable[[Arguments], int]) -> int:
    """Parse, work, and turn whatever goes wrong into one line on stderr and an exit code.

    With `--json` what went wrong stands on stdout too, as the HTTP API would say it.
    """
    for stream in (sys.stdout, sys.stderr):  # what a tool printed may not fit the terminal's code
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    if "--help" in argv or "-h" in argv:
        print(arguments.text(command))
        return 0
    try:
        given = arguments.parse(command, argv)
    except UsageError as error:
        sentence = one_line(error.sentence)
        print(f"{command.prog}: {sentence}; see: {command.prog} --help", file=sys.stderr)
        return EXIT_USAGE
    try:
        return work(given)
    except HubError as error:
        code = error.code if isinstance(error, RefusedError) else "failed"
        return fail(given, code, error.sentence, error.exit_code)
    except BrokenPipeError:
        raise  # nobody reads on: the door ends that quietly
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return fail(given, "failed", f"{where}{error.strerror or error}", EXIT_FAILED)
    except Exception as error:  # noqa: BLE001 - an operator is told in a line, not in a traceback
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{os.path.basename(last.filename)}:{last.lineno}"
        sentence = f"a bug of the hub's own: {type(error).__name__}: {error} ({where})"
        return fail(given, "internal_error", sentence, EXIT_FAILED)


def fail(given: Arguments, code: str, sentence: str, exit_code: int) -> int:
    """Say in one line what went wrong; returns the exit code."""
    sentence = one_line(sentence)
    if getattr(given, "json", False):
        print_json({"error": code, "error_description": sentence})
    print(f"{given.prog}: {sentence}{NEXT.get(code, '')}", file=sys.stderr)
    return exit_code


def warn(given: Arguments, wrong: str | None) -> None:
    """Say in one line what is wrong with the settings, if anything is."""
    if wrong:
        print(f"{given.prog}: warning: {one_line(wrong)}", file=sys.stderr)


def one_line(text: str) -> str:
    """The text without line breaks or other control characters."""
    return printable(" ".join(text.split()))


def printable(text: str) -> str:
    """The text with a space for whatever a terminal would obey."""
    return "".join(char if char.isprintable() else " " for char in text)


def print_json(value: Any) -> None:
    """One JSON value on stdout."""
    print(json.dumps(value, indent=2))
