"""The managed hub's process: who listens there, and is it the one that was there before?

Linux tells by /proc; macOS, as well as it can, by lsof and ps. Nothing here raises.
"""

from __future__ import annotations

import os
import socket
import sys
import time

from hub_upgrade.host import files, hub_process_macos, processes
from hub_upgrade.host.executed import HubProcess, executed_from
from hub_upgrade.host.reading import names_in, text_of

__all__ = [
    "HubProcess", "age_s", "alike", "ancestors", "children", "command_of", "ends",
    "executed_from", "identity", "is_ancestor", "listener_of", "lives", "look", "name_of",
]  # fmt: skip
PROC = "/proc"
POLL_S = 0.05
BOOT_ID = "/proc/sys/kernel/random/boot_id"
TELLING = ("PARACHUTE_HOME", "PORT")
MOST_OF_ID = 100
"""Bytes; the kernel has no memory for a reader of /proc/sys that asks for megabytes."""
LISTENS = "0A"
DEEPEST = 1000
HOLDERS_OF_SOCKETS = frozenset({"systemd", "(systemd)", "init"})
"""They open a service's socket for it (socket activation), and keep it."""


def listener_of(host: str, port: int) -> int:
    """The PID of the process that listens at that address of this machine; 0 for none, or for one
    that is not to be told, such as another user's.

    Of several that share the socket it is the one that the others descend from.
    """
    if sys.platform == "darwin":
        pids, parents = hub_process_macos.listeners(host, port), hub_process_macos.parents()
        return _eldest(pids, parents)
    wanted = _sockets(host, port)
    pids = [pid for pid in _pids() if wanted and _holds(pid, wanted)]
    return _eldest(pids, {})


def look(pid: int) -> HubProcess | None:
    """The process with that PID, or None."""
    started = processes.start_time(pid) if pid > 0 else None
    if started is None:
        return None
    if sys.platform == "darwin":
        return hub_process_macos.look(pid, started)
    place = f"{PROC}/{pid}"
    found = HubProcess(
        pid, started, tuple(text_of(f"{place}/cmdline").rstrip("\0").split("\0")),
        _link(f"{place}/cwd"), _link(f"{place}/exe").removesuffix(" (deleted)"),
        _variable(place, "BUN_INSTALL"), foreign=not _same_root(place),
    )  # fmt: skip
    return found if processes.start_time(pid) == started else None


def identity(pid: int) -> str:
    """PID, start time and boot of a process, as one word; "" when it does not run.

    On macOS of another user's the PID alone tells.
    """
    started = processes.start_time(pid) if pid > 0 else None
    boot = text_of(BOOT_ID, MOST_OF_ID).strip()
    return f"{pid}:{started}:{boot}" if started is not None else ""


def lives(word: str) -> bool:
    """Whether the process of that identity still runs."""
    pid = word.partition(":")[0]
    return pid.isascii() and pid.isdigit() and identity(int(pid[:10])) == word


def ends(word: str, limit_s: float) -> bool:
    """Wait until the process of that identity has ended; False where it has not within `limit_s`
    seconds."""
    deadline = time.monotonic() + limit_s
    while lives(word):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True


def command_of(pid: int) -> str:
    """What tells a process's command line from any other, with the variables that tell one hub
    from another (its SHA-256: it may bear secrets), or ""."""
    place = f"{PROC}/{pid}"
    words = text_of(f"{place}/cmdline") if pid > 0 else ""
    told = "\n".join([words, *(_variable(place, name) for name in TELLING)])
    return files.sha256(told.encode("utf-8", "surrogateescape")) if words else ""


def alike(command: str) -> int:
    """The process that has this command line, 0 for none: a runtime runs the same command again."""
    pids = [pid for pid in _pids() if command and command_of(pid) == command]
    return _eldest(pids, {})


def age_s(word: str) -> float:
    """How long the process of that identity has run, in seconds; 0 where that is not to be told."""
    started, uptime = word.split(":")[1:2], text_of(f"{PROC}/uptime").split()
    try:
        return max(0.0, float(uptime[0]) - int(started[0]) / os.sysconf("SC_CLK_TCK"))
    except (IndexError, ValueError):
        return 0.0


