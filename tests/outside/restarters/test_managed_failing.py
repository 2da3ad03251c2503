"""A managed hub's unit that does not come up with the new version: returned from, with the
manager's words and what the unit printed, and the next upgrade works."""

from __future__ import annotations

from typing import Any

from tests.outside.restarters.managed_case import ManagedCase
from tests.outside.restarters.managed_hub import DYING, ENDLESS, LAST_WORDS, LATE, UNIT
from tests.outside.restarters.managed_machine import NEW, NEXT, OLD


class ComesUpBadlyCase(ManagedCase):
    """What was put back runs again: the old version, in a third process."""

    def taken_back(self, behaviour: str, *words: str, **settings: Any) -> dict[str, Any]:
        self.hub.begin(**settings)
        self.hub.configure(ready_timeout_s=15)  # time enough for its manager to give up first
        self.hub.publish(NEW, behaviour)
        self.upgrade(code=5)
        record = self.hub.record()
        self.assert_says(record, *words)
        self.assertEqual(record["rolled_back_to"], OLD)
        return record

    def again_and_again_up_to_the_start_limit(self) -> None:
        limits = {"StartLimitIntervalSec": "600", "StartLimitBurst": "4"}
        again = {"Type": "simple", "Restart": "always", "RestartSec": "50ms"}
        words = (LAST_WORDS, "Start request repeated too quickly")
        self.taken_back(DYING, *words, **limits, **again)
        # The manager itself started it again: one start was asked for, and one to go back.
        self.assert_ended("failed", OLD, (OLD, NEW, NEW, NEW, OLD))
        self.goes_on(NEXT, OLD, NEW, NEW, NEW, OLD)

    def with_a_start_limit_that_is_used_up(self) -> None:
        limits: dict[str, Any] = {"StartLimitIntervalSec": "600", "StartLimitBurst": "1"}
        self.hub.begin(**limits)
        self.hub.publish(NEW)
        self.upgrade(code=5)
        record = self.assert_ended("failed", OLD, (OLD, OLD))
        self.assert_says(record, "start-limit-hit", "Start request repeated too quickly")
        self.hub.obeyed("reset-failed", UNIT)
        self.upgrade()  # it was never tried, and is not rejected
        self.assert_ended("succeeded", NEW, (OLD, OLD, NEW))


class ComesUpBadly(ComesUpBadlyCase):
    def test_a_version_that_ends_at_once(self) -> None:
        words = (f"Job for {UNIT} failed", LAST_WORDS, "status=3")
        self.taken_back(DYING, *words)
        self.assert_ended("failed", OLD, (OLD, NEW, OLD))
        self.goes_on(NEXT, OLD, NEW, OLD)

    def test_a_version_that_ends_at_once_behind_a_manager_that_believes_it_runs(self) -> None:
        self.taken_back(DYING, LAST_WORDS, Type="simple")
        self.assert_ended("failed", OLD, (OLD, NEW, OLD))
        self.goes_on(NEXT, OLD, NEW, OLD)

    def test_a_version_that_ends_at_once_again_and_again_up_to_the_start_limit(self) -> None:
        self.again_and_again_up_to_the_start_limit()

    def test_a_version_that_ends_at_once_and_is_started_again_for_ever(self) -> None:
        record = self.taken_back(DYING, LAST_WORDS, f"Job for {UNIT} failed", **ENDLESS)
        starts = tuple(one.version for one in self.hub.starts())
        self.assert_ended("failed", OLD, starts)  # how many were the manager's own is its affair
        self.assertEqual((starts[:2], starts[-1]), ((OLD, NEW), OLD))
        asked = [line for line in record["log"] if "was restarted by its manager" in line]
        self.assertEqual(len(asked), 1, record)
        self.goes_on(NEXT, *starts)

    def test_a_start_limit_that_is_used_up_already(self) -> None:
        self.with_a_start_limit_that_is_used_up()

    def test_a_version_that_takes_longer_than_the_unit_allows(self) -> None:
        record = self.taken_back(LATE, f"Job for {UNIT} failed", "timeout", TimeoutStartSec="5")
        self.assertNotIn("is proven", "\n".join(record["log"]))  # although it answered
        self.assert_ended("failed", OLD, (OLD, NEW, OLD))
        self.goes_on(NEXT, OLD, NEW, OLD)

    def test_one_that_ends_while_it_is_rewritten_is_started_again_once_it_is_back(self) -> None:
        """As after a power cut in the midst of it, when its unit has given up on half a tree."""
        self.hub.begin()
        ends = f"systemctl kill --signal=KILL {UNIT}; until systemctl is-failed --quiet {UNIT}; "
        ends = f"test -e {self.hub.root}/once && exit 1; touch {self.hub.root}/once; {ends}"
        command = ["sh", "-c", f"{ends} do sleep 0.05; done; echo no route to host >&2; exit 1"]
        self.hub.configure({"install_command": command})
        self.hub.publish(NEW, **{"package-lock.json": "{}"})
        self.upgrade(code=5)
        record = self.assert_ended("failed", OLD, (OLD, OLD))
        self.assert_says(record, "was taken back: ", "no route to host", f"; {OLD} runs")
        self.hub.configure({"install_command": ["true"]})
        self.upgrade()  # nothing is held against it
        self.assert_ended("succeeded", NEW, (OLD, OLD, NEW))

    def test_it_keeps_the_old_ones_way_back_after_two_bad_ones(self) -> None:
        self.taken_back(DYING, LAST_WORDS)
        self.hub.publish(NEXT, LATE)
        self.hub.obeyed("reset-failed")
        self.hub.write_unit(TimeoutStartSec="5")
        self.upgrade(code=5)
        self.assert_ended("failed", OLD, (OLD, NEW, OLD, NEXT, OLD))
        self.goes_on("1.3.0", OLD, NEW, OLD, NEXT, OLD)


class ComesUpBadlyUnderAUser(ComesUpBadlyCase):
    scope = "user"

    def test_a_version_that_ends_at_once(self) -> None:
        self.taken_back(DYING, f"Job for {UNIT} failed", LAST_WORDS, "status=3")
        self.assert_ended("failed", OLD, (OLD, NEW, OLD))
        self.goes_on(NEXT, OLD, NEW, OLD)

    def test_a_version_that_ends_at_once_again_and_again_up_to_the_start_limit(self) -> None:
        self.again_and_again_up_to_the_start_limit()

    def test_a_start_limit_that_is_used_up_already(self) -> None:
        self.with_a_start_limit_that_is_used_up()

    def test_a_version_that_takes_longer_than_the_unit_allows(self) -> None:
        self.taken_back(LATE, f"Job for {UNIT} failed", "timeout", TimeoutStartSec="5")
        self.assert_ended("failed", OLD, (OLD, NEW, OLD))
