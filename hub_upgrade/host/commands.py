"""Tools: run one to its end, within a time and with a bounded output. Blocking; never a shell.

For the helper and the command line alone: a hub's loop does not wait.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Mapping

from hub_upgrade.shapes import IO, NamedTuple

OUTPUT_BYTES = 1024 * 1024
"""Kept of each output: the last of it. The rest is read and dropped, so that no tool blocks."""
PIECE = 65536
LINGER_S = 0.5
"""How long the outputs may stay open after the tool's end: a grandchild may hold them."""
ALARM_MARGIN_S = 2
"""A tool whose caller was killed ends by an alarm of its own (a helper may be killed at any step);
forking with one is safe, for whoever calls this has one thread."""
MISSING = 127

Sink = Callable[[bytes], None]


class Result(NamedTuple):
    """How a tool ended: `status` is negative for a signal, None when its time ran out, and 127
    when there is no such tool."""

    status: int | None
    stdout: bytes
    stderr: bytes

    def last_line(self) -> str:
        """The last line that says something, of stderr before stdout."""
        for output in (self.stderr, self.stdout):
            lines = output.decode("utf-8", "replace").strip().splitlines()
            if lines:
                return lines[-1].strip()[:500]
        return ""


def run(
    argv: list[str],
    timeout_s: float,
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    sink: Sink | None = None,
) -> Result:
    """Run one tool with an empty input; its whole group is killed when its time is over.

    `sink` gets every piece of output as it comes. Never raises for what the tool does.
    """
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=None if env is None else dict(env),
            cwd=cwd,
            start_new_session=True,
            preexec_fn=lambda: signal.alarm(int(timeout_s) + ALARM_MARGIN_S),  # noqa: PLW1509
        )
    except OSError as error:
        words = f"{argv[0]} cannot be run: {error.strerror or error}"
        return Result(MISSING, b"", words.encode("utf-8", "replace"))
    with process:
        assert process.stdout is not None and process.stderr is not None  # noqa: S101 - pipes
        outputs = (process.stdout, process.stderr)
        kept = _gather(process, outputs, time.monotonic() + timeout_s, sink)
        timed_out = not _ended(process)
        _end_group(process)
        return Result(None if timed_out else process.returncode, *kept)


def _gather(
    process: subprocess.Popen[bytes],
    outputs: tuple[IO[bytes], IO[bytes]],
    deadline: float,
    sink: Sink | None,
) -> tuple[bytes, bytes]:
    kept = {output.fileno(): b"" for output in outputs}
    numbers = list(kept)
    poller = select.poll()
    for number in numbers:
        os.set_blocking(number, False)
        poller.register(number, select.POLLIN)
    open_ends = set(numbers)
    while open_ends or not _ended(process):
        left = deadline - time.monotonic()
        if left <= 0:
            break
        if _ended(process):
            deadline = min(deadline, time.monotonic() + LINGER_S)
        if not open_ends:
            time.sleep(min(left, 0.005))
            continue
        for number, _events in poller.poll(min(left, 0.1) * 1000):
            piece = _read(number)
            if piece is None:
                poller.unregister(number)
                open_ends.discard(number)
                continue
            kept[number] = (kept[number] + piece)[-OUTPUT_BYTES:]
            if sink is not None:
                sink(piece)
    return kept[numbers[0]], kept[numbers[1]]


def _ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether it has ended, without reaping it where the system can tell: an unreaped leader
    keeps the number of its group from becoming another's."""
    if not hasattr(os, "waitid"):
        return process.poll() is not None
    found = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    return found is not None


def _read(number: int) -> bytes | None:
    try:
        return os.read(number, PIECE) or None
    except BlockingIOError:
        return b""
    except OSError:
        return None


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of the group, then reap its leader."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
    process.wait()
