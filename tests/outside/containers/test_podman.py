"""examples/Dockerfile in podman: built, run, upgraded, stopped in every phase, started again."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import unittest
from pathlib import Path
from typing import Any

from hub_upgrade.domain import operation as op
from tests.e2e.harness import build, wait_for
from tests.outside.containers.podman import (
    PodmanCase,
    build_image,
    podman,
    set_up,
    tear_down,
)
from tests.outside.containers.scene import HOME, HUB, PYTHON, QUICK, USER

ROOT = Path(__file__).resolve().parents[3]
SLOW = b"import time\ntime.sleep(600)\n"
LONG_S = 200.0


def setUpModule() -> None:
    """The image, as the README says: the Dockerfile beside hub.pyz."""
    unittest.addModuleCleanup(tear_down, set_up())
    context = Path(tempfile.mkdtemp(prefix="context-"))
    unittest.addModuleCleanup(shutil.rmtree, context)
    shutil.copyfile(ROOT / "examples" / "Dockerfile", context / "Dockerfile")
    shutil.copyfile(build("1.0.0"), context / "hub.pyz")
    build_image(context)


class Dockerfile(unittest.TestCase):
    def test_it_is_a_base_and_six_lines(self) -> None:
        text = (ROOT / "examples" / "Dockerfile").read_text()
        lines = [line for line in text.splitlines() if line and not line.startswith("#")]
        words = [line.split()[0] for line in lines]
        self.assertEqual(words, ["ARG", "FROM", "COPY", "ENV", "RUN", "USER", "HEALTHCHECK", "CMD"])


class Hub(PodmanCase):
    """The hub of 1.0.0, and 1.1.0 to upgrade to."""

    def setUp(self) -> None:
        super().setUp()
        self.chown(self.repository, USER)
        self.mount = f"--volume={self.volume}:{HOME}"

    def run_with_volume(self, *options: str, **config: Any) -> None:
        self.configure(**{**QUICK, **config})
        self.run_new(self.mount, *options)


class Storage(Hub):
    def test_without_a_volume_it_is_redeployed(self) -> None:
        self.run_new()
        token = self.token()
        record = self.must_redeploy(
            token, "own files (overlay at /)", "podman-compose pull",
            "podman run -v parachute:/parachute",
        )  # fmt: skip
        self.assertIn("container: /run/.containerenv exists", record["evidence"])
        self.hub("upgrade", code=3)
        self.assertEqual(self.stop(), 0)

    def test_a_volume_without_a_name_goes_with_its_container(self) -> None:
        self.run_new(f"--volume={HOME}")
        self.must_redeploy(self.token(), "a volume without a name")
        self.assertEqual(self.stop(), 0)

    def test_a_volume_that_takes_its_changes_away_with_it_is_none(self) -> None:
        self.configure(**QUICK)
        self.run_new(self.mount + ":O")
        self.must_redeploy(self.token(), "whose changes go with its container")

    def test_an_upgrade_on_a_volume_outlives_the_container(self) -> None:
        self.run_with_volume()
        token = self.token()
        self.upgrades(token)
        self.assertEqual(self.stop(), 0)
        self.run_new(self.mount)
        self.assertEqual(self.version(), "1.1.0")
        self.assertEqual(self.record(token)["phase"], "succeeded")
        self.assertEqual(self.stop(), 0)

    def test_with_a_read_only_root_it_is_in_place_on_a_volume_and_serves_without(self) -> None:
        self.run_with_volume("--read-only")
        self.upgrades(self.token())
        self.run_new(self.mount, "--read-only")
        self.assertEqual(self.version(), "1.1.0")
        for more in ("--read-only-tmpfs=true", "--read-only-tmpfs=false"):
            self.run_new("--read-only", more)
            self.assertEqual(self.version(), "1.0.0")
            self.assertIn("Read-only file system", self.output())
            self.assertEqual(self.stop(), 0)

    def test_the_volume_of_another_user_is_told_with_the_chown_and_that_mends_it(self) -> None:
        self.configure(**QUICK)
        theirs = f"import os; os.chown('{HOME}', 0, 0); os.chmod('{HOME}', 0o755)"
        self.run_once(theirs, "--user=0")
        self.run_new(self.mount)
        self.assertEqual(self.version(), "1.0.0")
        chown = f"chown -R {USER} {HOME}"
        self.assertIn(f"its owner is root (0), we are {USER}", self.output())
        self.assertIn(f"mend it with: {chown}", self.output())
        podman("exec", "--user=0", self.name, *chown.split())
        podman("restart", self.name)
        wait_for(self.version, "an answer")
        self.upgrades(self.token())


class Stopping(Hub):
    def upgrading(self, **config: Any) -> tuple[str, str]:
        """An upgrade under way: a token and the operation's id."""
        self.run_with_volume(**config)
        token = self.token()
        return token, str(self.post(token)["operation_id"])

    def started_again(self, **config: Any) -> None:
        self.configure(**{**QUICK, **config})
        podman("start", self.name)

    def test_an_idle_hub_ends_with_0_before_it_is_killed(self) -> None:
        self.run_with_volume()
        self.assertEqual(self.stop(), 0)

    def test_while_an_upgrade_is_prepared_it_ends_that_as_failed(self) -> None:
        self.chown(self.repository, 0)
        self.publish(build("1.2.0", {"hub_upgrade/wiring/hub.py": SLOW}))
        self.chown(self.repository, USER)
        token, operation = self.upgrading(ready_timeout_s=LONG_S)
        wait_for(lambda: self.record(token).get("step") == op.PREFLIGHT, "the preflight")
        self.assertEqual(self.stop(), 0)
        self.started_again()
        record = self.finished(token, operation)
        self.assertEqual(record["phase"], "failed")
        self.assertIn("the hub was stopped", record["error"])
        self.assertEqual(self.version(), "1.0.0")

    def test_on_probation_it_gives_the_try_back_and_goes_on_later(self) -> None:
        token, operation = self.upgrading(probation_s=LONG_S)
        self.wait_for_version("1.1.0")
        self.assertEqual(self.record(token)["phase"], "restarting")
        self.assertEqual(self.stop(), 0)
        self.started_again()
        self.assertEqual(self.finished(token, operation)["phase"], "succeeded")
        self.assertEqual(self.version(), "1.1.0")
        self.assertEqual(self.stop(), 0)


