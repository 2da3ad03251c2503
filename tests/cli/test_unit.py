"""`hub.pyz unit` as far as no systemd is needed: what it would do, and what it refuses."""

from __future__ import annotations

import json
import os
import plistlib
import sys
from pathlib import Path
from unittest import mock

from hub_upgrade.cli import unit, unit_systemd
from hub_upgrade.domain.units import MARK
from hub_upgrade.host import interpreter
from tests.cli.scene import CliCase
from tests.e2e.harness import build

NOBODY = "nobody"
THEIRS = "[Service]\nExecStart=/bin/true\n"


class UnitCase(CliCase):
    """The units' directory is one of the test's own, and systemd is nowhere."""

    def setUp(self) -> None:
        super().setUp()
        self.directory = os.path.join(self.scratch, "system")
        os.mkdir(self.directory)
        self.booted = os.path.join(self.scratch, "nowhere")
        self.service = Path(self.directory, "parachute-hub.service")
        for target, name, value in (
            (unit_systemd, "SYSTEM", self.directory),
            (unit_systemd, "BOOTED", self.booted),
            (sys, "argv", [build("1.0.0")]),
            (sys, "platform", "linux"),
        ):
            self.replace(target, name, value)
        self.becomes(0)
        environ = mock.patch.dict(os.environ, {"HOME": self.scratch, "XDG_CONFIG_HOME": ""})
        environ.start()
        self.addCleanup(environ.stop)

    def replace(self, target: object, name: str, value: object) -> None:
        patch = mock.patch.object(target, name, value)
        patch.start()
        self.addCleanup(patch.stop)

    def becomes(self, uid: int) -> None:
        """As if that user had typed it."""
        self.replace(os, "geteuid", lambda: uid)

    def unit(self, *argv: str) -> tuple[int, str, str]:
        code, out, err = self.run_command(unit.main, *argv)
        if code:
            self.assertEqual(err.count("\n"), 1, err)
        return code, out, err

    def everything(self) -> dict[str, bytes]:
        paths = [path for path in Path(self.scratch).rglob("*") if path.is_file()]
        return {str(path): path.read_bytes() for path in paths}


