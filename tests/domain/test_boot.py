"""The launcher's mind, one sentence of the contract's section 8 at a time."""

from __future__ import annotations

import unittest
from typing import Any

from hub_upgrade.domain import boot
from hub_upgrade.domain.boot import Action, Event, Mind, World
from hub_upgrade.domain.boot_record import BootRecord, Next, Release, Trial


def release(version: str, letter: str, **more: Any) -> Release:
    return Release(f"{version}-{letter * 16}", version, letter * 64, **more)


FACTORY = release("1.0.0", "a")
B = release("1.1.0", "b")
C = release("1.2.0", "c")
NEWER_FACTORY = release("1.5.0", "f")


def upgrade(to: Release, op: str = "op", named: bool = False, kind: str = "upgrade") -> Next:
    return Next(op, kind, to.name, to.digest, named)


class Story:
    """A launcher whose disk takes everything at once, unless `refuses` is set."""

    def __init__(
        self,
        *releases: Release,
        record: BootRecord | None = None,
        factory: Release = FACTORY,
        tries: int = 3,
    ) -> None:
        self.disk = {r.name: r for r in (factory, *releases)}
        self.factory = factory
        self.tries = tries
        self.bad: set[str] = set()
        self.boot_json = record
        self.refuses = False
        self.did: list[Action] = []
        self.written: list[str] = []
        self.mind = boot.awake(record or BootRecord(), record is not None)

    @property
    def record(self) -> BootRecord:
        return self.mind.record

    def world(self) -> World:
        return World(self.disk, self.factory, self.tries, "now")

    def feed(self, kind: str, text: str = "", **more: Any) -> Story:
        self.mind, actions = boot.decide(self.mind, Event(kind, text, **more), self.world())
        self.flush()
        self.did += actions
        for action in actions:
            if action.verb == "charge":
                if self.refuses:
                    return self.feed("uncharged", "no room")
                self.boot_json = self.mind.wanted
                return self.feed("charged", action.text)
        return self

    def flush(self) -> None:
        for action in self.mind.todo:
            if self.refuses:
                return
            self.written.append(action.verb)
            if action.verb == "record":
                self.boot_json = self.mind.record
            elif action.verb in ("good", "unmark") and action.release in self.disk:
                good = action.verb == "good"
                self.disk[action.release] = self.disk[action.release]._replace(good=good)
            elif action.verb == "bad":
                self.bad.add(action.digest)
            self.mind = boot.done(self.mind, action)

    def verbs(self) -> list[str]:
        """What was done since the last call, without lines of log."""
        done = [action for action in self.did if action.verb not in ("log", "complain")]
        verbs = [f"{action.verb} {action.release}".strip() for action in done]
        self.did = []
        return verbs

    def serve(self) -> Story:
        """Start, and be ready."""
        self.feed("boot").feed("ready")
        self.verbs()
        return self

    def on_trial(self, nxt: Next) -> Story:
        """From serving to a trial that is ready, by a handoff."""
        return self.feed("tick", nxt=nxt).feed("reloading").feed("ready")

    def upgraded(self, to: Release, op: str, **more: Any) -> Story:
        return self.on_trial(upgrade(to, op, **more)).feed("healthy")

    def again(self) -> Story:
        """The launcher is killed, and starts anew from the disk."""
        self.mind = boot.awake(self.boot_json or BootRecord(), self.boot_json is not None)
        self.did = []
        return self


