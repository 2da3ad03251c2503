from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
import unittest
from typing import Any
from unittest import mock

from hub_upgrade.host import processes
from hub_upgrade.host.processes import alive, kill_group, signal_process, spawn, start_time

LINUX = sys.platform == "linux"
PATIENCE_S = 20.0
REPORT = """
import json, os, signal
fds = {}
for number in range(40):
    try:
        fds[number] = os.fstat(number).st_ino
    except OSError:
        pass
masked = sorted(int(n) for n in signal.pthread_sigmask(signal.SIG_BLOCK, ()))
ignored = [int(n) for n in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGCHLD)
           if signal.getsignal(n) is signal.SIG_IGN]
os.write(1, json.dumps({
    "fds": fds, "env": dict(os.environ), "pid": os.getpid(), "session": os.getsid(0),
    "cwd": os.getcwd(), "masked": masked, "ignored": ignored, "alarm": signal.alarm(0),
}).encode())
"""


class SpawnTest(unittest.TestCase):
    def setUp(self) -> None:
        self.spare: list[int] = []
        self.addCleanup(self.close_all)

    def close_all(self) -> None:
        for number in self.spare:
            os.close(number)

    def file(self) -> int:
        descriptor, path = tempfile.mkstemp()
        os.unlink(path)
        self.spare.append(descriptor)
        return descriptor

    def null(self) -> int:
        self.spare.append(os.open(os.devnull, os.O_RDWR))
        return self.spare[-1]

    def argv(self, code: str) -> list[str]:
        return [sys.executable, "-I", "-S", "-c", code]

    def report(self, fds: dict[int, int] | None = None, **options: Any) -> dict[str, Any]:
        """What a child says about itself, on its standard output."""
        read, write = os.pipe()
        env = options.pop("env", {})
        null = self.null()
        given = {0: null, 1: write, 2: null, **(fds or {})}
        pid = spawn(self.argv(REPORT), env, given, **options)
        os.close(write)
        with os.fdopen(read, "rb") as file:
            text = file.read()
        self.assertEqual(os.waitpid(pid, 0)[1], 0)
        said: dict[str, Any] = json.loads(text)
        said["spawned"] = pid
        return said

    def inode(self, descriptor: int) -> int:
        return os.fstat(descriptor).st_ino

    def test_descriptors_arrive_at_their_numbers_and_no_other_does(self) -> None:
        listener, lock = self.file(), self.file()
        os.set_inheritable(self.file(), True)
        said = self.report({3: listener, 4: lock})
        self.assertEqual(sorted(said["fds"], key=int), ["0", "1", "2", "3", "4"])
        self.assertEqual(said["fds"]["3"], self.inode(listener))
        self.assertEqual(said["fds"]["4"], self.inode(lock))

    def test_numbers_that_are_swapped_or_turn_in_a_circle_arrive_all_the_same(self) -> None:
        one, two, three = self.file(), self.file(), self.file()
        said = self.report({one: two, two: three, three: one})
        for number, ours in ((one, two), (two, three), (three, one)):
            self.assertEqual(said["fds"][str(number)], self.inode(ours))

    def test_a_descriptor_may_stay_where_it_is_and_may_be_given_twice(self) -> None:
        one = self.file()
        said = self.report({one: one, one + 7: one})
        self.assertEqual(said["fds"][str(one)], self.inode(one))
        self.assertEqual(said["fds"][str(one + 7)], self.inode(one))

    def test_numbers_with_gaps_between_them_leave_the_gaps_closed(self) -> None:
        one = self.file()
        said = self.report({9: one})
        self.assertEqual(sorted(map(int, said["fds"])), [0, 1, 2, 9])

    def test_our_own_descriptors_stay_as_they_were(self) -> None:
        one, two = self.file(), self.file()
        before = self.inode(one), self.inode(two)
        self.report({one: two, two: one})
        self.assertEqual((self.inode(one), self.inode(two)), before)
        self.assertFalse(os.get_inheritable(one) or os.get_inheritable(two))

    def test_listen_pid_is_the_childs_own_and_the_environment_exactly_what_is_given(self) -> None:
        said = self.report(env={"A": "b", "LC_ALL": "C"}, listen_pid=True)
        self.assertEqual(said["pid"], said["spawned"])
        wanted = {"A": "b", "LC_ALL": "C", "LISTEN_PID": str(said["pid"])}
        said["env"].pop("LC_CTYPE", None)
        self.assertEqual(said["env"], wanted)

    def test_it_leads_a_session_of_its_own(self) -> None:
        said = self.report()
        self.assertEqual(said["session"], said["pid"])

    def test_it_works_in_the_directory_it_is_told(self) -> None:
        self.assertEqual(self.report(cwd="/")["cwd"], "/")

    def test_signals_are_let_in_or_held_back_until_it_has_handlers(self) -> None:
        self.assertEqual(self.report()["masked"], [])
        held = sorted(int(number) for number in processes.HELD_SIGNALS)
        self.assertEqual(self.report(unblock=False)["masked"], held)
        self.assertFalse(signal.pthread_sigmask(signal.SIG_BLOCK, ()) & processes.HELD_SIGNALS)

    def test_what_we_ignore_it_does_not(self) -> None:
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self.addCleanup(signal.signal, signal.SIGHUP, before)
        self.assertEqual(self.report()["ignored"], [])

    def test_a_signal_right_after_the_start_is_not_lost_and_kills_no_half_started_one(self) -> None:
        code = """
import os, signal
signal.signal(signal.SIGTERM, lambda *_: os._exit(9))
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
os._exit(1)
"""
        null = self.null()
        pid = spawn(self.argv(code), {}, {0: null, 1: null, 2: null}, unblock=False)
        os.kill(pid, signal.SIGTERM)
        self.assertEqual(os.waitpid(pid, 0)[1], 9 << 8)

    def test_an_alarm_survives_the_exec(self) -> None:
        self.assertIn(self.report(alarm_s=60)["alarm"], range(30, 61))
        self.assertEqual(self.report()["alarm"], 0)

    def test_a_child_that_hangs_dies_by_its_alarm_without_us(self) -> None:
        null = self.null()
        code = "import signal; signal.pause()"
        pid = spawn(self.argv(code), {}, {0: null, 1: null, 2: null}, alarm_s=1)
        self.assertEqual(os.waitpid(pid, 0)[1], signal.SIGALRM)

    def test_a_program_that_cannot_be_executed_is_status_127_and_says_so(self) -> None:
        with tempfile.NamedTemporaryFile() as plain:
            for path in ("/no/such/program", plain.name, "/"):
                read, write = os.pipe()
                null = self.null()
                pid = spawn([path], {}, {0: null, 1: null, 2: write})
                os.close(write)
                with os.fdopen(read, "rb") as file:
                    said = file.read()
                self.assertEqual(os.waitpid(pid, 0)[1], 127 << 8)
                self.assertIn(path.encode(), said)

    def test_whatever_goes_wrong_after_the_fork_no_copy_of_us_goes_on(self) -> None:
        null = self.null()
        pid = spawn(self.argv(""), {}, {0: null, 1: null, 2: null, 5: 10_000})
        self.assertEqual(os.waitpid(pid, 0)[1], 127 << 8)
        pid = spawn(self.argv(""), {}, {0: null, 1: null, 2: null}, cwd="/no/such/directory")
        self.assertEqual(os.waitpid(pid, 0)[1], 127 << 8)
        pid = spawn(self.argv(""), {"A": "nul\0"}, {0: null, 1: null, 2: null})
        self.assertEqual(os.waitpid(pid, 0)[1], 127 << 8)

    def test_no_fork_to_be_had_is_an_oserror_and_leaves_signals_as_they_were(self) -> None:
        full = mock.patch.object(os, "fork", side_effect=BlockingIOError)
        with full, self.assertRaises(OSError):
            spawn(self.argv(""), {}, {})
        self.assertFalse(signal.pthread_sigmask(signal.SIG_BLOCK, ()) & processes.HELD_SIGNALS)


