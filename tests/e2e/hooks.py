"""Hooks that write down what they are told, for the tests of them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.e2e.harness import CONFIG, Hub, RealCase, cli, wait_for
from tests.e2e.moments import pausing

NOTES = """
cd "$PARACHUTE_HOME"
cp hub-upgrade-status.json "at-$PARACHUTE_HOOK.json"
ls releases > "at-$PARACHUTE_HOOK.ls"
echo "this is $PARACHUTE_HOOK"
cat > "stdin-$PARACHUTE_HOOK"
echo "$PARACHUTE_HOOK $PARACHUTE_OPERATION_KIND $PARACHUTE_CURRENT_VERSION \\
$PARACHUTE_TARGET_VERSION $1" >> hooks
"""
ARGUMENT = "a word; and $more"
HOOKS = ("before_upgrade", "after_rollback", "on_finish")


class HooksCase(RealCase):
    """A home whose hooks write down what they are told."""

    def setUp(self) -> None:
        super().setUp()
        self.old = pausing("1.0.0")  # its preflight is a short one
        self.hooks({})

    def hooks(self, more: dict[str, Any]) -> None:
        """hub.json, where each hook writes down what it is told."""
        noted = {name: ["sh", "-c", NOTES, "sh", ARGUMENT] for name in HOOKS}
        config = {**CONFIG, "releases": self.repository, **noted, **more}
        Path(self.home, "hub.json").write_text(json.dumps(config))

    def path(self, name: str) -> Path:
        """A file that a hook has written."""
        return Path(self.home, name)

    def noted(self, *expected: str) -> None:
        """These hooks have run, in this order, once each: kind, old and new version."""
        lines = [f"{line} {ARGUMENT}" for line in expected]

        def found() -> list[str]:
            there = self.path("hooks")
            return there.read_text().splitlines() if there.exists() else []

        wait_for(lambda: len(found()) >= len(lines), f"the hooks; there are {found()}")
        self.assertEqual(found(), lines)

    def at(self, hook: str) -> dict[str, Any]:
        """The record as it was when that hook ran."""
        return dict(json.loads(self.path(f"at-{hook}.json").read_text()))

    def finished_with(self, record: dict[str, Any]) -> None:
        """`on_finish` got the record as it lies there."""
        self.assertEqual(json.loads(self.path("stdin-on_finish").read_text()), record)
        self.path("stdin-on_finish").unlink()

    def log_of(self, record: dict[str, Any]) -> str:
        """The operation's whole output."""
        path = Path(self.home, "logs", f"upgrade-{record['operation_id']}.log")
        return path.read_text() if path.exists() else ""

    def command(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """A command on a home that nobody serves."""
        return cli(self.old, *argv, "--config-dir", self.home)

    def served(self) -> Hub:
        return self.hub().start()
