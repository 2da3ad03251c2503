"""What macOS tells of a process, by lsof and ps: as well as it can. Never raises."""

from __future__ import annotations

from hub_upgrade.host import commands
from hub_upgrade.host.executed import HubProcess

LIMIT_S = 5.0


def listeners(host: str, port: int) -> list[int]:
    """The processes that listen at that address."""
    shown = f"[{host}]" if ":" in host else host
    names = (f"n{shown}:{port}", f"n*:{port}")
    found: set[int] = set()
    pid = 0
    for line in _lines("lsof", "-nP", f"-iTCP:{port}", "-sTCP:LISTEN", "-Fpn"):
        if line.startswith("p") and line[1:].isdigit():
            pid = int(line[1:])
        elif line in names:
            found.add(pid)
    return sorted(found - {0, 1})


def parents() -> dict[int, int]:
    """Each process's parent."""
    pairs = (line.split() for line in _lines("ps", "-axo", "pid=,ppid="))
    return {int(pair[0]): int(pair[1]) for pair in pairs if len(pair) == 2}


def look(pid: int, started: str) -> HubProcess:
    """A process; arguments with blanks in them come out in pieces."""
    command = " ".join(_lines("ps", "-ww", "-o", "command=", "-p", str(pid))[:1])
    cwd, exe = _open(pid, "cwd"), _open(pid, "txt")
    return HubProcess(pid, started, tuple(command.split()), cwd, exe)


def _open(pid: int, kind: str) -> str:
    lines = _lines("lsof", "-a", "-p", str(pid), "-d", kind, "-Fn")
    return next((line[1:] for line in lines if line.startswith("n/")), "")


def _lines(*argv: str) -> list[str]:
    return commands.run(list(argv), LIMIT_S).stdout.decode("utf-8", "replace").splitlines()
