"""The command line on real files: one home, one repository, and every command run to its end."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.e2e.harness import WAIT_S, RealCase, build, cli, environment, running_on, wait_for

WIRING = "hub_upgrade/wiring/hub.py"
BAD_AT_HOME = """
_good_main = main

def main(argv):
    home = os.environ.get("PARACHUTE_HOME", "")
    if os.path.exists(os.path.join(home, "releases", "boot.json")):
        print("nothing works in this home")
        return 7
    return _good_main(argv)
"""


def bad_release(version: str) -> str:
    """A release that preflight takes for good, and that does not start in a real home."""
    return build(version, {WIRING: Path(WIRING).read_bytes() + BAD_AT_HOME.encode()})


class CommandLineCase(RealCase):
    def setUp(self) -> None:
        super().setUp()
        self.publish(build("1.1.0"))
        self.addCleanup(self.assert_nothing_runs)

    def assert_nothing_runs(self) -> None:
        wait_for(lambda: not running_on(self.home), f"the end of {running_on(self.home)}")

    def run_hub(self, *argv: str, **env: str) -> subprocess.CompletedProcess[str]:
        return cli(self.old, *argv, "--config-dir", self.home, timeout_s=WAIT_S, **env)

    def boot(self) -> dict[str, Any]:
        return dict(json.loads(Path(self.home, "releases", "boot.json").read_text()))

    def current(self) -> str:
        return str(self.boot()["current"]).rpartition("-")[0]

    def tokens(self) -> list[Any]:
        return list(json.loads(Path(self.home, "tokens.json").read_text())["tokens"])

    def start(self, *argv: str) -> subprocess.Popen[str]:
        """A command that goes on while the test does something else."""
        process = subprocess.Popen(
            [sys.executable, self.old, *argv, "--config-dir", self.home],
            env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process