def is_ancestor(pid: int, of: int) -> bool:
    """Whether a process is a parent of another, or a parent's parent."""
    return _is_ancestor(pid, of, hub_process_macos.parents() if sys.platform == "darwin" else {})


def name_of(pid: int) -> str:
    """A process's name, as it may have changed it; "" where that is not to be seen."""
    return text_of(f"{PROC}/{pid}/comm").strip()


def ancestors(pid: int) -> list[int]:
    """Its parent, that one's parent, and so on, as far as they are to be seen in /proc."""
    found: list[int] = []
    while pid and len(found) < DEEPEST:
        pid = _parent(pid)
        found += [pid] if pid else []
    return found


def children(pid: int) -> list[int]:
    """The processes whose parent it is."""
    return [one for one in _pids() if _parent(one) == pid]


def _eldest(pids: list[int], parents: dict[int, int]) -> int:
    """The one that the others descend from, 0 for none."""
    eldest = [one for one in pids if not any(_is_ancestor(other, one, parents) for other in pids)]
    return eldest[0] if len(eldest) == 1 else 0


def _is_ancestor(pid: int, of: int, parents: dict[int, int]) -> bool:
    for _ in range(DEEPEST):
        of = parents.get(of, 0) if parents else _parent(of)
        if of in (0, pid):
            return of == pid and pid > 0
    return False


# --- /proc ---------------------------------------------------------------------------------------


def _sockets(host: str, port: int) -> set[str]:
    """What listens there, as /proc/PID/fd names it: the exact address before every address, as the
    kernel prefers it."""
    ranked: dict[int, set[str]] = {}
    wanted = _addresses(host)
    for table in ("tcp", "tcp6"):
        for line in text_of(f"{PROC}/net/{table}").splitlines()[1:]:
            fields = line.split()
            if len(fields) < 10 or fields[3] != LISTENS:
                continue
            address, _, at = fields[1].partition(":")
            if address in wanted and int(at, 16) == port:
                ranked.setdefault(wanted.index(address), set()).add(f"socket:[{fields[9]}]")
    return ranked[min(ranked)] if ranked else set()


def _addresses(host: str) -> list[str]:
    """The addresses under which a listener there may be listed, the likeliest first."""
    any4, any6 = bytes(4), bytes(16)
    try:
        if ":" in host:
            found = [socket.inet_pton(socket.AF_INET6, host), any6]
        else:
            four = socket.inet_pton(socket.AF_INET, host)
            found = [four, bytes(10) + b"\xff\xff" + four, any4, any6]
    except OSError:
        return []
    return [_listed(address) for address in found]


def _listed(address: bytes) -> str:
    """As /proc/net/tcp writes an address: in words of the machine's byte order."""
    words = [address[at : at + 4] for at in range(0, len(address), 4)]
    if sys.byteorder == "little":
        words = [word[::-1] for word in words]
    return b"".join(words).hex().upper()


def _pids() -> list[int]:
    return [int(name) for name in names_in(PROC) if name.isdigit()]


def _holds(pid: int, sockets: set[str]) -> bool:
    place = f"{PROC}/{pid}/fd"
    held = any(_link(f"{place}/{name}") in sockets for name in names_in(place))
    return held and name_of(pid) not in HOLDERS_OF_SOCKETS


def _parent(pid: int) -> int:
    fields = text_of(f"{PROC}/{pid}/stat").rpartition(")")[2].split()
    return int(fields[1]) if len(fields) > 1 else 0


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _variable(place: str, name: str) -> str:
    for setting in text_of(f"{place}/environ").split("\0"):
        if setting.startswith(name + "="):
            return setting[len(name) + 1 :]
    return ""


def _same_root(place: str) -> bool:
    """Whether its paths are ours; not to be seen is no."""
    try:
        theirs, ours = os.stat(f"{place}/root"), os.stat("/")
    except OSError:
        return False
    return (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino)