class Starting(unittest.TestCase):
    def test_with_nothing_ever_committed_the_factory_is_current_at_once(self) -> None:
        story = Story().feed("boot")
        self.assertEqual(story.verbs(), [f"start {FACTORY.name}"])
        self.assertEqual(story.boot_json and story.boot_json.current, FACTORY.name)
        self.assertEqual(story.record.factory_seen, FACTORY.digest)

    def test_the_order_is_current_previous_the_highest_good_and_the_factory(self) -> None:
        good = {"good": True}
        disk = [release("1.1.0", "b", **good), release("1.2.0", "c", **good),
                release("1.3.0", "d", **good)]  # fmt: skip
        record = BootRecord(current=disk[1].name, previous=disk[0].name)
        order: list[str] = []
        story = Story(*disk, record=record)
        while len(order) < 4:
            order += story.again().feed("boot").verbs()
            name = story.mind.running
            story.disk[name] = story.disk[name]._replace(whole=False, digest="0" * 64)
        names = [disk[1].name, disk[0].name, disk[2].name, FACTORY.name]
        self.assertEqual(order, [f"start {name}" for name in names])

    def test_what_is_passed_over_is_said(self) -> None:
        story = Story(record=BootRecord(current=B.name)).feed("boot")
        self.assertIn(B.name, " ".join(a.text for a in story.did if a.verb == "log"))

    def test_the_factory_runs_even_where_home_has_no_copy_of_it(self) -> None:
        story = Story()
        story.disk = {}
        self.assertEqual(story.feed("boot").verbs(), [f"start {FACTORY.name}"])

    def test_a_factory_that_was_rejected_is_the_last_resort_and_never_current(self) -> None:
        record = boot.rebuilt({FACTORY.name: FACTORY}, (FACTORY.digest,), "now")
        story = Story(record=record).feed("boot")
        self.assertEqual(story.verbs(), [f"start {FACTORY.name}"])
        self.assertIsNone(story.record.current)

    def test_a_record_made_anew_is_written_and_knows_what_is_bad(self) -> None:
        good = release("1.1.0", "b", good=True)
        worse = release("1.2.0", "c", good=True, bad=True)
        record = boot.rebuilt({r.name: r for r in (good, worse)}, (worse.digest,), "now")
        self.assertEqual((record.current, record.rejected), (good.name, (worse.digest,)))
        self.assertEqual(boot.awake(record, on_disk=False).todo, (boot.RECORD,))

    def test_after_the_loss_of_boot_json_what_was_handed_over_is_tried(self) -> None:
        story = Story(B).feed("boot", nxt=upgrade(B))
        self.assertEqual(story.verbs(), [f"charge {B.name}", f"start {B.name}"])
        self.assertEqual(story.record.current, FACTORY.name)

    def test_a_trial_missing_damaged_or_without_tries_is_rejected_with_its_verdict(self) -> None:
        damaged = B._replace(whole=False, digest="0" * 64)
        cases = (((), 3, "missing"), ((damaged,), 3, "damaged"), ((B,), 0, "often"))
        for disk, tries, why in cases:
            with self.subTest(why):
                trial = Trial(B.name, B.digest, "op", "upgrade", tries)
                story = Story(*disk, record=BootRecord(current=FACTORY.name, trial=trial))
                self.assertEqual(story.feed("boot").verbs(), [f"start {FACTORY.name}"])
                verdict = story.record.verdict_on("op")
                assert verdict is not None
                self.assertEqual(verdict.verdict, "rejected")
                self.assertIn(why, verdict.reason)
                self.assertIn(B.digest, story.record.rejected)


class TheFactory(unittest.TestCase):
    def story(self, **more: Any) -> Story:
        record = BootRecord(current=B.name, factory_seen=FACTORY.digest, **more)
        return Story(B._replace(good=True), record=record, factory=NEWER_FACTORY)

    def test_a_newer_one_is_tried_once_and_its_digest_recorded_then(self) -> None:
        story = self.story().feed("boot")
        name = NEWER_FACTORY.name
        self.assertEqual(story.verbs(), [f"charge {name}", f"start {name}"])
        assert story.boot_json is not None
        self.assertEqual(story.boot_json.factory_seen, NEWER_FACTORY.digest)
        story.feed("exited", "exited with 1")
        self.assertEqual(story.verbs(), [f"start {B.name}"])
        self.assertEqual(story.again().feed("boot").verbs(), [f"start {B.name}"])

    def test_an_older_one_is_not_tried(self) -> None:
        record = BootRecord(current=C.name, factory_seen="0" * 64)
        story = Story(C, record=record, factory=FACTORY)
        self.assertEqual(story.feed("boot").verbs(), [f"start {C.name}"])

    def test_one_that_cannot_be_charged_is_tried_at_the_next_start(self) -> None:
        story = self.story()
        story.refuses = True
        self.assertEqual(
            story.feed("boot").verbs(), [f"charge {NEWER_FACTORY.name}", f"start {B.name}"]
        )
        story.refuses = False
        self.assertIn(f"start {NEWER_FACTORY.name}", story.again().feed("boot").verbs())

    def test_forced_it_is_tried_although_it_was_seen_and_rejected(self) -> None:
        story = self.story(rejected=(NEWER_FACTORY.digest,))
        self.assertEqual(story.feed("boot").verbs(), [f"start {B.name}"])
        story.again().feed("boot", forced=True)
        self.assertIn(f"start {NEWER_FACTORY.name}", story.verbs())

    def test_forced_while_something_else_is_on_trial_it_follows(self) -> None:
        story = self.story(trial=Trial(C.name, C.digest, "op", "upgrade", 3))
        story.disk[C.name] = C
        story.feed("boot", forced=True).feed("ready").feed("healthy").feed("tick")
        self.assertIn(f"tell {NEWER_FACTORY.name}", story.verbs())

    def test_a_rollback_below_it_is_not_undone_by_a_restart(self) -> None:
        story = self.story().feed("boot").feed("ready").feed("healthy")
        self.assertEqual(story.record.current, NEWER_FACTORY.name)
        story.upgraded(B, "back", kind="rollback", named=True)
        self.assertEqual(story.record.current, B.name)
        self.assertEqual(story.again().feed("boot").verbs(), [f"start {B.name}"])
        lost = boot.rebuilt(story.disk, tuple(story.bad), "now")
        self.assertEqual(Story(*story.disk.values(), record=lost, factory=NEWER_FACTORY)
                         .feed("boot").verbs(), [f"start {B.name}"])  # fmt: skip


