"""A hub below a directory whose name is no UTF-8: upgraded, and returned from a bad version."""

from __future__ import annotations

import os
import signal
import sys
import unittest
from collections.abc import Mapping
from pathlib import Path

from tests.e2e.harness import wait_for
from tests.outside.sources import programs
from tests.outside.sources.machine import MachineCase, clean_environment
from tests.outside.sources.place_git import GitPlace

VERSION = b"""\
version = json.loads(pathlib.Path(__file__).with_name("package.json").read_text())["version"]"""
PROGRAM = programs.PYTHON.replace(
    b'version = importlib.metadata.version("parachute-test-hub")', VERSION
).replace(b"import test_leaf\n", b"")


def setUpModule() -> None:
    clean_environment()


class OddGitPlace(GitPlace):
    """Its hub is in Python: bun does not find a file there."""

    def __init__(self, root: str | Path) -> None:
        super().__init__(os.fsdecode(os.fsencode(root) + b"/t\xff"))

    @property
    def program(self) -> list[str]:
        return [sys.executable, str(self.checkout / "hub.py")]

    def publish(
        self,
        version: str,
        channel: str = "latest",
        behaviour: str = programs.GOOD,
        files: Mapping[str, bytes] | None = None,
    ) -> None:
        hub = {"hub.py": PROGRAM + b"\nmain()\n", **(files or {})}
        super().publish(version, channel, behaviour, hub)


class Bytes(MachineCase):
    kind = OddGitPlace

    def test_a_checkout_goes_forward_and_comes_back_though_its_helper_dies(self) -> None:
        machine = self.machine()
        machine.place.publish("1.1.0")
        done = machine.command("upgrade")
        self.assertEqual(done.returncode, 0, f"{done.stdout}\n{done.stderr}")
        self.assertEqual(machine.runs(), "1.1.0")
        machine.place.publish("1.2.0", behaviour=programs.SILENT)
        machine.command("upgrade", "--no-wait")
        wait_for(lambda: machine.record().get("phase") == "restarting", "it is restarted")
        os.kill(machine.record()["helper_pid"], signal.SIGKILL)
        machine.settled()
        self.assert_record(machine, phase="failed", rolled_back_to="1.1.0")
        self.assertEqual((machine.runs(), machine.place.installed()), ("1.1.0", "1.1.0"))


if __name__ == "__main__":
    unittest.main()
