"""Files: the one complete atomic write, locks that die with their process, names under `home`."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
import time

from hub_upgrade.shapes import Any, NamedTuple

try:  # hashlib loads libcrypto: 3.7 MB that neither launcher nor hub needs for one digest.
    from _sha2 import sha256 as _sha256  # type: ignore[import-not-found,unused-ignore]
except ImportError:
    try:
        from _sha256 import sha256 as _sha256  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        from hashlib import sha256 as _sha256

MAX_JSON_BYTES = 4 * 1024 * 1024
LACKING = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""What opening a file says for want of descriptors or memory: nothing about the file."""
F_FULLFSYNC = 51
"""macOS: fsync alone leaves the data in the drive's cache (fcntl(2) there)."""


class Unreadable(Exception):  # noqa: N818 - it is an answer about a file, and read as one
    """A file is there and cannot be taken for what it should be; `passing`: not at this moment."""

    def __init__(self, path: str, why: str, passing: bool = False) -> None:
        super().__init__(f"{path} cannot be read: {why}")
        self.path = path
        self.why = why
        self.passing = passing


class Home(NamedTuple):
    """The names of everything under `home`, in one place."""

    root: str

    @property
    def serve_lock(self) -> str:
        return os.path.join(self.root, "serve.lock")

    @property
    def serve_json(self) -> str:
        return os.path.join(self.root, "serve.json")

    @property
    def operation_lock(self) -> str:
        return os.path.join(self.root, "operation.lock")

    @property
    def state_lock(self) -> str:
        return os.path.join(self.root, "state.lock")

    @property
    def status(self) -> str:
        return os.path.join(self.root, "hub-upgrade-status.json")

    @property
    def history(self) -> str:
        return os.path.join(self.root, "history.jsonl")

    @property
    def tokens(self) -> str:
        return os.path.join(self.root, "tokens.json")

    @property
    def releases(self) -> str:
        return os.path.join(self.root, "releases")

    @property
    def next_json(self) -> str:
        return os.path.join(self.root, "releases", "next.json")

    @property
    def boot_json(self) -> str:
        return os.path.join(self.root, "releases", "boot.json")

    @property
    def logs(self) -> str:
        return os.path.join(self.root, "logs")

    @property
    def hub_json(self) -> str:
        return os.path.join(self.root, "hub.json")


def sha256(data: bytes) -> str:
    """The SHA-256 of `data`, 64 lower-case hexadecimal digits."""
    return str(_sha256(data).hexdigest())


def sha256_file(path: str) -> str:
    """The SHA-256 of a file's content; raises OSError."""
    digest = _sha256()
    with open(path, "rb") as file:
        while True:
            piece = file.read(1 << 18)
            if not piece:
                return str(digest.hexdigest())
            digest.update(piece)


def sha256_regular(path: str, limit: int) -> str:
    """The SHA-256 of a regular file of at most `limit` bytes; raises OSError or Unreadable.

    A file is read once as long as it is the same by inode, size and times; one that has changed
    within the last moments may do so again without its times telling, and is read every time.
    """
    descriptor = _open_regular(path)
    try:
        found = os.fstat(descriptor)
        times = (found.st_mtime_ns, found.st_ctime_ns)
        signature = (found.st_dev, found.st_ino, found.st_size, *times)
        known, digest = _digests.get(path, ((), ""))
        if known != signature:
            digest = sha256(_read_all(descriptor, path, limit))
            if time.time() - max(times) / 1e9 > SETTLED_S:
                _digests[path] = signature, digest
    finally:
        os.close(descriptor)
    return digest


SETTLED_S = 3.0
_digests: dict[str, tuple[tuple[int, ...], str]] = {}


