"""`hub.pyz unit`, from install to uninstall and once more, on a machine with systemd."""

from __future__ import annotations

import json
import os
import shlex
import unittest

from tests.e2e.harness import build, wait_for
from tests.outside.restarters.machines import BOTH, USER
from tests.outside.restarters.own_unit import OwnCase, OwnUnit

NOT_OURS = "[Service]\nExecStart=/bin/sleep infinity\n"
MOST_EXPOSED = 3.0
"""On systemd-analyze's scale, of which 10 is the worst."""
KEPT = {
    "Type": "notify", "NotifyAccess": "main", "KillMode": "mixed", "Restart": "always",
    "UnitFileState": "enabled", "StartLimitBurst": "20", "StartLimitIntervalUSec": "2min",
}  # fmt: skip
EVERYTHING = (
    "find / /home /srv -xdev -path /root/hub -prune -o -path /var/log -prune "
    "-o -path '/srv/*/home' -prune -o -name __pycache__ -prune "
    "-o ! -type d -printf '%p %i %s %T@ %l\\n'"
)
"""What is on all disks but in a hub's home, which it writes; in USER's all of it is seen."""


MOST_ORDERS = 30
KILLING = """\
#!/bin/sh
left=$(($(cat ${0%/*}/left) - 1))
echo $left >${0%/*}/left
test $left = 0 || exec /usr/bin/systemctl "$@"
kill -KILL $PPID
sleep 60"""
"""Kills whoever asks, when so many orders are given, before it gives that one."""