class Showing(UnitCase):
    def test_the_file_and_the_commands_are_shown_and_nothing_is_done(self) -> None:
        os.rmdir(self.home.root)
        before = self.everything()
        code, out, err = self.unit("install", "--user", NOBODY, "--port", "8080", "--releases",
                                   "/srv/releases", "--dry-run")  # fmt: skip
        self.assertEqual((code, err), (0, ""))
        self.assertTrue(out.startswith(f"# {self.service}\n# {MARK}"), out)
        flags = f"serve --config-dir {self.home.root} --port 8080 --releases /srv/releases\n"
        self.assertIn(f"ExecStart={sys.executable} -I -S {build('1.0.0')} {flags}", out)
        typed = [line for line in out.splitlines() if line.startswith("$ ")]
        self.assertEqual([line.split()[1] for line in typed],
                         ["runuser", "runuser", "systemctl", "systemctl"])  # fmt: skip
        self.assertIn(f"$ runuser -u {NOBODY} -- mkdir -p -m 700 {self.home.root}", typed)
        self.assertEqual(typed[-1], "$ systemctl enable --now parachute-hub.service")
        self.assertEqual(before, self.everything())

    def test_who_is_no_root_gets_a_unit_of_their_own_in_their_home(self) -> None:
        self.becomes(65534)
        code, out, _err = self.unit("install", "--dry-run", "--name", "two")
        self.assertEqual(code, 0)
        mine = f"{self.scratch}/.config/systemd/user/two.service"
        self.assertTrue(out.startswith(f"# {mine}\n"), out)
        self.assertIn("$ systemctl --user enable --now two.service", out)
        self.assertNotIn("User=", out)

    def test_a_socket_unit_has_the_address_that_the_hub_would_have(self) -> None:
        for argv, address in (
            ((), "127.0.0.1:1939"), (("--host", "::", "--port", "80"), "[::]:80"),
            (("--host", "[::1]"), "[::1]:1939"),
        ):  # fmt: skip
            _code, out, _err = self.unit("install", "--as-root", "--socket", "--dry-run", *argv)
            self.assertIn(f"\nListenStream={address}\n", out)
            line = "$ systemctl enable --now parachute-hub.socket parachute-hub.service\n"
            self.assertIn(line, out)

    def test_the_network_is_waited_for_only_where_it_brings_the_address(self) -> None:
        for host, waits in (
            ("127.0.0.1", False), ("localhost", False), ("[::1]", False), ("::", False),
            ("0.0.0.0", False), ("192.168.1.5", True), ("fd00::1", True), ("hub.lan", True),
        ):  # fmt: skip
            install = ("install", "--as-root", "--dry-run", "--host", host)
            _code, out, _err = self.unit(*install)
            self.assertEqual("\nWants=network-online.target\n" in out, waits, host)
        _code, out, _err = self.unit("install", "--as-root", "--dry-run", "--socket", "--host",
                                     "192.168.1.5")  # fmt: skip
        self.assertNotIn("network-online", out)

    def test_launchds_job_is_shown_anywhere(self) -> None:
        self.becomes(65534)
        code, out, _err = self.unit("install", "--launchd", "--dry-run")
        self.assertEqual(code, 0)
        path, text = out.split("\n", 1)
        label = "computer.parachute.hub"
        self.assertEqual(path, f"# {self.scratch}/Library/LaunchAgents/{label}.plist")
        document, _, typed = text.partition("</plist>\n")
        self.assertEqual(plistlib.loads(f"{document}</plist>".encode())["Label"], label)
        self.assertIn("$ launchctl bootstrap gui/", typed)

    def test_the_other_actions_tell_what_they_would_run(self) -> None:
        self.service.write_text(f"# {MARK}\n")
        for action, line in (
            ("uninstall", "$ systemctl stop parachute-hub.service\n$ systemctl disable para"),
            ("restart", "$ systemctl restart parachute-hub.service\n"),
            ("logs", "$ journalctl --unit=parachute-hub.service --lines=7 --follow\n"),
        ):
            _code, out, _err = self.unit(action, "--dry-run", "-n", "7", "-f")
            self.assertIn(line, out)
        self.assertTrue(self.service.exists())


