"""A sample of stops and suspensions; `tests.crash.test_stops_all` has the whole table."""

from __future__ import annotations

import signal
import threading
import time
import unittest
from typing import Any

from tests.e2e import stops
from tests.e2e.harness import wait_for
from tests.e2e.moments import PROBATION, STARTING, all_of, one


class StopsTest(unittest.TestCase):
    def test_a_stop_that_was_asked_for_is_no_failure(self) -> None:
        all_of(self, [("preflight", "SIGTERM"), (STARTING, "Ctrl-C")], stops.stopped)

    def test_a_suspended_process_is_no_failure(self) -> None:
        all_of(self, [(PROBATION, "launcher"), (PROBATION, "hub")], stops.suspended)

    def ask(self, way: str, scene: Any) -> tuple[Any, threading.Thread, list[Any]]:
        """A hub with a request whose answer waits for a child, which is held."""
        hub = stops.start(scene, way)
        token = hub.token()
        answers: list[Any] = []
        scene.hold("plan")

        def plan() -> None:
            try:
                answers.append(hub.request("GET", "/api/hub/upgrade/plan", token=token)[0])
            except OSError as error:
                answers.append(error)

        client = threading.Thread(target=plan)
        client.start()
        scene.held("plan")
        return hub, client, answers

    def test_one_press_of_ctrl_c_that_arrives_twice_is_not_impatience(self) -> None:
        with one(stops.StopScene) as scene:
            scene.configure(drain_s=50, stop_s=55)
            hub, client, answers = self.ask("forwarded Ctrl-C", scene)
            stops.press_ctrl_c(scene)
            time.sleep(0.7)
            scene.go_on()
            self.assertEqual(stops.ended(hub), 0, hub.output())
            client.join()
            self.assertEqual(answers, [200], "the request was not finished")

    def test_a_second_signal_ends_it_at_once(self) -> None:
        with one(stops.StopScene) as scene:
            scene.configure(drain_s=50, stop_s=55)
            hub, client, answers = self.ask("SIGTERM", scene)
            hub.process.send_signal(signal.SIGTERM)
            time.sleep(1)
            self.assertIsNone(hub.process.poll(), "it did not wait for the request")
            hub.process.send_signal(signal.SIGTERM)
            wait_for(lambda: hub.process.poll() is not None, "the end", limit_s=20)
            scene.go_on()
            client.join()
            self.assertNotEqual(answers, [200])
            self.assertEqual(stops.ended(hub), 0)
            self.assertEqual(stops.left_on(scene.home), [])
