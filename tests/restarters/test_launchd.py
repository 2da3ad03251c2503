"""launchd's restarter against a stand-in: launchd itself was never asked (no Mac runs this)."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from build_pyz import ROOT
from hub_upgrade.errors import HostError, RefusedError
from hub_upgrade.host import hub_process
from hub_upgrade.restarters import launchd
from hub_upgrade.restarters.launchd import LaunchdRestarter, domain_with
from tests.e2e.harness import wait_for
from tests.restarters.contract import RestarterContract
from tests.restarters.launchctl import Launchd

LABEL = "computer.parachute.hub"
DOMAIN = "gui/501"
TARGET = f"{DOMAIN}/{LABEL}"
KICKSTART = f"kickstart -k {TARGET}"
PRINT = f"print {TARGET}"
OWN_HELPER = f"""
import os, sys, time
sys.path.insert(0, {str(ROOT)!r})
from hub_upgrade.host import hub_process
from hub_upgrade.restarters.launchd import LaunchdRestarter

told, label, domain = sys.argv[1:]
try:
    os.mkdir(told + ".begun")
    begins = os.fork() == 0
except FileExistsError:
    begins = False
if not begins:
    time.sleep(600)
hub = hub_process.identity(os.getppid())
line = LaunchdRestarter(label, domain).restart(hub, again=False)
with open(told + ".new", "w") as file:
    file.write(line)
os.rename(told + ".new", told)
"""
"""A hub whose first start has a helper in its own group, which has the hub restarted."""


class LaunchdCase(unittest.TestCase):
    def setUp(self) -> None:
        self.launchd = Launchd()
        self.addCleanup(self.launchd.close)
        for patch in (
            mock.patch.dict(os.environ, PATH=self.launchd.path),
            mock.patch.object(os, "getuid", lambda: 501),
        ):
            patch.start()
            self.addCleanup(patch.stop)

    def restarter(self) -> LaunchdRestarter:
        return LaunchdRestarter(LABEL, DOMAIN)

    def load(self) -> str:
        """The job of the hub; its process's identity."""
        return hub_process.identity(self.launchd.load(TARGET))

    def refused(self, restarter: LaunchdRestarter | None = None) -> str:
        with self.assertRaises(RefusedError) as caught:
            (restarter or self.restarter()).check()
        self.assertIn("nothing was changed", caught.exception.sentence)
        return caught.exception.sentence

    def fails(self, process: str, again: bool = False) -> str:
        with self.assertRaises(HostError) as caught:
            self.restarter().restart(process, again)
        return caught.exception.sentence


class Contract(LaunchdCase, RestarterContract):
    def setUp(self) -> None:
        super().setUp()
        self.pid = 0
        patch = mock.patch.object(launchd, "GONE_S", 0.2)
        patch.start()
        self.addCleanup(patch.stop)

    def begin(self) -> str:
        self.pid = self.launchd.load(TARGET)
        return hub_process.identity(self.pid)

    def restarter(self) -> LaunchdRestarter:
        return LaunchdRestarter(LABEL, DOMAIN, self.pid)

    def refuse(self) -> None:
        self.launchd.trouble(TARGET, 1, "1: Operation not permitted")

    def restarts(self) -> int:
        return self.launchd.runs(TARGET) - 1


