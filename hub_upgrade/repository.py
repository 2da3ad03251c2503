"""The release repository: a plain directory laid out as The Update Framework 1.0 has it.

    metadata/1.root.json, timestamp.json, N.snapshot.json, N.targets.json
    targets/<sha256>.hub-<version>.pyz

`signatures` are empty until signing comes, so only a directory that nobody else can write is
believed, and `expires` is written but not enforced. A target's `custom` says which version it is
and which channels point to it; an exact version stays there after its channels have moved on.
"""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Callable, Iterable

from hub_upgrade.domain.versions import CHANNELS, is_version, normal, sort_key
from hub_upgrade.errors import HostError, RefusedError, UsageError
from hub_upgrade.host import files
from hub_upgrade.shapes import Any, NamedTuple

SPEC_VERSION = "1.0.31"
MOST_METADATA_BYTES = 4 * 1024 * 1024
MOST_RELEASE_BYTES = 64 * 1024 * 1024
PIECE = 1 << 18
KEPT_METADATA = 20
"""So many older snapshots stay, for whoever is reading one."""
LOCK_WAIT_S = 30.0
LOCK_POLL_S = 0.05
EXPIRES_S = 10 * 365 * 86400

Progress = Callable[[int, int], None]


class Target(NamedTuple):
    """One published release; `path` is its target path, without the digest before it."""

    version: str
    digest: str
    length: int
    path: str
    channels: tuple[str, ...]


class Repository(NamedTuple):
    """What was published, as one snapshot."""

    number: int
    targets: tuple[Target, ...]

    def channel(self, name: str) -> Target | None:
        """The release that a channel points to."""
        return next((target for target in self.targets if name in target.channels), None)

    def exact(self, version: str) -> Target | None:
        """The release of this very version (build metadata aside)."""
        key = sort_key(version)
        return next((one for one in self.targets if sort_key(one.version) == key), None)


class Folder:
    """A directory held open: what is read in it is neither a link nor another user's file."""

    def __init__(self, path: str, parent: Folder | None = None) -> None:
        self.path: str = os.path.join(parent.path, path) if parent else path
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        flags |= os.O_NOFOLLOW if parent else 0
        self.fd: int = os.open(path, flags, dir_fd=parent.fd if parent else None)
        try:
            _only_ours(os.fstat(self.fd), self.path)
        except RefusedError:
            self.close()
            raise

    def __enter__(self) -> Folder:  # noqa: PYI034 - typing.Self is newer than Python 3.9
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the directory."""
        os.close(self.fd)

    def read(self, name: str, limit: int, progress: Progress | None = None) -> bytes:
        """A regular file of at most `limit` bytes; raises OSError, HostError, RefusedError."""
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        path = os.path.join(self.path, name)
        data = bytearray()
        with open(os.open(name, flags, dir_fd=self.fd), "rb") as file:
            found = os.fstat(file.fileno())
            _only_ours(found, path)
            if not stat.S_ISREG(found.st_mode) or found.st_size > limit:
                raise HostError(f"{path} is not a file of at most {limit} bytes")
            while len(data) <= limit:
                piece = file.read(PIECE)
                if not piece:
                    break
                data += piece
                if progress is not None:
                    progress(len(data), found.st_size)
        return bytes(data)


def _only_ours(found: os.stat_result, path: str) -> None:
    if found.st_uid != os.geteuid():
        raise RefusedError(
            "no_release_source",
            f"{path} belongs to user {found.st_uid} and not to user {os.geteuid()}, who runs this: "
            "until releases are signed, only one's own directory is followed",
        )
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise RefusedError(
            "no_release_source",
            f"{path} can be written by other users: run chmod go-w on it, "
            "because releases are not signed yet",
        )


def read(directory: str) -> Repository:
    """What is published now; raises RefusedError (nothing there, unsafe) or HostError (damaged)."""
    try:
        with Folder(directory) as root, Folder("metadata", root) as metadata:
            return _read(metadata)
    except FileNotFoundError:
        raise RefusedError(
            "no_release_source",
            f"{directory} holds no releases: hub.pyz release publish puts one there",
        ) from None
    except OSError as error:
        raise HostError(f"{directory} cannot be read: {error.strerror or error}") from error


def _read(metadata: Folder) -> Repository:
    meta = _signed(metadata, "timestamp", metadata.read("timestamp.json", MOST_METADATA_BYTES))
    number, data = 0, b""
    for role in ("snapshot", "targets"):
        number, data = _listed(metadata, meta, role)
        meta = _signed(metadata, role, data)
    listed = meta.get("targets")
    found = [_target(path, raw) for path, raw in listed.items()] if isinstance(listed, dict) else []
    return Repository(number, tuple(target for target in found if target is not None))


def _signed(metadata: Folder, role: str, data: bytes) -> dict[str, Any]:
    """The signed part of a role's metadata; raises HostError."""
    try:
        signed: dict[str, Any] = json.loads(data.decode("utf-8"))["signed"]
        sound = signed["_type"] == role and signed["spec_version"].startswith("1.")
    except (ValueError, RecursionError, TypeError, KeyError, AttributeError):
        sound = False
    if not sound:
        raise HostError(f"{metadata.path}: the {role} metadata is damaged, or of another format")
    return signed


