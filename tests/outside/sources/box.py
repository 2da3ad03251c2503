"""A container whose process 1 is the other program, run again by podman whenever it ends; the
volume bears home (/parachute) and what bun installs (/parachute/bun)."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import unittest
import uuid
from pathlib import Path
from typing import Any

from tests.e2e.harness import FINISHED, build, wait_for
from tests.e2e.ports import held_port
from tests.outside.containers.podman import (
    BUILD_S,
    ask,
    base_image,
    podman,
    set_up,
    tear_down,
)
from tests.outside.containers.scene import fingerprint
from tests.outside.sources import programs
from tests.outside.sources.alone import OTHER, ask_at
from tests.outside.sources.machine import clean_environment, version_at
from tests.outside.sources.place_git import GitPlace
from tests.outside.sources.places import BUN_TOOL, BunPlace

HOME = "/parachute"
INSTALL = f"{HOME}/bun"
BUN, PYTHON, HUB = "/usr/local/bin/bun", "/usr/bin/python3", "/opt/hub.pyz"
TESTHUB = [BUN, f"{INSTALL}/bin/testhub"]
IMAGE = "localhost/other-hub"
DOCKERFILE = """\
ARG BASE
FROM ${BASE}
COPY bun /usr/local/bin/bun
COPY hub.pyz /opt/hub.pyz
COPY app /app
COPY checkout /srv/hub
COPY old /parachute-old
"""
QUICK = {"ready_timeout_s": 4, "probation_s": 0.4, "probation_max_s": 30}
IN_IMAGE = {
    **{name: data.replace(b'require("test-leaf");\n', b"") for name, data in OTHER.items()},
    "behaviour.txt": programs.GOOD.encode(),
    "package.json": json.dumps({"name": BunPlace.package, "version": "1.0.0"}).encode(),
}
"""The other program as an image bears it, without anything that a manager would install."""


def set_up_module() -> None:
    """The image, for the tests of the calling module."""
    unittest.addModuleCleanup(tear_down, set_up())
    base = f"BASE={base_image()}"
    words = ("build", "--quiet", "--build-arg", base, "--tag", IMAGE, str(recipe()))
    podman(*words, limit_s=BUILD_S)


def recipe() -> Path:
    """The image's Dockerfile, with all that it copies, for the tests of the calling module."""
    clean_environment()
    context = Path(tempfile.mkdtemp(prefix="context-"))
    unittest.addModuleCleanup(shutil.rmtree, context)
    shutil.copyfile(os.path.realpath(BUN_TOOL), context / "bun")
    (context / "bun").chmod(0o755)
    shutil.copyfile(build("1.0.0"), context / "hub.pyz")
    source = context / "app" / "src"
    source.mkdir(parents=True)
    (context / "app" / "package.json").write_bytes(IN_IMAGE["package.json"])
    for name, data in IN_IMAGE.items():
        (source / name.replace("hub.js", "cli.ts")).write_bytes(data)
    _checkout(context)
    _old(context)
    (context / "Dockerfile").write_text(DOCKERFILE)
    return context


def _checkout(context: Path) -> None:
    """A checkout as an image's recipe would copy it, with all that git keeps of it."""
    place = GitPlace(context / "git")
    place.publish("1.0.0", files=IN_IMAGE)
    place.install("1.0.0")
    place.close()
    shutil.copytree(place.checkout, context / "checkout", symlinks=True)
    shutil.rmtree(context / "git")


def _old(context: Path) -> None:
    """What bun has installed, in a directory whose name begins as the volume's does."""
    place = BunPlace(context / "place")
    place.publish("1.0.0", files=OTHER)
    place.install("1.0.0")
    place.close()
    (context / "old").mkdir()
    shutil.copytree(place.prefix, context / "old" / "bun", symlinks=True)
    shutil.rmtree(context / "place")


