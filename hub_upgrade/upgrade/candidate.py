"""One candidate's process, as a launcher would start it, for a caller that may wait."""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from collections.abc import Mapping

from hub_upgrade.host import notify, processes
from hub_upgrade.host.look import request, understand
from hub_upgrade.host.operation_log import OperationLog
from hub_upgrade.shapes import Any

TAIL_BYTES = 16 * 1024
LAST_WORDS = 500
MAX_ANSWER = 64 * 1024
BACKLOG = 16
GONE_S = 1.0
GONE_POLL_S = 0.01

Seen = tuple[int, Mapping[str, Any], str]


class Candidate:
    """Started at once; `close` ends it and its group. Raises OSError when none can be."""

    def __init__(
        self, argv: list[str], env: Mapping[str, str], cwd: str, alarm_s: int, log: OperationLog
    ) -> None:
        self.ready = False
        self._log = log
        self._tail = b""
        self._status: int | None = None
        self._listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(BACKLOG)
        self._listener.setblocking(False)
        self._address = self._listener.getsockname()
        self._receiver = notify.Receiver()
        stdin, self._stdin = os.pipe()
        self._output, output = os.pipe()
        os.set_blocking(self._output, False)
        full = {
            **env,
            "NOTIFY_SOCKET": self._receiver.address,
            "LISTEN_FDS": "1",
            "LISTEN_FDNAMES": "http",
        }
        fds = {0: stdin, 1: output, 2: output, 3: self._listener.fileno()}
        try:
            self.pid = processes.spawn(
                argv, full, fds, alarm_s=alarm_s, cwd=cwd, listen_pid=True, unblock=False
            )
        finally:
            os.close(stdin)
            os.close(output)

    def turn(self, wait_s: float, other: socket.socket | None = None) -> None:
        """Take in what it says, waiting at most `wait_s` seconds for the first of it."""
        poller = select.poll()
        poller.register(self._receiver.fileno(), select.POLLIN)
        if self._output >= 0:
            poller.register(self._output, select.POLLIN)
        if other is not None:
            poller.register(other, select.POLLIN)
        poller.poll(max(0.0, wait_s) * 1000)
        self._drain()
        while True:
            message = self._receiver.receive()
            if message is None:
                return
            sender, fields = message
            if sender in (self.pid, 0) and fields.get("READY") == "1":
                self.ready = True

    def _drain(self) -> None:
        while self._output >= 0:
            try:
                piece = os.read(self._output, 65536)
            except BlockingIOError:
                return
            except OSError:
                piece = b""
            if not piece:
                os.close(self._output)
                self._output = -1
                return
            self._tail = (self._tail + piece)[-TAIL_BYTES:]
            self._log.write(piece)

    def exit_status(self) -> int | None:
        """Its wait status once it has ended, else None; what it leaves behind ends with it."""
        if self._status is None and self._ended():
            self._kill_group()
            if self._status is None:
                _pid, self._status = os.waitpid(self.pid, 0)
            self._drain()
        return self._status

    def _ended(self) -> bool:
        """Whether it has ended, unreaped where that can be: so its number, and its group's, is
        nobody else's yet. (Without: a group that has members keeps its number too.)"""
        if not hasattr(os, "waitid"):  # macOS, before Python 3.13
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self._status = status if pid else None
            return pid != 0
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _kill_group(self) -> None:
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass  # before its setsid there is no such group yet

    def _wait_for_group(self) -> None:
        """What was killed with it holds on to its release until it is gone: for at most GONE_S.

        The number is nobody else's as long as any of the group is there.
        """
        deadline = time.monotonic() + GONE_S
        while processes.group_lives(self.pid) and time.monotonic() < deadline:
            time.sleep(GONE_POLL_S)

    def look(self, timeout_s: float) -> Seen:
        """One request to its `/health`; a status of 0 says that there was no answer, and why."""
        deadline = time.monotonic() + timeout_s
        try:
            with socket.create_connection(self._address, timeout_s) as client:
                client.sendall(request("/health"))
                client.setblocking(False)
                return self._answer(client, deadline, timeout_s)
        except OSError as error:
            return 0, {}, f"/health cannot be asked: {error.strerror or error}"

    def _answer(self, client: socket.socket, deadline: float, timeout_s: float) -> Seen:
        data = b""
        while len(data) <= MAX_ANSWER:
            left = deadline - time.monotonic()
            if left <= 0:
                return 0, {}, f"/health did not answer within {timeout_s:g} s"
            if self.exit_status() is not None:
                return 0, {}, "it ended"
            self.turn(min(left, 0.1), client)
            try:
                piece = client.recv(65536)
            except BlockingIOError:
                continue
            if not piece:
                break
            data += piece
        seen = understand(data)
        return seen.status, seen.body, seen.why

    def last_words(self) -> str:
        """Its last line of output, as the end of a sentence."""
        lines = [s for s in self._tail.decode("utf-8", "replace").splitlines() if s.strip()]
        return f"; its last line: {lines[-1].strip()[:LAST_WORDS]}" if lines else ""

    def signal(self, number: int) -> None:
        """Signal it, if it has not ended: it is our own unreaped child."""
        if self.exit_status() is None:
            os.kill(self.pid, number)

    def close(self) -> None:
        """End it with all that it started, and give everything back."""
        if self.exit_status() is None:
            self._kill_group()
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        self._wait_for_group()
        if self._output >= 0:
            os.close(self._output)
        os.close(self._stdin)
        self._receiver.close()
        self._listener.close()