def _listed(metadata: Folder, signed: dict[str, Any], role: str) -> tuple[int, bytes]:
    """The number and content of the metadata that another one lists; raises OSError, HostError."""
    meta = signed.get("meta")
    entry = meta.get(f"{role}.json") if isinstance(meta, dict) else None
    number = entry.get("version") if isinstance(entry, dict) else None
    if entry is None or not isinstance(number, int) or number < 1:
        raise HostError(f"{metadata.path}: no {role} metadata is listed")
    data = metadata.read(f"{number}.{role}.json", MOST_METADATA_BYTES)
    if entry.get("hashes") != {"sha256": files.sha256(data)}:
        raise HostError(f"{metadata.path}: {number}.{role}.json is not the file that was published")
    return number, data


def _target(path: str, raw: Any) -> Target | None:
    """A release among the targets; None for what is none (a newer publisher may add others)."""
    try:
        version, length = raw["custom"]["version"], raw["length"]
        digest, channels = raw["hashes"]["sha256"], raw["custom"]["channels"]
        sound = is_version(version) and path == name_of(version) and length > 0
        sound = sound and len(digest) == 64 and not digest.strip("0123456789abcdef")
        pointing = tuple(name for name in CHANNELS if name in channels)
    except (TypeError, KeyError, AttributeError):
        return None
    return Target(version, digest, length, path, pointing) if sound else None


def name_of(version: str) -> str:
    """The target path of a version."""
    return f"hub-{version}.pyz"


def fetch(directory: str, target: Target, progress: Progress) -> bytes:
    """The verified content of a release; raises HostError or RefusedError.

    `progress` is called with the bytes read and their whole number.
    """
    try:
        with Folder(directory) as root, Folder("targets", root) as folder:
            data = folder.read(f"{target.digest}.{target.path}", MOST_RELEASE_BYTES, progress)
    except OSError as error:
        what = f"{target.path} in {directory}"
        raise HostError(f"{what} cannot be read: {error.strerror or error}") from error
    if len(data) != target.length or files.sha256(data) != target.digest:
        raise HostError(f"{target.path} in {directory} is not the file that was published")
    return data


def publish(directory: str, channel: str, file: str, version: str) -> str:
    """Put a file into the repository, point a channel to it, and return its SHA-256.

    The channel is the publisher's to choose, whatever the version's suffix, and points to what
    was published last, be it older. Readers see all of it or nothing; publishers wait for each
    other; again is safe. A version that is there with other bytes is refused. Raises UsageError,
    RefusedError, HostError, OSError.
    """
    if channel not in CHANNELS or not is_version(version):
        raise UsageError(f"no channel or no version: {channel[:100]!r}, {version[:100]!r}")
    version = normal(version)
    data = _release(file)
    for part in ("", "metadata", "targets"):
        files.make_directory(os.path.join(directory, part).rstrip("/"), 0o755)
        Folder(os.path.join(directory, part)).close()  # refuses what others can write
    lock = _lock(directory)
    try:
        return _publish(directory, channel, data, version)
    finally:
        lock.release()


