"""podman with a configuration and a storage of its own: nothing of the machine's is changed."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
from pathlib import Path
from typing import Any

from tests.e2e.harness import WAIT_S, wait_for
from tests.e2e.ports import held_port
from tests.outside.containers.scene import BASE, OUTSIDE, PYTHON, ContainerCase

CONF = """\
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=8000:8000"]
log_driver = "k8s-file"
netns = "host"

[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
"""
IMAGE = "localhost/parachute-hub"
STORAGE = OUTSIDE / "storage"
BUILD_S = 120.0


def base_image() -> str:
    """The name of the imported base; another one for another base."""
    return f"localhost/parachute-base:{int(BASE.stat().st_mtime)}"


def ask(*argv: str, limit_s: float = WAIT_S) -> subprocess.CompletedProcess[str]:
    """Run podman to its end, however that is."""
    conf = OUTSIDE / "containers.conf"
    return subprocess.run(
        ["podman", f"--root={STORAGE}", f"--runroot={OUTSIDE / 'run'}", *argv],
        capture_output=True, text=True, check=False, timeout=limit_s, stdin=subprocess.DEVNULL,
        env={**os.environ, "CONTAINERS_CONF": str(conf)},
    )  # fmt: skip


def podman(*argv: str, limit_s: float = WAIT_S) -> str:
    """Run podman, which must succeed; what it printed on stdout."""
    done = ask(*argv, limit_s=limit_s)
    if done.returncode:
        raise AssertionError(f"podman {' '.join(argv)}: {done.returncode}: {done.stderr}")
    return done.stdout.strip()


def set_up() -> int:
    """The storage, for us alone: with the base, and without what an earlier run left in it.

    Returns the descriptor of its lock.
    """
    OUTSIDE.mkdir(parents=True, exist_ok=True)
    lock = os.open(OUTSIDE / "lock", os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    (OUTSIDE / "containers.conf").write_text(CONF)
    clear()
    if podman("image", "ls", "--quiet", base_image()) == "":
        podman("import", str(BASE), base_image(), limit_s=BUILD_S)
    return lock


def clear() -> None:
    """Every container and every volume of this storage goes, the images stay."""
    podman("rm", "--all", "--force", "--time=0")
    podman("volume", "rm", "--all", "--force")


def tear_down(lock: int) -> None:
    """Nothing runs any more, and nothing is mounted."""
    clear()
    subprocess.run(["umount", str(STORAGE / "overlay")], check=False, capture_output=True)
    os.close(lock)


def build_image(context: Path) -> None:
    """The image of the Dockerfile in a directory."""
    base = f"BASE={base_image()}"
    podman("build", "--quiet", "--build-arg", base, "--tag", IMAGE, str(context), limit_s=BUILD_S)


class PodmanCase(ContainerCase):
    """One container at a time, always of the same name, and one volume."""

    def setUp(self) -> None:
        super().setUp()
        self.name = f"hub-{os.getpid()}"
        self.volume = f"parachute-{os.getpid()}"
        self.addCleanup(podman, "volume", "rm", "--force", self.volume)
        self.addCleanup(self.remove)
        self.port = held_port()

    def remove(self) -> None:
        """The container, with all that was written into it."""
        podman("rm", "--force", "--time=0", "--ignore", self.name)

    def run_new(self, *options: str, loopback: bool = True, serves: bool = True) -> None:
        """A new container of the pristine image, and wait until it answers."""
        self.remove()
        host = ["--env=PARACHUTE_BIND_HOST=127.0.0.1"] if loopback else []
        podman("run", "--detach", f"--name={self.name}", *host, f"--env=PORT={self.port}",
               f"--volume={self.repository}:/releases:ro", *options, IMAGE)  # fmt: skip
        if serves:
            wait_for(self.version, f"an answer: {self.output()}")

    def run_once(self, script: str, *options: str) -> None:
        """A script in a container for this alone, with the volume."""
        podman("run", "--rm", f"--volume={self.volume}:/parachute", *options, IMAGE, PYTHON, "-c",
               script)  # fmt: skip

    def configure(self, **config: Any) -> None:
        """hub.json on the volume, which is made with it if need be: as its user would."""
        text = json.dumps(config)
        self.run_once(f"open('/parachute/hub.json', 'w').write({text!r})")

    def stop(self) -> int:
        """`podman stop`, which kills after ten seconds; the exit code of process 1."""
        told = ask("stop", self.name)
        self.assertEqual((told.returncode, told.stderr), (0, ""))
        return int(podman("inspect", "--format={{.State.ExitCode}}", self.name))

    def process(self) -> int:
        """Process 1, as this machine numbers it; 0 for none."""
        return int(podman("inspect", "--format={{.State.Pid}}", self.name))

    def output(self) -> str:
        return ask("logs", self.name).stderr[-6000:]

    def inside(self, *argv: str, code: int = 0) -> str:
        done = ask("exec", self.name, PYTHON, *argv)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout
