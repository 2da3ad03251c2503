"""Whom the helper alone may ask to stop: without a --hub-pid, with one that is gone, with one of a
stranger, and with a number that has become a stranger's."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import unittest
from pathlib import Path
from typing import Any

from tests.e2e.harness import wait_for
from tests.outside.sources import programs
from tests.outside.sources.alone import AloneCase, AloneMachine
from tests.outside.sources.machine import clean_environment

LAST_PID = Path("/proc/sys/kernel/ns_last_pid")
MOST_TRIES = 1000
INNOCENT = "import signal, sys, time\nprint('here', flush=True)\ntime.sleep(600)"
PAUSE = [
    "sh", "-c",
    'cd "$PARACHUTE_HOME"; touch paused; while ! test -e go; do sleep 0.02; done',
]  # fmt: skip
"""A `before_upgrade` that waits until it is told to go on."""


def setUpModule() -> None:
    clean_environment()


class Pids(AloneCase):
    def innocent(self, pid: int = 0) -> subprocess.Popen[bytes]:
        """A process that is no hub, with that number if need be; it must outlive the test."""
        process = self.start_one(pid)
        for _ in range(MOST_TRIES):
            if pid in (0, process.pid):
                break
            self.end(process)
            process = self.start_one(pid)
        else:
            self.fail(f"number {pid} is not to be had")
        self.addCleanup(self.end, process)
        self.addCleanup(lambda: self.assertIsNone(process.poll()))
        return process

    def start_one(self, pid: int) -> subprocess.Popen[bytes]:
        if pid:
            LAST_PID.write_text(str(pid - 1))
        process = subprocess.Popen([sys.executable, "-c", INNOCENT], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        return process

    def end(self, process: subprocess.Popen[bytes]) -> None:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()

    def waits(self, machine: AloneMachine, *words: str) -> dict[str, Any]:
        """It is rewritten, nobody was signalled, and the record says whose turn it is."""
        record = machine.record()
        self.is_of_the_contract(record)
        self.assertEqual((record["phase"], record["target_version"]), ("restarting", "1.1.0"))
        for word in words:
            self.assertIn(word, " ".join(record["log"]))
        self.assertEqual(machine.runs(), "1.0.0")
        self.assertEqual(machine.place.installed(), "1.1.0")
        return record

    def left_waiting(self, behaviour: str = programs.GOOD) -> AloneMachine:
        """A machine whose hub nobody may signal, rewritten."""
        machine = self.alone(ready_timeout_s=5)
        machine.publish("1.1.0", behaviour=behaviour)
        machine.ask(hubPid=0)
        machine.wait_for_its_turn()
        self.waits(machine, "whatever runs the hub must restart it")
        return machine

    def looked_at(self, machine: AloneMachine) -> None:
        """Each may look while it waits: that changes nothing, and signals nobody."""
        op = machine.record()["operation_id"]
        done = machine.helper(op)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(machine.command("status").returncode, 0)
        self.assertEqual(machine.command("upgrade").returncode, 4)
        self.waits(machine)
        self.assertEqual(machine.starts(), 1)

    def settles(self, machine: AloneMachine, by: str) -> dict[str, Any]:
        """By what runs then."""
        if by == "helper":
            op = machine.record()["operation_id"]
            wait_for(lambda: machine.helper(op).returncode != 4, "nobody else at it")
        if by == "serve":
            machine.serve()
            return machine.ended(machine.record()["operation_id"])
        return machine.settled()

    # --- nobody ---

    def test_without_a_pid_nobody_is_signalled_and_it_is_settled_once_restarted(self) -> None:
        for by in ("helper", "status", "serve"):
            with self.subTest(by):
                machine = self.left_waiting()
                self.looked_at(machine)
                machine.restart_by_hand()
                record = self.settles(machine, by)
                self.is_of_the_contract(record)
                self.assertEqual((record["phase"], machine.runs()), ("succeeded", "1.1.0"), record)
                self.assertEqual(machine.starts(), 2)

    def test_while_it_waits_the_service_beside_it_signals_nobody_either(self) -> None:
        machine = self.left_waiting()
        machine.serve()
        log = machine.home / "logs" / f"upgrade-{machine.record()['operation_id']}.log"
        looks = log.read_text().count("step: proving")
        wait_for(lambda: log.read_text().count("step: proving") > looks, "another look")
        self.waits(machine)
        self.assertEqual(machine.starts(), 1)
        machine.restart_by_hand()
        record = machine.ended(machine.record()["operation_id"])
        self.assertEqual((record["phase"], machine.runs()), ("succeeded", "1.1.0"))

    def test_a_sick_one_that_was_started_by_hand_is_taken_back_and_restarted_by_hand(self) -> None:
        machine = self.left_waiting(programs.SICK)
        before = machine.pid()
        machine.restart_by_hand()
        sick = machine.pid()
        record = machine.settled()
        self.assertEqual((record["phase"], record["rolled_back_to"]), ("failed", "1.0.0"))
        self.assertIn("1.0.0 is put back, and runs once the hub is restarted", record["error"])
        self.assertEqual(machine.place.installed(), "1.0.0")
        self.assertEqual(machine.pid(), sick)
        self.assertNotEqual(sick, before)
        machine.restart_by_hand()
        wait_for(lambda: machine.runs() == "1.0.0", "the old version")

    # --- one that is gone ---

    def test_a_pid_that_was_gone_before_is_noted(self) -> None:
        machine = self.alone()
        machine.publish("1.1.0")
        gone = subprocess.Popen(["true"])
        gone.wait()
        machine.ask(hubPid=gone.pid)
        machine.wait_for_its_turn()
        self.waits(machine, f"process {gone.pid} is gone already: nothing was signalled")
        self.assertEqual(machine.starts(), 1)
        machine.restart_by_hand()
        self.assertEqual(self.settles(machine, "helper")["phase"], "succeeded")

    def paused(
        self, behaviour: str = programs.GOOD, **config: Any
    ) -> tuple[AloneMachine, str]:
        """A helper that knows its hub, and has not begun to rewrite it."""
        machine = self.alone(before_upgrade=PAUSE, ready_timeout_s=5, **config)
        machine.publish("1.1.0", behaviour)
        op = machine.ask()
        wait_for((machine.home / "paused").exists, machine.helper_log(op))
        return machine, op

    def test_a_hub_that_restarted_before_it_was_rewritten_is_noted(self) -> None:
        machine, _ = self.paused()
        old = machine.pid()
        machine.restart_by_hand()
        wait_for(lambda: machine.runs() == "1.0.0", "the hub again")
        (machine.home / "go").touch()
        machine.wait_for_its_turn()
        self.waits(machine, f"process {old} is gone already: nothing was signalled")
        self.assertEqual(machine.starts(), 2)
        machine.restart_by_hand()
        self.assertEqual(self.settles(machine, "status")["phase"], "succeeded")
        self.assertEqual((machine.runs(), machine.starts()), ("1.1.0", 3))

    # --- a stranger ---

    def test_a_stranger_is_never_signalled(self) -> None:
        machine = self.alone()
        machine.publish("1.1.0")
        stranger = self.innocent()
        machine.ask(hubPid=stranger.pid)
        machine.wait_for_its_turn()
        self.waits(machine, f"process {stranger.pid} does not run the hub: it was not signalled")
        self.assertIsNone(stranger.poll())
        machine.restart_by_hand()
        self.assertEqual(self.settles(machine, "status")["phase"], "succeeded")

    def test_a_stranger_outlives_a_hub_that_is_dying_too(self) -> None:
        machine = self.alone(ready_timeout_s=5)
        machine.publish("1.1.0", behaviour=programs.DYING)
        stranger = self.innocent()
        machine.ask(hubPid=stranger.pid)
        machine.wait_for_its_turn()
        machine.restart_by_hand()
        record = machine.settled()
        self.assertEqual((record["phase"], record["rolled_back_to"]), ("failed", "1.0.0"))
        self.assertIsNone(stranger.poll())
        wait_for(lambda: machine.runs() == "1.0.0", "the old version")

    def test_a_number_that_is_a_strangers_by_now_is_not_signalled(self) -> None:
        machine, _ = self.paused()
        number = machine.pid()
        machine.restart_by_hand()
        wait_for(lambda: machine.runs() == "1.0.0", "the hub again")  # with all its threads
        stranger = self.innocent(number)
        (machine.home / "go").touch()
        machine.wait_for_its_turn()
        self.waits(machine, f"process {number} is gone already: nothing was signalled")
        self.assertIsNone(stranger.poll())
        machine.restart_by_hand()
        self.assertEqual(self.settles(machine, "helper")["phase"], "succeeded")

    def used_again(self, behaviour: str) -> dict[str, Any]:
        """The end of an upgrade whose helper was killed as it was to signal the hub, the hub's
        number now a stranger's."""
        machine, op = self.paused(behaviour, probation_s=6)  # it must live to be killed
        number = machine.pid()
        (machine.home / "go").touch()
        wait_for(lambda: machine.record().get("phase") == "restarting", machine.helper_log(op))
        os.kill(machine.record()["helper_pid"], signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):  # the helper was quicker
            os.kill(number, signal.SIGTERM)
        wait_for(lambda: machine.starts() > 1, "another process")
        if behaviour == programs.GOOD:
            wait_for(machine.runs, "a hub with all its threads")
        stranger = self.innocent(number)
        record = machine.settled()
        self.assertIsNone(stranger.poll())
        wait_for(lambda: machine.runs() == machine.place.installed(), f"a hub: {record}")
        return record

    def test_a_number_in_the_record_that_is_a_strangers_by_now_is_not_signalled(self) -> None:
        record = self.used_again(programs.GOOD)
        self.assertEqual((record["phase"], record["target_version"]), ("succeeded", "1.1.0"))

    def test_nor_is_it_when_the_new_version_is_dying(self) -> None:
        record = self.used_again(programs.DYING)
        self.assertEqual((record["phase"], record["rolled_back_to"]), ("failed", "1.0.0"), record)


if __name__ == "__main__":
    unittest.main()
