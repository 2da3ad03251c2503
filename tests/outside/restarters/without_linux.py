"""Every hub.pyz takes Linux away from itself before it does anything. What is left is what macOS
has: no /proc, no epoll, no memory files, no waitid before Python 3.13, no abstract addresses, no
credentials with a datagram. No Mac runs these tests. (root: nothing is mounted over our own /proc,
but over that of what is started.)"""

from __future__ import annotations

import os
import shutil
import tempfile
import unittest
from typing import Any
from unittest import mock

import build_pyz
from tests.e2e import harness

TAKEN_AWAY = b"""
import fcntl, os, select, signal, socket, sys

sys.platform = "darwin"
fcntl.F_FULLFSYNC = 51
for module, names in (
    (os, "memfd_create pidfd_open waitid eventfd pipe2 posix_fadvise posix_fallocate sendfile"
         " splice sched_getaffinity getresuid"),
    (select, "epoll"),
    (signal, "sigtimedwait sigwaitinfo pidfd_send_signal"),
    (socket, "SO_PASSCRED SCM_CREDENTIALS SO_PEERCRED TCP_USER_TIMEOUT SOCK_CLOEXEC SOCK_NONBLOCK"),
):
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)
"""
"""Of the modules that the hub imports, what typeshed has for Linux and not for macOS."""
NO_PROC = b"""
if os.path.exists("/proc/self"):
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    BIND, PRIVATE, NEWNS = 1 << 12, 1 << 18 | 1 << 14, 0x20000
    for failed in (
        libc.unshare(NEWNS),
        libc.mount(b"none", b"/", None, PRIVATE, None),
        libc.mount(b"/proc", b"/mnt", None, BIND, None),
        libc.mount(b"none", b"/proc", b"tmpfs", 0, None),
    ):
        if failed:
            sys.exit("/proc is there still: " + os.strerror(ctypes.get_errno()))
"""
LIBPROC = b"""
NOT_TOLD = ""


def start_time(pid):
    try:
        with open("/mnt/%d/stat" % pid) as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19] + ".000000"
"""
"""In place of libproc, which Linux has not, and which knows what started when, and no zombie."""
NO_CONTAINER = b"""
lexists = os.path.lexists
os.path.lexists = lambda path: path != "/.dockerenv" and lexists(path)
"""
"""This may well run in one: no Mac does."""
SEES_PROC = """\
#!/bin/sh
exec unshare --mount sh -c 'umount /proc; exec "$0" "$@"' {tool} "$@"
"""
"""Other programs of Linux need it to tell what macOS tells them."""
MEMBER = "hub_upgrade/host/processes_macos.py"


class Elsewhere(unittest.TestCase):
    """Every hub.pyz that is built here is one that has taken Linux away."""

    before = TAKEN_AWAY + NO_PROC

    @classmethod
    def setUpClass(cls) -> None:
        directory = tempfile.mkdtemp(prefix="built-")
        cls.addClassCleanup(shutil.rmtree, directory)
        sources = build_pyz.sources
        patches: tuple[Any, ...] = (
            mock.patch.object(build_pyz, "DOOR", cls.before + build_pyz.DOOR),
            mock.patch.object(build_pyz, "sources", lambda: {**sources(), MEMBER: LIBPROC}),
            mock.patch.dict(os.environ, {harness.SHARED: directory}),
            mock.patch.object(harness, "_built", {}),
        )
        for patch in patches:
            patch.start()
            cls.addClassCleanup(patch.stop)
        super().setUpClass()
