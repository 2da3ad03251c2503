"""systemd's restarter against a stand-in; systemd itself is asked in tests/outside/restarters."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import unittest
from unittest import mock

from hub_upgrade.domain.restart import RESTARTED, STOPPED, SYSTEM, SYSTEMD, USER, Choice
from hub_upgrade.errors import HostError, RefusedError
from hub_upgrade.host import hub_process
from hub_upgrade.restarters import systemd
from hub_upgrade.restarters.systemd import SystemdRestarter, seconds
from tests.e2e.harness import wait_for
from tests.restarters.contract import RestarterContract
from tests.restarters.systemctl import Systemd

UNIT = "parachute-hub.service"
RESTART = f"systemctl --no-ask-password restart -- {UNIT}"
RESET = f"systemctl --no-ask-password reset-failed -- {UNIT}"


class SystemdCase(unittest.TestCase):
    scope = SYSTEM

    def setUp(self) -> None:
        self.systemd = Systemd()
        self.addCleanup(self.systemd.close)
        environment = mock.patch.dict(os.environ, PATH=self.systemd.path)
        environment.start()
        self.addCleanup(environment.stop)
        os.environ.pop("XDG_RUNTIME_DIR", None)

    def restarter(self) -> SystemdRestarter:
        return SystemdRestarter(Choice(SYSTEMD, "a test says so", UNIT, self.scope))

    def begin(self, **shown: object) -> str:
        return hub_process.identity(self.systemd.install(UNIT, self.scope, **shown))

    def refuse(self, words: str = f"Failed to restart {UNIT}: Access denied") -> None:
        self.systemd.change(UNIT, self.scope, refuses=words)

    def orders(self) -> list[str]:
        """What systemctl was told to do."""
        return [line for line in self.systemd.asked() if line.startswith("systemctl ")]

    def restarts(self) -> int:
        return int(self.systemd.unit(UNIT, self.scope)["restarts"])

    def fails(self, process: str, again: bool = False, back: bool = False) -> str:
        with self.assertRaises(HostError) as caught:
            self.restarter().restart(process, again, back)
        return caught.exception.sentence

    def refused(self) -> str:
        with self.assertRaises(RefusedError) as caught:
            self.restarter().check()
        self.assertIn("; nothing was changed", caught.exception.sentence)
        return caught.exception.sentence


class OfTheSystem(SystemdCase, RestarterContract):
    pass


class OfAUser(SystemdCase, RestarterContract):
    scope = USER


class Restart(SystemdCase):
    def test_the_manager_is_asked_once_in_english_and_we_signal_nobody(self) -> None:
        old = self.begin()
        told = mock.patch.dict(os.environ, NOTIFY_SOCKET="/run/notify")  # to the hub, not to us
        with told, mock.patch.object(os, "kill", side_effect=AssertionError("a signal")):
            line = self.restarter().restart(old, again=False)
        self.assertEqual(self.orders(), [RESTART])
        self.assertEqual({one["notify"] for one in self.systemd.all_asked()}, {None})
        self.assertIn(f"process {self.systemd.pid(UNIT)}", line)
        self.assertEqual({one["language"] for one in self.systemd.all_asked()}, {"C"})

    def test_a_user_who_did_not_log_in_finds_the_manager_all_the_same(self) -> None:
        self.scope = USER
        usual = f"/run/user/{os.getuid()}"
        old = self.begin()
        with mock.patch.object(os.path, "isdir", lambda path: path == usual):
            self.restarter().restart(old, again=False)
        self.assertEqual({one["runtime"] for one in self.systemd.all_asked()}, {usual})
        self.assertTrue(all(one["argv"][1] == "--user" for one in self.systemd.all_asked()))
        with mock.patch.dict(os.environ, XDG_RUNTIME_DIR="/tmp/own"):
            self.restarter().check()
        self.assertEqual(self.systemd.all_asked()[-1]["runtime"], "/tmp/own")

    def test_a_refusal_bears_the_managers_words_and_the_command_to_run(self) -> None:
        old = self.begin()
        self.refuse(f"Failed to restart {UNIT}: Access denied\nSee system logs for details.")
        with mock.patch.object(os, "getuid", lambda: 1000):
            sentence = self.fails(old)
        words = f"NOT restarted: Failed to restart {UNIT}: Access denied; "
        self.assertEqual(sentence, f"{words}run: sudo systemctl restart {UNIT}")

    def test_the_command_of_a_users_unit_needs_no_sudo(self) -> None:
        self.scope = USER
        old = self.begin()
        self.refuse()
        self.assertIn(f"; run: systemctl --user restart {UNIT}", self.fails(old))

    def test_one_that_does_not_come_up_is_no_refusal(self) -> None:
        old = self.begin()
        words = f"Job for {UNIT} failed because a timeout was exceeded."
        self.systemd.change(UNIT, dies=f'{words}\nSee "systemctl status {UNIT}" for details.')
        self.assertEqual(self.fails(old), f"{UNIT} did not come up: {words.rstrip('.')}")
        self.assertIn(f"; run: systemctl restart {UNIT}", self.fails(old, back=True))

    def test_what_its_manager_never_began_is_not_to_blame(self) -> None:
        for begins, why, blamed in ((True, "start-limit-hit", True), (False, "exit-code", True),
                                    (False, "start-limit-hit", False)):  # fmt: skip
            old = self.begin()
            self.systemd.change(UNIT, dies="Job failed.", begins=begins, why=why)
            sentence = self.fails(old)
            self.assertIn("did not come up: Job failed", sentence)
            self.assertEqual(sentence.startswith("NOT started: "), not blamed, (begins, why))

    def test_a_silence_after_the_act_does_not_undo_it(self) -> None:
        old = self.begin()
        answers = [systemd.show(UNIT, SYSTEM, 5.0)]

        def show(*_asked: object) -> dict[str, str]:
            if not answers:
                raise HostError("Failed to connect to bus")
            return answers.pop()

        with mock.patch.object(systemd, "show", show):
            self.assertIn("was restarted by its manager", self.restarter().restart(old, False))
            line = self.restarter().restart(old, again=True)
        self.assertIn("already, as it seems (Failed to connect to bus)", line)
        self.assertEqual(self.restarts(), 1)

    def test_what_was_put_back_is_started_whatever_failed_before(self) -> None:
        old = self.begin()
        self.systemd.change(UNIT, dies="Job failed.")
        self.fails(old)
        self.systemd.change(UNIT, dies="")
        self.restarter().restart(old, again=False, back=True)
        self.assertEqual(self.orders(), [RESTART, RESET, RESTART])
        self.begin()  # nor do starts count that were none too many yet
        self.restarter().restart(old, again=False, back=True)
        self.assertEqual(self.orders(), [RESET, RESTART])

    def test_past_starts_count_for_what_is_new(self) -> None:
        """A start limit is the operator's: it is not lifted for an upgrade."""
        self.restarter().restart(self.begin(), again=False)
        self.assertNotIn(RESET, self.systemd.asked())

    def test_a_manager_that_does_not_answer_is_not_waited_for_for_ever(self) -> None:
        old = self.begin()
        self.systemd.set(sleep_s={"systemctl": 600})
        with mock.patch.object(systemd, "SHOW_S", 0.2):
            sentence = self.fails(old)
        self.assertTrue(sentence.startswith("NOT restarted: systemctl --no-pager show"), sentence)
        self.assertIn("did not end within 0.2 s", sentence)
        self.assertEqual(self.restarts(), 0)

    def test_without_systemctl_it_says_so_with_exit_code_127(self) -> None:
        old = self.begin()
        with mock.patch.dict(os.environ, PATH="/nonexistent"):
            for act in ("restart", "check"):
                with self.assertRaises(HostError) as caught:
                    getattr(self.restarter(), act)(*((old, False) if act == "restart" else ()))
                self.assertIn("systemctl cannot be run: No such file", caught.exception.sentence)
                self.assertEqual(caught.exception.exit_code, 127)


