"""Processes: start one with its descriptors in place, and never signal a stranger."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping

from hub_upgrade.shapes import NoReturn

if sys.platform == "darwin":
    from hub_upgrade.host import processes_macos

HELD_SIGNALS = frozenset(
    {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGCHLD}
)
"""Blocked across every exec of a hub, until its handlers stand: a signal a few milliseconds after
an exec kills an interpreter that has not come up yet."""

EXEC_FAILED = 127
UNKNOWN = "unknown"
"""The start time of a process that is there, where no more is to be told."""


def start_time(pid: int) -> str | None:
    """What tells a process from a later one with its PID; None when that is not to be known."""
    if sys.platform == "linux":
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                fields = file.read().rsplit(b")", 1)[1].split()
        except (OSError, IndexError):
            return None
        return None if fields[0] in (b"Z", b"X") else fields[19].decode("ascii")
    if sys.platform == "darwin":
        told = processes_macos.start_time(pid)
        if told != processes_macos.NOT_TOLD:
            return told
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return UNKNOWN


def alive(pid: int, started: str | None) -> bool:
    """Whether the process that had this PID at that start time still runs, as far as is told."""
    now = start_time(pid) if pid > 0 and started is not None else None
    untold = sys.platform != "linux" and UNKNOWN in (now, started)
    return now is not None and (untold or now == started)


def signal_process(pid: int, started: str | None, number: int) -> bool:
    """Signal a process only if it is still the one that is meant; whether it was signalled."""
    if not alive(pid, started):
        return False
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def kill_group(pid: int, started: str | None, number: int = signal.SIGKILL) -> bool:
    """Signal the group that a process leads, if it is still the one that is meant."""
    if not alive(pid, started):
        return False
    try:
        os.killpg(pid, number)
    except ProcessLookupError:  # just forked, it leads no group yet
        return signal_process(pid, started, number)
    except PermissionError:
        return False
    return True


def group_lives(group: int) -> bool:
    """Whether anybody of a process group does anything yet, as far as is told: whoever ended may
    wait long for its parent, or process 1, to reap it."""
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    members = _members(b"%d" % group)
    return not members or any(members)


def _members(group: bytes) -> list[bool]:
    """Whether each of a group lives, another thread of it than the first perhaps: none at all
    where there is no /proc, or one that hides them (proc(5))."""
    members = []
    try:
        names = os.listdir("/proc") if sys.platform == "linux" else []
    except OSError:
        return []
    for name in filter(str.isdecimal, names):
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                fields = file.read().rsplit(b")", 1)[1].split()
        except (OSError, IndexError):
            continue
        if fields[2] == group:
            members.append(fields[0] not in (b"Z", b"X") or int(fields[17]) > 1)
    return members


def describe_exit(status: int) -> str:
    """A wait status in words."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        try:
            return f"was killed by {signal.Signals(number).name}"
        except ValueError:
            return f"was killed by signal {number}"
    return f"exited with status {os.WEXITSTATUS(status)}"


def close_from(lowest: int) -> None:
    """Close every descriptor from `lowest` up."""
    try:
        highest = max(int(name) for name in os.listdir("/proc/self/fd"))
    except (OSError, ValueError):
        highest = 4096
    os.closerange(lowest, highest + 1)


def spawn(
    argv: list[str],
    env: Mapping[str, str],
    fds: Mapping[int, int],
    *,
    alarm_s: int = 0,
    cwd: str | None = None,
    listen_pid: bool = False,
    unblock: bool = True,
) -> int:
    """Start a program by fork and exec, and return its PID.

    It leads a session of its own. `fds` maps its descriptor numbers to ours; nothing else is
    inherited. `listen_pid` sets `LISTEN_PID` to the child's own PID (sd_listen_fds(3)), which
    `subprocess` cannot. An alarm set between fork and exec survives the exec: a child that hangs
    dies without us. Only for processes with one thread. Raises OSError when there is no fork to be
    had; a program that cannot be executed is an exit with status 127.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, HELD_SIGNALS)
    try:
        pid = os.fork()
        if pid == 0:
            _become(argv, env, fds, alarm_s, cwd, listen_pid, unblock)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_SIGNALS)
    return pid


def _become(
    argv: list[str],
    env: Mapping[str, str],
    fds: Mapping[int, int],
    alarm_s: int,
    cwd: str | None,
    listen_pid: bool,
    unblock: bool,
) -> NoReturn:
    try:
        signal.set_wakeup_fd(-1)
        for number in HELD_SIGNALS | {signal.SIGPIPE, signal.SIGALRM}:
            signal.signal(number, signal.SIG_DFL)
        os.setsid()
        place(fds)
        environment = dict(env)
        if listen_pid:
            environment["LISTEN_PID"] = str(os.getpid())
        if cwd is not None:
            os.chdir(cwd)
        if alarm_s:
            signal.alarm(alarm_s)
        if unblock:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_SIGNALS)
        os.execve(argv[0], argv, environment)
    except BaseException as error:  # noqa: BLE001 - a forked copy of us must never go on
        os.write(2, f"cannot execute {argv[0]}: {error}\n".encode("utf-8", "replace"))
    finally:
        os._exit(EXEC_FAILED)


def place(fds: Mapping[int, int]) -> None:
    """Move descriptors to their numbers, inheritable, and close all the others."""
    top = max([2, *fds]) + 1
    spare = {}
    for number, ours in fds.items():
        copy = ours
        while copy < top:  # out of the way of every number that is a target
            copy = os.dup(copy)
        spare[number] = copy
    for number, copy in spare.items():
        os.dup2(copy, number, inheritable=True)
    kept = sorted(fds)
    if kept == list(range(len(kept))):
        close_from(len(kept))
        return
    close_from(top)
    for number in range(3, top):
        if number not in fds:
            try:
                os.close(number)
            except OSError:
                pass