class Refusing(UnitCase):
    def test_wrong_usage_is_one_sentence_each(self) -> None:
        install = ("install", "--user", NOBODY)
        for argv, words in (
            (("install",), "as root, say who shall run the hub: --user NAME (or --as-root)"),
            (("install", "--user", "root"), "only with --as-root"),
            ((*install, "--as-root"), "exclude each other"),
            (("install", "--user", "no such"), "there is no user 'no such'"),
            ((*install, "--name", "a/b"), "--name must be up to 100 letters"),
            ((*install, "--port", "http"), "--port must be a port from 0 to 65535, not 'http'"),
            ((*install, "--releases", "https://x"), "until releases are signed"),
            ((*install, "--socket", "--port", "0"), "--socket needs a port"),
            ((*install, "--socket", "--host", "a.example"), "--socket needs an IP address"),
            ((*install, "--writable", "/a\nb"), "characters that no unit can hold"),
            ((*install, "--launchd"), "--launchd is for macOS"),
            (("logs", "-n", "x"), "-n must be a number"),
            (("dance",), "ACTION must be"),
        ):
            code, out, err = self.unit(*argv)
            self.assertEqual((code, out), (2, ""), err)
            self.assertIn(words, err)
        self.assertEqual(os.listdir(self.directory), [])

    def test_a_python_that_systemd_would_not_start_is_refused_and_launchd_starts_it(self) -> None:
        for odd in "$'\"\\":
            self.replace(interpreter, "find", f"/opt/a{odd}b/python3".__str__)
            code, _out, err = self.unit("install", "--as-root", "--dry-run")
            self.assertEqual(code, 2, odd)
            self.assertIn("systemd cannot start /opt/a", err)
        self.replace(sys, "platform", "darwin")
        self.assertEqual(self.unit("install", "--as-root", "--dry-run")[0], 0)

    def test_only_root_chooses_who_runs_it(self) -> None:
        self.becomes(65534)
        for argv in (("--user", NOBODY), ("--as-root",)):
            code, _out, err = self.unit("install", *argv)
            self.assertEqual(code, 2)
            self.assertIn("are for root", err)

    def test_without_systemd_it_says_so_and_writes_nothing(self) -> None:
        for action in ("install", "restart", "status"):
            code, _out, err = self.unit(action, *(("--as-root",) if action == "install" else ()))
            self.assertEqual(code, 1)
            self.assertIn("systemd does not run here", err)
        self.assertEqual(os.listdir(self.directory), [])

    def test_a_missing_or_refusing_systemctl_is_one_sentence(self) -> None:
        os.mkdir(self.booted)
        self.becomes(65534)
        nowhere = {"PATH": self.scratch, "XDG_RUNTIME_DIR": self.scratch}
        with mock.patch.dict(os.environ, nowhere):
            code, _out, err = self.unit("install")
        self.assertEqual(code, 1)
        self.assertIn("systemctl cannot be run: No such file or directory", err)

    def test_a_file_that_somebody_else_wrote_is_neither_written_over_nor_removed(self) -> None:
        self.service.write_text(THEIRS)
        masked = Path(self.directory, "masked.service")
        masked.symlink_to(os.devnull)
        for name in ("parachute-hub", "masked"):
            for action in (("install", "--as-root"), ("uninstall",)):
                code, out, err = self.unit(*action, "--name", name, "--json")
                self.assertEqual((code, json.loads(out)["error"]), (1, "not_ours"))
                self.assertIn(f"{self.directory}/{name}.service", err)
        self.assertEqual(self.service.read_text(), THEIRS)
        self.assertEqual(os.readlink(masked), os.devnull)

    def test_the_name_of_the_hub_that_is_looked_after_is_not_taken(self) -> None:
        hub_json = Path(self.home.root, "hub.json")
        for text, name, taken in (
            ('{"hub": {}}', "parachute-hub", True),
            ('{"hub": {"unit": "bun-hub"}}', "bun-hub", True),
            ('{"hub": {"unit": "bun-hub"}}', "parachute-hub", False),
            ('{"hub": {"restart": "exit"}}', "parachute-hub", False),
            ("{}", "parachute-hub", False),
        ):
            hub_json.write_text(text)
            code, _out, err = self.unit("install", "--as-root", "--dry-run", "--name", name)
            self.assertEqual(code, 2 if taken else 0, (text, name, err))
            self.assertEqual("hub.json names" in err, taken)

    def test_nor_is_its_label_on_macos(self) -> None:
        self.replace(sys, "platform", "darwin")
        for text, taken in (
            ('{"hub": {"unit": "x"}}', True), ('{"hub": {"label": "x", "unit": null}}', False),
            ('{"hub": {"restart": "launchd"}}', True), ('{"hub": {"restart": "systemd"}}', False),
        ):  # fmt: skip
            Path(self.home.root, "hub.json").write_text(text)
            code, _out, err = self.unit("install", "--as-root", "--dry-run")
            self.assertEqual(code, 2 if taken else 0, (text, err))
            self.assertEqual("computer.parachute.hub is the label" in err, taken)

    def test_roots_unit_is_not_said_to_be_gone(self) -> None:
        self.becomes(65534)
        self.service.write_text(f"# {MARK}\n")
        code, _out, err = self.unit("uninstall")
        self.assertEqual(code, 1)
        self.assertIn("is root's: as root, type the same again", err)

    def test_only_a_built_file_can_be_kept_alive(self) -> None:
        self.replace(sys, "argv", [__file__])
        code, _out, err = self.unit("install", "--as-root", "--dry-run")
        self.assertEqual(code, 1)
        self.assertIn("a unit runs a built hub.pyz", err)

    def test_what_is_not_there_is_removed_already(self) -> None:
        for flags in ((), ("--dry-run",)):
            code, out, _err = self.unit("uninstall", *flags)
            told = "parachute-hub is not installed; nothing was changed\n"
            self.assertEqual((code, out), (0, told))


if __name__ == "__main__":
    import unittest

    unittest.main()
