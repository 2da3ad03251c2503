"""What every command shares: one line for what went wrong, its exit code, and never a traceback."""

from __future__ import annotations

import argparse
import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence

from hub_upgrade.errors import HubError, RefusedError
from hub_upgrade.host.files import Home
from hub_upgrade.settings import home_of
from hub_upgrade.shapes import Any, NoReturn

EXIT_FAILED = 1
EXIT_USAGE = 2
INTERRUPTED = 130
MOST_CHARACTERS = 300
"""Of what argparse has to say: it repeats whole arguments."""


class Parser(argparse.ArgumentParser):
    """argparse, with a usage error of one line."""

    def error(self, message: str) -> NoReturn:
        """Exit 2 with one line on stderr."""
        sentence = one_line(message)[:MOST_CHARACTERS]
        self.exit(EXIT_USAGE, f"{self.prog}: {sentence}; see: {self.prog} --help\n")


def parser(command: str, does: str, example: str, exits: str, touches: str) -> Parser:
    """A command's parser, with what the contract wants in every `--help`."""
    made = Parser(
        prog=f"hub.pyz {command}",
        description=does,
        epilog=f"example: {example}\nexit codes: {exits}\nfiles: {touches}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument(
        "--config-dir", metavar="DIR", help="home (PARACHUTE_HOME; ~/.parachute)"
    )
    return made


def home_in(arguments: argparse.Namespace) -> Home:
    """The home that `--config-dir`, the environment or the default names."""
    flags = {"config-dir": arguments.config_dir} if arguments.config_dir else {}
    return home_of(flags, os.environ)


def run(
    made: argparse.ArgumentParser,
    argv: Sequence[str],
    work: Callable[[argparse.Namespace], int],
) -> int:
    """Parse, work, and turn whatever goes wrong into one line on stderr and an exit code.

    With `--json` what went wrong stands on stdout too, as the HTTP API would say it.
    """
    arguments = made.parse_args(list(argv))
    try:
        return work(arguments)
    except HubError as error:
        code = error.code if isinstance(error, RefusedError) else "failed"
        return fail(made.prog, arguments, code, error.sentence, error.exit_code)
    except BrokenPipeError:
        raise  # nobody reads on: the door ends that quietly
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        sentence = f"{where}{error.strerror or error}"
        return fail(made.prog, arguments, "failed", sentence, EXIT_FAILED)
    except Exception as error:  # noqa: BLE001 - an operator is told in a line, not in a traceback
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{os.path.basename(last.filename)}:{last.lineno}"
        sentence = f"a bug of the hub's own: {type(error).__name__}: {error} ({where})"
        return fail(made.prog, arguments, "internal_error", sentence, EXIT_FAILED)


def fail(prog: str, arguments: argparse.Namespace, code: str, sentence: str, exit_code: int) -> int:
    """Say in one line what went wrong; returns the exit code."""
    sentence = one_line(sentence)
    if getattr(arguments, "json", False):
        print_json({"error": code, "error_description": sentence})
    print(f"{prog}: {sentence}", file=sys.stderr)
    return exit_code


def one_line(text: str) -> str:
    """The text without line breaks or other control characters."""
    return "".join(char if char.isprintable() else " " for char in " ".join(text.split()))


def print_json(value: Any) -> None:
    """One JSON value on stdout."""
    print(json.dumps(value, indent=2))
