"""The hub as the launcher's child: started with its descriptors in place, its output relayed."""

from __future__ import annotations

import errno
import os
import select
import signal
import socket
from collections.abc import Callable, Mapping

from hub_upgrade.host import interpreter, log, notify, processes
from hub_upgrade.host.loop import READ, Loop

TAIL_LINES = 50
LINE_CHARACTERS = 2000
BACKLOG_BYTES = 64 * 1024
MOST_PIECES = 16
PIECE = 4096
"""At most PIPE_BUF: a pipe that polls as writable takes this much without blocking (pipe(7))."""

NEVER_INHERITED = frozenset(
    {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID",
     "LISTEN_FDNAMES", "PARACHUTE_HUB_HANDOFF"}
)  # fmt: skip


class Relay:
    """What the hub prints: passed on to stderr without ever blocking, its last lines kept.

    It is passed on as it is; where the log is JSON, in whole lines, each of them an object.
    """

    def __init__(self, loop: Loop, descriptor: int) -> None:
        self._loop = loop
        self._descriptor = descriptor
        self._backlog = b""
        self._begun = b""
        self._tail: list[str] = []
        self._partial = b""
        self._log = -1
        self._log_room = 0
        os.set_blocking(descriptor, False)
        loop.watch(descriptor, READ, lambda _events: self.drain())

    def drain(self) -> None:
        """Take what is there, in bounded turns: a hub that never stops printing holds up nobody."""
        for _ in range(MOST_PIECES):
            if self._descriptor < 0:
                break
            try:
                piece = os.read(self._descriptor, 65536)
            except BlockingIOError:
                break
            except OSError:
                piece = b""
            if not piece:
                self.close()
                break
            self._keep(piece)
            self._pass_on(piece)
            self.flush()

    def _pass_on(self, piece: bytes) -> None:
        if not log.is_json():
            self._backlog = (self._backlog + piece)[-BACKLOG_BYTES:]
            return
        lines = (self._begun + piece).split(b"\n")
        self._begun = lines.pop()[-PIECE:]
        backlog = self._backlog + b"".join(map(log.relayed, lines))
        over = len(backlog) - BACKLOG_BYTES
        self._backlog = backlog[backlog.find(b"\n", over) + 1 :] if over > 0 else backlog

    def flush(self) -> None:
        """Pass on what stderr takes now; the rest waits, and the oldest is dropped first."""
        poller = select.poll()
        poller.register(2, select.POLLOUT)
        while self._backlog and poller.poll(0):
            piece = self._backlog[:PIECE]
            piece = piece[: piece.rfind(b"\n") + 1] or piece  # whole lines, if there are any
            try:
                self._backlog = self._backlog[os.write(2, piece) :]
            except OSError:
                self._backlog = b""

    def _keep(self, piece: bytes) -> None:
        if self._log >= 0 and self._log_room > 0:
            try:
                os.write(self._log, piece[: self._log_room])
                self._log_room -= len(piece)
            except OSError:
                self._log_room = 0
        lines = (self._partial + piece).split(b"\n")
        self._partial = lines.pop()[-LINE_CHARACTERS:]
        for line in lines:
            self._tail.append(line.decode("utf-8", "replace")[:LINE_CHARACTERS])
        del self._tail[:-TAIL_LINES]

    def begin(self, log: int, room: int) -> None:
        """A new release prints from here: forget the tail, and copy all of it into `log`."""
        self._tail, self._partial = [], b""
        if self._log >= 0:
            os.close(self._log)
        self._log, self._log_room = log, room

    def tail(self) -> tuple[str, ...]:
        """The last lines, the unfinished one included."""
        last = [self._partial.decode("utf-8", "replace")] if self._partial else []
        return tuple((self._tail + last)[-TAIL_LINES:])

    def close(self) -> None:
        if self._begun:
            self._pass_on(b"\n")
            self.flush()
        if self._descriptor >= 0:
            self._loop.unwatch(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1
        if self._log >= 0:
            os.close(self._log)
            self._log = -1


class Child:
    """One hub process, from its start to its end."""

    def __init__(
        self,
        loop: Loop,
        path: str,
        listener: socket.socket,
        lock_fd: int,
        env: Mapping[str, str],
        on_exit: Callable[[int], None],
    ) -> None:
        """Start it; raises OSError, with nothing left open."""
        self._loop = loop
        self.receiver = notify.Receiver()
        ends: list[int] = []
        try:
            ends += os.pipe()
            ends += os.pipe()
            alive_read, self._alive_write, output_read, output_write = ends
            fds = {0: alive_read, 1: output_write, 2: output_write, 3: listener.fileno()}
            if lock_fd >= 0:
                fds[4] = lock_fd
            argv = interpreter.command(path, "run")
            if not argv[0]:  # the machine's trouble: no release is to blame for its end
                raise FileNotFoundError(errno.ENOENT, "no Python 3.9 or newer is on the path")
            environment = self._environment(env, lock_fd >= 0)
            self.pid = processes.spawn(argv, environment, fds, listen_pid=True, unblock=False)
        except OSError:
            for end in ends:
                os.close(end)
            self.receiver.close()
            raise
        os.close(alive_read)
        os.close(output_write)
        self.start_time = processes.start_time(self.pid)
        self.relay = Relay(loop, output_read)
        self.stopping = False
        loop.on_exit(self.pid, on_exit)

    def _environment(self, env: Mapping[str, str], locked: bool) -> dict[str, str]:
        environment = {k: v for k, v in os.environ.items() if k not in NEVER_INHERITED}
        environment.update(env)
        environment["LISTEN_FDS"] = "2" if locked else "1"
        environment["LISTEN_FDNAMES"] = "http:serve.lock" if locked else "http"
        environment["NOTIFY_SOCKET"] = self.receiver.address
        return environment

    def signal(self, number: int) -> None:
        """Signal it; it is our own unreaped child, so the PID is its own."""
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            pass

    def kill(self) -> None:
        self.signal(signal.SIGKILL)

    def close(self) -> None:
        """After its end: give back the pipes and the notification socket."""
        self.relay.drain()
        self.relay.close()
        self._loop.unwatch(self.receiver.fileno())
        self.receiver.close()
        os.close(self._alive_write)