def new_id() -> str:
    """A random UUID, version 4 (RFC 9562, section 5.4)."""
    raw = bytearray(os.urandom(16))
    raw[6] = raw[6] & 0x0F | 0x40
    raw[8] = raw[8] & 0x3F | 0x80
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def rfc3339(seconds: float) -> str:
    """Wall-clock seconds as RFC 3339 in UTC with milliseconds and `Z`."""
    milliseconds = int(seconds * 1000)
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(milliseconds // 1000))
    return f"{whole}.{milliseconds % 1000:03d}Z"


def now_rfc3339() -> str:
    """The present moment, for people; nothing is decided by it."""
    return rfc3339(time.time())


def _sync(descriptor: int) -> None:
    if hasattr(fcntl, "F_FULLFSYNC"):
        try:
            fcntl.fcntl(descriptor, F_FULLFSYNC)
            return
        except OSError:
            pass  # some file systems there refuse it: fsync is the next best
    os.fsync(descriptor)


def sync_directory(path: str) -> None:
    """Make renames and unlinks in a directory survive a power cut; raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _sync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system that cannot sync directories
            raise
    finally:
        os.close(descriptor)


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of `data` to a blocking descriptor; raises OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def write_new(path: str, data: bytes, mode: int = 0o600) -> None:
    """Create a file that must not exist yet, with its content on the disk; raises OSError."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, mode)
    try:
        os.fchmod(descriptor, mode)
        write_all(descriptor, data)
        _sync(descriptor)
    except OSError as error:
        error.filename = path  # what failed knows only its descriptor
        raise
    finally:
        os.close(descriptor)


def write_durably(path: str, data: bytes, mode: int = 0o600) -> None:
    """Replace `path` as one whole: readers see the old content or the new, also after a power cut.

    Raises OSError, the old content untouched and nothing left beside it. A crash may leave a
    temporary file named `.NAME.RANDOM.tmp`.
    """
    directory, name = os.path.split(path)
    temporary = os.path.join(directory, f".{name}.{os.urandom(6).hex()}.tmp")
    try:
        write_new(temporary, data, mode)
        os.replace(temporary, path)
    except BaseException:
        try:
            os.unlink(temporary)
        except OSError:
            pass
        raise
    sync_directory(directory)


def remove_durably(path: str) -> None:
    """Remove a file, if there is one, so that it stays removed; raises OSError."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    sync_directory(os.path.dirname(path))


def write_json(path: str, value: Any) -> None:
    """`write_durably` of one compact JSON value and a newline."""
    write_durably(path, to_json(value) + b"\n")


def to_json(value: Any) -> bytes:
    """One compact JSON value; what is no UTF-8 in a path (os.fsdecode) is read as it was."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "backslashreplace")  # \udcff is JSON's own escape, too


def read_regular(path: str, limit: int = MAX_JSON_BYTES) -> bytes:
    """The content of a regular file of at most `limit` bytes; raises OSError or Unreadable."""
    descriptor = _open_regular(path)
    try:
        return _read_all(descriptor, path, limit)
    finally:
        os.close(descriptor)


def _open_regular(path: str) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise Unreadable(path, "it is not a regular file")


def _read_all(descriptor: int, path: str, limit: int) -> bytes:
    with os.fdopen(descriptor, "rb", closefd=False) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise Unreadable(path, f"it is larger than {limit} bytes")
    return data


def read_json(path: str) -> dict[str, Any] | None:
    """The JSON object in a file, or None where there is no file; raises Unreadable."""
    try:
        data = read_regular(path)
    except FileNotFoundError:
        if os.path.islink(path):
            raise Unreadable(path, "it is a link that leads nowhere") from None
        return None
    except OSError as error:
        why = error.strerror or str(error)
        raise Unreadable(path, why, error.errno in LACKING) from error
    try:
        value = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise Unreadable(path, "it is not JSON") from error
    if not isinstance(value, dict):
        raise Unreadable(path, "it is not a JSON object")
    return value


def move_aside(path: str) -> str:
    """Rename whatever is at `path` to `path.corrupt`; raises OSError."""
    target = path + ".corrupt"
    try:
        os.replace(path, target)
    except OSError:
        target = f"{path}.corrupt-{os.urandom(4).hex()}"
        os.rename(path, target)
    return target


class Lock:
    """A `flock` that dies with its process: the only proof of life that is believed.

    The file is never unlinked and never replaced, and it is opened without following links: else
    two processes could each hold "the" lock, on two files of one name.
    """

    def __init__(self, descriptor: int, path: str) -> None:
        self.fd = descriptor
        self.path = path

    @classmethod
    def try_take(cls, path: str, shared: bool = False) -> Lock | None:
        """The lock, or None while another holds it; raises OSError where locking is impossible."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        descriptor = os.open(path, flags, 0o600)
        lock = cls(descriptor, path)
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        if lock.still_ours():
            return lock
        lock.release()
        return None

    @classmethod
    def on_directory(cls, path: str) -> Lock | None:
        """A lock on a directory, which leaves nothing in it, or None while another holds it.

        One that cannot be locked (a network file system wants to write for that) is nobody's.
        """
        descriptor = -1
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError:
            pass
        return cls(descriptor, path)

    @classmethod
    def adopt(cls, descriptor: int, path: str) -> Lock | None:
        """The lock that a parent took and handed down, or None if it is not `path`'s.

        `flock` belongs to the open file description: through this descriptor it is ours already.
        """
        lock = cls(descriptor, path)
        try:
            if not lock.still_ours():
                return None
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return None
        os.set_inheritable(descriptor, False)
        return lock

    def still_ours(self) -> bool:
        """Whether the locked file is still the one that the name leads to."""
        try:
            here = os.fstat(self.fd)
            there = os.stat(self.path, follow_symlinks=False)
        except OSError:
            return False
        return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)

    def release(self) -> None:
        """Let go; safe to call twice."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def make_directory(path: str, mode: int = 0o700) -> None:
    """A directory that is there, parents included, synced into its parent; raises OSError."""
    if os.path.isdir(path):
        return
    parent = os.path.dirname(path) or "."
    if not os.path.isdir(parent):
        make_directory(parent, mode)
    try:
        os.mkdir(path, mode)
    except FileExistsError:
        if not os.path.isdir(path):
            raise
        return
    sync_directory(parent)
