"""What everything that restarts a managed hub promises (hub_upgrade.upgrade.ports.Restarter), as
tests: every restarter passes them, each with processes that are real."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hub_upgrade.errors import HostError
from hub_upgrade.host import hub_process
from hub_upgrade.upgrade.ports import Restarter

if TYPE_CHECKING:
    from unittest import TestCase
else:
    TestCase = object


class RestarterContract(TestCase):
    """Mixed into a TestCase that says what a hub is, and who keeps it."""

    asks = True
    """Whether anybody is ever asked to restart it."""

    def begin(self) -> str:
        """Start a hub; its process's identity (host.hub_process.identity)."""
        raise NotImplementedError

    def restarter(self) -> Restarter:
        """Another one for the hub that was begun, as another helper would make it."""
        raise NotImplementedError

    def refuse(self) -> None:
        """From now on whoever is asked to restart the hub refuses, and it runs on."""
        raise NotImplementedError

    def restarts(self) -> int:
        """How often the hub was restarted since it was begun."""
        raise NotImplementedError

    def times(self, number: int) -> None:
        """So often was it restarted, if ever anybody is asked to."""
        self.assertEqual(self.restarts(), number if self.asks else 0)

    def test_contract_a_check_touches_nothing_and_has_a_line_for_the_evidence(self) -> None:
        old = self.begin()
        line = self.restarter().check()
        self.assertTrue(line)
        self.assertNotIn("\n", line)
        self.times(0)
        self.assertTrue(hub_process.lives(old))

    def test_contract_one_call_is_one_restart_after_which_the_old_process_is_gone(self) -> None:
        old = self.begin()
        self.assertTrue(self.restarter().restart(old, again=False))
        self.times(1)
        self.assertEqual(hub_process.lives(old), not self.asks)

    def test_contract_a_refusal_is_told_and_the_old_process_runs_on(self) -> None:
        old = self.begin()
        if not self.asks:
            return
        self.refuse()
        with self.assertRaises(HostError) as caught:
            self.restarter().restart(old, again=False)
        self.assertTrue(caught.exception.sentence.startswith("NOT restarted: "))
        self.times(0)
        self.assertTrue(hub_process.lives(old))

    def test_contract_what_a_dead_helper_had_done_is_not_done_again(self) -> None:
        old = self.begin()
        self.restarter().restart(old, again=False)
        self.assertTrue(self.restarter().restart(old, again=True))
        self.times(1)

    def test_contract_what_a_dead_helper_had_not_done_yet_is_done_once(self) -> None:
        old = self.begin()
        self.restarter().restart(old, again=True)
        self.times(1)
        self.assertEqual(hub_process.lives(old), not self.asks)

    def test_contract_what_was_put_back_is_started_too(self) -> None:
        old = self.begin()
        self.restarter().restart(old, again=False, back=True)
        self.times(1)

    def test_contract_what_we_ask_for_is_no_order_of_somebody_elses(self) -> None:
        old = self.begin()
        restarter = self.restarter()
        restarter.restart(old, again=False)
        restarter.mark()
        self.assertEqual(restarter.ordered(), "")

    def test_contract_its_last_words_are_lines_and_its_time_has_an_end(self) -> None:
        self.begin()
        restarter = self.restarter()
        restarter.check()
        self.assertTrue(all("\n" not in line for line in restarter.tell()))
        self.assertIn(restarter.limit_s, range(3600))
