"""Tools: run one to its end, within a time and with a bounded output. Blocking; never a shell.

For the helper and the command line alone: a hub's loop does not wait.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping

from hub_upgrade.errors import HostError
from hub_upgrade.host import processes
from hub_upgrade.shapes import IO, NamedTuple

OUTPUT_BYTES = 1024 * 1024
"""Kept of each output: the last of it. The rest is read and dropped, so that no tool blocks."""
PIECE = 65536
LINGER_S = 0.5
"""How long the outputs may stay open after the tool's end: a grandchild may hold them."""
ALARM_MARGIN_S = 2
"""A tool ends by an alarm of its own where nobody else ends it."""
GONE_S = 2.0
GONE_POLL_S = 0.01
MISSING = 127

Sink = Callable[[bytes], None]


class Result(NamedTuple):
    """How a tool ended: `status` is negative for a signal, None when its time ran out, and 127
    when there is no such tool."""

    status: int | None
    stdout: bytes
    stderr: bytes

    def killed(self) -> str:
        """That a signal ended it, or ""."""
        status = self.status or 0
        return f"it was ended by signal {-status}" if status < 0 else ""

    def last_line(self) -> str:
        """The last line that says something, of stderr before stdout."""
        for output in (self.stderr, self.stdout):
            lines = output.decode("utf-8", "replace").strip().splitlines()
            if lines:
                return lines[-1].strip()[:500]
        return ""


def missing(sentence: str) -> HostError:
    """The error for a tool that is not there."""
    return HostError(f"{sentence} (exit {MISSING})", MISSING)


def run(
    argv: list[str],
    timeout_s: float,
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    sink: Sink | None = None,
    stdin: bytes = b"",
) -> Result:
    """Run one tool, `stdin` its whole input; its whole group is killed when its time is over, or
    when we are killed.

    `sink` gets every piece of output as it comes. Never raises for what the tool does.
    """
    guard = _Guard()
    try:
        with _input(stdin) as source:
            process = subprocess.Popen(
                argv,
                stdin=source,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=None if env is None else dict(env),
                cwd=cwd,
                start_new_session=True,
                preexec_fn=lambda: guard.joined(int(timeout_s) + ALARM_MARGIN_S),  # noqa: PLW1509
            )
    except OSError as error:
        guard.release()
        words = f"{argv[0]} cannot be run: {error.strerror or error}"
        return Result(MISSING, b"", words.encode("utf-8", "replace"))
    with process:
        assert process.stdout is not None and process.stderr is not None  # noqa: S101 - pipes
        outputs = (process.stdout, process.stderr)
        kept = _gather(process, outputs, time.monotonic() + timeout_s, sink)
        timed_out = not _ended(process)
        _end_group(process)
        guard.release()
        return Result(None if timed_out else process.returncode, *kept)


class _Guard:
    """A forked copy of us that outlives us: whoever goes on must not meet a tool of ours at work.

    It holds what we hold, `operation.lock` too, until the tool's group is gone. Forking is safe:
    whoever calls this has one thread.
    """

    def __init__(self) -> None:
        reader, self._writer = os.pipe()
        stands, ready = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            try:
                os.close(self._writer)
                # In our session yet: of who is stopped there when we end, the kernel asks this, and
                # has it go on.
                signal.signal(signal.SIGHUP, signal.SIG_IGN)
                os.setpgid(0, 0)
                os.close(ready)
                _stand_guard(reader)
            finally:
                os._exit(0)
        os.close(reader)
        os.close(ready)
        os.read(stands, 1)  # to its end: what kills our group must not take it along any more
        os.close(stands)

    def joined(self, alarm_s: int) -> None:
        """Called in the tool's process before it becomes the tool."""
        signal.alarm(alarm_s)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # what a tool is to find has been set already
        self._tell(b"%d\n" % os.getpid())
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)

    def release(self) -> None:
        """The tool has ended, with all its group."""
        self._tell(b"done\n")
        os.close(self._writer)
        os.waitpid(self._pid, 0)

    def _tell(self, line: bytes) -> None:
        with contextlib.suppress(BrokenPipeError):  # somebody has killed it: a tool runs without
            os.write(self._writer, line)


def _stand_guard(reader: int) -> None:
    said, group, started = b"", 0, None
    while True:
        piece = os.read(reader, 4096)
        if not piece:
            break
        said += piece
        if not group and said[:1].isdigit():
            group = int(said.partition(b"\n")[0])
            started = processes.start_time(group)
    if b"done" in said or not group:
        return
    if processes.start_time(group) not in (None, started, processes.UNKNOWN):
        return  # all of it has ended, and its number is a stranger's
    deadline = time.monotonic() + GONE_S
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return
    while processes.group_lives(group) and time.monotonic() < deadline:
        time.sleep(GONE_POLL_S)


def _input(data: bytes) -> IO[bytes]:
    """A file: unlike a pipe, nobody has to wait until it is read. Raises OSError."""
    if not data:
        return open(os.devnull, "rb")
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the caller's to close
    file.write(data)
    file.seek(0)
    return file


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

    def take(number: int, piece: bytes) -> None:
        kept[number] = (kept[number] + piece)[-OUTPUT_BYTES:]
        if sink is not None:
            sink(piece)

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
            take(number, piece)
    for number in open_ends:  # stopped ourselves, we may wake after the deadline and its end
        take(number, _rest(number))
    return kept[numbers[0]], kept[numbers[1]]


def _ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether it has ended, without reaping it where the system can tell: an unreaped leader
    keeps the number of its group from becoming another's."""
    if not hasattr(os, "waitid"):
        return process.poll() is not None
    found = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    return found is not None


def _rest(number: int) -> bytes:
    """What lies in a pipe yet; of one that is filled without end, as much as is kept."""
    found = b""
    while len(found) < OUTPUT_BYTES:
        piece = _read(number)
        if not piece:
            break
        found += piece
    return found


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
