"""A helper leaves the control group of the unit that it is about to restart."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import unittest
from pathlib import Path
from unittest import mock

from hub_upgrade.domain.restart import EXIT, SYSTEM, SYSTEMD, USER, Choice
from hub_upgrade.host import control_group
from hub_upgrade.host.files import Lock
from hub_upgrade.restarters import scope
from tests.restarters.systemctl import Systemd

ROOT = Path(__file__).resolve().parents[2]
UNIT = "parachute-hub.service"
INSIDE = (UNIT, SYSTEM)
CHOICE = Choice(SYSTEMD, "", UNIT, SYSTEM)
LEAVES = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
from hub_upgrade.host import control_group
from hub_upgrade.host.files import Lock
from hub_upgrade.restarters import scope
control_group.service_of = lambda _pid: ("parachute-hub.service", sys.argv[3])
lock = Lock.adopt(0, sys.argv[2]) or Lock.try_take(sys.argv[2])
tell = '''
import json, os, sys
print(json.dumps([os.getpid(), os.environ["HUB_UPGRADE_SCOPE"], sys.argv[1:],
                  os.fstat(0).st_ino, os.environ.get("LC_ALL")]), flush=True)
os.read(int(os.environ["WAITS"]), 1)
'''
unit = ("parachute-hub.service", sys.argv[3])
argv = [sys.executable, "-IS", "-c", tell, "helper", "--op", "a $b %c"]
print(scope.leave(unit, "01234567-89ab", argv, lock.fd))
"""


class ScopeTest(unittest.TestCase):
    def setUp(self) -> None:
        self.systemd = Systemd()
        self.addCleanup(self.systemd.close)
        self.service = (UNIT, SYSTEM)
        for patched in (
            mock.patch.dict(os.environ, PATH=self.systemd.path),
            mock.patch.object(control_group, "service_of", lambda _pid: self.service),
            mock.patch.object(os, "execvpe", side_effect=OSError(8, "Exec format error")),
        ):
            patched.start()
            self.addCleanup(patched.stop)

    def leave(self, unit: tuple[str, str] = INSIDE) -> str:
        return scope.leave(unit, "01234567-89ab", ["/bin/true"], 0)

    def left(self, where: str, handed: bool) -> tuple[int, str, list[str]]:
        """What the process became that left for a scope of that manager: its number, the scope, and
        its arguments. The lock is its standard input (`handed` to it so), and held all the time."""
        path = os.path.join(self.systemd.path, "lock")
        given = os.open(path if handed else os.devnull, os.O_RDWR | os.O_CREAT, 0o600)
        if handed:
            fcntl.flock(given, fcntl.LOCK_EX)
        reader, writer = os.pipe()
        with subprocess.Popen(
            [sys.executable, "-IS", "-c", LEAVES, str(ROOT), path, where],
            stdout=subprocess.PIPE, stdin=given, pass_fds=(reader,),
            env={**os.environ, "LC_ALL": "C.UTF-8", "WAITS": str(reader)},
        ) as process:  # fmt: skip
            os.close(given)
            assert process.stdout is not None
            told = process.stdout.readline()
            held = Lock.try_take(path) is None
            os.close(reader)
            os.close(writer)
        pid, name, argv, number, language = json.loads(told)
        self.assertEqual((pid, number), (process.pid, os.stat(path).st_ino), "the same process")
        self.assertTrue(held)
        self.assertEqual(language, "C.UTF-8", "what is for systemd-run stays there")
        return pid, name, argv

    def test_the_same_process_goes_on_in_a_scope_with_the_lock_as_its_input(self) -> None:
        for where, flags, handed in ((SYSTEM, "", True), (USER, "--user ", False)):
            pid, name, argv = self.left(where, handed)
            self.assertEqual(argv, ["helper", "--op", "a $b %c"])
            self.assertEqual(name, f"hub-upgrade-01234567-{pid}.scope")
            options = f"systemd-run {flags}--scope --collect --quiet --no-ask-password"
            probe, real = self.systemd.asked()[-2:]
            self.assertEqual(probe, f"{options} true")
            self.assertTrue(real.startswith(f"{options} --unit={name} -- {sys.executable} "), real)

    def test_outside_of_that_unit_there_is_nothing_to_leave(self) -> None:
        for service in (("", ""), ("other.service", SYSTEM), (UNIT, USER)):
            self.service = service
            self.assertEqual(self.leave(), "")
        self.service = ("", "")
        self.assertEqual(self.leave(("", "")), "")
        self.assertEqual(self.systemd.asked(), [])

    def test_it_is_the_unit_that_is_restarted_or_the_one_that_ends_with_its_process(self) -> None:
        self.service = ("other.service", USER)
        asked = Choice(EXIT, "")
        with mock.patch.object(scope, "BOOTED", self.systemd.path):
            self.assertEqual(scope.unit_of(CHOICE, 7), (UNIT, SYSTEM))
            self.assertEqual(scope.unit_of(asked, 7), ("other.service", USER))
            self.assertEqual(scope.unit_of(asked, 0), ("", ""))
            self.assertEqual(scope.unit_of(CHOICE._replace(refused="not at all"), 7), ("", ""))
        with mock.patch.object(scope, "BOOTED", "/nonexistent"):
            self.assertEqual(scope.unit_of(asked, 7), ("", ""), "a container's")
            self.assertEqual(scope.unit_of(CHOICE, 7), (UNIT, SYSTEM))

    def test_a_refusal_is_told_and_it_goes_on_where_it_is(self) -> None:
        self.systemd.set(run_refuses="Failed to start transient scope unit: Access denied")
        stays = f"still in the control group of {UNIT}, whose end is ours, and the next one goes on"
        stays += ": systemd-run: "
        self.assertEqual(
            self.leave(), f"{stays}Failed to start transient scope unit: Access denied"
        )
        with mock.patch.dict(os.environ, PATH="/nonexistent"):
            self.assertIn(f"{stays}systemd-run cannot be run: No such file", self.leave())

    def test_whoever_was_executed_anew_says_where_it_is_and_does_not_try_again(self) -> None:
        with mock.patch.dict(os.environ, HUB_UPGRADE_SCOPE="hub-upgrade-1.scope"):
            told = self.leave()
            self.assertNotIn(scope.LEFT, os.environ, "no tool is told")
        self.assertIn("hub-upgrade-1.scope did not take us", told)
        self.assertEqual(self.systemd.asked(), [])
        self.service = ("", "")
        with mock.patch.dict(os.environ, HUB_UPGRADE_SCOPE="hub-upgrade-1.scope"):
            self.assertEqual(self.leave(), "in a control group of our own: hub-upgrade-1.scope")

    def test_what_cannot_be_executed_goes_on_too(self) -> None:
        lock = Lock.try_take(os.path.join(self.systemd.path, "lock"))
        assert lock is not None
        self.addCleanup(lock.release)
        keep = os.dup(0)
        self.addCleanup(os.close, keep)
        told = scope.leave(INSIDE, "01234567-89ab", ["/bin/true"], lock.fd)
        os.dup2(keep, 0)
        self.assertIn("systemd-run: Exec format error", told)


if __name__ == "__main__":
    unittest.main()
