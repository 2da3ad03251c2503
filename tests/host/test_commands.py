"""Tools, run to their end within a time."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from collections.abc import Callable
from pathlib import Path
from unittest import mock

from hub_upgrade.host import commands, processes
from hub_upgrade.host.commands import run
from hub_upgrade.host.files import Lock

ROOT = Path(__file__).resolve().parent.parent.parent

PYTHON = [sys.executable, "-S", "-c"]
HELD_UP_S = 30.0
"""Whoever waits for what sleeps a minute takes longer than this, and nobody else does."""


class Run(unittest.TestCase):
    def test_status_and_both_outputs_come_back(self) -> None:
        code = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(7)"
        result = run([*PYTHON, code], 10)
        self.assertEqual(result, (7, b"out\n", b"err\n"))
        self.assertEqual(result.last_line(), "err")

    def test_a_missing_tool_is_127_and_one_sentence(self) -> None:
        result = run(["/no/such/tool"], 10)
        self.assertEqual(result.status, 127)
        self.assertIn("/no/such/tool cannot be run", result.last_line())

    def test_a_tool_over_its_time_is_killed_with_its_group(self) -> None:
        started = time.monotonic()
        result = run(["/bin/sh", "-c", "sleep 60 & echo $!; wait"], 4)
        self.assertIsNone(result.status)
        self.assertLess(time.monotonic() - started, HELD_UP_S)
        wait_until(lambda: processes.start_time(int(result.stdout)) is None)

    def test_a_grandchild_that_holds_the_pipes_does_not_hold_us(self) -> None:
        started = time.monotonic()
        result = run(["/bin/sh", "-c", "sleep 60 & echo done"], 30)
        self.assertEqual((result.status, result.stdout), (0, b"done\n"))
        self.assertLess(time.monotonic() - started, HELD_UP_S)

    def test_a_tool_that_outlives_its_caller_ends_all_the_same(self) -> None:
        left = run([*PYTHON, "import signal; print(signal.alarm(0))"], 20).stdout
        self.assertIn(int(left), range(1, 23))

    def test_output_is_bounded_and_the_sink_gets_it_all(self) -> None:
        pieces: list[int] = []
        code = "import sys; sys.stdout.write('x' * 3000000); print('end')"
        result = run([*PYTHON, code], 20, sink=lambda piece: pieces.append(len(piece)))
        self.assertEqual(len(result.stdout), commands.OUTPUT_BYTES)
        self.assertTrue(result.stdout.endswith(b"end\n"))
        self.assertEqual(sum(pieces), 3000004)

    def test_a_tool_reads_nothing_and_gets_the_environment_it_is_given(self) -> None:
        code = "import os, sys; print(repr(sys.stdin.read()), os.environ.get('A'))"
        self.assertEqual(run([*PYTHON, code], 10, {"A": "b"}).stdout, b"'' b\n")

    def test_its_input_may_be_longer_than_a_pipe_holds_or_go_unread(self) -> None:
        data = b"x" * 1_000_000
        code = "import sys; print(len(sys.stdin.buffer.read()))"
        self.assertEqual(run([*PYTHON, code], 10, stdin=data).stdout, b"1000000\n")
        self.assertEqual(run([*PYTHON, "pass"], 10, stdin=data).status, 0)

    def test_an_input_that_finds_no_room_is_a_sentence(self) -> None:
        full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        with mock.patch.object(tempfile, "TemporaryFile", side_effect=full):
            result = run(["/bin/cat"], 10, stdin=b"x")
        self.assertEqual(result.status, 127)
        self.assertIn("/bin/cat cannot be run: No space left", result.last_line())

    def test_what_it_said_is_read_also_when_we_wake_after_its_time(self) -> None:
        """Stopped ourselves, say by a suspended machine: it ended well meanwhile."""
        pipe = subprocess.PIPE
        with subprocess.Popen(["/bin/echo", "all of it"], stdout=pipe, stderr=pipe) as process:
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
            assert process.stdout is not None and process.stderr is not None
            outputs = (process.stdout, process.stderr)
            kept = commands._gather(process, outputs, time.monotonic() - 1, None)
        self.assertEqual(kept, (b"all of it\n", b""))

    def test_nothing_is_left_open_and_nobody_unreaped(self) -> None:
        before = len(os.listdir("/proc/self/fd"))
        for argv in (["true"], ["false"], ["/no/such/tool"], ["sh", "-c", "sleep 60 &"]):
            run(argv, 10, stdin=b"x")
        run(["sleep", "60"], 0.1)
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)
        with self.assertRaises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)


CALLER = """
import sys
from hub_upgrade.host import commands
from hub_upgrade.host.files import Lock

