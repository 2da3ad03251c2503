"""What tells one process from every other, over restarts of the machine too; light, for the hub."""

from __future__ import annotations

from hub_upgrade.host import processes

BOOT_ID = "/proc/sys/kernel/random/boot_id"


def identity(pid: int) -> str:
    """PID, start time and boot of a process, as one word; "" when it does not run.

    On macOS the PID alone tells.
    """
    started = processes.start_time(pid) if pid > 0 else None
    return f"{pid}:{started}:{_boot_id()}" if started is not None else ""


def lives(word: str) -> bool:
    """Whether the process of that identity still runs."""
    pid = word.partition(":")[0]
    return pid.isascii() and pid.isdigit() and identity(int(pid[:10])) == word


def _boot_id() -> str:
    try:
        with open(BOOT_ID, encoding="ascii") as file:
            return file.read(64).strip()
    except (OSError, ValueError):
        return ""