class IdentityTest(unittest.TestCase):
    def sleeper(self, *, group: bool = False) -> int:
        ready, tell = os.pipe()
        pid = os.fork()
        if pid == 0:
            if group:
                os.setsid()
            os.write(tell, b".")
            signal.pause()
            os._exit(0)
        os.read(ready, 1)
        os.close(ready)
        os.close(tell)
        self.addCleanup(self.end, pid)
        return pid

    def end(self, pid: int) -> int:
        try:
            os.kill(pid, signal.SIGKILL)
            return os.waitpid(pid, 0)[1]
        except (ProcessLookupError, ChildProcessError):
            return 0

    @unittest.skipUnless(LINUX, "start times are Linux's")
    def test_a_start_time_stays_the_same_and_tells_processes_apart(self) -> None:
        ours = start_time(os.getpid())
        self.assertEqual(start_time(os.getpid()), ours)
        time.sleep(0.03)  # three ticks of the clock that counts start times
        self.assertNotEqual(start_time(self.sleeper()), ours)

    def test_a_start_time_survives_an_exec(self) -> None:
        ready, tell = os.pipe()
        os.set_inheritable(tell, True)
        pid = os.fork()
        if pid == 0:
            code = f"import os, signal; os.write({tell}, b'.'); signal.pause()"
            os.write(tell, b".")
            os.execv(sys.executable, [sys.executable, "-I", "-S", "-c", code])
        self.addCleanup(self.end, pid)
        os.read(ready, 1)
        before = start_time(pid)
        os.read(ready, 1)
        self.assertIsNotNone(before)
        self.assertEqual(start_time(pid), before)
        os.close(ready)
        os.close(tell)

    @unittest.skipUnless(LINUX, "names of processes are read on Linux only")
    def test_a_name_with_blanks_and_brackets_does_not_deceive(self) -> None:
        ready, tell = os.pipe()
        pid = os.fork()
        if pid == 0:
            with open("/proc/self/comm", "w") as file:
                file.write("a) Z 1 (b")
            os.write(tell, b".")
            signal.pause()
            os._exit(0)
        self.addCleanup(self.end, pid)
        os.read(ready, 1)
        os.close(ready)
        os.close(tell)
        self.assertRegex(str(start_time(pid)), r"^\d+$")

    def test_the_dead_the_zombie_and_nonsense_have_no_start_time_and_are_not_alive(self) -> None:
        pid = self.sleeper()
        started = start_time(pid)
        self.assertTrue(alive(pid, started))
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        if LINUX:
            self.assertIsNone(start_time(pid), "a zombie")
            self.assertFalse(alive(pid, started))
        os.waitpid(pid, 0)
        self.assertIsNone(start_time(pid))
        for number in (0, -1, pid):
            self.assertFalse(alive(number, started), number)
        self.assertFalse(alive(os.getpid(), None))

    @unittest.skipUnless(LINUX, "start times are Linux's")
    def test_a_stranger_with_the_same_number_is_never_signalled(self) -> None:
        pid = self.sleeper(group=True)
        for started in ("1", "", None):
            self.assertFalse(signal_process(pid, started, signal.SIGKILL))
            self.assertFalse(kill_group(pid, started))
        self.assertIsNotNone(start_time(pid))

    def test_nobody_and_everybody_are_never_signalled(self) -> None:
        with mock.patch.object(os, "kill") as kill, mock.patch.object(os, "killpg") as killpg:
            for pid in (0, -1, -os.getpid()):
                self.assertFalse(signal_process(pid, "1", signal.SIGKILL))
                self.assertFalse(kill_group(pid, "1"))
        kill.assert_not_called()
        killpg.assert_not_called()

    def test_the_one_that_is_meant_is_signalled_once_and_its_group_too(self) -> None:
        pid = self.sleeper()
        self.assertTrue(signal_process(pid, start_time(pid), signal.SIGTERM))
        self.assertEqual(os.waitpid(pid, 0)[1], signal.SIGTERM)
        pid = self.sleeper(group=True)
        self.assertTrue(kill_group(pid, start_time(pid)))
        self.assertEqual(os.waitpid(pid, 0)[1], signal.SIGKILL)

    def test_one_that_may_not_be_signalled_is_no_exception(self) -> None:
        ours = start_time(os.getpid())
        for error in (ProcessLookupError, PermissionError):
            with mock.patch.object(os, "kill", side_effect=error):
                self.assertFalse(signal_process(os.getpid(), ours, signal.SIGTERM))
            neither = mock.patch.object(os, "kill", side_effect=error)
            with neither, mock.patch.object(os, "killpg", side_effect=error):
                self.assertFalse(kill_group(os.getpid(), ours))

    def test_one_that_was_just_forked_and_leads_no_group_yet_is_signalled_too(self) -> None:
        pid = self.sleeper()
        self.assertNotEqual(os.getpgid(pid), pid)
        self.assertTrue(kill_group(pid, start_time(pid)))
        self.assertEqual(os.waitpid(pid, 0)[1], signal.SIGKILL)

    def test_a_group_of_the_dead_is_gone_whoever_has_not_reaped_them(self) -> None:
        self.assertFalse(processes.group_lives(2**22 + 1))
        pid = self.sleeper(group=True)
        self.assertTrue(processes.group_lives(pid))
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        os.killpg(pid, 0)  # it is there still
        self.assertEqual(processes.group_lives(pid), not LINUX)
        os.waitpid(pid, 0)
        self.assertFalse(processes.group_lives(pid))

    @unittest.skipUnless(LINUX, "there is no /proc to be hidden")
    def test_a_group_whose_members_are_hidden_from_us_is_believed_to_live(self) -> None:
        pid = self.sleeper(group=True)
        with mock.patch.object(os, "listdir", return_value=["self", "1"]):
            self.assertTrue(processes.group_lives(pid))
        with mock.patch.object(os, "listdir", side_effect=FileNotFoundError):
            self.assertTrue(processes.group_lives(pid))

    @unittest.skipUnless(LINUX, "there is no /proc to read of threads in")
    def test_a_group_whose_leader_has_ended_but_for_a_thread_lives(self) -> None:
        thread = "threading.Thread(target=time.sleep, args=(60,)).start()"
        code = f"import ctypes, threading, time; {thread}; ctypes.CDLL(None).pthread_exit(None)"
        pid = os.posix_spawn(sys.executable, [sys.executable, "-c", code], os.environ, setsid=True)
        self.addCleanup(os.waitpid, pid, 0)
        self.addCleanup(os.kill, pid, signal.SIGKILL)
        deadline = time.monotonic() + PATIENCE_S
        while start_time(pid) is not None and time.monotonic() < deadline:
            time.sleep(0.005)
        self.assertIsNone(start_time(pid))  # it reads as a zombie
        self.assertTrue(processes.group_lives(pid))

    def test_a_wait_status_reads_as_words(self) -> None:
        self.assertIn("exited with status 7", processes.describe_exit(7 << 8))
        self.assertIn("killed by SIGSEGV", processes.describe_exit(signal.SIGSEGV))
        self.assertIn("killed by signal 63", processes.describe_exit(63))


if __name__ == "__main__":
    unittest.main()
