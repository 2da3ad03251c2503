"""A managed hub that a manager restarts by its name, in a world of plain values: never two restarts
for one upgrade, none for none, and killed before and after each act of it."""

from __future__ import annotations

import time
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from hub_upgrade.domain import operation as op
from hub_upgrade.domain.operation import Operation, Undo
from hub_upgrade.domain.restart import NONE, NOT_STARTED, RESTARTED, STOPPED, SYSTEMD, USER, Choice
from hub_upgrade.errors import HostError, RefusedError
from hub_upgrade.host import managed_store
from hub_upgrade.host.status_store import NotRecordedError
from hub_upgrade.upgrade.hub_watch import Seen
from tests.upgrade.managed_world import (
    HALF,
    SETTINGS,
    FakeRestarter,
    FakeWatch,
    Killed,
    ManagedCase,
    World,
)

UNIT = "parachute-hub.service"


class Manager(FakeRestarter):
    """Restarts whatever runs: asked twice, it does it twice."""

    by_manager = True
    limit_s = 40
    knows = True
    fails_with = ""
    stopped_after = 99
    """So many restarts later somebody stops it."""
    asked: tuple[tuple[str, bool, bool], ...] = ()

    def check(self) -> str:
        if not self.knows:
            raise RefusedError("cannot_restart", "Unit not found; nothing was changed")
        return "restarted by: a manager"

    def tell(self) -> list[str]:
        return ["hub: failed", "| its last words"]

    def restart(self, process: str, again: bool, back: bool = False) -> str:
        world = self._world
        type(self).asked += ((process, again, back),)
        if world.restarts >= self.stopped_after:
            world.down = True
            raise HostError(f"{STOPPED} with its unit")
        if world.refuses:
            raise HostError("NOT restarted: Access denied; run: systemctl restart hub")
        lives = process == str(world.process) and not world.down
        if again and not lives and not world.down:
            return "it was restarted already"
        if again and not lives and not back:
            raise HostError("the hub did not come up: failed")
        world.act("restart")
        world.restarts += 1
        world.start()
        world.act("restarted")
        if world.down:
            raise HostError(self.fails_with + "the hub did not come up: Job failed")
        return "it was restarted"


