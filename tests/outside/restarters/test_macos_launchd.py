"""A managed hub on macOS, as far as that goes without one: launchd is a stand-in that starts and
kills real processes, and hub.pyz has nothing of Linux."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import unittest
from pathlib import Path

from hub_upgrade.host.look import look_now
from tests.e2e import harness
from tests.e2e.ports import held_port
from tests.outside.restarters import managed_hub
from tests.outside.restarters.without_linux import (
    NO_CONTAINER,
    NO_PROC,
    SEES_PROC,
    TAKEN_AWAY,
    Elsewhere,
)
from tests.restarters.launchctl import Launchd


class ByLaunchd(Elsewhere, harness.RealCase):
    """Somebody else's hub, kept by a launchd of our own; lsof and ps are the real ones."""

    before = TAKEN_AWAY + NO_PROC + NO_CONTAINER

    def setUp(self) -> None:
        super().setUp()
        self.launchd = Launchd()
        self.addCleanup(self.launchd.close)
        self.port = held_port()
        self.configure(
            ready_timeout_s=4, hub={"health_url": f"http://127.0.0.1:{self.port}/health"}
        )
        self.author = os.path.join(self.directory, "author")
        self.checkout = os.path.join(self.directory, "checkout")
        os.mkdir(self.author)
        self.git("-c", "init.defaultBranch=main", "init", "--quiet")
        self.release("1.0.0")
        self.git("clone", "--quiet", self.author, self.checkout)
        domain = f"gui/{os.getuid()}" if os.getuid() else "system"
        self.target = f"{domain}/computer.parachute.hub"
        self.launchd.load(self.target, [
            "env", f"--chdir={self.checkout}", f"PORT={self.port}", f"PARACHUTE_HOME={self.home}",
            f"STARTS={self.directory}/starts", sys.executable, f"{self.checkout}/server.py",
        ])  # fmt: skip
        self.until("1.0.0")
        self.tools = os.path.join(self.directory, "tools")
        os.mkdir(self.tools)
        for tool in (shutil.which("ps"), shutil.which("lsof"), f"{self.launchd.path}/launchctl"):
            path = Path(self.tools, os.path.basename(str(tool)))
            path.write_text(SEES_PROC.format(tool=tool))
            path.chmod(0o755)

    def git(self, *words: str) -> None:
        who = ("-c", "user.name=Author", "-c", "user.email=author@localhost")
        subprocess.run(["git", *who, *words], cwd=self.author, check=True)

    def release(self, version: str, behaviour: str = managed_hub.GOOD) -> None:
        for name, text in managed_hub.files(version, behaviour).items():
            Path(self.author, name).write_text(text)
        self.git("add", "--all")
        self.git("commit", "--quiet", f"--message={version}")
        self.git("tag", f"v{version}")

    def until(self, version: str) -> None:
        def answers() -> bool:
            seen = look_now(("127.0.0.1", self.port), "/health")
            return seen.body.get("version") == version

        harness.wait_for(answers, f"{version} to answer")

    def upgrade(self, code: int) -> str:
        """hub.pyz upgrade, followed to its end: what the record says then."""
        words = ("upgrade", "--config-dir", self.home)
        path = f"{self.tools}:{os.environ['PATH']}"
        done = harness.cli(harness.build("9.0.0"), *words, PATH=path)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return Path(self.home, "hub-upgrade-status.json").read_text()

    def kickstarts(self) -> int:
        """So many restarts were asked for, each in the one way that there is."""
        asked = [words for words in self.launchd.asked() if not words.startswith("print ")]
        self.assertEqual(set(asked), {f"kickstart -k {self.target}"} if asked else set())
        return len(asked)

    def test_it_is_restarted_once_and_once_more_to_be_put_back_and_not_where_that_is_refused(
        self,
    ) -> None:
        self.release("1.1.0")
        self.assertIn(f"launchd has loaded {self.target}", self.upgrade(0))
        self.until("1.1.0")
        self.assertEqual(self.kickstarts(), 1)

        self.release("1.2.0", managed_hub.SICK)
        self.assertIn("1.1.0 runs", self.upgrade(5))
        self.until("1.1.0")
        self.assertEqual(self.kickstarts(), 3)

        self.release("1.3.0")
        words = "Could not kickstart service: 1: Operation not permitted"
        self.launchd.trouble(self.target, 1, words)
        told = self.upgrade(1)
        for part in ("NOT restarted", words, f"launchctl kickstart -k {self.target}", "1.1.0 runs"):
            self.assertIn(part, told)
        self.until("1.1.0")
        self.assertEqual(self.kickstarts(), 4)


if __name__ == "__main__":
    unittest.main()
