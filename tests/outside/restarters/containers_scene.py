"""Containers of examples/Dockerfile under either engine, with the home in a directory of the test's
own, and what a test asks the hub in there."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import tempfile
import unittest
from pathlib import Path
from typing import Any

from tests.e2e.harness import FINISHED, build, wait_for
from tests.e2e.ports import held_port
from tests.outside.containers.scene import HOME, HUB, PYTHON, QUICK, USER, ContainerCase
from tests.outside.restarters.containers_engine import Engine

ROOT = Path(__file__).resolve().parents[3]
GIVEN = "/given"
"""Where a container finds the release repository, the token, and the pauses."""
FACTORY = "ARG BASE\nFROM ${BASE}\nCOPY hub.pyz /opt/hub.pyz\n"
CONFIG = {**QUICK, "releases": f"{GIVEN}/repository"}


def image_of(version: str) -> str:
    """The name of the image whose factory is of that version."""
    return f"localhost/hub:{version}"


def set_up_images(engine: Engine, **others: str) -> None:
    """The image of 1.0.0 from examples/Dockerfile, and by tag others with another hub.pyz in it."""
    context = Path(tempfile.mkdtemp(prefix="context-"))
    unittest.addModuleCleanup(shutil.rmtree, context)
    shutil.copyfile(ROOT / "examples" / "Dockerfile", context / "Dockerfile")
    shutil.copyfile(build("1.0.0"), context / "hub.pyz")
    engine.build(context, image_of("1.0.0"))
    (context / "Dockerfile").write_text(FACTORY)
    for tag, program in others.items():
        shutil.copyfile(program, context / "hub.pyz")
        engine.build(context, image_of(tag), image_of("1.0.0"))


def state_of(pid: int) -> str:
    """A process's state as the kernel tells it; "" for none. Process 1 of a namespace is a zombie
    once all the others there are gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


class Container:
    """One container; `case` says of which engine."""

    def __init__(self, case: EngineCase, port: int, name: str = "hub") -> None:
        self.case = case
        self.engine = case.engine
        self.name = f"{name}-{os.getpid()}-{port}"
        self.port = port

    def run(
        self, *options: str, tag: str = "1.0.0", command: tuple[str, ...] = (), host: bool = True
    ) -> None:
        """Make it anew, from the pristine image."""
        self.remove()
        network = ["--network=host", "--env=PARACHUTE_BIND_HOST=127.0.0.1"] if host else []
        self.engine.run(
            "run", "--detach", f"--name={self.name}", *network, f"--env=PORT={self.port}",
            f"--env=PARACHUTE_ADMIN_TOKEN_FILE={GIVEN}/token",
            f"--volume={self.case.given}:{GIVEN}", *options, image_of(tag), *command,
        )  # fmt: skip

    def remove(self) -> None:
        """With all that was written into it."""
        self.engine.ask("rm", "--force", "--volumes", self.name)

    def stop(self) -> int:
        """Ask it to stop, which must be in time; the exit code of process 1."""
        self.engine.run("stop", self.name)
        return int(self.told("{{.State.ExitCode}}"))

    def start(self) -> None:
        """The same container again."""
        self.engine.run("start", self.name)

    def kill(self) -> None:
        """Process 1 dies of it, and all the container's processes with it."""
        pid = int(self.told("{{.State.Pid}}"))
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: state_of(pid) in ("", "Z"), "the end of process 1")

    def told(self, what: str) -> str:
        """A field of what the engine knows of it."""
        return self.engine.run("inspect", f"--format={what}", self.name)

    def running(self) -> bool:
        """Whether the engine says that it runs."""
        return self.told("{{.State.Running}}") == "true"

    def output(self) -> str:
        """What it printed on stderr, in all its starts."""
        return self.engine.ask("logs", self.name).stderr[-6000:]

    def inside(self, *argv: str, code: int = 0) -> str:
        """Run its interpreter beside the hub."""
        done = self.engine.ask("exec", self.name, PYTHON, *argv)
        self.case.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout


class EngineCase(ContainerCase):
    """A test with a home in `volume`, the hub's container `one`, and a token that it knows."""

    engine: Engine

    def setUp(self) -> None:
        self.given = os.path.realpath(tempfile.mkdtemp(prefix="given-"))
        self.addCleanup(shutil.rmtree, self.given)
        os.chmod(self.given, 0o755)
        super().setUp()
        self.token_known = secrets.token_urlsafe(24)
        Path(self.given, "token").write_text(self.token_known)
        self.pauses = Path(self.given, "pauses")
        self.pauses.mkdir()
        self.chown(self.given, USER)
        self.port = held_port()
        self.one = Container(self, self.port)
        self.addCleanup(self.one.remove)
        self.renew()

    def publish(self, path: str) -> None:
        self.repository = os.path.join(self.given, "repository")
        super().publish(path)

    def renew(self, user: int = USER, **config: Any) -> None:
        """Another home, with nothing in it but hub.json."""
        self.volume = tempfile.mkdtemp(prefix="volume-", dir=self.given)
        self.addCleanup(shutil.rmtree, self.volume, ignore_errors=True)
        self.configure(user, **config)

    def configure(self, user: int = USER, **config: Any) -> None:
        """hub.json, as the hub's user would write it."""
        Path(self.volume, "hub.json").write_text(json.dumps({**CONFIG, **config}))
        self.chown(self.volume, user)

    @property
    def mount(self) -> str:
        """The option that gives a container its home."""
        return f"--volume={self.volume}:{HOME}"

    def serves(self, version: str = "1.0.0") -> None:
        self.wait_for_version(version)

    def lives_anew(self, before: dict[str, Any]) -> None:
        """Wait until another process image answers than the one that did before."""
        old = before["instance"]
        wait_for(lambda: self.health().get("instance", old) != old, f"another: {self.output()}")

    def boot(self) -> dict[str, Any]:
        """The launcher's record."""
        return dict(json.loads(Path(self.volume, "releases", "boot.json").read_bytes()))

    def record_there(self) -> dict[str, Any]:
        """The status file as it lies there; {} for none."""
        path = Path(self.volume, "hub-upgrade-status.json")
        return dict(json.loads(path.read_bytes())) if path.exists() else {}

    def ended(self, operation: str) -> dict[str, Any]:
        """The terminal record of that operation, read from the volume."""

        def look() -> bool:
            record = self.record_there()
            return record.get("operation_id") == operation and record["phase"] in FINISHED

        wait_for(look, f"the end: {self.record_there()} {self.output()}")
        return self.record_there()

    def upgraded(self, version: str = "1.1.0") -> None:
        """An upgrade of the hub that runs, to its good end."""
        record = self.ended(self.post(self.token_known)["operation_id"])
        self.assertEqual((record["phase"], record["mode"]), ("succeeded", "in-place"), record)
        self.serves(version)

    def output(self) -> str:
        return self.one.output()

    def inside(self, *argv: str, code: int = 0) -> str:
        return self.one.inside(*argv, code=code)

    def cli(self, *argv: str, code: int = 0) -> str:
        """A command of hub.pyz beside the hub."""
        return self.inside(HUB, *argv, code=code)
