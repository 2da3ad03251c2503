from __future__ import annotations

import json
import os
import signal
import socket
import time
import unittest
from collections.abc import Mapping
from typing import Any
from unittest import mock

from hub_upgrade.host import interpreter, log, processes
from hub_upgrade.host.files import Lock
from hub_upgrade.host.loop import Loop
from hub_upgrade.launcher import child as child_module
from hub_upgrade.launcher.child import BACKLOG_BYTES, LINE_CHARACTERS, TAIL_LINES, Child, Relay
from tests.launcher.scene import PATIENCE_S, Scene
from tests.upgrade.scene import zipapp

REPORT = """
import json, os, signal, sys
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
said = {"argv": sys.argv[1:], "env": dict(os.environ), "pid": os.getpid(), "flags": [],
        "session": os.getsid(0), "fds": sorted(map(int, os.listdir("/proc/self/fd")))[:-1]}
said["flags"] = [sys.flags.isolated, sys.flags.no_site]
print(json.dumps(said), flush=True)
print("the end of the launcher:", os.read(0, 1), flush=True)
sys.exit(7)
"""
KEPT = ("PATH", "TMPDIR", "HTTPS_PROXY", "A")


class RelayTest(Scene):
    def setUp(self) -> None:
        super().setUp()
        self.loop = Loop()
        self.addCleanup(self.loop.close)
        read, self.output = os.pipe()
        self.addCleanup(self.close_output)
        os.set_blocking(self.output, False)
        self.relay = Relay(self.loop, read)
        self.addCleanup(self.relay.close)

    def close_output(self) -> None:
        if self.output >= 0:
            os.close(self.output)
            self.output = -1

    def print(self, data: bytes) -> None:
        """As a hub prints it; the relay takes it piece by piece."""
        while data:
            data = data[os.write(self.output, data) :]
            self.relay.drain()

    def test_what_the_hub_prints_is_passed_on_as_it_is(self) -> None:
        os.write(self.output, b"one\n\xfftwo")
        self.loop.turn()
        self.assertEqual(os.read(self.stderr, 100), b"one\n\xfftwo")

    def test_a_full_standard_error_holds_up_neither_hub_nor_launcher(self) -> None:
        self.fill_stderr()
        before = signal.signal(signal.SIGALRM, lambda *_: os._exit(99))
        signal.alarm(10)
        for number in range(3000):
            self.print(b"%04d " % number + b"x" * 95 + b"\n")
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        self.assertTrue(self.relay.tail()[-1].startswith("2999"))
        self.assertLessEqual(len(self.relay._backlog), BACKLOG_BYTES)

    def test_what_waited_is_passed_on_later_the_oldest_dropped_first(self) -> None:
        self.fill_stderr()
        self.print(b"old\n" + b"x" * BACKLOG_BYTES + b"\nnew\n")
        self.said()
        said = ""
        for _ in range(100):
            self.relay.flush()
            said += self.said()
        self.assertTrue(said.endswith("\nnew\n"))
        self.assertNotIn("old", said)

    def test_a_closed_standard_error_is_no_hindrance(self) -> None:
        null = os.dup(2)
        os.close(2)
        try:
            self.print(b"a line\n")
        finally:
            os.dup2(null, 2)
            os.close(null)
        self.assertEqual(self.relay.tail(), ("a line",))

    def test_the_last_fifty_lines_are_kept_the_unfinished_one_included(self) -> None:
        self.print(b"".join(b"line %d\n" % number for number in range(200)) + b"unfinished")
        tail = self.relay.tail()
        self.assertEqual((TAIL_LINES, len(tail)), (50, 50))
        self.assertEqual((tail[0], tail[-2:]), ("line 151", ("line 199", "unfinished")))

    def test_lines_in_pieces_are_put_together(self) -> None:
        for piece in (b"h", b"alf a li", b"ne\nand", b" another\n"):
            self.print(piece)
        self.assertEqual(self.relay.tail(), ("half a line", "and another"))

    def test_a_line_without_an_end_is_kept_to_a_bound(self) -> None:
        for _ in range(50):
            self.print(b"x" * 60_000)
        self.assertLessEqual(len(self.relay._partial), LINE_CHARACTERS)
        self.print(b"\n" + b"y" * 60_000 + b"\n")
        self.assertEqual([len(line) <= LINE_CHARACTERS for line in self.relay.tail()], [True] * 2)

    def json_log(self) -> None:
        chosen = mock.patch.dict(os.environ, {log.FORMAT_VARIABLE: "json"})
        chosen.start()
        self.addCleanup(chosen.stop)

    def test_in_a_json_log_whole_lines_are_passed_on_each_an_object(self) -> None:
        self.json_log()
        own = log.line("hub", "it serves", log.INFO, {})
        for piece in (b"Trace", b"back\nends", b" here\n\n" + own[:9], own[9:], b"no end"):
            self.print(piece)
        os.close(self.output)
        self.output = -1
        self.relay.drain()
        lines = self.said().splitlines()
        texts = [json.loads(line)["message"] for line in lines]
        self.assertEqual(["Traceback", "ends here", "it serves", "no end"], texts)
        self.assertEqual(own.decode().strip(), lines[2])

    def test_in_a_json_log_no_line_is_cut_whatever_is_dropped(self) -> None:
        self.json_log()
        self.fill_stderr()
        for number in range(2000):
            self.print(b"%04d " % number + b"x" * (number % 4000) + b"\n")
        self.assertLessEqual(len(self.relay._backlog), BACKLOG_BYTES)
        self.said()
        said = ""
        for _ in range(100):
            self.relay.flush()
            said += self.said()
        texts = [json.loads(line)["message"] for line in said.splitlines()]
        self.assertTrue(texts[-1].startswith("1999 "))
        self.assertGreater(len(texts), 10)

    def test_a_hub_that_never_stops_printing_does_not_keep_the_launcher(self) -> None:
        with mock.patch.object(os, "read", return_value=b"x" * 65536) as read:
            self.relay.drain()
        self.assertEqual(read.call_count, child_module.MOST_PIECES)

    def log(self, room: int) -> str:
        path = os.path.join(self.directory, "trial.log")
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self.relay.begin(os.open(path, flags, 0o600), room)
        return path

    def test_a_log_gets_all_of_it_up_to_its_bound(self) -> None:
        path = self.log(100)
        for _ in range(10):
            self.print(b"0123456789ABCDEF\n")
        with open(path, "rb") as file:
            self.assertEqual(file.read(), (b"0123456789ABCDEF\n" * 10)[:100])

    def test_a_log_that_cannot_be_written_is_given_up(self) -> None:
        self.relay.begin(os.open("/dev/full", os.O_WRONLY), 1000)
        for _ in range(2):
            self.print(b"a line\n")
        self.assertEqual(self.relay.tail(), ("a line", "a line"))

    def test_a_new_release_starts_with_an_empty_tail_and_a_log_of_its_own(self) -> None:
        path = self.log(100)
        self.print(b"of the old release, unfinis")
        self.relay.begin(-1, 0)
        self.print(b"of the new one\n")
        self.assertEqual(self.relay.tail(), ("of the new one",))
        with open(path, "rb") as file:
            self.assertEqual(file.read(), b"of the old release, unfinis")

    def test_the_end_of_its_output_closes_all_and_keeps_the_tail(self) -> None:
        self.log(100)
        before = len(os.listdir("/dev/fd"))
        os.write(self.output, b"the last words")
        self.close_output()
        self.relay.drain()
        self.relay.drain()
        self.relay.close()
        self.assertEqual(self.relay.tail(), ("the last words",))
        self.assertEqual(len(os.listdir("/dev/fd")), before - 3)