class ByManager(ManagedCase):
    restarter = Manager
    choice = Choice(SYSTEMD, "a test", UNIT, USER)

    def setUp(self) -> None:
        super().setUp()
        Manager.asked, Manager.knows, Manager.fails_with = (), True, ""
        Manager.stopped_after = 99

    def is_true(self, what: str) -> None:
        super().is_true(what)
        self.assertLessEqual(self.record().log.count("| its last words"), 1, what)

    def test_an_upgrade_is_one_restart_by_name_and_nobody_is_to_be_signalled(self) -> None:
        self.claim()
        self.assertEqual(self.go(), 0)
        record = self.record()
        self.assertEqual(Manager.asked, (("1", False, False),))
        self.assertEqual((record.told, record.restarter), (None, f"systemd user {UNIT}"))
        self.assertIn("restarted by: a manager", record.log)
        self.is_true("upgrade")

    def test_nobody_need_be_told_of_to_be_restarted(self) -> None:
        self.world.told = False
        self.claim()
        self.assertEqual((self.go(), self.world.restarts), (0, 1))
        self.is_true("by name")

    def test_none_is_none(self) -> None:
        self.world.registry["latest"] = "1.0.0"
        Manager.knows = False  # and what would not be asked is not in the way
        self.claim()
        self.assertEqual((self.go(), Manager.asked), (0, ()))

    def test_a_hub_that_runs_the_target_by_now_is_restarted_all_the_same(self) -> None:
        """Its manager started it anew while it was rewritten: it may run half of the version that
        it says it is."""

        def is_started() -> None:
            self.world.disk = "1.1.0"
            self.world.start()

        self.world.fails = is_started
        self.claim()
        self.assertEqual((self.go(), Manager.asked), (0, (("2", False, False),)))
        self.is_true("by itself")

    def test_a_hub_that_ended_on_what_lay_there_half_is_started_again_unblamed(self) -> None:
        for name, runs, asked in (
            ("down", "", 1), ("half", HALF, 1), ("well", "1.0.0", 0), ("new", "1.1.0", 1)
        ):  # fmt: skip
            with self.subTest(name):
                self.doCleanups()
                self.setUp()

                def fails(runs: str = runs) -> None:
                    self.world.running, self.world.process, self.world.down = runs, 7, not runs
                    raise HostError("npm install failed: no route to host")

                self.world.fails = fails
                self.claim()
                self.assertEqual(self.go(), 5 if asked else 1)
                record = self.record()
                self.assertEqual(record.rolled_back_to, "1.0.0" if asked else None)
                self.assertRegex(record.error or "", "no route to host; .*1.0.0 runs")
                self.assertEqual(len(Manager.asked), asked)
                self.assertEqual(managed_store.read(self.home).rejected, ())
                # Another version may have run on its data only where it answers.
                hooks = ["backup", "restore"] if name == "new" else ["backup"]
                self.assertEqual(self.hooks(), hooks)
                self.is_true(name)

    def test_a_helper_killed_at_any_act_of_starting_it_again_leaves_the_truth(self) -> None:
        acts = 0
        while True:
            self.doCleanups()
            self.setUp()
            self.settings = self.settings._replace(before_upgrade=None, after_rollback=None)

            def fails() -> None:
                self.world.down = True
                raise HostError("npm install failed")

            self.claim()
            self.world.acts, self.world.fails, self.world.kill_at = [], fails, acts
            try:
                self.go()
                break
            except Killed:
                self.world.fails, self.world.kill_at = lambda: None, -1
            for _ in range(3):
                if not self.record().finished:
                    self.go()
            self.is_true(f"killed at {acts}")
            self.assertFalse(self.world.down, f"killed at {acts}: {self.record()}")
            acts += 1
        self.assertGreater(acts, 20)

    def test_one_that_somebody_stopped_meanwhile_stays_down(self) -> None:
        def fails() -> None:
            self.world.down = True
            raise HostError("npm install failed")

        self.world.fails, Manager.stopped_after = fails, 0
        self.claim()
        self.go()
        self.assertIn("runs once somebody starts it again", self.record().error or "")
        self.assertEqual((self.world.disk, self.world.down), ("1.0.0", True))

    def refuse(
        self, when: Callable[[Operation], bool], most: int, full: bool = False
    ) -> list[Operation]:
        """So many records of that kind at most cannot be written; returns those."""
        write, refused = self.store.update, list[Operation]()

        def update(operation_id: str, change: Callable[[Operation], Operation]) -> Any:
            told = change(self.record())
            if when(told) and len(refused) < most:
                refused.append(told)
                raise NotRecordedError("the record cannot be written", full)
            return write(operation_id, change)

        self.store.update = update  # type: ignore[method-assign]
        return refused

    def test_a_record_that_cannot_be_written_is_no_fault_of_what_runs(self) -> None:
        kinds: tuple[tuple[str, Callable[[Operation], bool]], ...] = (
            ("proving", lambda told: (told.step, told.phase) == (op.PROVING, op.RESTARTING)),
            ("proven", lambda told: told.phase == op.SUCCEEDED),
        )
        for name, kind in kinds:
            with self.subTest(name):
                self.doCleanups()
                self.setUp()
                refused = self.refuse(kind, most=1)
                self.claim()
                self.assertEqual(self.go(), 1)
                self.assertEqual(len(refused), 1)
                self.assertEqual(self.record().phase, op.RESTARTING)
                self.assertEqual(self.go(), 0)
                self.assertEqual((self.world.restarts, self.record().phase), (1, op.SUCCEEDED))
                self.assertEqual(managed_store.read(self.home).rejected, ())
                self.is_true(name)

    def test_a_disk_that_is_full_until_it_is_put_back_is_put_back(self) -> None:
        def fails() -> None:
            raise HostError("npm install failed: no space left on device")

        acts = self.world.acts
        self.world.owed = "npm install failed: what is back may miss dependencies"
        self.world.fails = fails
        refused = self.refuse(
            lambda told: told.step == op.REVERTING and "reverted" not in acts, most=99, full=True
        )
        self.claim()
        self.assertEqual(self.go(), 1)
        self.assertEqual(len(refused), 1)
        self.assertIn(self.world.owed, self.record().error or "")
        self.assertEqual(acts.count("reverted"), 1)
        self.is_true("full")

    def test_a_way_back_that_cannot_be_recorded_is_gone_again_for_its_reason(self) -> None:
        self.world.sick.add("1.1.0")
        self.refuse(lambda told: told.finished, most=1)
        self.claim()
        self.assertEqual(self.go(), 1)
        self.assertEqual(self.record().step, op.REVERTING)
        self.assertEqual(self.go(), 5)
        self.assertIn("it answers 500", self.record().error or "")
        self.assertEqual((self.world.restarts, self.hooks().count("restore")), (2, 1))
        self.is_true("again")

    def test_a_process_that_the_first_look_cannot_tell_is_proven_as_well(self) -> None:
        look, blind = FakeWatch.look, list[Seen]()

        def blind_at_first(watch: FakeWatch) -> Seen:
            seen = look(watch)
            if self.world.restarts and seen.healthy and len(blind) < 3:
                blind.append(seen)
                return seen._replace(process="")
            return seen

        self.settings = self.settings._replace(probation_s=0.05, probation_max_s=1.0)
        with mock.patch.object(FakeWatch, "look", blind_at_first):
            self.claim()
            self.assertEqual(self.go(), 0, self.record())

    def test_a_process_that_no_look_can_tell_is_proven_by_its_answers(self) -> None:
        look = FakeWatch.look

        def blind(watch: FakeWatch) -> Seen:
            seen = look(watch)
            return seen._replace(process="") if self.world.restarts else seen

        with mock.patch.object(FakeWatch, "look", blind):
            self.claim()
            self.assertEqual(self.go(), 0, self.record())

    def test_one_that_was_started_since_is_restarted_as_what_it_is_now(self) -> None:
        def crashes() -> None:
            self.world.process = 5

        self.world.fails = crashes
        self.claim()
        self.assertEqual(self.go(), 0)
        self.assertEqual(Manager.asked, (("5", False, False),))

    def test_who_would_refuse_is_asked_before_anything_is_touched(self) -> None:
        Manager.knows = False
        self.claim()
        self.assertEqual(self.go(), 1)
        self.assertEqual(self.record().error, "Unit not found; nothing was changed")
        self.assertEqual(set(self.world.acts), {"record", "recorded"})
        self.is_true("unknown")

    def test_so_is_a_disk_that_changed_and_a_rollback(self) -> None:
        self.claim(operation_id="o0")
        self.go()
        Manager.knows, acts = False, len(self.world.acts)
        self.world.disk = "1.2.0"
        self.world.registry["latest"] = "1.2.0"
        self.claim(current_version="1.1.0")
        self.assertEqual(self.go(), 1)
        self.world.disk = "1.1.0"
        self.claim(operation_id="o2", kind=op.ROLLBACK, current_version="1.1.0")
        self.assertEqual(self.go(), 1)
        self.assertIn("Unit not found", self.record().error or "")
        self.assertEqual(set(self.world.acts[acts:]), {"record", "recorded"})
        self.assertIsNone(self.record().undo)

    def test_a_refusal_is_put_back_and_the_old_one_runs_on(self) -> None:
        self.world.refuses = True
        self.claim()
        self.assertEqual(self.go(), 1)
        record = self.record()
        for words in ("NOT restarted: Access denied", "run: systemctl restart hub", "runs on"):
            self.assertIn(words, record.error or "")
        self.assertIn("| its last words", record.log)
        self.assertEqual(len(Manager.asked), 1)
        self.assertEqual((self.world.restarts, managed_store.read(self.home).rejected), (0, ()))
        self.is_true("refused")

    def test_one_that_does_not_come_up_is_put_back_and_the_old_one_started(self) -> None:
        self.world.dies.add("1.1.0")
        self.claim()
        self.assertEqual(self.go(), 5)
        record = self.record()
        self.assertIn("the hub did not come up: Job failed; 1.0.0 runs", record.error or "")
        self.assertEqual(record.log.count("| its last words"), 1)
        self.assertEqual(Manager.asked, (("1", False, False), ("", False, True)))
        self.is_true("dies")

    def test_only_one_that_was_begun_failed_here(self) -> None:
        for words, rejected in (("", ("1.1.0",)), (f"{NOT_STARTED}: ", ())):
            self.doCleanups()
            self.setUp()
            Manager.fails_with = words
            self.world.dies.add("1.1.0")
            self.claim()
            self.assertEqual(self.go(), 5)
            self.assertEqual(managed_store.read(self.home).rejected, rejected)
            self.is_true("dies")

    def orders(self, *orders: str) -> None:
        """What the manager tells of others, each time that it is asked."""
        told = mock.patch.object(Manager, "ordered", side_effect=orders)
        told.start()
        self.addCleanup(told.stop)

    def test_one_that_somebody_stopped_is_put_back_and_left_to_them(self) -> None:
        for when in ("restarted", "proven"):
            self.doCleanups()
            self.setUp()
            Manager.stopped_after = 0 if when == "restarted" else 1
            self.orders(f"{STOPPED} with its unit")
            self.world.sick.add("1.1.0")
            self.claim()
            self.assertEqual(self.go(), 5)
            error = self.record().error or ""
            self.assertIn(STOPPED, error)
            self.assertIn("; 1.0.0 is put back, and runs once somebody starts it", error)
            done = (self.world.disk, self.world.restarts)
            self.assertEqual(done, ("1.0.0", Manager.stopped_after))
            self.assertEqual(managed_store.read(self.home).rejected, ())

    def test_one_that_somebody_restarted_is_tried_anew(self) -> None:
        self.orders(RESTARTED, "")
        self.settings = self.settings._replace(probation_s=0.6)
        look, looks = FakeWatch.look, []

        def sees_another_soon(watch: FakeWatch) -> Seen:
            looks.append(self.world.restarts)
            if sum(looks) == 2:
                self.world.process = 3
            return look(watch)

        with mock.patch.object(FakeWatch, "look", sees_another_soon):
            self.claim()
            self.assertEqual(self.go(), 0)
        self.assertEqual((self.record().phase, self.world.process), (op.SUCCEEDED, 3))

    def test_a_look_that_cannot_tell_the_process_is_no_verdict_while_it_lives(self) -> None:
        look, blind = FakeWatch.look, list[Seen]()

        def sees_none_for_once(watch: FakeWatch) -> Seen:
            seen = look(watch)
            if self.world.restarts and seen.healthy and len(blind) < 3:
                blind.append(seen)
                return seen._replace(process="") if len(blind) == 3 else seen
            return seen

        with mock.patch.object(FakeWatch, "look", sees_none_for_once):
            self.claim()
            self.assertEqual(self.go(), 0)
        self.assertEqual((len(blind), self.world.restarts), (3, 1))

    def test_the_time_that_somebodys_order_takes_is_not_the_probations(self) -> None:
        slow = 1.0

        class Slow(Manager):
            orders = 1

            def ordered(self) -> str:
                if not Slow.orders:
                    return ""
                Slow.orders -= 1
                time.sleep(slow)
                self._world.process += 1  # by its manager, as somebody told it to
                return RESTARTED

        look, looks = FakeWatch.look, [0]

        def ends_once(watch: FakeWatch) -> Seen:
            seen = look(watch)
            looks[0] += self.world.restarts
            return seen if looks[0] != 3 else seen._replace(healthy=False, why="it ended")

        settings = self.settings._replace(probation_max_s=slow, probation_s=0.05)
        self.settings, self.restarter = settings, Slow
        with mock.patch.object(FakeWatch, "look", ends_once):
            self.claim()
            self.assertEqual(self.go(), 0, self.record())
        self.assertEqual((Slow.orders, self.world.restarts), (0, 1))

    def test_what_the_manager_says_of_a_sick_one_is_in_the_log(self) -> None:
        self.world.sick.add("1.1.0")
        self.claim()
        self.assertEqual(self.go(), 5)
        self.assertEqual(self.record().log.count("| its last words"), 1)
        self.assertEqual(Manager.asked, (("1", False, False), ("2", False, True)))

    def test_one_that_cannot_be_started_again_is_told_with_the_command(self) -> None:
        self.world.sick.add("1.1.0")
        self.claim()
        restart = Manager.restart

        def refuses_the_second(manager: Manager, *asked: object, **more: object) -> str:
            manager._world.refuses = bool(Manager.asked)
            return restart(manager, *asked, **more)  # type: ignore[arg-type]

        Manager.restart = refuses_the_second  # type: ignore[method-assign, assignment]
        self.addCleanup(setattr, Manager, "restart", restart)
        self.assertEqual(self.go(), 5)
        words = "1.0.0 is put back, but NOT restarted: Access denied; run: systemctl restart hub"
        self.assertIn(words, self.record().error or "")
        self.assertEqual(self.world.disk, "1.0.0")

    def test_its_time_is_the_managers(self) -> None:
        limits = []
        write = self.store.update

        def watched(*asked: object) -> object:
            written = write(*asked)  # type: ignore[arg-type]
            if written is not None:
                limits.append((written.step, written.step_limit_s))
            return written

        self.store.update = watched  # type: ignore[method-assign, assignment]
        self.claim()
        self.go()
        self.assertIn((op.HANDING_OVER, 90 + 2 * Manager.limit_s), limits)

    def test_a_new_process_that_does_not_answer_yet_is_waited_for(self) -> None:
        self.claim()
        self.go()
        restarted = self.world.acts.index("restarted")
        self.doCleanups()
        self.setUp()
        self.claim()
        self.world.kill_at = restarted
        with self.assertRaises(Killed):
            self.go()
        self.world.silent_for = 3
        patient = SETTINGS.replace('"ready_timeout_s": 0.1', '"ready_timeout_s": 60')
        Path(self.home.hub_json).write_text(patient)
        self.assertEqual(self.go(), 0)
        self.assertEqual(self.world.restarts, 1)

    def test_a_helper_killed_at_any_act_has_it_restarted_once(self) -> None:
        self.assertGreater(self.every_life(sick=False, kind=op.UPGRADE, restarts=1), 20)
        self.assertGreater(self.every_life(sick=False, kind=op.ROLLBACK, restarts=1), 20)

    def test_a_helper_killed_at_any_act_of_taking_back_has_it_restarted_once_more(self) -> None:
        self.assertGreater(self.every_life(sick=True, kind=op.UPGRADE, restarts=2), 25)

    def test_a_hub_that_is_down_is_started_by_whoever_goes_on_but_never_the_bad_one(self) -> None:
        found = self.every_life(sick=False, kind=op.UPGRADE, restarts=2, dies=True)
        self.assertGreater(found, 25)


