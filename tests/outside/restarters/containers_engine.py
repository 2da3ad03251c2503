"""The engines that keep containers: podman with runc, and Docker with a daemon of the module's own.

Both take the same words. Either one runs in a network of the module's own, so that every port is
free there, and nobody else's.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import tempfile
import unittest
from pathlib import Path

from tests.e2e.harness import WAIT_S, wait_for
from tests.outside.containers import podman
from tests.outside.containers.scene import BASE

CLONE_NEWNET = 0x40000000
PR_SET_CHILD_SUBREAPER = 36
BUILD_S = 120.0
CLIENT = "/usr/bin/docker"
"""Debian's, which is of the daemon's own version; a machine may have another first on its path."""


class Engine:
    """One engine; `base` names the image that others are made of."""

    name = ""
    base = ""

    def ask(
        self, *argv: str, limit_s: float = WAIT_S, **env: str
    ) -> subprocess.CompletedProcess[str]:
        """Run the engine's command to its end, however that is."""
        raise NotImplementedError

    def run(self, *argv: str, limit_s: float = WAIT_S) -> str:
        """Run a command that must succeed; what it printed on stdout."""
        done = self.ask(*argv, limit_s=limit_s)
        if done.returncode:
            words = " ".join(argv)
            raise AssertionError(f"{self.name} {words}: {done.returncode}: {done.stderr}")
        return done.stdout.strip()

    def build(self, context: Path, tag: str, base: str = "") -> None:
        """The image of the Dockerfile in a directory."""
        words = ("build", "--quiet", "--build-arg", f"BASE={base or self.base}", "--tag", tag)
        self.run(*words, str(context), limit_s=BUILD_S)


class Podman(Engine):
    """podman, with the storage of the suite of containers."""

    name = "podman"

    def set_up(self) -> None:
        """Storage and base, for the tests of the calling module."""
        alone()
        unittest.addModuleCleanup(podman.tear_down, podman.set_up())
        self.base = podman.base_image()

    def ask(
        self, *argv: str, limit_s: float = WAIT_S, **_env: str
    ) -> subprocess.CompletedProcess[str]:
        # The image's health check is none of OCI's format.
        words = (argv[0], "--format=docker", *argv[1:]) if argv[0] == "build" else argv
        return podman.ask(*words, limit_s=limit_s)


class Docker(Engine):
    """A daemon in a directory of its own, that goes with the module."""

    name = "docker"
    base = "parachute-base"

    def __init__(self) -> None:
        self.directory = ""

    @property
    def host(self) -> str:
        """What clients take as DOCKER_HOST."""
        return f"unix://{self.directory}/socket"

    def set_up(self) -> None:
        """The daemon, for the tests of the calling module."""
        alone()
        self.directory = tempfile.mkdtemp(prefix="docker-")
        unittest.addModuleCleanup(shutil.rmtree, self.directory)
        self._start()
        self.run("import", str(BASE), self.base, limit_s=BUILD_S)

    def _start(self) -> None:
        where = self.directory
        log = Path(where, "log")
        argv = [
            "dockerd", f"--data-root={where}/data", f"--exec-root={where}/run",
            f"--pidfile={where}/pid", f"--host={self.host}", "--iptables=false",
            "--ip6tables=false", "--ip-masq=false", "--exec-opt=native.cgroupdriver=cgroupfs",
        ]  # fmt: skip
        with log.open("wb") as output:
            daemon = subprocess.Popen(argv, stdout=output, stderr=output, start_new_session=True)
        unittest.addModuleCleanup(self._end, daemon)
        wait_for(lambda: self.ask("version").returncode == 0 or daemon.poll() is not None, "docker")
        if daemon.poll() is not None:
            raise AssertionError(log.read_text()[-3000:])

    def _end(self, daemon: subprocess.Popen[bytes]) -> None:
        """Nothing runs any more, and nothing is mounted."""
        self.ask("swarm", "leave", "--force")
        for one in self.ask("ps", "--all", "--quiet").stdout.split():
            self.ask("rm", "--force", one)
        daemon.terminate()
        daemon.wait(WAIT_S)
        mounted = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
        for point in reversed(mounted):
            if point.startswith(self.directory):
                subprocess.run(["umount", "--lazy", point], check=False, capture_output=True)
        reap()

    def ask(
        self, *argv: str, limit_s: float = WAIT_S, **env: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [CLIENT, *argv], capture_output=True, text=True, check=False, timeout=limit_s,
            stdin=subprocess.DEVNULL, env={**os.environ, "DOCKER_HOST": self.host, **env},
        )  # fmt: skip


def alone() -> None:
    """This process, and all that it starts, in a network of its own; what its descendants leave
    is its own to reap."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) or libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "a network of our own")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def reap() -> None:
    """What the daemon's own children left to us; whatever of it still lives is ended."""
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(entry.read_text().rpartition(")")[2].split()[1]) == os.getpid():
                os.kill(int(entry.parent.name), signal.SIGKILL)
        except OSError:
            pass
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return
