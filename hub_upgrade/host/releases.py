"""`home/releases`: immutable release directories and the markers beside and in them.

A release is added whole, by one rename, and removed only when no process runs it: whoever runs
one holds a shared lock on its file. Its `good` marker is published last and removed first.
"""

from __future__ import annotations

import errno
import fcntl
import os

from hub_upgrade.domain.boot_record import Release
from hub_upgrade.domain.versions import is_version, sort_key
from hub_upgrade.host import files
from hub_upgrade.host.files import Home, Lock

FILE = "hub.pyz"
GOOD = "good"
BAD = ".bad"
STAGING = ".staging-"
PRIVATE = "hub-factory-"
"""Begins the name of a temporary directory with the factory's copy, where home takes none."""
MOST_BYTES = 64 * 1024 * 1024
MOST_BAD_MARKS = 50
DIGEST_DIGITS = 16
NO_FILE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO})
"""What opening says where no release can be running from: nothing there, a link to itself, a
socket."""


def name_of(version: str, digest: str) -> str:
    """The directory name of a release."""
    return f"{version}-{digest[:DIGEST_DIGITS]}"


def version_of(name: str) -> str | None:
    """The version in a directory name, or None if it is not one of a release."""
    version, dash, digits = name.rpartition("-")
    hexadecimal = len(digits) == DIGEST_DIGITS and not digits.strip("0123456789abcdef")
    return version if dash and hexadecimal and is_version(version) else None


def is_named(name: str, digest: str) -> bool:
    """Whether a directory name is that of the release with this digest."""
    return version_of(name) is not None and name.endswith("-" + digest[:DIGEST_DIGITS])


def path_of(home: Home, name: str) -> str:
    """The file of a release."""
    return os.path.join(home.releases, name, FILE)


def _write_tree(directory: str, data: bytes) -> None:
    os.mkdir(directory, 0o700)
    files.write_new(os.path.join(directory, FILE), data, 0o500)
    files.sync_directory(directory)


def _remove_tree(directory: str) -> None:
    for folder, below, entries in os.walk(directory, topdown=False):
        for entry in entries:
            os.unlink(os.path.join(folder, entry))
        for entry in below:
            path = os.path.join(folder, entry)
            (os.unlink if os.path.islink(path) else os.rmdir)(path)
    os.rmdir(directory)


def add(home: Home, version: str, data: bytes) -> str:
    """Add a release whole and durably, and return its name; again is safe. Raises OSError.

    A damaged directory of the same name is renamed away first, so that one that runs goes on.
    """
    digest = files.sha256(data)
    name = name_of(version, digest)
    target = os.path.join(home.releases, name)
    if is_whole(home, name, digest):
        return name
    files.make_directory(home.releases)
    staging = os.path.join(home.releases, STAGING + os.urandom(6).hex())
    try:
        _write_tree(staging, data)
        if os.path.lexists(target):
            os.rename(target, os.path.join(home.releases, STAGING + os.urandom(6).hex()))
        os.rename(staging, target)
    except BaseException:
        try:
            _remove_tree(staging)
        except OSError:
            pass
        raise
    files.sync_directory(home.releases)
    return name


def digest_of(home: Home, name: str) -> str | None:
    """The SHA-256 of a release's file as it lies there; None when it cannot be read."""
    try:
        return _digest(home, name)
    except OSError:
        return None


def _digest(home: Home, name: str) -> str | None:
    """The same; raises OSError when nothing can be opened just now."""
    try:
        return files.sha256_regular(path_of(home, name), MOST_BYTES)
    except files.Unreadable:
        return None
    except OSError as error:
        if error.errno in files.LACKING:
            raise
        return None


def is_whole(home: Home, name: str, digest: str | None = None) -> bool:
    """Whether a release is what its name (and `digest`, if given) says."""
    found = digest_of(home, name)
    if found is None or version_of(name) is None:
        return False
    return name.endswith("-" + found[:DIGEST_DIGITS]) and digest in (None, found)


def _read_marker(path: str) -> str | None:
    try:
        return _marker(path)
    except OSError:
        return None


def _marker(path: str) -> str | None:
    """The digest in a marker, if it is one; raises OSError when nothing can be opened just now."""
    try:
        text = files.read_regular(path, 4096).decode("ascii").strip()
    except (files.Unreadable, UnicodeDecodeError):
        return None
    except OSError as error:
        if error.errno in files.LACKING:
            raise
        return None
    return text if len(text) == 64 and not text.strip("0123456789abcdef") else None


def find(home: Home) -> dict[str, Release]:
    """Every release directory, the damaged ones too (`whole` tells).

    Raises OSError when nothing can be opened just now: that says nothing about any release.
    """
    found = {}
    try:
        names = os.listdir(home.releases)
    except OSError as error:
        if error.errno in files.LACKING:
            raise
        names = []
    for name in names:
        version = version_of(name)
        if version is None:
            continue
        digest = _digest(home, name) or ""
        marker = _marker(os.path.join(home.releases, name, GOOD))
        found[name] = Release(
            name=name,
            version=version,
            digest=digest,
            good=bool(digest) and marker == digest,
            bad=os.path.lexists(os.path.join(home.releases, name + BAD)),
            whole=bool(digest) and name.endswith("-" + digest[:DIGEST_DIGITS]),
        )
    return found