class ChildTest(Scene):
    def setUp(self) -> None:
        super().setUp()
        self.loop = Loop()
        self.addCleanup(self.loop.close)
        before = signal.getsignal(signal.SIGCHLD)
        self.addCleanup(signal.signal, signal.SIGCHLD, before)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(self.listener.close)
        self.ends: list[int] = []

    def start(
        self, code: str = REPORT, lock_fd: int = -1, env: Mapping[str, str] | None = None
    ) -> Child:
        path = self.put("hub.pyz", zipapp(code))
        with mock.patch.dict(os.environ):
            for name in set(os.environ) - {*KEPT, *child_module.NEVER_INHERITED}:
                del os.environ[name]  # what it reports must fit into a line
            child = Child(self.loop, path, self.listener, lock_fd, env or {}, self.ends.append)
        self.addCleanup(self.end, child.pid)
        return child

    def until(self, child: Child, lines: int) -> tuple[str, ...]:
        end = time.monotonic() + PATIENCE_S
        while len(child.relay.tail()) < lines and time.monotonic() < end:
            self.loop.turn()
        return child.relay.tail()

    def until_ended(self) -> int:
        end = time.monotonic() + PATIENCE_S
        while not self.ends and time.monotonic() < end:
            self.loop.turn()
        self.assertEqual(len(self.ends), 1)
        return self.ends[0]

    def report(self, child: Child) -> dict[str, Any]:
        said: dict[str, Any] = json.loads(self.until(child, 1)[0])
        return said

    def test_it_runs_isolated_in_a_session_of_its_own_with_its_descriptors_in_place(self) -> None:
        lock = Lock.try_take(os.path.join(self.directory, "serve.lock"))
        assert lock is not None
        self.addCleanup(lock.release)
        child = self.start(lock_fd=lock.fd)
        said = self.report(child)
        self.assertEqual((said["argv"], said["flags"]), (["run"], [1, 1]))
        self.assertEqual((said["pid"], said["session"]), (child.pid, child.pid))
        self.assertEqual(said["fds"][:5], [0, 1, 2, 3, 4])
        self.assertEqual(said["env"]["LISTEN_FDS"], "2")
        self.assertEqual(said["env"]["LISTEN_PID"], str(child.pid))
        self.assertEqual(said["env"]["LISTEN_FDNAMES"], "http:serve.lock")
        self.assertEqual(child.start_time, processes.start_time(child.pid))

    def test_without_a_lock_it_gets_the_listener_alone(self) -> None:
        said = self.report(self.start())
        self.assertEqual(said["env"]["LISTEN_FDS"], "1")
        self.assertEqual(said["env"]["LISTEN_FDNAMES"], "http")
        self.assertNotIn(4, said["fds"])

    def test_it_inherits_the_environment_but_not_what_a_manager_told_the_launcher(self) -> None:
        managers = dict.fromkeys(child_module.NEVER_INHERITED, "the manager's")
        with mock.patch.dict(os.environ, {**managers, "HTTPS_PROXY": "a proxy", "A": "ours"}):
            child = self.start(env={"PARACHUTE_HOME": "/h", "A": "its own"})
        env = self.report(child)["env"]
        self.assertEqual(env["HTTPS_PROXY"], "a proxy")
        self.assertEqual((env["PARACHUTE_HOME"], env["A"]), ("/h", "its own"))
        self.assertEqual(env["NOTIFY_SOCKET"], child.receiver.address)
        self.assertNotIn("the manager's", env.values())

    def test_it_learns_that_the_launcher_is_gone_and_its_end_is_reported_truly(self) -> None:
        child = self.start()
        self.until(child, 1)
        os.close(child._alive_write)
        self.assertEqual(self.until(child, 2)[1], "the end of the launcher: b''")
        self.assertEqual(self.until_ended(), 7 << 8)
        child._alive_write = os.open(os.devnull, os.O_RDONLY)
        child.close()

    def test_its_signals_reach_it_and_after_its_end_nobody(self) -> None:
        child = self.start()
        self.until(child, 1)
        child.signal(signal.SIGTERM)
        self.assertEqual(self.until_ended(), signal.SIGTERM)
        child.kill()
        child.close()

    def test_its_last_words_are_kept_and_nothing_stays_open(self) -> None:
        before = len(os.listdir("/dev/fd"))
        child = self.start("print('why it died')\nraise SystemExit(3)")
        self.assertEqual(self.until_ended(), 3 << 8)
        child.close()
        self.assertEqual(child.relay.tail(), ("why it died",))
        self.assertEqual(len(os.listdir("/dev/fd")), before)

    def test_a_hub_that_cannot_be_started_leaves_nothing_open(self) -> None:
        before = len(os.listdir("/dev/fd"))
        pipe = os.pipe
        for call, effect in (
            ("fork", [BlockingIOError()]),
            ("pipe", [OSError()]),
            ("pipe", [pipe(), OSError()]),
        ):
            failing = mock.patch.object(os, call, side_effect=effect)
            with failing, self.assertRaises(OSError):
                self.start()
        without = mock.patch.object(interpreter, "find", return_value="")
        with without, self.assertRaisesRegex(OSError, "no Python"):  # no release's fault
            self.start()
        self.assertEqual(len(os.listdir("/dev/fd")), before)


if __name__ == "__main__":
    unittest.main()
