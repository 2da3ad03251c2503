"""`hub.pyz unit` on macOS. launchd runs nowhere else: its `launchctl` is a stand-in that writes
down what it was told, and remembers what is loaded."""

from __future__ import annotations

import json
import os
import plistlib
import stat
import sys
from pathlib import Path

from hub_upgrade.cli import unit_launchd
from hub_upgrade.domain.units import MARK
from tests.cli.test_unit import UnitCase

LAUNCHCTL = """#!/bin/sh
cd "$(dirname "$0")"
echo "$*" >>told
case "$1" in
    kill) touch killed ;;
    print) if test -e ending; then rm -f loaded ending; fi
        test -e loaded || exit 113
        pid=77; test ! -e killed || pid=78
        printf '%s\\n' "$2 = {" "pid = $pid" 'state = running' 'x = {' 'pid = 1' '}' '}' ;;
    bootstrap) test ! -e refuses || { echo "Bootstrap failed: 5: Input/output error" >&2; exit 5; }
        test ! -e loaded && touch loaded ;;
    bootout) test -e loaded && touch ending && exit 36 ;;
esac
"""
LABEL = "computer.parachute.hub"


class LaunchdCase(UnitCase):
    def setUp(self) -> None:
        super().setUp()
        self.replace(sys, "platform", "darwin")
        self.becomes(os.getuid() or 501)
        tools = Path(self.scratch, "tools")
        tools.mkdir()
        tool = tools / "launchctl"
        tool.write_text(LAUNCHCTL)
        tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
        os.environ["PATH"] = f"{tools}:{os.environ['PATH']}"  # put back with the rest
        self.tools = tools
        self.file = Path(self.scratch, "Library/LaunchAgents", f"{LABEL}.plist")
        self.domain = f"gui/{os.getuid()}"

    def told(self) -> list[str]:
        """What launchctl was told since the last time."""
        path = self.tools / "told"
        lines = path.read_text().splitlines() if path.exists() else []
        path.write_text("")
        return [line.replace(f"{self.domain}/{LABEL}", "JOB") for line in lines]

    def test_from_install_to_uninstall_twice(self) -> None:
        for _ in range(2):
            code, out, err = self.unit("install", "--port", "8080")
            self.assertEqual((code, err), (0, ""), out)
            job = plistlib.loads(self.file.read_bytes())
            self.assertEqual(job["ProgramArguments"][-2:], ["--port", "8080"])
            start = ["enable JOB", f"bootstrap {self.domain} {self.file}"]
            self.assertEqual(self.told(), ["print JOB", *start])
            self.assertIn("nothing was changed", self.unit("install", "--port", "8080")[1])
            self.assertEqual(self.told(), ["print JOB"])
            self.unit("install", "--port", "8081")
            self.assertEqual(self.told(), ["print JOB", "bootout JOB", "print JOB", *start])
            self.assertIn("running, main process 77", self.unit("status")[1])
            status = json.loads(self.unit("status", "--json")[1])
            self.assertEqual((status["main_pid"], status["ours"]), (77, True))
            self.assertEqual(self.unit("restart")[0], 0)
            self.assertEqual(self.told()[-3:], ["print JOB", "kill SIGTERM JOB", "print JOB"])
            (self.tools / "killed").unlink()
            self.assertEqual(self.unit("uninstall")[0], 0)
            self.assertEqual(self.told(), ["print JOB", "bootout JOB", "print JOB"])
            self.assertFalse(self.file.exists())
            self.assertEqual(self.unit("uninstall")[0], 0)
            self.assertIn("is not installed", self.unit("status")[1])
            self.told()

    def test_what_is_systemds_alone_is_refused(self) -> None:
        for flag in (("--socket",), ("--writable", "/srv")):
            code, _out, err = self.unit("install", *flag)
            self.assertEqual(code, 2)
            self.assertIn("are for systemd", err)

    def test_its_refusal_is_told_with_its_words(self) -> None:
        (self.tools / "refuses").touch()
        code, _out, err = self.unit("install")
        self.assertEqual(code, 1)
        self.assertIn("Bootstrap failed: 5: Input/output error", err)

    def test_a_file_that_somebody_else_wrote_is_left_alone(self) -> None:
        self.file.parent.mkdir(parents=True)
        self.file.write_text("<plist/>")
        for action in ("install", "uninstall"):
            code, _out, err = self.unit(action)
            self.assertEqual(code, 1)
            self.assertIn(str(self.file), err)
        self.assertEqual(self.file.read_text(), "<plist/>")
        self.assertEqual(self.unit("install", "--force")[0], 0)
        self.assertIn(MARK, self.file.read_text())

    def test_its_log_is_where_a_mac_keeps_such(self) -> None:
        _code, out, _err = self.unit("logs", "-n", "3", "-f", "--dry-run")
        self.assertEqual(out, f"$ tail -n 3 -f {self.scratch}/Library/Logs/parachute-hub.log\n")
        self.file.parent.mkdir(parents=True)
        for text, path in (
            (plistlib.dumps({"StandardOutPath": "/Users/two/x.log"}), "/Users/two/x.log"),
            (b"<plist", f"{self.scratch}/Library/Logs/parachute-hub.log"),
        ):
            self.file.write_bytes(text)
            self.assertEqual(self.unit("logs", "--dry-run")[1], f"$ tail -n 50 {path}\n")
        self.assertGreater(unit_launchd.LIMIT_S, 20, "a job may take that long to end")


if __name__ == "__main__":
    import unittest

    unittest.main()
