"""examples/compose.yaml, word by word, run by podman-compose. Podman leaves health checks to a
timer of systemd's; here it is told to run them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import unittest
from pathlib import Path

from tests.e2e.harness import build, children_of, wait_for
from tests.outside.containers import podman
from tests.outside.containers.scene import OUTSIDE, PYTHON, ContainerCase
from tests.outside.restarters.containers_engine import Podman
from tests.outside.restarters.containers_scene import ROOT
from tests.outside.restarters.test_examples import READERS

ENGINE = Podman()


def setUpModule() -> None:
    ENGINE.set_up()


class Compose(ContainerCase):
    port = 1939

    def setUp(self) -> None:
        super().setUp()
        self.project = Path(tempfile.mkdtemp(prefix="project-"))
        self.addCleanup(shutil.rmtree, self.project)
        (self.project / "networks").mkdir()
        for name in ("Dockerfile", "compose.yaml"):
            shutil.copyfile(ROOT / "examples" / name, self.project / name)
        shutil.copyfile(build("1.0.0"), self.project / "hub.pyz")
        self.addCleanup(self.compose, "down", "--volumes")
        self.compose("build", "--build-arg", f"BASE={ENGINE.base}")
        self.compose("up", "--detach")
        self.name = f"{self.project.name.lower()}_hub_1"
        wait_for(self.version, f"an answer: {self.output()}")

    def compose(self, *argv: str) -> None:
        """One command of podman-compose, which must succeed."""
        places = f"--root={podman.STORAGE} --runroot={OUTSIDE / 'run'}"
        networks = f"--network-config-dir={self.project / 'networks'}"
        done = subprocess.run(
            [READERS / "podman-compose", "--podman-args", f"{places} {networks}", *argv],
            cwd=self.project, capture_output=True, text=True, timeout=120, check=False,
            env={**os.environ, "CONTAINERS_CONF": str(OUTSIDE / "containers.conf")},
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def output(self) -> str:
        return ENGINE.ask("logs", self.name).stderr[-6000:]

    def inside(self, *argv: str, code: int = 0) -> str:
        done = ENGINE.ask("exec", self.name, PYTHON, *argv)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout

    def test_it_serves_below_a_read_only_root_and_its_health_is_seen(self) -> None:
        self.inside("-c", "open('/opt/x', 'w')", code=1)
        self.inside("-c", "open('/parachute/x', 'w'); open('/tmp/x', 'w')")
        self.assertEqual(self.inside("-c", "import os; print(os.getuid())"), "1939\n")
        self.assertEqual(ENGINE.ask("healthcheck", "run", self.name).returncode, 0)
        launcher = int(ENGINE.run("inspect", "--format={{.State.Pid}}", self.name))
        (hub,) = children_of(launcher)
        os.kill(hub, signal.SIGSTOP)
        self.assertEqual(ENGINE.ask("healthcheck", "run", self.name).returncode, 1)
        os.kill(hub, signal.SIGCONT)
        self.assertEqual(ENGINE.ask("healthcheck", "run", self.name).returncode, 0)


if __name__ == "__main__":
    unittest.main()