class Installing(OwnCase):
    def in_both(self, name: str) -> list[OwnUnit]:
        """A unit of the system's and one of USER's, each with its port."""
        units = [self.unit(name, 1939 + BOTH.index(scope), scope=scope) for scope in BOTH]
        for unit in units:
            unit.lay(build("1.0.0"))
        return units

    def everything(self) -> set[str]:
        return set(self.machine.sh(EVERYTHING).splitlines())

    def file_of(self, unit: OwnUnit) -> str:
        """The file of the unit."""
        mine = f"/home/{USER}/.config/systemd/user"
        directory = "/etc/systemd/system" if unit.scope == "system" else mine
        return f"{directory}/{unit.name}.service"

    def test_from_install_to_uninstall_and_once_more(self) -> None:
        for unit in self.in_both("parachute-hub"):
            with self.subTest(unit.scope):
                before = self.everything()
                for _ in range(2):
                    self.shown_first(unit)
                    self.installed_and_again(unit)
                    self.kept(unit)
                    self.uninstalled_and_again(unit)
                    self.assertEqual(self.everything(), before)

    def shown_first(self, unit: OwnUnit) -> None:
        """--dry-run prints the file, and changes nothing."""
        before = self.everything()
        shown = unit.unit("install", *unit.installing("--dry-run"))
        self.assertEqual(shown.returncode, 0, shown.stderr)
        self.assertIn("ExecStart=", shown.stdout)
        self.assertEqual(self.everything(), before)
        self.assertEqual(unit.show("LoadState"), {"LoadState": "not-found"})
        self.shown = shown.stdout

    def installed_and_again(self, unit: OwnUnit) -> None:
        """The file is the one that was shown, and another time there is nothing to do."""
        unit.install()
        self.assertIn(self.machine.sh(f"cat {self.file_of(unit)}"), self.shown)
        before, serving = self.everything(), unit.show("MainPID", "InvocationID", "NRestarts")
        self.assertIn(f"{self.file_of(unit)} ", "\n".join(before))
        self.assertIn("nothing was changed", unit.install())
        self.assertEqual(self.everything(), before)
        self.assertEqual(unit.show("MainPID", "InvocationID", "NRestarts"), serving)
        self.assertEqual(serving["NRestarts"], "0")

    def kept(self, unit: OwnUnit) -> None:
        """status, restart, logs; it starts with its manager, which knows what is needed."""
        self.assertEqual(unit.show(*KEPT), KEPT)
        self.assertNotIn(unit.show("WatchdogUSec")["WatchdogUSec"], ("0", "infinity"))
        status = json.loads(unit.unit("status", "--json").stdout)
        self.assertEqual((status["scope"], status["active"]), (unit.scope, "active"))
        self.assertEqual(str(status["main_pid"]), unit.show("MainPID")["MainPID"])
        done = unit.unit("restart")
        self.assertEqual(done.returncode, 0, done.stderr)
        unit.wait_healthy()
        self.assertNotEqual(str(status["main_pid"]), unit.show("MainPID")["MainPID"])
        wait_for(lambda: "hub: serving 1.0.0" in unit.unit("logs").stdout, "the journal")
        unit.systemctl("stop")
        target = "multi-user.target" if unit.scope == "system" else "default.target"
        started = self.machine.systemctl("start", target, scope=unit.scope)
        self.assertEqual(started.returncode, 0, started.stderr)
        unit.wait_healthy()

    def uninstalled_and_again(self, unit: OwnUnit) -> None:
        before = self.everything()
        self.assertEqual(unit.unit("uninstall", "--dry-run").returncode, 0)
        self.assertEqual(self.everything(), before)
        self.assertEqual(unit.version(), "1.0.0")
        done = unit.unit("uninstall")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(unit.show("LoadState"), {"LoadState": "not-found"})
        self.assertEqual(unit.version(), "")
        self.assertTrue(os.path.exists(os.path.join(unit.home, "releases", "boot.json")))
        again = unit.unit("uninstall")
        self.assertEqual(again.returncode, 0, again.stderr)
        self.assertIn("nothing was changed", again.stdout)

    def test_another_port_takes_effect_and_a_socket_that_is_not_wanted_any_more_goes(self) -> None:
        for unit in self.in_both("moving"):
            with self.subTest(unit.scope):
                unit.install("--socket")
                unit.port += 100
                unit.install("--socket")
                self.assertIn(f"{unit.name}.socket", "\n".join(self.everything()))
                unit.port += 100
                unit.install()
                self.assertNotIn(f"{unit.name}.socket", "\n".join(self.everything()))
                sockets = self.machine.sh("ss -Htln 'sport >= :1900 and sport <= :2300'")
                ports = {line.split()[3].rpartition(":")[2] for line in sockets.splitlines()}
                self.assertEqual(ports, {str(unit.port)})
                self.assertEqual(unit.unit("uninstall").returncode, 0)

    def test_an_install_that_is_killed_at_any_of_its_orders_leaves_a_hub_running(self) -> None:
        unit = next(iter(self.in_both("killed")))
        unit.install()
        place = f"{unit.place}/killing"
        self.machine.sh(f"mkdir {place}; cat >{place}/systemctl <<'END'\n{KILLING}\nEND")
        self.machine.sh(f"chmod 755 {place}/systemctl")
        for number in range(1, MOST_ORDERS):
            unit.port += 1
            words = shlex.join(["python3", unit.program, "unit", "install", "--name", unit.name,
                                *unit.installing()])  # fmt: skip
            self.machine.sh(f"echo {number} >{place}/left")
            done = self.machine.asked(f"PATH={place}:$PATH {words}", unit.scope)
            self.assertEqual(unit.show("ActiveState"), {"ActiveState": "active"}, number)
            if done.returncode == 0:
                self.assertGreater(number, 5)
                return
            unit.install()  # with what was asked for
        self.fail("it never came to its end")

    def test_a_file_of_somebody_else_is_neither_replaced_nor_removed(self) -> None:
        for unit in self.in_both("theirs"):
            with self.subTest(unit.scope):
                file = self.file_of(unit)
                self.machine.sh(f"install -d -o {unit.owner} {os.path.dirname(file)}")
                self.machine.on_disk(file).write_text(NOT_OURS, encoding="utf-8")
                before = self.everything()
                for words in (unit.installing(), unit.installing("--dry-run")):
                    refused = unit.unit("install", *words)
                    if "--dry-run" not in words:
                        self.assertEqual(refused.returncode, 1, refused.stdout)
                        self.assertIn(file, refused.stderr)
                    self.assertEqual(self.everything(), before)
                refused = unit.unit("uninstall")
                self.assertEqual(refused.returncode, 1, refused.stdout)
                self.assertIn(file, refused.stderr)
                self.assertEqual(self.everything(), before)
                unit.install("--force")
                self.assertEqual(unit.unit("uninstall").returncode, 0)

    def test_what_systemd_thinks_of_its_files(self) -> None:
        """The system's is little exposed, and none has a line that systemd does not know."""
        for unit in self.in_both("checked"):
            with self.subTest(unit.scope):
                unit.install("--socket")
                self.all_known(unit)
                if unit.scope == "system":
                    self.little_exposed(self.file_of(unit))
                    self.run_by_root(unit)
                    self.all_known(unit)
                    self.little_exposed(self.file_of(unit))
                self.with_a_wrong_line(unit)

    def with_a_wrong_line(self, unit: OwnUnit) -> None:
        """An install that cannot be loaded stops nothing, and all can be removed even so."""
        before = unit.show("MainPID", "InvocationID", "NRestarts")
        unit.drop_in("ExecStart=/bin/true")  # a second one
        files = names(self.everything())
        for words in ((), ("--socket",)):
            refused = unit.unit("install", *unit.installing("--host", "127.0.0.2", *words))
            self.assertEqual(refused.returncode, 1, refused.stdout)
            self.assertIn("would not load (bad-setting); all of it is as", refused.stderr)
            self.assertIn("more than one ExecStart=", refused.stderr)
        self.assertEqual(unit.show("MainPID", "InvocationID", "NRestarts"), before)
        self.assertEqual(names(self.everything()), files)
        unit.wait_healthy()
        if unit.scope == "system":
            unit.systemctl("stop")
        done = unit.unit("uninstall")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(unit.version(), "")

    def all_known(self, unit: OwnUnit) -> None:
        mine = "" if unit.scope == "system" else "--user "
        told = self.machine.asked(
            'export XDG_RUNTIME_DIR="/run/user/$(id -u)"; '
            f"systemd-analyze {mine}verify {self.file_of(unit)}",
            unit.scope,
        )
        self.assertEqual((told.returncode, told.stdout + told.stderr), (0, ""))

    def run_by_root(self, unit: OwnUnit) -> None:
        """The same unit anew, for root and a home of root's."""
        words = ("--as-root", "--config-dir", f"{unit.place}/roots/home", "--port", str(unit.port))
        done = unit.unit("install", *words)
        self.assertEqual(done.returncode, 0, done.stderr)
        unit.wait_healthy()
        self.assertEqual(os.stat(f"/proc/{unit.launcher_pid}").st_uid, 0)

    def little_exposed(self, file: str) -> None:
        told = self.machine.sh(f"systemd-analyze security --no-pager --offline=yes {file}")
        line = next(line for line in told.splitlines() if "Overall exposure level" in line)
        self.assertLessEqual(float(line.split(":")[1].split()[0]), MOST_EXPOSED, told)


def names(files: set[str]) -> set[str]:
    """The paths alone."""
    return {line.split()[0] for line in files}


if __name__ == "__main__":
    unittest.main()