class ByNobody(ManagedCase):
    """`hub.restart` is "none"; told of or not."""

    choice = Choice(NONE, "a test")

    def setUp(self) -> None:
        super().setUp()
        self.world.told = False  # as the helper has it then

    def test_it_is_never_restarted_and_waited_for(self) -> None:
        self.claim()
        self.go()
        record = self.record()
        self.assertEqual((record.phase, record.restarter), (op.RESTARTING, "none"))
        self.go()
        self.assertEqual((self.record().phase, self.world.restarts), (op.RESTARTING, 0))
        self.world.start()
        self.go()
        self.assertEqual(self.record().phase, op.SUCCEEDED)
        self.is_true("waited")

    def test_one_that_ends_for_good_is_taken_back(self) -> None:
        """Or it would be in flight for ever."""
        self.world.dies.add("1.1.0")
        self.settings = self.settings._replace(probation_max_s=0.3)
        self.claim()
        self.go()
        self.world.start()
        self.go()
        self.assertEqual((self.record().phase, self.world.restarts), (op.FAILED, 0))
        self.assertIn("not healthy within 0.3 s: nobody answers", self.record().error or "")
        self.assertEqual(self.world.disk, "1.0.0")

    def test_not_even_to_go_back(self) -> None:
        self.world.sick.add("1.1.0")
        self.claim()
        self.go()
        self.world.start()
        self.go()
        record = self.record()
        self.assertEqual((record.phase, self.world.restarts), (op.FAILED, 0))
        self.assertIn("1.0.0 is put back, and runs once the hub is restarted", record.error or "")
        self.assertEqual((self.world.disk, record.undo), ("1.0.0", Undo(op.TREE, "o1")))


class WorldTest(unittest.TestCase):
    def test_a_manager_that_is_asked_twice_restarts_twice(self) -> None:
        """Or the counts above would prove nothing."""
        world = World()
        for _ in range(2):
            Manager(world).restart("1", again=False)
        self.assertEqual(world.restarts, 2)


if __name__ == "__main__":
    unittest.main()