class Again(SystemdCase):
    """What the successor of a killed helper does."""

    def test_a_job_of_the_manager_is_waited_for(self) -> None:
        old = self.begin()
        self.restarter().restart(old, again=False)
        self.systemd.change(UNIT, jobs=3)
        with mock.patch.object(systemd, "POLL_S", 0.001):
            line = self.restarter().restart(old, again=True)
        self.assertEqual((line, self.restarts()), (f"{UNIT} was restarted already", 1))
        self.assertEqual(self.systemd.unit(UNIT)["jobs"], 0)

    def test_a_hub_that_is_down_and_was_not_started_since_is_started(self) -> None:
        old = self.begin()
        self.killed(old)
        self.systemd.change(UNIT, shown={"ActiveState": "failed"})
        self.restarter().restart(old, again=True)
        self.assertEqual(self.orders(), [RESET, RESTART])

    def test_one_that_was_started_and_did_not_come_up_is_not_started_again_but_to_go_back(
        self,
    ) -> None:
        old = self.begin()
        self.systemd.change(UNIT, dies="Job failed.")
        self.fails(old)
        self.assertEqual(self.fails(old, again=True), f"{UNIT} did not come up: exit-code")
        self.assertEqual(self.restarts(), 1)
        self.systemd.change(UNIT, dies="")
        self.restarter().restart(old, again=True, back=True)
        self.assertEqual(self.restarts(), 2)

    def killed(self, old: str) -> None:
        os.kill(self.systemd.pid(UNIT), signal.SIGKILL)
        wait_for(lambda: not hub_process.lives(old), "its end")

    def test_an_old_process_that_was_left_over_by_a_restart_is_none_to_restart(self) -> None:
        """KillMode=process, and a shell as the main process."""
        self.begin()
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as left:
            line = self.restarter().restart(hub_process.identity(left.pid), again=True)
            left.communicate(b"\n")
        self.assertEqual((line, self.restarts()), (f"{UNIT} was restarted already", 0))

    def test_a_hub_that_its_manager_is_about_to_start_is_left_to_it(self) -> None:
        old = self.begin()
        self.killed(old)
        state = {"ActiveState": "activating", "SubState": "auto-restart"}
        self.systemd.change(UNIT, shown=state)
        self.restarter().restart(old, again=True)
        self.assertEqual(self.systemd.asked(), [])