class Trying(unittest.TestCase):
    def test_the_try_is_on_the_disk_before_the_hub_is_told(self) -> None:
        story = Story(B).serve().feed("tick", nxt=upgrade(B))
        self.assertEqual(story.verbs(), [f"charge {B.name}", f"tell {B.name}"])
        assert story.boot_json is not None
        assert story.boot_json.trial is not None
        self.assertEqual(story.boot_json.trial.tries_left, 2)

    def test_a_try_that_cannot_be_recorded_is_not_run(self) -> None:
        story = Story(B).serve()
        story.refuses = True
        self.assertEqual(story.feed("tick", nxt=upgrade(B)).verbs(), [f"charge {B.name}"])
        self.assertEqual(story.mind.state, boot.SERVING)
        story.refuses = False
        story.flush()
        self.assertIn(f"tell {B.name}", story.feed("tick", nxt=upgrade(B)).verbs())

    def test_a_pending_trial_whose_try_cannot_be_recorded_waits_while_the_old_one_serves(
        self,
    ) -> None:
        trial = Trial(B.name, B.digest, "op", "upgrade", 3)
        story = Story(B, record=BootRecord(current=FACTORY.name, trial=trial))
        story.refuses = True
        story.feed("boot").feed("ready")
        self.assertEqual(story.mind.running, FACTORY.name)
        self.assertFalse(boot.may_tell(story.mind))
        story.refuses = False
        story.flush()
        self.assertIn(f"tell {B.name}", story.feed("tick").verbs())

    def test_during_a_back_off_an_uncharged_try_does_not_hasten_the_start(self) -> None:
        story = Story(B).serve().feed("exited", "exited with 1")
        story.refuses = True
        story.verbs()
        self.assertEqual(story.feed("tick", nxt=upgrade(B)).verbs(), [f"charge {B.name}"])
        self.assertEqual(story.feed("again").verbs(), [f"start {FACTORY.name}"])

    def test_an_end_before_reloading_is_the_old_hubs_and_the_trial_starts_afresh(self) -> None:
        story = Story(B).serve().feed("tick", nxt=upgrade(B))
        story.verbs()
        self.assertEqual(story.feed("exited", "was killed").verbs(), [f"start {B.name}"])
        self.assertEqual(story.record.trial and story.record.trial.tries_left, 2)

    def test_a_hub_that_does_not_hand_over_is_killed_and_the_trial_starts_afresh(self) -> None:
        story = Story(B).serve().feed("tick", nxt=upgrade(B))
        story.verbs()
        self.assertEqual(story.feed("not-handed").verbs(), ["kill"])
        self.assertEqual(story.feed("exited").verbs(), [f"start {B.name}"])
        self.assertEqual(story.record.trial and story.record.trial.tries_left, 2)

    def test_an_end_after_reloading_rejects(self) -> None:
        story = Story(B).serve().feed("tick", nxt=upgrade(B)).feed("reloading")
        story.feed("exited", "exited with 1", output=("last words",))
        verdict = story.record.verdict_on("op")
        assert verdict is not None
        self.assertEqual(verdict.output, ("last words",))
        self.assertIn("before it was ready", verdict.reason)
        self.assertEqual(story.verbs()[-1], f"start {FACTORY.name}")

    def test_a_failed_exec_rejects_and_the_hub_that_ran_serves_on(self) -> None:
        story = Story(B, C).serve().upgraded(B, "one")
        story.feed("tick", nxt=upgrade(C, "two")).feed("reloading")
        story.feed("handoff-failed", "Exec format error")
        self.assertEqual((story.mind.state, story.mind.running), (boot.SERVING, B.name))
        self.assertFalse(story.mind.on_trial)
        self.assertIn(C.digest, story.record.rejected)

    def test_ready_without_reloading_is_the_trials(self) -> None:
        story = Story(B).serve().feed("tick", nxt=upgrade(B)).feed("ready").feed("healthy")
        self.assertEqual(story.record.current, B.name)

    def test_each_thing_that_the_launcher_sees_rejects_at_once(self) -> None:
        for kind in ("unhealthy", "hung", "not-ready"):
            with self.subTest(kind):
                story = Story(B).serve().on_trial(upgrade(B)).feed(kind, "as seen")
                self.assertEqual(story.verbs()[-1], "end")
                self.assertEqual(story.feed("exited").verbs(), [f"start {FACTORY.name}"])
                self.assertIn(B.digest, story.record.rejected)

    def test_the_next_hub_is_not_started_before_the_last_one_has_ended(self) -> None:
        story = Story(B).serve().on_trial(upgrade(B)).feed("unhealthy", "it answers 500")
        self.assertFalse([verb for verb in story.verbs() if verb.startswith("start")])

    def test_no_process_to_be_had_is_nobodys_fault(self) -> None:
        trial = Trial(B.name, B.digest, "op", "upgrade", 1)
        story = Story(B, record=BootRecord(current=FACTORY.name, trial=trial)).feed("boot")
        for _ in range(5):
            story.verbs()
            self.assertEqual(story.feed("not-started", "EAGAIN").verbs(), ["backoff"])
            self.assertEqual(story.feed("again").verbs(), [f"start {B.name}"])
        self.assertEqual(story.record.rejected, ())