lock = Lock.try_take(sys.argv[1])
tool = "echo $$ > $1.tool; trap '' TERM HUP INT; sleep 60 & wait; sleep 60"
commands.run(["/bin/sh", "-c", tool, "sh", sys.argv[1]], 60)
"""


class Guard(unittest.TestCase):
    """Whoever is killed, its tool is gone before another has the lock."""

    def setUp(self) -> None:
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.path = os.path.join(scratch.name, "lock")

    def working(self) -> tuple[subprocess.Popen[bytes], int]:
        """A caller that holds the lock, and its tool."""
        argv = [sys.executable, "-S", "-c", CALLER, self.path]
        caller = subprocess.Popen(argv, cwd=ROOT, start_new_session=True)
        self.addCleanup(caller.wait)
        self.addCleanup(caller.kill)
        told = Path(f"{self.path}.tool")
        wait_until(lambda: told.exists() and told.read_text().endswith("\n"))
        return caller, int(told.read_text())

    def test_killed_by_itself_or_with_its_group(self) -> None:
        for end in (os.kill, os.killpg):
            with self.subTest(end.__name__):
                caller, tool = self.working()
                self.assertIsNone(Lock.try_take(self.path))
                end(caller.pid, signal.SIGKILL)
                caller.wait()
                lock = None
                while lock is None:  # at the very moment when it is free
                    lock = Lock.try_take(self.path)
                self.assertIsNone(processes.start_time(tool), "the tool is at work still")
                self.assertEqual(at_work(tool), [])
                lock.release()
                os.unlink(f"{self.path}.tool")

    def test_it_leads_a_group_of_its_own_before_there_is_a_tool(self) -> None:
        for _ in range(100):
            guard = commands._Guard()
            try:
                self.assertEqual(os.getpgid(guard._pid), guard._pid)
            finally:
                guard.release()

    def test_a_tool_runs_also_when_its_guard_was_killed(self) -> None:
        fork = os.fork

        def killed() -> int:
            pid = fork()
            if pid:
                os.kill(pid, signal.SIGKILL)
                os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
            return pid

        with mock.patch.object(os, "fork", killed):
            self.assertEqual(run(["/bin/echo", "well"], 10).stdout, b"well\n")

    def test_a_guard_that_is_stopped_when_its_caller_ends_is_none_the_worse(self) -> None:
        caller, tool = self.working()
        guard = next(pid for pid in children_of(caller.pid) if pid != tool)
        os.kill(guard, signal.SIGSTOP)
        wait_until(lambda: ") T " in Path(f"/proc/{guard}/stat").read_text())
        caller.kill()
        caller.wait()
        # An orphaned group with somebody stopped in it is sent SIGHUP and SIGCONT (exit(3)).
        wait_until(lambda: Lock.try_take(self.path) is not None)
        self.assertEqual(at_work(tool), [])

    def test_whose_number_is_a_strangers_by_now_is_left_alone(self) -> None:
        stranger = subprocess.Popen(["/bin/sleep", "60"], start_new_session=True)
        self.addCleanup(stranger.wait)
        self.addCleanup(stranger.kill)
        for started, spared in (("1", True), (processes.start_time(stranger.pid), False)):
            reader, writer = os.pipe()
            os.write(writer, b"%d\n" % stranger.pid)
            os.close(writer)
            told = [started, processes.start_time(stranger.pid)]
            with mock.patch.object(processes, "start_time", lambda _pid, told=told: told.pop(0)):
                commands._stand_guard(reader)
            os.close(reader)
            self.assertEqual(processes.start_time(stranger.pid) is not None, spared)

    def test_a_stop_ends_both(self) -> None:
        caller, tool = self.working()
        caller.terminate()
        caller.wait()
        wait_until(lambda: processes.start_time(tool) is None)


def children_of(parent: int) -> list[int]:
    words = Path(f"/proc/{parent}/task/{parent}/children").read_text()
    return [int(word) for word in words.split()]


def at_work(group: int) -> list[str]:
    """Who of a process group does anything yet: process 1 may reap the dead when it likes."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _parent, its_group = stat.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if its_group == str(group) and state not in "ZX":
            found.append(f"{stat} {state}")
    return found


def wait_until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not what():
        if time.monotonic() > deadline:
            raise AssertionError("waited in vain")
        time.sleep(0.005)


if __name__ == "__main__":
    unittest.main()