class Check(SystemdCase):
    def test_what_the_manager_knows_is_only_looked_at(self) -> None:
        self.begin()
        line = f"restarted by: systemd, {UNIT} (system): a test says so"
        self.assertEqual(self.restarter().check(), line)
        self.assertEqual(self.systemd.asked(), [])

    def test_no_unit_of_that_name_is_refused_in_the_managers_words(self) -> None:
        sentence = f"{UNIT} cannot be restarted: Unit {UNIT} not found"
        self.assertIn(sentence, self.refused())

    def test_a_masked_unit_is_refused_and_one_that_forbids_it(self) -> None:
        masked = f'org.freedesktop.systemd1.UnitMasked "Unit {UNIT} is masked."'
        self.begin(LoadState="masked", LoadError=masked)
        self.assertIn(f"Unit {UNIT} is masked; nothing", self.refused())
        self.begin(LoadState="bad-setting")
        self.assertIn("its unit is bad-setting", self.refused())
        self.begin(RefuseManualStop="yes")
        self.assertIn("RefuseManualStop=yes", self.refused())

    def test_no_manager_is_a_sentence_too(self) -> None:
        self.systemd.set(no_manager=SYSTEM)
        with self.assertRaises(HostError) as caught:
            self.restarter().check()
        words = f"{UNIT} cannot be restarted: Failed to connect to bus: No medium found; nothing"
        self.assertIn(words, caught.exception.sentence)

    def test_what_was_refused_when_it_was_chosen_asks_nobody(self) -> None:
        choice = Choice(SYSTEMD, "", UNIT, SYSTEM, refused="the hub is not in it")
        with self.assertRaisesRegex(RefusedError, "the hub is not in it; nothing was changed"):
            SystemdRestarter(choice).check()
        self.assertEqual(self.systemd.all_asked(), [])

    def test_the_units_own_times_bound_a_restart(self) -> None:
        for start, stop, limit_s in (
            ("1min 30s", "2s", 124), ("500ms", "20s", 70), ("infinity", "2s", 1200),
            ("1h", "1d", 1200), ("?", "2s", 1200),
        ):  # fmt: skip
            self.begin(TimeoutStartUSec=start, TimeoutStopUSec=stop)
            restarter = self.restarter()
            restarter.check()
            self.assertEqual(restarter.limit_s, limit_s, (start, stop))

    def test_time_spans_are_read_as_systemctl_shows_them(self) -> None:
        for shown, wanted in (("0", 1200), ("1min 30s", 90), ("2min 3.5s", 123.5), ("1us", 1e-6),
                              ("infinity", 1200), ("", 0), ("12 parsecs", 1200)):  # fmt: skip
            self.assertEqual(seconds(shown), wanted, shown)