class Restart(LaunchdCase):
    def test_launchctl_is_asked_once_by_the_label_and_we_signal_nobody(self) -> None:
        old = self.load()
        with mock.patch.object(os, "kill", side_effect=AssertionError("a signal")):
            line = self.restarter().restart(old, again=False)
        self.assertEqual(self.launchd.asked(), [KICKSTART])
        self.assertIn(f"launchctl {KICKSTART}", line)
        self.assertFalse(hub_process.lives(old))
        self.assertTrue(hub_process.identity(self.launchd.pid(TARGET)))

    def test_nobody_need_know_the_process(self) -> None:
        old = self.load()
        self.restarter().restart("", again=False)
        self.assertEqual(self.launchd.asked(), [KICKSTART])
        self.assertFalse(hub_process.lives(old))

    def test_a_refusal_is_not_restarted_with_launchctls_words_and_the_command(self) -> None:
        old = self.load()
        words = f'Could not kickstart service "{LABEL}": 1: Operation not permitted'
        self.launchd.trouble(TARGET, 1, words)
        with mock.patch.object(launchd, "GONE_S", 0.2):
            sentence = self.fails(old)
        self.assertTrue(sentence.startswith("NOT restarted: "), sentence)
        self.assertIn(words, sentence)
        self.assertIn(f"launchctl {KICKSTART}", sentence)
        self.assertTrue(hub_process.lives(old))
        self.assertEqual(self.launchd.asked(), [KICKSTART])

    def test_a_launchctl_that_does_not_answer_is_not_waited_for_for_ever(self) -> None:
        old = self.load()
        self.launchd.trouble(TARGET, 0, "", sleep_s=600)
        with mock.patch.multiple(launchd, KICKSTART_S=0.3, GONE_S=0.2):
            sentence = self.fails(old)
        self.assertIn("NOT restarted: launchctl did not answer in time", sentence)
        self.assertTrue(hub_process.lives(old))

    def test_what_was_done_is_a_restart_whatever_launchctl_says_of_it(self) -> None:
        old = self.load()
        self.launchd.trouble(TARGET, 37, "Operation already in progress", done=True)
        line = self.restarter().restart(old, again=False)
        self.assertIn("Operation already in progress; yet process", line)
        self.assertFalse(hub_process.lives(old))
        self.assertEqual(self.launchd.asked(), [KICKSTART, PRINT], "one kickstart")

    def test_an_old_process_that_is_gone_with_no_new_one_is_told_apart_from_a_bad_new_one(
        self,
    ) -> None:
        for program, never in (([], True), (["/bin/true"], False)):
            old = self.load()
            self.launchd.trouble(TARGET, 5, "Input/output error", done=True)
            self.launchd.will_start(TARGET, program)
            restarter = self.restarter()
            restarter.check()
            with mock.patch.object(launchd, "AGAIN_S", 0.2), \
                    self.assertRaises(HostError) as caught:  # fmt: skip
                restarter.restart(old, again=False)
            sentence = caught.exception.sentence
            self.assertEqual(sentence.startswith("NOT started: "), never, sentence)
            self.assertFalse(sentence.startswith("NOT restarted"), sentence)
            self.assertIn("Input/output error", sentence)
            self.assertIn(f"launchctl {KICKSTART}", sentence)

    def test_a_helper_in_the_jobs_own_process_group_leaves_it_first(self) -> None:
        told = os.path.join(self.launchd.path, "told")
        self.launchd.load(TARGET, [sys.executable, "-c", OWN_HELPER, told, LABEL, DOMAIN])
        wait_for(lambda: os.path.exists(told), "its word")
        self.assertIn("launchd starts it again", Path(told).read_text())
        self.assertEqual(self.launchd.runs(TARGET), 2)


class Again(LaunchdCase):
    """What the successor of a killed helper does."""

    def test_a_new_process_is_not_ended_once_more(self) -> None:
        old = self.load()
        self.restarter().restart(old, again=False)
        new = self.launchd.pid(TARGET)
        line = self.restarter().restart(old, again=True)
        self.assertIn(f"as process {new} already", line)
        self.assertEqual(self.launchd.pid(TARGET), new)
        self.assertEqual(self.launchd.asked(), [KICKSTART, PRINT])

    def test_an_old_process_that_lives_is_restarted(self) -> None:
        self.restarter().restart(self.load(), again=True)
        self.assertEqual(self.launchd.asked(), [KICKSTART])

    def test_a_job_that_does_not_run_is_started_and_nothing_is_killed(self) -> None:
        old = self.load()
        os.kill(self.launchd.pid(TARGET), signal.SIGKILL)
        wait_for(lambda: not hub_process.lives(old), "its end")
        self.restarter().restart(old, again=True)
        self.assertEqual(self.launchd.asked(), [PRINT, f"kickstart {TARGET}"])
        self.assertTrue(hub_process.identity(self.launchd.pid(TARGET)))


