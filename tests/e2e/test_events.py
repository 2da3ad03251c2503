"""One event stream through everything: an upgrade, a rollback, a kill, a stop."""

from __future__ import annotations

import os
import signal

from hub_upgrade.domain import operation as op
from tests.e2e import moments
from tests.e2e.harness import CONFIG, FINISHED, Hub, RealCase, build, wait_for
from tests.e2e.listener import Listener

TRIAL = (moments.TOLD, moments.STARTING, op.PROVING)
STOPS = (*moments.PREPARING, *TRIAL)
PHASES = [op.PENDING, op.RUNNING, op.RESTARTING, op.SUCCEEDED]


def phases(listener: Listener) -> list[str]:
    """The phases that were heard, each once, in the order of their first event."""
    return list(dict.fromkeys(str(event["phase"]) for event in listener.heard))


def finished(event: dict[str, object]) -> bool:
    return event["phase"] in FINISHED


class UpgradeTest(moments.Scene):
    def listener(self, hub: Hub) -> Listener:
        listener = Listener(hub)
        self.addCleanup(listener.close)
        return listener

    def test_one_connection_hears_every_step_through_the_handoff_to_the_end(self) -> None:
        hub = self.served()
        listener = self.listener(hub)
        self.hold(*moments.PREPARING)
        operation = hub.upgrade()
        for moment in STOPS:
            self.held(moment)
            if moment in op.STEPS:
                event = listener.until_step(moment)
                self.assertEqual(event["operation_id"], operation)
                self.assertFalse(finished(event), event)
            if moment == op.HANDING_OVER:  # not before: the preflight would wait there as well
                self.hold(*TRIAL)
            os.unlink(os.path.join(self.pauses, moment))
        last = listener.until(finished)
        self.assertEqual(hub.wait_healthy()["version"], "1.1.0")
        self.assertEqual((last["phase"], last["target_version"]), (op.SUCCEEDED, "1.1.0"))
        self.assertEqual(phases(listener), PHASES)
        steps = [op.STEPS.index(event["step"]) for event in listener.heard]
        self.assertEqual(steps, sorted(steps))
        texts = [str(event) for event in listener.heard]
        self.assertEqual(len(texts), len(set(texts)), "an event came twice")
        self.assertFalse(listener.closed)

        hub.rollback()
        back = listener.until(lambda event: event["kind"] == op.ROLLBACK and finished(event))
        self.assertEqual((back["phase"], back["target_version"]), (op.SUCCEEDED, "1.0.0"))
        self.assertFalse(listener.closed)

    def test_a_client_that_comes_in_the_middle_hears_what_is_true_and_the_end(self) -> None:
        hub = self.served()
        operation = self.reach(hub, moments.PROBATION)
        listener = self.listener(hub)
        first = listener.until_step(op.PROVING)  # its helper may be a moment behind the trial
        self.assertEqual(first["operation_id"], operation)
        last = first if finished(first) else listener.until(finished)
        self.assertEqual(last["phase"], op.SUCCEEDED)

    def test_a_release_that_dies_on_trial_takes_it_along_and_the_next_one_tells_why(self) -> None:
        self.configure(probation_s=20)  # it must die within
        hub = self.served()
        operation = self.reach(hub, moments.PROBATION)
        listener = self.listener(hub)
        listener.until_step(op.PROVING)
        os.kill(hub.hub_pid(), signal.SIGKILL)
        self.assertTrue(listener.hears_the_end())
        last = self.listener(hub).until(finished)
        self.assertEqual((last["operation_id"], last["phase"]), (operation, op.FAILED))
        self.assertEqual(last["rolled_back_to"], "1.0.0")


class LifeTest(RealCase):
    config = {**CONFIG, "drain_s": 100, "stop_s": 110}
    """A stream that was waited for would hold up the stop for longer than any test waits."""

    def test_a_kill_of_the_hub_closes_it_and_the_same_is_told_on_coming_again(self) -> None:
        self.publish(build("1.0.0"))
        hub = self.hub().start()
        first = Listener(hub)
        self.addCleanup(first.close)
        hub.upgrade()
        last = first.until(finished)
        os.kill(hub.hub_pid(), signal.SIGKILL)
        self.assertTrue(first.hears_the_end())
        again = Listener(hub)
        self.addCleanup(again.close)
        self.assertEqual(again.next(), last)

    def test_at_a_stop_they_end_at_once_and_nothing_waits_for_them(self) -> None:
        hub = self.hub().start()
        listeners = [Listener(hub) for _ in range(5)]
        for listener in listeners:
            self.addCleanup(listener.close)
        self.assertEqual(hub.stop(), 0, hub.output())
        for listener in listeners:
            self.assertTrue(listener.hears_the_end())
            self.assertEqual(listener.heard, [])

    def test_streams_are_bounded_and_room_is_given_back(self) -> None:
        hub = self.hub().start()
        many = [Listener(hub) for _ in range(64)]
        for listener in many:
            self.addCleanup(listener.close)
        self.assertEqual(hub.request("GET", "/api/hub/upgrade/events", None, hub.token())[0], 503)
        self.assertEqual(hub.request("GET", "/health")[0], 200)
        many[0].close()

        def served() -> Listener | None:
            try:
                return Listener(hub)
            except AssertionError:
                return None

        self.addCleanup(wait_for(served, "a place among the streams").close)
