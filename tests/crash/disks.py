"""Small disks of their own: one that fills up, and one whose power can be cut.

Both are mounted where nobody but this process and its children sees them (a mount namespace of
its own), so that even a test that is killed leaves no mount and no loop device behind.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import functools
import os
import shutil
import struct
import subprocess
import tempfile
import time
import unittest
from collections.abc import Iterator
from pathlib import Path

TMPFS, EXT4 = "tmpfs", "ext4"
CLONE_NEWNS = 0x00020000
EXT4_IOC_SHUTDOWN = 0x8004587D
WITHOUT_FLUSHING = 2
"""EXT4_GOING_FLAGS_NOLOGFLUSH: not even the journal is written out any more."""
BLOCKS = {TMPFS: 4096, EXT4: 1024}
"""Bytes that the smallest file takes there."""
EXT4_OPTIONS = "loop,noauto_da_alloc,commit=300"
"""As little as the standard promises: nothing is written out because of a rename, and nothing by a
journal that commits by itself every few seconds."""
UNMOUNT_S = 10.0
POLL_S = 0.02
STEPS = (1 << 20, 1 << 16, 1 << 12, 1 << 10)
"""The last is ext4's block here; on tmpfs it fills a page in four writes."""
FILLED_AGAIN = 10


class Disk:
    """A mounted file system at `path`; made by `tmpfs` or `ext4` below."""

    def __init__(self, path: str, kind: str, source: str, options: str) -> None:
        self.path = path
        self.kind = kind
        self._source = source
        self._options = options
        self._ballast = os.path.join(path, "ballast")
        self.cut_off = False

    def mount(self) -> None:
        """Mount it; raises AssertionError with what mount said."""
        _run("mount", "-t", self.kind, "-o", self._options, self._source, self.path)

    def unmount(self) -> None:
        """Unmount it once nobody uses it any more; raises AssertionError when somebody does."""
        deadline = time.monotonic() + UNMOUNT_S
        while True:
            try:
                _run("umount", self.path)
            except AssertionError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(POLL_S)
            else:
                return

    def close(self) -> None:
        """Unmount it whoever uses it: it is gone with its last user."""
        if os.path.ismount(self.path):
            _run("umount", "--lazy", self.path)

    # --- room -----------------------------------------------------------------------------------

    def room(self) -> int:
        """Bytes that can still be written."""
        found = os.statvfs(self.path)
        return found.f_bavail * found.f_frsize

    def fill(self, room: int = 0) -> None:
        """Fill it up until so many bytes are left, in addition to what fills it already."""
        for _ in range(FILLED_AGAIN):
            self.sync()  # what was removed is free only once its removal is on the disk
            if self.room() < room + STEPS[-1]:
                return
            self._fill(room)

    def _fill(self, room: int) -> None:
        os.makedirs(self._ballast, exist_ok=True)
        path = os.path.join(self._ballast, os.urandom(4).hex())
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            for size in STEPS:
                while self.room() - size >= room:
                    try:
                        os.write(descriptor, b"\xff" * size)
                        os.fsync(descriptor)  # what is only promised takes no room yet
                    except OSError as error:
                        if error.errno != errno.ENOSPC:
                            raise
                        break
        finally:
            os.close(descriptor)

    def fill_inodes(self) -> None:
        """No further file can be made, however small."""
        os.makedirs(self._ballast, exist_ok=True)
        while True:
            try:
                Path(self._ballast, os.urandom(8).hex()).touch()
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                return

    def empty(self) -> None:
        """Room again."""
        shutil.rmtree(self._ballast, ignore_errors=True)

    # --- power ----------------------------------------------------------------------------------

    def sync(self) -> None:
        """All that was written so far survives a power cut."""
        _run("sync", "--file-system", self.path)

    def cut(self) -> None:
        """Cut the power: from now on nothing is written, and what was not synced is lost."""
        cut(self.path)
        self.cut_off = True

    def power_on(self) -> None:
        """Mount it again as the next boot would; whoever used it must have ended."""
        self.unmount()
        self.mount()
        self.cut_off = False


def cut(path: str) -> None:
    """Shut the ext4 file system of this directory down without flushing its journal."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.ioctl(descriptor, EXT4_IOC_SHUTDOWN, struct.pack("I", WITHOUT_FLUSHING))
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def tmpfs(directory: str, kibibytes: int = 4096, inodes: int = 256) -> Iterator[Disk]:
    """A small disk in memory, mounted in a directory of its own below `directory`."""
    options = f"size={kibibytes}k,nr_inodes={inodes},mode=0700"
    with _mounted(Disk(_point(directory), TMPFS, TMPFS, options)) as disk:
        yield disk


@contextlib.contextmanager
def ext4(directory: str, kibibytes: int = 12288, inodes: int = 256) -> Iterator[Disk]:
    """A disk with a journal, in an image beside the directory that it is mounted in."""
    point = _point(directory)
    image = point + ".image"
    with open(image, "wb") as file:
        file.truncate(kibibytes * 1024)
    extended = "lazy_itable_init=0,lazy_journal_init=0"
    _run("mkfs.ext4", "-q", "-F", "-b", "1024", "-m", "0", "-N", str(inodes), "-E", extended, image)
    try:
        with _mounted(Disk(point, EXT4, image, EXT4_OPTIONS)) as disk:
            yield disk
    finally:
        os.unlink(image)


KINDS = {TMPFS: tmpfs, EXT4: ext4}


@contextlib.contextmanager
def _mounted(disk: Disk) -> Iterator[Disk]:
    disk.mount()
    try:
        yield disk
    finally:
        disk.close()
        os.rmdir(disk.path)


def _point(directory: str) -> str:
    return tempfile.mkdtemp(prefix="disk-", dir=directory)


def _run(*words: str) -> None:
    path = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
    done = subprocess.run(
        words, env={**os.environ, "PATH": path, "LC_ALL": "C"}, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise AssertionError(f"{' '.join(words)}: {done.stderr.strip()}")


@functools.cache
def why_not(kind: str) -> str:
    """Why no such disk can be made here, or nothing. The first call takes the namespace, and must
    be made before there are other threads: they inherit it."""
    why = _alone()
    if why:
        return why
    with tempfile.TemporaryDirectory(prefix="probe-") as directory:
        try:
            with KINDS[kind](directory) as disk:
                if kind == EXT4:
                    disk.cut()
        except (OSError, AssertionError) as error:
            return str(error)
    return ""


def need(*kinds: str) -> None:
    """Skip the module where one of these cannot be made."""
    for kind in kinds:
        why = why_not(kind)
        if why:
            raise unittest.SkipTest(f"no {kind} of our own can be mounted here: {why}")


@functools.cache
def _alone() -> str:
    """Take a mount namespace of our own; why that cannot be, or nothing."""
    unshare = getattr(ctypes.CDLL(None, use_errno=True), "unshare", None)
    if os.geteuid() != 0 or unshare is None:
        return "that needs Linux, and root"
    if unshare(CLONE_NEWNS):
        return os.strerror(ctypes.get_errno())
    try:
        _run("mount", "--make-rprivate", "/")
    except AssertionError as error:
        return str(error)
    return ""
