"""examples/compose.yaml, word by word, run by Docker's compose."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import unittest
from pathlib import Path
from typing import Any

from tests.e2e.harness import build, children_of, command_of, wait_for
from tests.outside.containers.scene import HOME, HUB, PYTHON, ContainerCase
from tests.outside.restarters.containers_engine import Docker
from tests.outside.restarters.containers_scene import ROOT

ENGINE = Docker()
COMPOSE = "/usr/bin/docker-compose"
CONFIG = {
    "releases": "published", "ready_timeout_s": 15, "probation_s": 0.4, "probation_max_s": 30,
    "watchdog_s": 25,  # more than two failed checks take, or nobody would see them
}  # fmt: skip
QUICK = {"services": {"hub": {"healthcheck": {"interval": "1s", "retries": 2}}}}
"""The same health check, asked more often."""


def setUpModule() -> None:
    ENGINE.set_up()


class Compose(ContainerCase):
    """A directory with the Dockerfile, compose.yaml and hub.pyz, and the hub that it makes."""

    port = 1939

    def setUp(self) -> None:
        super().setUp()
        self.project = Path(tempfile.mkdtemp(prefix="project-"))
        self.addCleanup(shutil.rmtree, self.project)
        for name in ("Dockerfile", "compose.yaml"):
            shutil.copyfile(ROOT / "examples" / name, self.project / name)
        shutil.copyfile(build("1.0.0"), self.project / "hub.pyz")
        (self.project / "quick.yaml").write_text(json.dumps(QUICK))
        self.addCleanup(self.compose, "down", "--volumes", "--timeout", "1")
        self.compose("build", "--quiet", "--build-arg", f"BASE={ENGINE.base}")
        self.up()

    def compose(self, *argv: str) -> str:
        """One command of docker-compose, which must succeed."""
        files = ("--file", "compose.yaml", "--file", "quick.yaml")
        done = subprocess.run(
            [COMPOSE, *files, *argv], cwd=self.project, capture_output=True, text=True, timeout=120,
            check=False, env={**os.environ, "DOCKER_HOST": ENGINE.host}, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def up(self, *argv: str) -> None:
        self.compose("up", "--detach", *argv)
        self.name = self.compose("ps", "--quiet", "hub").strip()
        wait_for(self.version, f"an answer: {self.output()}")

    def output(self) -> str:
        return ENGINE.ask("logs", self.name).stderr[-6000:]

    def inside(self, *argv: str, code: int = 0) -> str:
        done = ENGINE.ask("exec", self.name, PYTHON, *argv)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout

    def told(self, what: str) -> Any:
        return json.loads(ENGINE.run("inspect", f"--format={{{{json {what}}}}}", self.name))

    def health_is(self, wanted: str) -> None:
        wait_for(lambda: self.told(".State.Health.Status") == wanted,
                 f"{wanted}: {self.told('.State.Health')} {self.output()}")  # fmt: skip

    def configure(self) -> None:
        """hub.json and a published 1.1.0, as the README says: by way of the container."""
        write = f"open('{HOME}/hub.json', 'w').write({json.dumps(CONFIG)!r})"
        self.inside("-c", write)
        self.publish_inside("1.1.0")
        self.compose("restart")
        wait_for(self.version, f"an answer: {self.output()}")

    def publish_inside(self, version: str) -> None:
        target = f"{HOME}/hub-{version}.pyz"
        data = Path(build(version)).read_bytes()
        done = subprocess.run(
            ["/usr/bin/docker", "exec", "--interactive", self.name, PYTHON, "-c",
             f"import sys; open('{target}', 'wb').write(sys.stdin.buffer.read())"],
            input=data, check=False, capture_output=True,
            env={**os.environ, "DOCKER_HOST": ENGINE.host},
        )  # fmt: skip
        self.assertEqual(done.returncode, 0, done.stderr)
        self.hub("release", "publish", f"{HOME}/published", "--channel", "latest", target)

    def hub_process(self) -> int:
        """The hub, which is the launcher's child, as this machine numbers it."""
        for pid in children_of(int(self.told(".State.Pid"))):
            if command_of(pid)[-1:] == ["run"]:
                return pid
        raise AssertionError("no hub")

    def test_it_is_upgraded_made_anew_and_stopped(self) -> None:
        self.inside("-c", "open('/opt/x', 'w')", code=1)
        self.inside("-c", "open('/tmp/x', 'w')")
        self.assertEqual(self.inside("-c", "import os; print(os.getuid(), os.getgid())"),
                         "1939 1939\n")  # fmt: skip
        self.configure()
        token = self.token()
        self.upgrades(token)
        self.up("--force-recreate")
        self.wait_for_version("1.1.0")
        self.assertEqual(self.record(token)["phase"], "succeeded")
        self.compose("stop")
        self.assertEqual(self.told(".State.ExitCode"), 0)

    def test_a_hub_that_hangs_is_unhealthy_until_its_launcher_has_mended_it(self) -> None:
        self.configure()
        self.health_is("healthy")
        before = self.health()["instance"]
        os.kill(self.hub_process(), signal.SIGSTOP)
        self.health_is("unhealthy")
        log = self.told(".State.Health.Log")
        # Where Docker was quicker than a doctor on a busy machine, the words are its own.
        self.assertIn("no hub answers", " ".join(entry["Output"] for entry in log[-2:]))
        self.health_is("healthy")
        self.assertNotEqual(self.health()["instance"], before)
        self.assertEqual(self.told(".RestartCount"), 0, "no container was restarted for it")
        self.assertIn(f"{PYTHON.rpartition('/')[2]} {HUB} doctor --health",
                      " ".join(self.told(".Config.Healthcheck.Test")))  # fmt: skip


if __name__ == "__main__":
    unittest.main()