class Committing(unittest.TestCase):
    def test_the_marker_comes_first_and_the_record_last(self) -> None:
        story = Story(B).serve()
        story.written.clear()
        story.upgraded(B, "op")
        self.assertEqual(story.written, ["unbad", "good", "record"])
        self.assertEqual((story.record.current, story.record.previous), (B.name, FACTORY.name))

    def test_a_commit_that_cannot_be_written_is_obeyed_and_written_later(self) -> None:
        story = Story(B).serve().on_trial(upgrade(B))
        story.refuses = True
        story.feed("healthy")
        self.assertEqual(story.record.current, B.name)
        self.assertEqual(story.boot_json and story.boot_json.current, FACTORY.name)
        story.refuses = False
        story.flush()
        self.assertEqual(story.boot_json and story.boot_json.current, B.name)

    def test_nothing_new_is_tried_while_a_marker_waits(self) -> None:
        story = Story(B, C).serve().on_trial(upgrade(B))
        story.refuses = True
        story.feed("healthy").verbs()
        self.assertEqual(story.feed("tick", nxt=upgrade(C, "two")).verbs(), [])

    def test_a_release_whose_files_were_lost_is_not_committed(self) -> None:
        story = Story(B).serve().on_trial(upgrade(B))
        del story.disk[B.name]
        self.assertEqual(story.feed("healthy").verbs()[-1], "end")
        self.assertEqual(story.record.current, FACTORY.name)

    def test_a_rejection_unmarks_marks_bad_and_records_in_that_order(self) -> None:
        story = Story(B).serve().on_trial(upgrade(B))
        story.written.clear()
        story.feed("unhealthy", "it answers 500")
        self.assertEqual(story.written, ["unmark", "bad", "record"])

    def test_a_rollback_rejects_what_it_left_and_previous_is_the_next_lower_good(self) -> None:
        story = Story(B, C).serve().upgraded(B, "one").upgraded(C, "two")
        self.assertEqual(story.record.previous, B.name)
        story.written.clear()
        story.upgraded(B, "back", kind="rollback")
        self.assertEqual(story.written, ["unbad", "good", "unmark", "bad", "record"])
        self.assertEqual((story.record.current, story.record.previous), (B.name, None))
        self.assertFalse(story.disk[C.name].good)
        story.feed("tick", nxt=upgrade(C, "three"))
        verdict = story.record.verdict_on("three")
        self.assertEqual(verdict and verdict.verdict, "rejected")
        self.assertEqual(story.upgraded(C, "four", named=True).record.current, C.name)

    def test_a_rollback_to_the_factorys_own_copy_makes_it_current_and_good(self) -> None:
        story = Story(B).serve().upgraded(B, "one").upgraded(FACTORY, "back", kind="rollback")
        self.assertEqual((story.record.current, story.record.previous), (FACTORY.name, None))
        self.assertTrue(story.disk[FACTORY.name].good)

    def test_a_left_release_is_rejected_although_its_directory_is_gone(self) -> None:
        story = Story(B).serve().upgraded(B, "one")
        story.on_trial(upgrade(FACTORY, "back", kind="rollback"))
        del story.disk[B.name]
        self.assertIn(B.digest, story.feed("healthy").record.rejected)

    def test_previous_is_never_a_rejected_release(self) -> None:
        story = Story(B._replace(good=True), C).serve()
        record = story.record._replace(current=C.name, previous=B.name)
        trial = Trial(B.name, B.digest, "op", "upgrade", 3)
        story = Story(B, C, record=record._replace(trial=trial)).feed("boot").feed("ready")
        story.feed("unhealthy", "it answers 500")
        self.assertEqual((story.record.current, story.record.previous), (C.name, None))