class Box:
    """The container, its volume and the registry. Its engine may be another that takes the same
    words, but for these."""

    engine = staticmethod(podman)
    asked = staticmethod(ask)
    network: tuple[str, ...] = ()
    removal: tuple[str, ...] = ("rm", "--force", "--time=0", "--ignore")

    def __init__(self) -> None:
        self.name = f"other-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self.port = held_port()
        self.directory = Path(tempfile.mkdtemp(prefix="box-")).resolve()
        self.volume = self.directory / "volume"
        self.volume.mkdir(0o700)
        self.place = BunPlace(self.directory / "place")
        said = {"health_url": f"http://127.0.0.1:{self.port}/health"}
        (self.volume / "hub.json").write_text(json.dumps({**QUICK, "hub": said}))
        self.place.publish("1.0.0", files=OTHER)

    def _options(self, install: str) -> list[str]:
        env = {
            "PORT": str(self.port), "BUN_INSTALL": install, "PARACHUTE_HOME": HOME,
            "BUN_CONFIG_REGISTRY": self.place.registry.npm_url, "PYTHON": PYTHON, "HUB_PYZ": HUB,
            "HOME": "/root", "PATH": "/usr/local/bin:/usr/bin:/bin",
        }  # fmt: skip
        words = [f"--env={name}={value}" for name, value in env.items()]
        return [*self.network, *words, f"--volume={self.volume}:{HOME}"]

    def install(self, version: str = "1.0.0") -> None:
        """On the volume, by bun, as an operator would."""
        wanted = f"{self.place.package}@{version}"
        self.engine("run", "--rm", *self._options(INSTALL), IMAGE, BUN, "add", "-g", wanted)

    def run(self, argv: list[str], install: str = INSTALL) -> None:
        """Have podman run it, and again whenever it has ended; and wait until it answers."""
        self.engine("run", "--detach", f"--name={self.name}", "--restart=always",
                    *self._options(install), IMAGE, *argv)  # fmt: skip
        wait_for(self.runs, f"an answer: {self.output()}")

    def runs(self) -> str:
        """The version that answers now, "" for none."""
        return version_at(self.port)

    def ask(self) -> str:
        """Have the hub upgrade itself; the operation."""
        return ask_at(self.port)

    def publish(self, version: str, behaviour: str = programs.GOOD) -> None:
        """Another version of the other program."""
        self.place.publish(version, behaviour=behaviour, files=OTHER)

    def record(self) -> dict[str, Any]:
        """The status file as it lies there; {} for none."""
        path = self.volume / "hub-upgrade-status.json"
        return dict(json.loads(path.read_bytes())) if path.exists() else {}

    def log(self, op: str) -> str:
        """What the operation's helpers have written."""
        path = self.volume / "logs" / f"upgrade-{op}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def inside(self, *argv: str, detach: bool = False) -> subprocess.CompletedProcess[str]:
        """`podman exec`, as it ends."""
        options = ["--detach", f"--env=PORT={held_port()}"] if detach else []
        return self.asked("exec", *options, self.name, *argv)

    def hub(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """A command of hub.pyz, in the container."""
        return self.inside(PYTHON, HUB, *argv)

    def processes(self) -> list[list[str]]:
        """The command lines of what runs in the container; none where that does not run."""
        script = (
            "import glob, json; print(json.dumps([open(path).read().split(chr(0))[:-1] for path in"
            " sorted(glob.glob('/proc/[0-9]*/cmdline')) if not path.endswith('/self/cmdline')]))"
        )
        lines = json.loads(self.inside(PYTHON, "-c", script).stdout or "[]")
        return [line for line in lines if line and script not in line]

    def installed(self) -> str:
        """The version that lies on the volume."""
        package = self.volume / "bun/install/global/node_modules" / self.place.package
        return str(json.loads((package / "package.json").read_bytes())["version"])

    def touched(self) -> tuple[list[str], dict[str, str]]:
        """What may not change where nothing may be rewritten: the container's own files (but for
        what Python compiles for itself), and what is installed on the volume."""
        changed = self.engine("diff", self.name).splitlines()
        ours = [line for line in changed if not line.startswith(("C /usr", "A /usr/lib/python3"))]
        return sorted(ours), fingerprint(str(self.volume / "bun"))

    def reaches(self, op: str, *steps: str) -> None:
        """Wait until the operation is at one of these steps; raises AssertionError, with all that
        is told, where it ends before, or is not there in time."""

        def look() -> bool:
            record = self.record()
            return record.get("step") in steps or record.get("phase") in FINISHED

        with contextlib.suppress(AssertionError):
            wait_for(look, "")
        if self.record().get("step") not in steps:
            told = f"{self.record()}\n{self.log(op)}\n{self.output()}\n{self.processes()}"
            raise AssertionError(f"not at {steps}: {told}")

    def ended(self, op: str) -> dict[str, Any]:
        """The terminal record of that operation."""

        def look() -> bool:
            record = self.record()
            return record.get("operation_id") == op and record.get("phase") in FINISHED

        wait_for(look, f"the end of {op}: {self.record()} {self.log(op)}")
        return self.record()

    def output(self) -> str:
        """What the container printed."""
        done = self.asked("logs", self.name)
        return (done.stdout + done.stderr)[-2000:]

    def close(self) -> None:
        """Nothing is left of it."""
        self.asked(*self.removal, self.name)
        self.place.close()
        shutil.rmtree(self.directory, ignore_errors=True)


class BoxCase(unittest.TestCase):
    """A test with such a container."""

    kind: type[Box] = Box

    def box(self) -> Box:
        """Its volume, with 1.0.0 installed on it; nothing runs yet."""
        made = self.kind()
        self.addCleanup(made.close)
        made.install()
        return made