class Living(Hub):
    def test_a_restart_policy_brings_it_back_as_it_was_upgraded(self) -> None:
        self.run_with_volume("--restart=always")
        self.upgrades(self.token())
        before = self.health()["instance"]
        os.kill(self.process(), signal.SIGKILL)
        after = wait_for(lambda: self.answers_anew(before), "a new start")
        self.assertEqual(after["version"], "1.1.0")
        self.assertEqual(self.stop(), 0)

    def answers_anew(self, before: str) -> dict[str, Any] | None:
        about = self.health()
        return about if about.get("instance", before) != before else None

    def test_by_itself_it_listens_for_those_outside_and_its_health_is_checked(self) -> None:
        check = f"--health-cmd={PYTHON} {HUB} doctor --health"
        self.run_new(
            "--network=none", check, "--health-interval=disable", loopback=False, serves=False
        )
        wait_for(lambda: "serving 1.0.0" in self.output(), "a hub")
        podman("healthcheck", "run", self.name)
        self.assertNotIn("PARACHUTE_BIND_HOST", self.output())
        self.assertIn("0.0.0.0", podman("logs", self.name))
        self.assertEqual(self.stop(), 0)

    def test_an_address_that_nobody_outside_reaches_is_told(self) -> None:
        self.run_new()
        self.assertIn("set PARACHUTE_BIND_HOST=0.0.0.0", self.output())


if __name__ == "__main__":
    unittest.main()