def bad_digests(home: Home) -> tuple[str, ...]:
    """The digests of all `.bad` marks, for a record that must be made anew."""
    marks = [name for name in _list(home.releases) if name.endswith(BAD)]
    read = [_read_marker(os.path.join(home.releases, name)) for name in sorted(marks)]
    return tuple(digest for digest in read if digest)


def _list(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []


def mark_good(home: Home, name: str, digest: str) -> None:
    """Publish that a release was proven; raises OSError."""
    _mark(home, os.path.join(home.releases, name, GOOD), digest)


def unmark(home: Home, name: str) -> None:
    """Take the `good` marker away; raises OSError."""
    if os.path.isdir(os.path.join(home.releases, name)):
        path = os.path.join(home.releases, name, GOOD)
        _make_way(home, path)
        files.remove_durably(path)


def mark_bad(home: Home, name: str, digest: str) -> None:
    """Put a `.bad` mark beside a release; raises OSError."""
    if _read_marker(os.path.join(home.releases, name + BAD)) != digest:
        _mark(home, os.path.join(home.releases, name + BAD), digest)


def _mark(home: Home, path: str, digest: str) -> None:
    _make_way(home, path)
    files.write_durably(path, digest.encode() + b"\n")


def _make_way(home: Home, path: str) -> None:
    """A directory where a marker belongs can be neither replaced nor unlinked: pruning takes it."""
    if os.path.isdir(path) and not os.path.islink(path):
        os.rename(path, os.path.join(home.releases, STAGING + os.urandom(6).hex()))


def unmark_bad(home: Home, name: str) -> None:
    """Take the `.bad` mark away; raises OSError."""
    path = os.path.join(home.releases, name + BAD)
    _make_way(home, path)
    files.remove_durably(path)


def hold(path: str) -> Lock | None:
    """The shared lock on its own file that every running release holds; None where that fails."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    lock = Lock(descriptor, path)
    if _flock(descriptor, shared=True):
        return lock
    lock.release()
    return None


def _flock(descriptor: int, shared: bool) -> bool:
    operation = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def prune(home: Home, keep: set[str]) -> list[str]:
    """Remove what nobody needs or runs: old releases, leftovers of dead writers, old marks.

    The caller is the launcher, and holds `operation.lock`, so that nobody stages meanwhile.
    Returns which of the releases and half staged ones went.
    Best effort: what cannot be removed is left for another time.
    """
    gone = []
    for name in _list(home.releases):
        full = os.path.join(home.releases, name)
        unwanted = version_of(name) is not None and name not in keep
        if (unwanted or name.startswith(STAGING)) and _remove_release(home, full):
            gone.append(name)
    half_written = [(home.root, ".serve.json."), (home.releases, ".")]
    half_written += [(os.path.join(home.releases, name), f".{GOOD}.") for name in keep]
    for directory, begins in half_written:
        _prune_temporaries(directory, begins)
    _prune_marks(home)
    return gone


def _prune_temporaries(directory: str, begins: str) -> None:
    for name in _list(directory):
        if name.startswith(begins) and name.endswith(".tmp"):
            try:
                os.unlink(os.path.join(directory, name))
            except OSError:
                pass


def sweep(home: Home) -> None:
    """Remove what a writer that died left half staged; the caller holds `operation.lock`."""
    for name in _list(home.releases):
        if name.startswith(STAGING):
            _remove_release(home, os.path.join(home.releases, name))


def remove(home: Home, name: str) -> bool:
    """Remove a release that its only user has given up, unless it runs; whether it is gone."""
    return version_of(name) is not None and _remove_release(home, os.path.join(home.releases, name))


def _remove_release(home: Home, full: str) -> bool:
    """Rename away and remove, unless a process holds the file's shared lock.

    Never what a link leads to, and whatever lies there in the file's place is not waited for.
    """
    if not os.path.isdir(full) or os.path.islink(full):
        return False
    descriptor = -1
    try:
        descriptor = os.open(os.path.join(full, FILE), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        if error.errno not in NO_FILE:
            return False
    try:
        if descriptor >= 0 and not _flock(descriptor, shared=False):
            return False
        away = full
        if not os.path.basename(full).startswith(STAGING):
            away = os.path.join(home.releases, STAGING + os.urandom(6).hex())
            os.rename(full, away)
        _remove_tree(away)
    except (OSError, RecursionError):
        return False
    finally:
        if descriptor >= 0:
            os.close(descriptor)
    return True


def _prune_marks(home: Home) -> None:
    marks = [name for name in _list(home.releases) if name.endswith(BAD)]
    if len(marks) <= MOST_BAD_MARKS:
        return
    versions = [(version_of(name[: -len(BAD)]), name) for name in marks]
    ordered = sorted(versions, key=lambda pair: sort_key(pair[0] or "0.0.0"))
    for _version, name in ordered[: len(marks) - MOST_BAD_MARKS]:
        try:
            os.unlink(os.path.join(home.releases, name))
        except OSError:
            pass