class NamingTheCurrent(unittest.TestCase):
    def test_it_gets_its_verdict_without_a_trial(self) -> None:
        story = Story(B).serve().upgraded(B, "one")
        story.verbs()
        story.feed("tick", nxt=upgrade(B, "two"))
        self.assertEqual(story.verbs(), [])
        verdict = story.record.verdict_on("two")
        self.assertEqual(verdict and verdict.verdict, "committed")

    def test_where_it_was_passed_over_a_trial_tells(self) -> None:
        story = Story(B, record=BootRecord(current=B.name, previous=FACTORY.name)).feed("boot")
        for _ in range(boot.NOT_READY_LIMIT):
            self.assertEqual(story.mind.running, B.name)
            story.feed("exited", "exited with 1").feed("again")
        self.assertEqual(story.mind.running, FACTORY.name)
        story.feed("ready")
        story.verbs()
        story.feed("tick", nxt=upgrade(B))
        self.assertEqual(story.verbs(), [f"charge {B.name}", f"tell {B.name}"])
        story.feed("reloading").feed("exited", "exited with 1")
        self.assertEqual(story.record.current, FACTORY.name)
        self.assertIn(B.digest, story.record.rejected)

    def test_a_rejection_never_takes_the_good_marker_of_the_current_release(self) -> None:
        story = Story(B._replace(good=True), record=BootRecord(current=B.name))
        story.mind = story.mind._replace(passed_over=(B.name,))
        story.feed("boot").feed("ready").on_trial(upgrade(B)).feed("unhealthy", "it answers 500")
        self.assertNotIn("unmark", story.written)


class TheCommitted(unittest.TestCase):
    def test_one_that_dies_is_started_again_with_back_off(self) -> None:
        story = Story().serve().feed("exited", "was killed")
        self.assertEqual(story.verbs(), ["backoff"])
        self.assertEqual(story.feed("again").verbs(), [f"start {FACTORY.name}"])

    def test_the_back_off_grows_until_it_was_calm(self) -> None:
        story = Story().serve()
        waits = []
        for _ in range(3):
            story.feed("exited", "died")
            waits += [a.text for a in story.did if a.verb == "backoff"]
            story.verbs()
            story.feed("again").feed("ready")
        story.feed("calm").feed("exited", "died")
        waits += [a.text for a in story.did if a.verb == "backoff"]
        self.assertEqual(waits, ["1", "2", "3", "1"])

    def test_one_that_was_ready_is_never_passed_over(self) -> None:
        story = Story(B._replace(good=True), record=BootRecord(current=B.name)).serve()
        for _ in range(10):
            story.feed("exited", "died").feed("again").feed("ready")
        self.assertEqual(story.mind.running, B.name)

    def test_one_that_hangs_is_killed_and_started_again(self) -> None:
        story = Story().serve()
        self.assertEqual(story.feed("hung", "no sign of life").verbs(), ["kill"])
        self.assertEqual(story.feed("exited").verbs(), [f"start {FACTORY.name}"])