DOWN: dict[str, object] = {"ActiveState": "inactive"}


class Ordered(SystemdCase):
    """Somebody else gives orders too."""

    def setUp(self) -> None:
        super().setUp()
        self.process = self.begin()
        looks = mock.patch.object(systemd, "LOOKS_S", 0)
        looks.start()
        self.addCleanup(looks.stop)
        self.watching = self.restarter()
        self.watching.mark()

    def shows(self, shown: dict[str, object]) -> None:
        self.systemd.change(UNIT, shown=shown)

    def notes(self, *jobs: str) -> None:
        """What the manager has noted of the unit's jobs, the newest last."""
        self.systemd.set(jobs_noted=jobs)

    def test_a_stop_is_told_from_an_end_and_a_failure(self) -> None:
        self.notes("start", "stop")
        self.assertEqual(self.watching.ordered(), "")  # it runs
        self.shows(DOWN)
        self.assertTrue(self.watching.ordered().startswith(STOPPED))
        # Not one of an earlier start, whose own note may have gone, or was never made.
        self.assertIn(f" INVOCATION_ID={self.systemd.pid(UNIT)}", self.systemd.asked()[-1])
        self.shows({"ActiveState": "failed", "Result": "exit-code"})  # 143, for example
        self.assertTrue(self.watching.ordered().startswith(STOPPED))
        self.shows({"ActiveState": "activating"})
        self.assertEqual(self.watching.ordered(), "")
        self.shows(DOWN)
        for newest in ("start", "restart", ""):
            self.notes("stop", newest)
            self.assertEqual(self.watching.ordered(), "", newest)

    def test_without_a_journal_nobody_is_believed_to_have_stopped_it(self) -> None:
        self.shows(DOWN)
        os.unlink(os.path.join(self.systemd.path, "journalctl"))
        self.assertEqual(self.watching.ordered(), "")

    def test_the_journal_is_read_once_where_it_can_be_synced_and_else_for_a_while(self) -> None:
        self.shows(DOWN)
        with mock.patch.object(systemd, "LOOKS_S", 0.5):
            for may in (True, False):
                self.systemd.set(may_sync=may)
                before = len(self.systemd.asked())
                self.assertEqual(self.watching.ordered(), "")
                asked = self.systemd.asked()[before:]
                self.assertEqual(asked[0], "journalctl --sync")
                self.assertEqual(len(asked) == 2, may, asked)

    def test_a_restart_is_told_from_one_that_nobody_ordered(self) -> None:
        self.notes("start", "restart")
        self.assertEqual(self.watching.ordered(), "")  # it is the same still
        self.shows({"InvocationID": "another"})
        self.assertEqual(self.watching.ordered(), RESTARTED)
        asked = self.systemd.asked()[-1]
        self.assertIn(f" INVOCATION_ID={self.systemd.pid(UNIT)}", asked)
        self.notes()  # its socket, or a unit that upholds it, has started it
        self.assertEqual(self.watching.ordered(), "")
        self.notes("restart")
        self.watching.mark()
        self.assertEqual(self.watching.ordered(), "")

    def test_an_order_that_is_being_carried_out_is_waited_for(self) -> None:
        self.shows({"ActiveState": "deactivating"})
        self.systemd.change(UNIT, jobs=2)
        asked = len(self.systemd.all_asked())
        self.watching.ordered()
        self.assertEqual(len(self.systemd.all_asked()) - asked, 3)

    def test_a_manager_that_does_not_answer_tells_of_no_order(self) -> None:
        self.systemd.set(no_manager=SYSTEM)
        self.watching.mark()
        self.assertEqual(self.watching.ordered(), "")

    def test_what_somebody_stopped_is_not_started(self) -> None:
        self.shows(DOWN)
        self.notes("stop")
        for again, back in ((False, False), (True, False), (False, True)):
            self.assertTrue(self.fails(self.process, again, back).startswith(STOPPED))
        self.assertEqual([line for line in self.systemd.asked() if "restart" in line], [])

    def test_nor_what_is_stopped_while_it_is_restarted(self) -> None:
        self.notes("stop")
        self.systemd.change(UNIT, canceled="inactive")
        self.assertTrue(self.fails(self.process).startswith(STOPPED))
        self.assertEqual(self.systemd.asked()[0], RESTART)

    def test_an_order_in_the_place_of_ours_may_start_it_too(self) -> None:
        self.systemd.change(UNIT, canceled="active")
        words = f"{UNIT} was restarted by somebody else"
        self.assertIn(words, self.restarter().restart(self.process, again=False))


