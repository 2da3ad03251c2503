"""A directory that a package manager rewrites: a copy set aside, and put back by renames alone.

A copy that has its name is whole. It lies on the same file system as the directory, so that going
back needs neither network nor room: KEPT + name holds `tree`, `outside` (what lies elsewhere below
the prefix: commands, and links to them) and `kept.json`, which says where all of it belongs.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Callable, Iterable

from hub_upgrade.errors import HostError
from hub_upgrade.host import files, mounts
from hub_upgrade.host.files import Unreadable
from hub_upgrade.shapes import Any, NamedTuple
from hub_upgrade.sources.left import refuse_left

KEPT = ".parachute-kept-"
Outside = Callable[[str], Iterable[str]]
MAKING, REPLACED, DOOMED = ".making", ".replaced", ".doomed"
"""Ends of the names of what is not whole, or no longer wanted."""


class Layout(NamedTuple):
    """The real path of the directory, the prefix that it belongs to, where it is kept, and what
    belongs to it elsewhere below the prefix (relative paths; links into it are found without)."""

    tree: str
    prefix: str
    beside: str
    outside: tuple[str, ...] = ()


def keep(layout: Layout, name: str, wanted: str = "", home: str = "") -> str:
    """Copy the directory, and what belongs to it, aside, durably; the copy's path.

    The same name again begins anew. Other copies of it go, but for the `wanted` one. Raises
    HostError, with nothing left behind; RefusedError where another home than this one has not
    ended what it keeps a copy for.
    """
    kept = os.path.join(layout.beside, KEPT + name)
    making = kept + MAKING
    try:
        _refuse_mounts(layout)
        _sweep(layout, wanted, home)
        os.mkdir(making, 0o700)
        _copy(layout.tree, os.path.join(making, "tree"))
        outside = sorted({*layout.outside, *_commands(layout)})
        for path in outside:
            target = os.path.join(making, "outside", path)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            _copy(os.path.join(layout.prefix, path), target)
        value = {"tree": layout.tree, "prefix": layout.prefix, "outside": outside}
        value["home"] = home
        files.write_json(os.path.join(making, "kept.json"), value)
        os.sync()
        forget(kept)
        os.rename(making, kept)
        files.sync_directory(layout.beside)
    except OSError as error:
        shutil.rmtree(making, ignore_errors=True)
        raise HostError(
            f"{layout.tree} cannot be set aside in {layout.beside} "
            f"({error.strerror or error}): nothing was changed"
        ) from error
    return kept


def is_kept(kept: str) -> bool:
    """Whether a whole copy is there that was not put back yet."""
    return os.path.isdir(os.path.join(kept, "tree"))


def put_back(kept: str, outside: Outside = lambda _tree: ()) -> None:
    """Put the copy in the directory's place, whatever is left of that; again goes on where it was
    killed, or does nothing. `outside` tells what belongs to a tree elsewhere, as in Layout: what
    came since is removed. Raises HostError or OSError."""
    layout = _layout_of(kept)
    copy, replaced = os.path.join(kept, "tree"), kept + REPLACED
    for path in set(outside(layout.tree)).difference(layout.outside):
        os.unlink(os.path.join(layout.prefix, path))
    if os.path.lexists(copy):
        if os.path.lexists(layout.tree):
            shutil.rmtree(replaced, ignore_errors=True)
            _move_away(layout.tree, replaced)
        os.makedirs(os.path.dirname(layout.tree), exist_ok=True)
        os.rename(copy, layout.tree)
    for path in layout.outside:
        aside, place = os.path.join(kept, "outside", path), os.path.join(layout.prefix, path)
        if os.path.lexists(aside):
            os.makedirs(os.path.dirname(place), exist_ok=True)
            os.replace(aside, place)
    for path in set(_commands(layout)).difference(layout.outside):
        os.unlink(os.path.join(layout.prefix, path))
    os.sync()
    shutil.rmtree(replaced, ignore_errors=True)


def forget(kept: str) -> None:
    """Remove a copy, if there is one; raises OSError. What has its name is whole until then."""
    if os.path.lexists(kept):
        os.rename(kept, kept + DOOMED)
    shutil.rmtree(kept + DOOMED, ignore_errors=True)


def _move_away(tree: str, replaced: str) -> None:
    try:
        os.rename(tree, replaced)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        shutil.rmtree(tree)  # an overlay does not rename what its lower layer has


def _refuse_mounts(layout: Layout) -> None:
    """What lies on another mount could not be put back by renaming it."""
    commands = os.path.join(layout.prefix, "bin")
    paths = [path for path in (layout.tree, layout.beside, commands) if os.path.isdir(path)]
    try:
        mountinfo = mounts.read()
        found: set[object] = {mounts.covering(mountinfo, os.path.realpath(path)) for path in paths}
    except (OSError, ValueError):  # macOS
        found = {os.stat(path).st_dev for path in paths}
    if len(found) > 1:
        raise HostError(
            f"{' and '.join(paths)} lie on different mounts, so that the way back would not be "
            "open: nothing was changed"
        )


def _layout_of(kept: str) -> Layout:
    told = _told(kept)
    return Layout(told["tree"], told["prefix"], os.path.dirname(kept), tuple(told["outside"]))


def _told(kept: str) -> Any:
    try:
        told: Any = files.read_json(os.path.join(kept, "kept.json"))
    except Unreadable as error:
        raise HostError(str(error)) from error
    if told is None:
        raise HostError(f"{kept} is not there: what was kept aside is gone")
    return told


def _sweep(layout: Layout, wanted: str, home: str) -> None:
    """Remove what the killed left. Nobody else is at work: whoever calls holds the lock."""
    there = [name for name in os.listdir(layout.beside) if name.startswith(KEPT)]
    ends = (MAKING, REPLACED, DOOMED)
    paths = [os.path.join(layout.beside, name) for name in there if not name.endswith(ends)]
    copies = [path for path in paths if path != wanted and _is_of(path, layout.tree)]
    for path in copies:
        name = os.path.basename(path)[len(KEPT) :]
        refuse_left(str(_told(path).get("home") or ""), name, home)
    for name in there:
        if name.endswith(ends):
            shutil.rmtree(os.path.join(layout.beside, name), ignore_errors=True)
    for path in copies:
        forget(path)


def _is_of(kept: str, tree: str) -> bool:
    """Whether that copy is one of this directory: another package's is not ours to remove."""
    try:
        return _layout_of(kept).tree == tree
    except (HostError, KeyError, TypeError):
        return False