def _release(file: str) -> bytes:
    try:
        data = files.read_regular(file, MOST_RELEASE_BYTES)
    except files.Unreadable as error:
        raise RefusedError("not_a_release", str(error)) from error
    if not data:
        raise RefusedError("not_a_release", f"{file} is empty")
    return data


def _lock(directory: str) -> files.Lock:
    until = time.monotonic() + LOCK_WAIT_S
    while True:
        lock = files.Lock.try_take(os.path.join(directory, ".publish.lock"))
        if lock is not None:
            return lock
        if time.monotonic() > until:
            raise HostError(f"another process has been publishing to {directory} for too long")
        time.sleep(LOCK_POLL_S)


def _publish(directory: str, channel: str, data: bytes, version: str) -> str:
    old = Repository(0, ())
    if os.path.lexists(os.path.join(directory, "metadata", "timestamp.json")):
        old = read(directory)
    digest = files.sha256(data)
    there = old.exact(version)
    if there is not None and there.digest != digest:
        raise RefusedError(
            "version_exists",
            f"{there.version} was published with other bytes (sha256 {there.digest}): "
            "a release never changes, so publish this one under another version",
        )
    new = there or Target(version, digest, len(data), name_of(version), ())
    if channel not in new.channels or _damaged(directory, new):
        _remove_leftovers(directory)
        stored = os.path.join(directory, "targets", f"{digest}.{new.path}")
        files.write_durably(stored, data, 0o644)
        _write_metadata(directory, old.number + 1, _pointed(old.targets, new, channel))
    return digest


def _damaged(directory: str, target: Target) -> bool:
    try:
        fetch(directory, target, lambda _done, _whole: None)
    except HostError:
        return True
    return False


def _pointed(old: Iterable[Target], new: Target, channel: str) -> list[Target]:
    """The targets after a channel was pointed to `new`."""
    others = [target for target in old if target.path != new.path]
    kept = [one._replace(channels=tuple(c for c in one.channels if c != channel)) for one in others]
    return [*kept, new._replace(channels=tuple({*new.channels, channel}))]


def _remove_leftovers(directory: str) -> None:
    """What a publisher that died left behind; ours is the lock, so nobody else is writing."""
    for part in ("metadata", "targets"):
        for name in os.listdir(os.path.join(directory, part)):
            if name.startswith(".") and name.endswith(".tmp"):
                os.unlink(os.path.join(directory, part, name))


def _write_metadata(directory: str, number: int, targets: Iterable[Target]) -> None:
    """What is pointed to before what points to it: the timestamp publishes all of it."""
    folder = os.path.join(directory, "metadata")
    expires = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + EXPIRES_S))

    def write(name: str, role: str, version: int, **fields: Any) -> dict[str, Any]:
        common = {"_type": role, "spec_version": SPEC_VERSION, "version": version}
        value = {"signatures": [], "signed": {**common, "expires": expires, **fields}}
        data = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
        files.write_durably(os.path.join(folder, name), data, 0o644)
        listed = {"version": version, "length": len(data), "hashes": {"sha256": files.sha256(data)}}
        return {f"{role}.json": listed}

    if not os.path.exists(os.path.join(folder, "1.root.json")):
        roles = {
            role: {"keyids": [], "threshold": 1}
            for role in ("root", "snapshot", "targets", "timestamp")
        }
        write("1.root.json", "root", 1, consistent_snapshot=True, keys={}, roles=roles)
    entries = {target.path: _entry(target) for target in targets}
    meta = write(f"{number}.targets.json", "targets", number, targets=entries)
    meta = write(f"{number}.snapshot.json", "snapshot", number, meta=meta)
    write("timestamp.json", "timestamp", number, meta=meta)
    for role in ("snapshot", "targets"):
        files.remove_durably(os.path.join(folder, f"{number - KEPT_METADATA}.{role}.json"))


def _entry(target: Target) -> dict[str, Any]:
    custom = {"version": target.version, "channels": sorted(target.channels)}
    return {"length": target.length, "hashes": {"sha256": target.digest}, "custom": custom}