class Check(LaunchdCase):
    """Before anything is touched."""

    def test_a_loaded_label_is_fit_and_only_looked_at(self) -> None:
        self.load()
        self.assertEqual(self.restarter().check(), f"launchd has loaded {TARGET} (running)")
        self.assertEqual(self.launchd.asked(), [PRINT])

    def test_a_label_that_is_not_loaded_is_refused_with_launchctls_words(self) -> None:
        sentence = self.refused()
        self.assertIn(f'Could not find service "{LABEL}" in domain for user gui: 501', sentence)
        bootstrap = f"launchctl bootstrap {DOMAIN} ~/Library/LaunchAgents/{LABEL}.plist"
        self.assertIn(bootstrap, sentence)
        self.assertIn("for system", self.refused(LaunchdRestarter(LABEL, "system")))

    def test_no_launchctl_is_a_sentence(self) -> None:
        with tempfile.TemporaryDirectory() as empty, mock.patch.dict(os.environ, PATH=empty):
            self.assertIn("launchctl cannot be run: No such file", self.refused())
            self.assertEqual(domain_with(LABEL), "")

    def test_a_job_of_another_process_than_the_hub_is_refused(self) -> None:
        pid = self.launchd.load(TARGET)
        self.assertTrue(LaunchdRestarter(LABEL, DOMAIN, pid).check())
        sentence = self.refused(LaunchdRestarter(LABEL, DOMAIN, os.getpid()))
        self.assertIn(f"is process {pid}, and the hub is process {os.getpid()}", sentence)
        os.kill(pid, signal.SIGKILL)
        sentence = self.refused(LaunchdRestarter(LABEL, DOMAIN, os.getpid()))
        self.assertIn("does not run, and the hub is process", sentence)

    def test_a_hub_below_the_jobs_process_is_the_jobs(self) -> None:
        shell = ["/bin/sh", "-c", "/bin/sleep 600; :"]
        pid = self.launchd.load(TARGET, shell)
        below = wait_for(lambda: _child_of(pid), "the shell's child")
        self.addCleanup(os.kill, below, signal.SIGKILL)
        self.assertTrue(LaunchdRestarter(LABEL, DOMAIN, below).check())
        self.assertEqual(domain_with(LABEL, below), DOMAIN)

    def test_only_root_restarts_what_the_system_runs(self) -> None:
        target = f"system/{LABEL}"
        self.launchd.load(target)
        system = LaunchdRestarter(LABEL, "system")
        self.assertIn(f"sudo launchctl kickstart -k {target}", self.refused(system))
        with mock.patch.object(os, "getuid", lambda: 0):
            self.assertIn("running", system.check())
            system.restart("", again=False)
        self.assertEqual(self.launchd.asked()[-1], f"kickstart -k {target}")


class Domain(LaunchdCase):
    def test_the_users_domains_come_before_the_systems(self) -> None:
        self.assertEqual(domain_with(LABEL), "")
        for domain in ("system", "user/501", "gui/501"):
            self.launchd.load(f"{domain}/{LABEL}")
            self.assertEqual(domain_with(LABEL), domain)

    def test_root_has_the_system_alone(self) -> None:
        self.launchd.load(f"gui/0/{LABEL}")
        with mock.patch.object(os, "getuid", lambda: 0):
            self.assertEqual(domain_with(LABEL), "")
            self.assertEqual(self.launchd.asked(), [f"print system/{LABEL}"])
            self.launchd.load(f"system/{LABEL}")
            self.assertEqual(domain_with(LABEL), "system")

    def test_a_label_of_a_stranger_has_none(self) -> None:
        pid = self.launchd.load(TARGET)
        self.assertEqual(domain_with(LABEL, pid), DOMAIN)
        self.assertEqual(domain_with(LABEL, os.getpid()), "")


class Tell(LaunchdCase):
    def test_the_job_and_the_last_that_it_printed_are_told(self) -> None:
        with tempfile.NamedTemporaryFile() as file:
            Path(file.name).write_text("".join(f"line {n}\n" for n in range(2000)))
            pid = self.launchd.load(TARGET, stderr=file.name)
            first, *rest = self.restarter().tell()
        self.assertEqual(
            first,
            f"{TARGET}: state = running, pid = {pid}, runs = 1, last exit code = (never exited)",
        )
        self.assertEqual(rest, [f"line {n}" for n in range(1980, 2000)])

    def test_what_is_no_file_is_not_read(self) -> None:
        self.load()
        self.assertEqual(len(self.restarter().tell()), 1)

    def test_a_label_that_is_not_loaded_is_told_in_launchctls_words(self) -> None:
        self.assertIn("Could not find service", "".join(self.restarter().tell()))


def _child_of(pid: int) -> int:
    words = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(words[0]) if words else 0


if __name__ == "__main__":
    unittest.main()
