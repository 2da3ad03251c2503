"""Who listens, which process is which, and what is told of it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import unittest
from unittest import mock

from hub_upgrade.host import hub_process, processes
from hub_upgrade.host.hub_process import HubProcess
from tests.host.test_executed import Tree

LISTEN = """
import os, socket, sys, time
one = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET)
one.bind((sys.argv[1], int(sys.argv[2])))
one.listen()
pids = [os.fork() for _ in range(int(sys.argv[3]))]
if 0 not in pids:
    print(one.getsockname()[1], *pids, flush=True)
time.sleep(600)
"""


@unittest.skipUnless(sys.platform == "linux", "needs /proc")
class Real(Tree):
    def start(self, host: str = "127.0.0.1", port: int = 0, forks: int = 0) -> tuple[int, int]:
        """A listener's PID, and its port."""
        process = subprocess.Popen(
            [sys.executable, "-c", LISTEN, host, str(port), str(forks)],
            stdout=subprocess.PIPE, start_new_session=True, cwd=self.root,
            env={**os.environ, "BUN_INSTALL": "/srv/bun", "SECRET": "x"},
        )  # fmt: skip
        self.addCleanup(self.end, process)
        assert process.stdout is not None
        words = process.stdout.readline().split()
        self.children = [int(word) for word in words[1:]]
        return process.pid, int(words[0])

    def end(self, process: subprocess.Popen[bytes]) -> None:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.communicate()

    def test_the_listener_is_found_by_its_address(self) -> None:
        pid, port = self.start()
        self.assertEqual(hub_process.listener_of("127.0.0.1", port), pid)
        self.assertEqual(hub_process.listener_of("::1", port), 0)
        self.assertEqual(hub_process.listener_of("nonsense", port), 0)
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))  # bound, and not listening
            self.assertEqual(hub_process.listener_of("127.0.0.1", unused.getsockname()[1]), 0)

    def test_who_listens_everywhere_listens_here_unless_another_does_so_by_name(self) -> None:
        pid, port = self.start("0.0.0.0")
        self.assertEqual(hub_process.listener_of("127.0.0.1", port), pid)
        try:
            socket.socket(socket.AF_INET6).close()
        except OSError:
            return  # a system without it
        everywhere, port = self.start("::")
        self.assertEqual(hub_process.listener_of("::1", port), everywhere)
        self.assertEqual(hub_process.listener_of("127.0.0.1", port), everywhere)

    def test_of_those_that_share_a_socket_it_is_the_parent(self) -> None:
        pid, port = self.start(forks=3)
        self.assertEqual(hub_process.listener_of("127.0.0.1", port), pid)
        self.assertTrue(hub_process.is_ancestor(pid, self.children[0]))
        self.assertTrue(hub_process.is_ancestor(os.getpid(), self.children[0]))
        for other, of in ((self.children[0], pid), (pid, pid), (0, pid), (pid, 0)):
            self.assertFalse(hub_process.is_ancestor(other, of), (other, of))
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        self.assertEqual(hub_process.listener_of("127.0.0.1", port), 0, "three, and no parent")

    def test_a_process_is_told_with_nothing_of_its_environment_but_one_name(self) -> None:
        pid, _port = self.start()
        seen = hub_process.look(pid)
        assert seen is not None
        self.assertEqual(seen.argv, (sys.executable, "-c", LISTEN, "127.0.0.1", "0", "0"))
        self.assertEqual((seen.cwd, seen.exe), (self.root, os.path.realpath(sys.executable)))
        self.assertEqual((seen.bun_install, seen.foreign), ("/srv/bun", False))
        self.assertNotIn("SECRET", repr(seen))

    def test_a_process_that_ended_is_none_and_its_identity_does_not_live(self) -> None:
        pid, _port = self.start()
        word = hub_process.identity(pid)
        self.assertRegex(word, rf"^{pid}:\d+:[0-9a-f-]{{36}}$")
        self.assertTrue(hub_process.lives(word))
        for other in (word + "x", f"{pid}:1:x", "", ":", "x:1:2", "0:1:2", "9" * 40 + ":1:2"):
            self.assertFalse(hub_process.lives(other), other)
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        self.assertFalse(hub_process.lives(word), "a zombie is none")
        self.assertEqual((hub_process.identity(pid), hub_process.look(pid)), ("", None))

    def test_the_machines_start_is_part_of_an_identity(self) -> None:
        word = hub_process.identity(os.getpid())
        with mock.patch.object(hub_process, "BOOT_ID", self.make("boot_id", "another\n")):
            self.assertFalse(hub_process.lives(word))

    def test_the_age_is_that_of_the_process(self) -> None:
        pid, _port = self.start()
        word = hub_process.identity(pid)
        older = hub_process.age_s(hub_process.identity(os.getpid()))
        self.assertGreaterEqual(older, hub_process.age_s(word))
        self.assertLess(hub_process.age_s(word), time.monotonic())
        for nothing in ("", "7", "7:unknown:x"):
            self.assertEqual(hub_process.age_s(nothing), 0.0)

    def test_there_is_no_process_with_such_a_number(self) -> None:
        for pid in (0, -1, 1 << 30):
            self.assertIsNone(hub_process.look(pid))
            self.assertEqual(hub_process.identity(pid), "")