class AStop(unittest.TestCase):
    def test_it_gives_the_try_back_at_once_even_if_a_second_signal_follows(self) -> None:
        story = Story(B).serve().on_trial(upgrade(B))
        story.verbs()
        self.assertEqual(story.feed("stop").verbs(), ["signal"])
        assert story.boot_json is not None
        self.assertEqual(story.boot_json.trial and story.boot_json.trial.tries_left, 3)
        self.assertEqual(story.feed("stop").verbs(), ["kill"])
        self.assertEqual(story.feed("exited").verbs(), ["exit"])
        self.assertEqual(story.record.rejected, ())

    def test_it_cancels_a_handoff_that_has_not_happened_yet(self) -> None:
        story = Story(B).serve().feed("tick", nxt=upgrade(B)).feed("stop")
        self.assertEqual(story.record.trial and story.record.trial.tries_left, 3)
        self.assertEqual(story.feed("reloading").mind.state, boot.STOPPING)

    def test_a_trial_that_ends_as_if_asked_waits_for_our_own_signal(self) -> None:
        story = Story(B).serve().on_trial(upgrade(B))
        story.verbs()
        self.assertEqual(story.feed("exited", "by SIGTERM", asked=True).verbs(), ["puzzle"])
        self.assertEqual(story.feed("stop").verbs(), ["exit"])
        self.assertEqual(story.record.trial and story.record.trial.tries_left, 3)

    def test_without_our_own_signal_it_is_started_again_charged_and_nothing_rejected(self) -> None:
        story = Story(B).serve().on_trial(upgrade(B)).feed("exited", asked=True)
        story.verbs()
        self.assertEqual(story.feed("alone").verbs(), [f"charge {B.name}", f"start {B.name}"])
        self.assertEqual(story.record.trial and story.record.trial.tries_left, 1)
        self.assertEqual(story.record.rejected, ())

    def test_without_a_child_it_is_the_end(self) -> None:
        story = Story().serve().feed("exited", "died")
        story.verbs()
        self.assertEqual(story.feed("stop").verbs(), ["exit"])

    def test_no_event_that_follows_starts_anything(self) -> None:
        story = Story(B).serve().feed("stop")
        story.verbs()
        for kind in ("tick", "ready", "again", "alone", "healthy", "unhealthy", "charged"):
            story.feed(kind, nxt=upgrade(B))
        self.assertEqual(story.verbs(), [])


class EveryEventInEveryState(unittest.TestCase):
    def test_none_raises_and_none_starts_a_hub_beside_another(self) -> None:
        states = (boot.DOWN, boot.STARTING, boot.SERVING, boot.HANDING, boot.RELOADING,
                  boot.ENDING, boot.PUZZLED, boot.STOPPING, boot.GONE)  # fmt: skip
        trial = Trial(B.name, B.digest, "op", "upgrade", 2)
        no_child = {boot.DOWN, boot.PUZZLED, boot.GONE}
        for state in states:
            for kind in boot._HANDLERS:
                for pending in (None, trial):
                    mind = Mind(BootRecord("1.0.0-gone", trial=pending), state=state,
                                on_trial=pending is not None and state == boot.SERVING,
                                charged=pending is not None)  # fmt: skip
                    event = Event(kind, nxt=upgrade(C, "two"))
                    _, actions = boot.decide(mind, event, World({}, FACTORY))
                    started = any(action.verb == "start" for action in actions)
                    if started and kind not in ("exited", "boot", "charged"):
                        self.assertIn(state, no_child, (state, kind))


class Pruning(unittest.TestCase):
    def test_it_keeps_current_previous_trial_the_factory_and_what_runs(self) -> None:
        record = BootRecord("current", "previous", Trial("trial", "d" * 64, None, "upgrade", 1))
        keep = boot.kept(record, ("runs",), World({}, FACTORY))
        self.assertEqual(keep, {"current", "previous", "trial", "runs", FACTORY.name})

    def test_it_keeps_the_best_that_was_proven_when_nothing_kept_is(self) -> None:
        good = [release("1.1.0", "b", good=True), release("1.2.0", "c", good=True)]
        world = World({r.name: r for r in good}, FACTORY)
        self.assertIn(good[1].name, boot.kept(BootRecord(FACTORY.name), (), world))
        self.assertNotIn(good[0].name, boot.kept(BootRecord(good[1].name), (), world))


if __name__ == "__main__":
    unittest.main()