def _commands(layout: Layout) -> list[str]:
    """The commands that are links into the directory, as `bin/NAME`."""
    try:
        names = os.listdir(os.path.join(layout.prefix, "bin"))
    except FileNotFoundError:
        return []
    paths = (os.path.join("bin", name) for name in names)
    return [path for path in paths if _leads_into(layout, os.path.join(layout.prefix, path))]


def _leads_into(layout: Layout, path: str) -> bool:
    return os.path.islink(path) and os.path.realpath(path).startswith(layout.tree + os.sep)


def _copy(source: str, target: str) -> None:
    """A real copy, never a second name for the same file: managers may write into files. Links
    stay links; modes, times, and for root owners, are kept."""
    found = os.lstat(source)
    is_link = stat.S_ISLNK(found.st_mode)
    if is_link:
        os.symlink(os.readlink(source), target)
    elif stat.S_ISDIR(found.st_mode):
        os.mkdir(target, 0o700)
        for name in os.listdir(source):
            _copy(os.path.join(source, name), os.path.join(target, name))
    elif stat.S_ISREG(found.st_mode):
        shutil.copyfile(source, target)
    else:
        return  # the socket or pipe of a process: nothing that could be kept
    if os.geteuid() == 0:
        os.chown(target, found.st_uid, found.st_gid, follow_symlinks=False)
    if not is_link:
        os.chmod(target, stat.S_IMODE(found.st_mode))
        os.utime(target, ns=(found.st_atime_ns, found.st_mtime_ns))
