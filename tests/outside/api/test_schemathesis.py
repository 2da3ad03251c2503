"""Whatever a generator of requests makes out of the hub's own description: every answer is one
that stands there, and the description is one that tools understand."""

from __future__ import annotations

import json
import os
import re
import subprocess
import unittest
from pathlib import Path
from typing import Any

from hub_upgrade.web.api import ROUTES
from tests.e2e.harness import CONFIG, Hub, RealCase, cli, environment

VENV = Path(os.environ.get("OUTSIDE", ".outside")).absolute() / "schemathesis"
TOLD = Path(__file__).with_name("schemathesis.toml").read_text(encoding="utf-8")
WHO = '\n[auth.openapi]\ntoken = { bearer = "${TOKEN}" }\n'
LIMIT_S = 240
DONE = re.compile(r"^ *(\d+) generated, (\d+) passed", re.MULTILINE)
TESTED = re.compile(r"^ *Tested: (\d+)$", re.MULTILINE)


class ApiCase(RealCase):
    """A hub that has nothing newer to go to: what is really asked of it ends at once."""

    config: dict[str, Any] = {**CONFIG, "probation_s": 0.2}
    mode = "in-place"

    def setUp(self) -> None:
        super().setUp()
        self.publish(self.old)
        self.served = self.hub().start()
        record = self.served.finished(self.served.upgrade())
        self.assertEqual(self.mode, record["mode"])
        self.before = self.served.wait_healthy()

    def tearDown(self) -> None:
        self.assertEqual(self.before, self.served.health(), "it still serves, as it was")
        for word in ("Traceback", "a bug:"):
            self.assertNotIn(word, self.served.output())
        super().tearDown()

    def tool(self, name: str, *argv: str, **env: str) -> subprocess.CompletedProcess[str]:
        """One of the programs that install.sh has put there, run to its end."""
        return subprocess.run(
            [VENV / "bin" / name, *argv], cwd=self.directory, env=environment(**env),
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT_S, check=False,
        )  # fmt: skip

    def description(self) -> Path:
        """The hub's own description, as a file: read from there, its own route is tested too."""
        status, value = self.served.request("GET", "/api/openapi.json")
        self.assertEqual(200, status)
        path = Path(self.directory, "openapi.json")
        path.write_text(json.dumps(value), encoding="utf-8")
        return path

    def asked(self, token: str | None) -> None:
        """All that is made out of the description, asked with this token."""
        config = Path(self.directory, "schemathesis.toml")
        config.write_text(TOLD + (WHO if token else ""), encoding="utf-8")
        done = self.tool(
            "schemathesis", "--config-file", str(config), "run", str(self.description()),
            "--url", self.served.url, "--no-color", TOKEN=token or "",
        )  # fmt: skip
        said = done.stdout[-20_000:] + done.stderr[-5_000:]
        self.assertEqual(0, done.returncode, said)
        tested, counts = TESTED.search(done.stdout), DONE.search(done.stdout)
        assert tested is not None and counts is not None, said
        self.assertEqual(len(ROUTES), int(tested[1]), said)
        self.assertEqual(counts[1], counts[2], said)
        self.assertGreater(int(counts[1]), 20 * len(ROUTES), said)


class SchemathesisTest(ApiCase):
    def reader(self, hub: Hub) -> str:
        words = ("token", "create", "--scope", "hub:read", "--config-dir", hub.home)
        return cli(hub.program, *words).stdout.strip()

    def test_whoever_may_do_everything(self) -> None:
        self.asked(self.served.token())
        status, past = self.served.request(
            "GET", "/api/hub/upgrade/history", None, self.served.token()
        )
        self.assertEqual(200, status)
        self.assertGreater(len(past["operations"]), 1, "upgrades were really asked for")

    def test_whoever_may_only_look(self) -> None:
        self.asked(self.reader(self.served))

    def test_whoever_is_nobody(self) -> None:
        self.asked(None)


class RedeployTest(ApiCase):
    config: dict[str, Any] = {**CONFIG, "home_persists": False}
    mode = "redeploy-required"

    def test_where_nothing_is_done_in_place(self) -> None:
        self.asked(self.served.token())


class DescriptionTest(ApiCase):
    def test_it_is_a_valid_document(self) -> None:
        done = self.tool("openapi-spec-validator", str(self.description()))
        self.assertEqual(0, done.returncode, done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main()
