"""One-shot children: what may wait runs in one, and the loop picks up what it printed."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from hub_upgrade.host.loop import READ, Loop
from hub_upgrade.host.processes import kill_group, spawn, start_time
from hub_upgrade.shapes import NamedTuple

MAX_OUTPUT = 1024 * 1024
"""Bytes kept of each output of a child; the rest is read and dropped, so that it never blocks."""
READ_SIZE = 65536
PIPE_GRACE_S = 1.0
"""How long the pipes of a child that has ended may stay open: a grandchild may hold them."""
ALARM_MARGIN_S = 2
"""A child that outlives us ends by an alarm of its own, so long after its time."""

OURS = frozenset(
    {
        "NOTIFY_SOCKET",
        "WATCHDOG_USEC",
        "WATCHDOG_PID",
        "LISTEN_FDS",
        "LISTEN_PID",
        "LISTEN_FDNAMES",
        "PARACHUTE_HUB_HANDOFF",
        "PARACHUTE_HUB_TROUBLE",
        "PARACHUTE_ADMIN_TOKEN_FILE",
    }
)


class ChildResult(NamedTuple):
    """How a child ended: its exit status, negative for a signal, None when its time ran out."""

    status: int | None
    stdout: bytes
    stderr: bytes


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What a child inherits: everything but the launcher's protocol and the hub's own secrets."""
    return {name: value for name, value in environ.items() if name not in OURS}


class OneShot:
    """A child with a time limit, in a session of its own, its input empty, its output bounded.

    `done(ChildResult)` is called exactly once, from the loop, after the child has ended (and been
    reaped); never after `cancel`. Its environment is `env`, or what `environment` makes of ours.
    Raises OSError when it cannot be started.
    """

    def __init__(
        self,
        loop: Loop,
        argv: list[str],
        env: Mapping[str, str] | None,
        timeout_s: float,
        done: Callable[[ChildResult], None],
    ) -> None:
        self._loop = loop
        self._done: Callable[[ChildResult], None] | None = done
        self._status: int | None = None
        self._timed_out = False
        self._kept: dict[int, bytearray] = {}
        self._open: set[int] = set()
        theirs: list[int] = []
        if env is None:
            env = environment(os.environ)
        try:
            theirs.append(os.open(os.devnull, os.O_RDONLY))
            for _ in range(2):
                ours, end = os.pipe()
                theirs.append(end)
                self._kept[ours] = bytearray()
            fds = {0: theirs[0], 1: theirs[1], 2: theirs[2]}
            self.pid = spawn(argv, env, fds, alarm_s=int(timeout_s) + ALARM_MARGIN_S)
        except OSError:
            for descriptor in self._kept:
                os.close(descriptor)
            raise
        finally:
            for descriptor in theirs:
                os.close(descriptor)
        self._started = start_time(self.pid)
        for descriptor in self._kept:
            os.set_blocking(descriptor, False)
            self._open.add(descriptor)
            loop.watch(descriptor, READ, self._reader(descriptor))
        loop.on_exit(self.pid, self._ended)
        self._timer = loop.call_later(timeout_s, self._expired)

    def _reader(self, descriptor: int) -> Callable[[int], None]:
        return lambda _events: self._readable(descriptor)

    def _readable(self, descriptor: int) -> None:
        try:
            piece = os.read(descriptor, READ_SIZE)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        kept = self._kept[descriptor]
        kept += piece[: MAX_OUTPUT - len(kept)]
        if not piece:
            self._close(descriptor)
            self._settle()

    def _close(self, descriptor: int) -> None:
        self._open.discard(descriptor)
        self._loop.unwatch(descriptor)
        os.close(descriptor)

    def _expired(self) -> None:
        self._timed_out = True
        self._kill()

    def _kill(self) -> None:
        if self._status is None:
            kill_group(self.pid, self._started)

    def _ended(self, status: int) -> None:
        self._timer.cancel()
        self._status = status
        self._timer = self._loop.call_later(PIPE_GRACE_S, self._give_up_pipes)
        self._settle()

    def _give_up_pipes(self) -> None:
        for descriptor in list(self._open):
            self._close(descriptor)
        self._settle()

    def _settle(self) -> None:
        if self._status is None or self._open:
            return
        self._timer.cancel()
        done, self._done = self._done, None
        if done is not None:
            stdout, stderr = (bytes(kept) for kept in self._kept.values())
            status = None if self._timed_out else exit_code(self._status)
            done(ChildResult(status, stdout, stderr))

    def cancel(self) -> None:
        """Kill it and say nothing more; the loop still reaps it."""
        self._done = None
        self._kill()


def exit_code(status: int) -> int:
    """A wait status as `subprocess` tells it: negative is the number of a signal."""
    if os.WIFSIGNALED(status):
        return -os.WTERMSIG(status)
    return os.WEXITSTATUS(status)
