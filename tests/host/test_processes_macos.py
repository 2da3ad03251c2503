"""When a process started, as libproc tells it: the call is a real one, of a function that answers
in its place."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
import types
import unittest
from typing import Any
from unittest import mock

from hub_upgrade.host import processes, processes_macos

U32, I32, U64 = ctypes.c_uint32, ctypes.c_int32, ctypes.c_uint64


class ProcBsdInfo(ctypes.Structure):
    """struct proc_bsdinfo, field for field as sys/proc_info.h has it:
    https://github.com/apple-oss-distributions/xnu/blob/main/bsd/sys/proc_info.h"""

    _fields_ = [
        *((name, U32) for name in ("flags", "status", "xstatus", "pid", "ppid")),
        *((name, U32) for name in ("uid", "gid", "ruid", "rgid", "svuid", "svgid", "rfu_1")),
        ("comm", ctypes.c_char * 16), ("name", ctypes.c_char * 32),
        *((name, U32) for name in ("nfiles", "pgid", "pjobc", "tdev", "tpgid")),
        ("nice", I32), ("start_tvsec", U64), ("start_tvusec", U64),
    ]  # fmt: skip


PROTOTYPE = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_int, ctypes.c_int, U64, ctypes.c_void_p, ctypes.c_int, use_errno=True
)
PID, STRANGER = 410, 1
STARTED = (1764079200, 4711)


def answer(pid: int, flavor: int, arg: int, buffer: int, size: int) -> int:
    """libproc's proc_pidinfo, of a machine with two processes."""
    if pid != PID or (flavor, arg) != (3, 0):
        ctypes.set_errno(errno.EPERM if pid == STRANGER else errno.ESRCH)
        return 0
    assert size == ctypes.sizeof(ProcBsdInfo)
    info = ProcBsdInfo.from_address(buffer)
    info.pid, info.start_tvsec, info.start_tvusec, info.nice = pid, *STARTED, -1
    return size


class ProcessesOfMacos(unittest.TestCase):
    def setUp(self) -> None:
        library: Any = types.SimpleNamespace(proc_pidinfo=PROTOTYPE(answer))
        for patch in (
            mock.patch.object(sys, "platform", "darwin"),
            mock.patch.object(processes, "processes_macos", processes_macos, create=True),
            mock.patch.object(ctypes, "CDLL", lambda name, use_errno: library),
        ):
            patch.start()
            self.addCleanup(patch.stop)
        self.library = library

    def test_it_is_seconds_and_microseconds(self) -> None:
        self.assertEqual(processes.start_time(PID), "1764079200.004711")
        self.assertTrue(processes.alive(PID, "1764079200.004711"))
        self.assertFalse(processes.alive(PID, "1764079200.004712"), "another one with its number")

    def test_what_has_ended_has_none_and_is_not_signalled(self) -> None:
        self.assertIsNone(processes.start_time(PID + 1))
        with mock.patch.object(os, "kill", side_effect=AssertionError("a signal")):
            self.assertFalse(processes.signal_process(PID + 1, "1764079200.004711", 15))
            self.assertFalse(processes.signal_process(PID, "1.000000", 15))

    def test_of_another_users_only_that_it_is_there_is_told(self) -> None:
        self.assertEqual(processes.start_time(STRANGER), "unknown")
        self.assertTrue(processes.alive(STRANGER, "1764079200.004711"))

    def test_without_libproc_the_number_alone_tells(self) -> None:
        for without in (
            mock.patch.object(processes_macos, "ctypes", None),
            mock.patch.object(ctypes, "CDLL", lambda name, use_errno: object()),
        ):
            with without:
                self.assertEqual(processes.start_time(os.getpid()), "unknown")
                self.assertTrue(processes.alive(os.getpid(), "1764079200.004711"))
                pid = os.spawnv(os.P_NOWAIT, sys.executable, [sys.executable, "-ISc", ""])
                os.waitpid(pid, 0)
                self.assertIsNone(processes.start_time(pid))
                self.assertFalse(processes.alive(pid, "unknown"))


if __name__ == "__main__":
    unittest.main()
