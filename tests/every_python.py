"""The unit tests on every Python from 3.9 up that is found (of 3.11.2 and 3.11.7 the newer);
end to end on the oldest and newest.

`python3 -m tests.every_python`. Looks for `python3.N` on the path and below `~/.pyenv/versions`.
Closes with one line: `N passed, N failed` over all of them.
"""

from __future__ import annotations

import os
import pwd
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

OLDEST = (3, 9)
ASK_LIMIT_S = 30.0
ASK = "import os, sys; print(os.path.realpath(sys.executable), *sys.version_info[:3])"
PYTHON_NAME = re.compile(r"python3\.[0-9]+")
CLOSING = re.compile(r"^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$")


class Interpreter(NamedTuple):
    """A Python that runs; ordered by version."""

    version: tuple[int, ...]
    path: str


def version_directories() -> list[Path]:
    """Where a version manager keeps Pythons, old ones too; by the user, for tests change HOME."""
    home = Path(pwd.getpwuid(os.getuid()).pw_dir)
    return sorted(home.glob(".pyenv/versions/*/bin"))


def candidates() -> list[Path]:
    """Every file that may be an interpreter."""
    places = os.environ.get("PATH", os.defpath).split(os.pathsep)
    directories = [Path(place) for place in places if place]
    directories += version_directories()
    return [
        path
        for directory in directories
        if directory.is_dir()
        for path in sorted(directory.iterdir())
        if PYTHON_NAME.fullmatch(path.name) and os.access(path, os.X_OK)
    ]


def ask(path: Path) -> Interpreter | None:
    """What an interpreter says of itself; None for one that does not run (a bare shim)."""
    try:
        done = subprocess.run(
            [str(path), "-I", "-c", ASK],
            capture_output=True,
            text=True,
            timeout=ASK_LIMIT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    executable, *numbers = done.stdout.rsplit(maxsplit=3)
    return Interpreter(tuple(int(number) for number in numbers), executable)


def find() -> list[Interpreter]:
    """Every different interpreter of 3.9 or newer, oldest first."""
    found = {ask(path) for path in candidates()}
    return sorted(one for one in found if one is not None and one.version >= OLDEST)


def run(interpreter: Interpreter, whole: bool, rest: list[str]) -> tuple[int, ...]:
    """Run the tests under one interpreter; passed, failed, skipped."""
    name = ".".join(str(number) for number in interpreter.version)
    print(f"===== Python {name}: {interpreter.path}{'' if whole else ' (unit tests)'}", flush=True)
    skip = ["--skip", "tests.crash.", "--skip", ".test_crash_"]
    skip += [] if whole else ["--skip", ".e2e."]
    command = [interpreter.path, "-m", "tests.run", *skip, *rest]
    counts: tuple[int, ...] = (0, 0, 0)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            closing = CLOSING.match(line)
            if closing:
                counts = tuple(int(number or 0) for number in closing.groups())
            print(f"Python {name}: {line}" if closing else line, end="", flush=True)
    if process.returncode and not counts[1]:
        counts = (counts[0], 1, counts[2])
    return counts


def main(argv: list[str]) -> int:
    """Run everything; 0 if all of it passed."""
    interpreters = list({one.version[:2]: one for one in find()}.values())
    ends = (interpreters[:1], interpreters[-1:])
    counts = [run(one, [one] in ends, argv) for one in interpreters]
    passed, failed, skipped = (sum(count[i] for count in counts) for i in range(3))
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