class Tell(SystemdCase):
    def test_the_state_and_the_journals_tail_since_the_restart_are_told(self) -> None:
        old = self.begin()
        self.systemd.set(journal=["", *(f"line {number}" for number in range(30)), "x" * 1000,
                                  "sign in: http://127.0.0.1/#code=hidden"])  # fmt: skip
        self.systemd.change(UNIT, dies="Job failed.")
        restarter = self.restarter()
        with self.assertRaises(HostError):
            restarter.restart(old, again=False)
        told = restarter.tell()
        state = "ActiveState=failed, SubState=failed, Result=exit-code, NRestarts=0"
        self.assertEqual(told[0], f"{UNIT}: {state}")
        self.assertEqual((len(told), told[1], len(told[-1])), (20, "| line 12", 502))
        asked = self.systemd.asked()[-1]
        wanted = r"^journalctl .*--reverse --lines=20 --since=@[0-9]+ --unit="
        self.assertRegex(asked, wanted + UNIT)
        self.restarter().tell()  # another helper's does not know when it was restarted
        self.assertNotIn("--since", self.systemd.asked()[-1])

    def test_the_last_words_are_waited_for_before_they_are_read(self) -> None:
        self.begin()
        for may in (True, False):
            self.systemd.set(may_sync=may)
            with mock.patch.object(time, "sleep", wraps=time.sleep) as sleep:
                self.restarter().tell()
            self.assertEqual(mock.call(systemd.JOURNAL_S) not in sleep.mock_calls, may)
            self.assertEqual(self.systemd.asked()[-2], "journalctl --sync")

    def test_without_a_journal_or_a_manager_there_is_less_to_tell(self) -> None:
        self.begin()
        os.unlink(os.path.join(self.systemd.path, "journalctl"))
        self.assertEqual(len(self.restarter().tell()), 1)
        self.systemd.set(no_manager=SYSTEM)
        self.assertEqual(self.restarter().tell(), [f"{UNIT}: its manager does not answer"])


if __name__ == "__main__":
    unittest.main()
