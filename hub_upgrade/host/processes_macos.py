"""When a process started, as macOS tells it: by libproc (sys/proc_info.h)."""

from __future__ import annotations

import errno
import struct

try:
    import ctypes
except ImportError:  # a Python that was built without it
    ctypes = None  # type: ignore[assignment]

PROC_PIDTBSDINFO = 3
SIZE, STARTED = 136, 120
"""Bytes of struct proc_bsdinfo, and where in it pbi_start_tvsec and pbi_start_tvusec lie."""
NOT_TOLD = ""


def start_time(pid: int) -> str | None:
    """Seconds and microseconds; None where there is none or it has ended, "" where that is not to
    be told, such as of another user's."""
    if ctypes is None:
        return NOT_TOLD
    ask = getattr(ctypes.CDLL(None, use_errno=True), "proc_pidinfo", None)
    if ask is None:
        return NOT_TOLD
    info = ctypes.create_string_buffer(SIZE)
    ctypes.set_errno(0)
    if ask(pid, PROC_PIDTBSDINFO, ctypes.c_uint64(0), info, SIZE) != SIZE:
        return None if ctypes.get_errno() == errno.ESRCH else NOT_TOLD
    seconds, microseconds = struct.unpack_from("2Q", info, STARTED)
    return f"{seconds}.{microseconds:06d}"
