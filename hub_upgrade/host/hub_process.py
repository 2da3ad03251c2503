"""The managed hub's process: who listens there, and what is it executed from?

Linux tells by /proc; macOS, as well as it can, by lsof and ps. Nothing here raises.
"""

from __future__ import annotations

from hub_upgrade.shapes import NamedTuple


class HubProcess(NamedTuple):
    """A process as it was seen. "" is what is not to be known; `exe` is the real path.

    `foreign` says that its paths are not ours: another root, such as a container seen from
    outside, or another user's process.
    """

    pid: int
    start_time: str
    argv: tuple[str, ...]
    cwd: str
    exe: str
    bun_install: str = ""
    foreign: bool = False


def listener_of(host: str, port: int) -> int:
    """The PID of the process that listens at that address of this machine; 0 for none, or for one
    that is not to be told."""
    raise NotImplementedError


def look(pid: int) -> HubProcess | None:
    """The process with that PID, or None."""
    raise NotImplementedError


def executed_from(process: HubProcess) -> tuple[str, ...]:
    """What a process is executed from, the best guess first: absolute paths, links unresolved."""
    raise NotImplementedError