class Listed(Tree):
    """A /proc of our own making."""

    def setUp(self) -> None:
        super().setUp()
        patch = mock.patch.object(hub_process, "PROC", self.root)
        patch.start()
        self.addCleanup(patch.stop)
        self.lines = {"tcp": ["header"], "tcp6": ["header"]}

    def listens(self, address: str, inode: int, table: str = "tcp", state: str = "0A") -> None:
        line = f" 0: {address} 0:0 {state} 0:0 0:0 0 1000 0 {inode} 1 0"
        self.lines[table].append(line)
        self.make(f"net/{table}", "\n".join(self.lines[table]) + "\n")

    def process(self, pid: int, parent: int, inode: int, name: str = "hub (a b)") -> None:
        self.make(f"{pid}/stat", f"{pid} ({name}) S {parent} 1 1")
        self.make(f"{pid}/comm", name + "\n")
        self.link(f"{pid}/fd/3", f"socket:[{inode}]")

    def found(self, host: str = "127.0.0.1") -> int:
        with mock.patch.object(sys, "byteorder", "little"):
            return hub_process.listener_of(host, 1939)

    def test_the_exact_address_comes_first(self) -> None:
        for inode, address, table in (
            (11, "00000000000000000000000000000000:0793", "tcp6"), (12, "00000000:0793", "tcp"),
            (13, "0000000000000000FFFF00000100007F:0793", "tcp6"), (14, "0100007F:0793", "tcp"),
        ):  # fmt: skip
            self.process(inode + 100, 1, inode)
            self.listens(address, inode, table)
            self.assertEqual(self.found(), inode + 100)

    def test_other_ports_other_states_and_odd_lines_are_passed_over(self) -> None:
        self.process(5, 1, 11)
        self.listens("0100007F:0794", 11)
        self.listens("0100007F:0793", 11, state="01")
        self.lines["tcp"].append("odd")
        self.listens("0200007F:0793", 11)
        self.assertEqual(self.found(), 0)
        self.assertEqual(self.found("127.0.0.2"), 5)

    def test_who_opened_the_socket_for_the_service_is_not_the_service(self) -> None:
        self.listens("0100007F:0793", 11)
        self.process(1, 0, 11, "systemd")
        self.process(50, 1, 11)
        self.process(51, 50, 11)
        self.assertEqual(self.found(), 50)

    def test_strangers_that_share_it_are_not_told_apart(self) -> None:
        self.listens("0100007F:0793", 11)
        self.process(50, 1, 11)
        self.process(60, 1, 11)
        self.assertEqual(self.found(), 0)

    def test_a_process_in_another_root_is_foreign(self) -> None:
        os.makedirs(self.at("9/root"))
        self.link("8/root", "/")
        with mock.patch.object(processes, "start_time", lambda pid: "1"):
            for pid, foreign in ((9, True), (8, False), (7, True)):
                self.make(f"{pid}/cmdline", "bun\0x.ts\0")
                self.link(f"{pid}/exe", "/usr/bin/bun (deleted)")
                self.assertEqual(
                    hub_process.look(pid),
                    HubProcess(pid, "1", ("bun", "x.ts"), "", "/usr/bin/bun", "", foreign),
                )

    def test_another_one_in_the_place_of_the_process_is_not_it(self) -> None:
        starts = iter(("1", "2"))
        with mock.patch.object(processes, "start_time", lambda pid: next(starts)):
            self.assertIsNone(hub_process.look(9))


if __name__ == "__main__":
    unittest.main()
