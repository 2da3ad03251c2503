from __future__ import annotations

import os
import signal
import sys
import time
import unittest
from unittest import mock

from hub_upgrade.host import children
from hub_upgrade.host.children import ChildResult, OneShot, environment
from hub_upgrade.host.loop import Loop

PATIENCE_S = 20.0


class OneShotTest(unittest.TestCase):
    def setUp(self) -> None:
        self.loop = Loop()
        self.addCleanup(self.loop.close)
        self.results: list[ChildResult] = []

    def start(
        self, code: str, timeout_s: float = 30.0, env: dict[str, str] | None = None
    ) -> OneShot:
        argv = [sys.executable, "-I", "-S", "-c", code]
        return OneShot(self.loop, argv, env, timeout_s, self.results.append)

    def until_done(self) -> ChildResult:
        end = time.monotonic() + PATIENCE_S
        while not self.results and time.monotonic() < end:
            self.loop.turn()
        self.assertEqual(len(self.results), 1)
        return self.results[0]

    def until_reaped(self) -> None:
        end = time.monotonic() + PATIENCE_S
        while self.loop._children and time.monotonic() < end:
            self.loop.call_later(0.01, lambda: None)
            self.loop.turn()
        self.assertFalse(self.loop._children)

    def assert_gone(self, pid: int) -> None:
        """Nobody has this number, or only a zombie that init has not got round to."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            try:
                with open(f"/proc/{pid}/stat", "rb") as file:
                    if file.read().rsplit(b")", 1)[1].split()[0] in (b"Z", b"X"):
                        return
            except OSError:
                return
            time.sleep(0.01)
        self.fail(f"{pid} lives")

    def test_status_and_both_outputs_come_back(self) -> None:
        self.start("import sys; print('out'); print('err', file=sys.stderr); sys.exit(7)")
        self.assertEqual(self.until_done(), ChildResult(7, b"out\n", b"err\n"))

    def test_its_input_is_empty_and_its_session_its_own(self) -> None:
        self.start("import os, sys; print(repr(sys.stdin.read()), os.getsid(0) == os.getpid())")
        self.assertEqual(self.until_done().stdout, b"'' True\n")

    def test_a_signal_is_a_negative_status(self) -> None:
        self.start("import os; os.kill(os.getpid(), 9)")
        self.assertEqual(self.until_done().status, -9)

    def test_a_program_that_is_not_there_is_127(self) -> None:
        OneShot(self.loop, ["/nowhere/at/all"], {}, 30, self.results.append)
        result = self.until_done()
        self.assertEqual(result.status, 127)
        self.assertIn(b"cannot execute", result.stderr)

    def test_too_slow_it_is_killed_with_its_group_and_has_no_status(self) -> None:
        code = (
            "import subprocess, sys, time\n"
            "argv = [sys.executable, '-S', '-c', 'import time; time.sleep(60)']\n"
            "child = subprocess.Popen(argv)\n"
            "print(child.pid, flush=True); time.sleep(60)"
        )
        self.start(code, 5.0)
        result = self.until_done()
        self.assertIsNone(result.status)
        self.assert_gone(int(result.stdout))

    def test_a_child_that_outlives_its_parent_ends_all_the_same(self) -> None:
        self.start("import signal; print(signal.alarm(0))", 20.0)
        self.assertIn(int(self.until_done().stdout), range(1, 23))

    def test_output_beyond_the_bound_is_dropped_and_never_blocks_the_child(self) -> None:
        with mock.patch.object(children, "MAX_OUTPUT", 1000):
            self.start("import sys; sys.stdout.write('x' * 3_000_000); sys.exit(3)")
            result = self.until_done()
        self.assertEqual((result.status, result.stdout), (3, b"x" * 1000))

    def test_a_grandchild_that_keeps_the_pipes_does_not_hold_up_the_answer(self) -> None:
        code = (
            "import os, time\n"
            "pid = os.fork()\n"
            "if pid: print(pid, flush=True)\n"
            "else: os.setsid(); time.sleep(60)\n"
        )
        with mock.patch.object(children, "PIPE_GRACE_S", 0.05):
            self.start(code)
            grandchild = int(self.until_done().stdout)
        os.kill(grandchild, signal.SIGKILL)  # it lives: nobody has waited for its end

    def test_cancelled_it_is_killed_reaped_and_says_nothing_even_when_just_forked(self) -> None:
        child = self.start("import time; time.sleep(60)")
        child.cancel()
        self.until_reaped()
        self.assertEqual(self.results, [])
        self.assertRaises(ProcessLookupError, os.kill, child.pid, 0)

    def test_no_descriptor_is_left(self) -> None:
        before = sorted(os.listdir("/proc/self/fd" if os.path.isdir("/proc") else "/dev/fd"))
        self.start("print('x')")
        self.until_done()
        after = sorted(os.listdir("/proc/self/fd" if os.path.isdir("/proc") else "/dev/fd"))
        self.assertEqual(before, after)

    def test_the_launchers_protocol_and_secrets_stay_with_the_hub(self) -> None:
        given = {
            "PATH": "/bin", "PARACHUTE_HOME": "/h", "NOTIFY_SOCKET": "x", "WATCHDOG_USEC": "1",
            "LISTEN_FDS": "1", "LISTEN_PID": "1", "LISTEN_FDNAMES": "http", "WATCHDOG_PID": "1",
            "PARACHUTE_HUB_HANDOFF": "5", "PARACHUTE_ADMIN_TOKEN_FILE": "/secret",
            "PARACHUTE_HUB_ORIGIN": "https://hub.example", "PARACHUTE_HUB_TROUBLE": "x",
        }  # fmt: skip
        kept = {"PATH", "PARACHUTE_HOME", "PARACHUTE_HUB_ORIGIN"}
        self.assertEqual(set(environment(given)), kept)


if __name__ == "__main__":
    unittest.main()
