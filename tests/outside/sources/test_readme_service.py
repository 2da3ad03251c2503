"""The README's service of one's own, word by word: bash types what stands there."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import unittest
from pathlib import Path

from tests.e2e.harness import build, wait_for
from tests.outside.readme.blocks import said
from tests.outside.sources.machine import Machine, clean_environment
from tests.outside.sources.place_git import GitPlace

ROOT = Path(__file__).resolve().parents[3]
BEFORE = "git init --quiet --bare --initial-branch=main hello.git"
RUN = "while sleep 1; do bun hello/server.js; done"
HOME = "install -D -m 600 examples/service/hub.json hello-home/hub.json"
SERVED = "python3 dist/hub.pyz serve --config-dir hello-home --port 8079"
NEWER = "sed -i s/1.0.0/1.1.0/ author/package.json"


def setUpModule() -> None:
    clean_environment()


class ServiceTest(unittest.TestCase):
    def setUp(self) -> None:
        self.machine = Machine(GitPlace)  # for its disk, its bun and its git
        self.addCleanup(self.machine.close)
        self.clone = self.machine.directory / "clone"
        (self.clone / "dist").mkdir(parents=True)
        shutil.copytree(ROOT / "examples", self.clone / "examples")
        shutil.copyfile(build("1.0.0"), self.clone / "dist" / "hub.pyz")

    def begin(self, script: str) -> subprocess.Popen[str]:
        """Type it, and look on."""
        process = subprocess.Popen(
            ["bash", "-ec", script], cwd=self.clone, env=self.machine.place.environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True,
        )  # fmt: skip
        self.addCleanup(self.end, process)
        return process

    def end(self, process: subprocess.Popen[str]) -> None:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()

    def type(self, script: str) -> str:
        """Type it to its end."""
        process = self.begin(script)
        told, _ = process.communicate(timeout=120)
        self.assertEqual(process.returncode, 0, told)
        return told

    def answers(self, url: str) -> str:
        done = subprocess.run(["curl", "-s", url], capture_output=True, text=True, check=False)
        return done.stdout

    def test_a_service_of_ones_own_is_upgraded_and_taken_back(self) -> None:
        self.type(said(BEFORE))
        self.begin(said(RUN))
        url = "http://127.0.0.1:8080/"
        wait_for(lambda: self.answers(url) == "Hello from 1.0.0\n", "the service")
        self.assertIn(f"\n{SERVED}\n", said(HOME))
        self.begin(said(HOME))
        wait_for(lambda: self.answers("http://127.0.0.1:8079/health"), "hub.pyz beside it")
        told = self.type(said(NEWER))
        self.assertIn("Upgraded: 1.0.0 -> 1.1.0, and proven.", told)
        self.assertIn("Hello from 1.1.0\n", told)
        self.assertIn("Rolled back: 1.1.0 -> 1.0.0.", told)
        self.assertEqual(self.answers(url), "Hello from 1.0.0\n")


if __name__ == "__main__":
    unittest.main()
