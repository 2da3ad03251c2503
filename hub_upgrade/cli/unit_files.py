"""What `hub.pyz unit` does with files and tools, whoever keeps the hub alive."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable

from hub_upgrade.cli import entry
from hub_upgrade.domain.units import MARK
from hub_upgrade.errors import HostError, RefusedError
from hub_upgrade.host import files
from hub_upgrade.host.commands import Result

HEAD = 1000
MOST_BYTES = 1024 * 1024
DONE = ("Created symlink", "Removed ")
"""What systemctl says of the part that it did."""


def _content(path: str) -> bytes | None:
    """What is there; None for nothing that could be read."""
    try:
        return b"" if os.path.islink(path) else files.read_regular(path, MOST_BYTES)
    except (OSError, files.Unreadable):
        return None


def is_ours(path: str) -> bool:
    """Whether we wrote what lies there."""
    return MARK.encode() in (_content(path) or b"")[:HEAD]


def differs(path: str, text: bytes) -> bool:
    """Whether something else lies there, or nothing."""
    return _content(path) != text


def may_write(texts: dict[str, bytes], force: bool) -> None:
    """Raises RefusedError for a file that somebody else wrote."""
    for path in texts:
        if os.path.lexists(path) and not is_ours(path) and not force:
            raise RefusedError(
                "not_ours",
                f"{path} is there, and not by hub.pyz: choose another --name, or --force to "
                "write over it",
            )


def replace(texts: dict[str, bytes]) -> Callable[[], None]:
    """Write them; returns what puts back what was there: files, links, or nothing."""
    before = {path: os.readlink(path) if os.path.islink(path) else _content(path) for path in texts}
    for path, text in texts.items():
        files.write_durably(path, text, 0o644)

    def back() -> None:
        for path, was in before.items():
            if isinstance(was, bytes):
                files.write_durably(path, was, 0o644)
                continue
            files.remove_durably(path)
            if was:
                os.symlink(was, path)

    return back


def may_remove(paths: list[str], force: bool) -> None:
    """Raises RefusedError for a file that somebody else wrote."""
    for path in paths:
        if not is_ours(path) and not force:
            raise RefusedError("not_ours", f"{path} is not by hub.pyz; --force removes it even so")


def show(texts: dict[str, bytes], todo: list[tuple[str, ...]]) -> int:
    """What would be written and run; returns the exit code."""
    for path, text in texts.items():
        print(f"# {path}")
        print(text.decode(), end="")
        print()
    for argv in todo:
        print(f"$ {typed(argv)}")
    return 0


def become(argv: list[str], dry_run: bool) -> int:
    """A tool that may have a pager, and no end, takes our place. Raises HostError without it."""
    if dry_run:
        return show({}, [tuple(argv)])
    sys.stdout.flush()
    try:
        os.execvp(argv[0], argv)
    except OSError as error:
        raise HostError(f"{argv[0]} cannot be run: {error.strerror}") from error


def typed(argv: tuple[str, ...]) -> str:
    """A command as it would be typed."""
    return " ".join(map(shlex.quote, argv))


def words_of(done: Result) -> str:
    """What a tool said that did not do it, in one line."""
    if done.status is None:
        return "it did not end in time"
    said = (done.stderr.strip() or done.stdout.strip()).decode("utf-8", "replace")
    lines = (line for line in said.splitlines() if not line.startswith(DONE))
    return entry.one_line(" ".join(lines)[-1000:]) or f"it ended with {done.status}"
