"""The listening socket that a manager passes (sd_listen_fds(3))."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import sys
import unittest
from pathlib import Path

from hub_upgrade.errors import HostError
from hub_upgrade.host import processes
from hub_upgrade.launcher import place
from tests.e2e.harness import WAIT_S, build, children_of, environment, wait_for
from tests.launcher.scene import Scene

VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


def taken(sockets: list[socket.socket], names: str = "", **environ: str) -> str:
    """What becomes of these at 3 and on, in a process of their own: the port, or the sentence."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        told = "it died"
        try:
            os.dup2(writer, 60)
            for number, one in enumerate(sockets):
                os.dup2(one.fileno(), 70 + number)
            for number in range(len(sockets)):
                os.dup2(70 + number, 3 + number)
            variables = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(sockets)),
                         "LISTEN_FDNAMES": names, **environ}  # fmt: skip
            try:
                passed = place.passed_socket(variables)
                told = str(passed.getsockname()[1]) if passed else "none"
                if passed and (passed.getblocking() or passed.get_inheritable()):
                    told = "it would be inherited, or block"
            except HostError as error:
                told = error.sentence
            if variables:
                told = f"left: {variables}"
        finally:
            os.write(60, told.encode())
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as file:
        told = file.read()
    os.waitpid(pid, 0)
    return told


class TakingIt(unittest.TestCase):
    def setUp(self) -> None:
        self.listener = self.made(socket.create_server(("127.0.0.1", 0)))
        self.port = str(self.listener.getsockname()[1])

    def made(self, one: socket.socket) -> socket.socket:
        self.addCleanup(one.close)
        return one

    def test_it_is_taken_up_whatever_its_name_and_the_variables_go(self) -> None:
        for name in ("", "http", "parachute-hub.socket"):
            self.assertEqual(taken([self.listener], name), self.port)

    def test_of_several_the_one_named_http_is_taken(self) -> None:
        other = self.made(socket.create_server(("127.0.0.1", 0)))
        self.assertEqual(taken([other, self.listener], "metrics:http"), self.port)
        for names in ("", "a:b", "http:http"):
            self.assertEqual(
                taken([other, self.listener], names),
                "2 sockets were passed (LISTEN_FDS), and not one of them as http",
            )

    def test_what_is_meant_for_another_process_or_is_nothing_is_not_taken(self) -> None:
        for environ in (
            {"LISTEN_PID": "1"}, {"LISTEN_PID": ""}, {"LISTEN_FDS": "0"}, {"LISTEN_FDS": ""},
            {"LISTEN_FDS": "many"}, {"LISTEN_FDS": "²"},
        ):  # fmt: skip
            self.assertEqual(taken([self.listener], **environ), "none", environ)

    def test_what_is_no_listening_socket_of_tcp_is_one_sentence(self) -> None:
        path = f"\0passed-{os.getpid()}"
        local = self.made(socket.socket(socket.AF_UNIX))
        local.bind(path)
        local.listen()
        deaf = self.made(socket.socket())
        deaf.bind(("127.0.0.1", 0))
        datagrams = self.made(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        for wrong in (local, deaf, datagrams):
            self.assertIn("(LISTEN_FDS) is no use: ", taken([wrong]))
        with open(os.devnull) as file, socket.socket(fileno=os.dup(self.listener.fileno())) as no:
            os.dup2(file.fileno(), no.fileno())
            self.assertIn("(LISTEN_FDS) is no use: ", taken([no]))


class ServingOnIt(Scene):
    def serve(self, listener: socket.socket) -> int:
        """A launcher to which it was passed, and another port was told; its PID."""
        words = ["serve", "--config-dir", self.home.root, "--port", "1", "--host", "192.0.2.1"]
        environ = environment(LISTEN_FDS="1", LISTEN_FDNAMES="http")
        log = os.open(os.path.join(self.directory, "log"), os.O_CREAT | os.O_APPEND | os.O_RDWR)
        try:
            pid = processes.spawn(
                [sys.executable, build("1.0.0"), *words], environ,
                {0: log, 1: log, 2: log, 3: listener.fileno()}, listen_pid=True,
            )  # fmt: skip
        finally:
            os.close(log)
        self.addCleanup(self.stop, pid)
        return pid

    def stop(self, pid: int) -> None:
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, signal.SIGTERM)
            os.waitpid(pid, 0)

    def test_who_came_before_the_hub_is_served_and_its_port_outlives_the_launcher(self) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)
        port = listener.getsockname()[1]
        for _ in range(2):
            early = http.client.HTTPConnection("127.0.0.1", port, WAIT_S)
            self.addCleanup(early.close)
            early.connect()
            pid = self.serve(listener)
            early.request("GET", "/health")
            self.assertEqual(json.loads(early.getresponse().read())["version"], "1.0.0")
            hub = wait_for(lambda pid=pid: children_of(pid), "the hub")[0]  # type: ignore[misc]
            environ = Path(f"/proc/{hub}/environ").read_bytes().decode().split("\0")
            told = dict(line.partition("=")[::2] for line in environ)
            self.assertEqual([told[name] for name in VARIABLES], [str(hub), "2", "http:serve.lock"])
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            wait_for(lambda hub=hub: not os.path.exists(f"/proc/{hub}"), "its end")  # type: ignore[misc]
        log = Path(self.directory, "log").read_text()
        self.assertEqual(log.count(f"listening on http://127.0.0.1:{port}\n"), 2, log)


if __name__ == "__main__":
    unittest.main()
