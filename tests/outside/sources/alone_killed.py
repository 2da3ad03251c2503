"""The helper alone, killed with -9 at each record that it writes, and what is settled afterwards.

Its n-th rename is its last act: each step is recorded by one, before the step's act.
"""

from __future__ import annotations

import itertools
from typing import Any

from tests.e2e.harness import FINISHED, wait_for
from tests.outside.sources import programs
from tests.outside.sources.alone import AloneCase, AloneMachine

MOST = 60
MOST_ROUNDS = 3
STEPS = {"resolving", "staging", "rewriting", "handing-over", "proving"}


class KilledCase(AloneCase):
    """What is the same, whoever settles."""

    def settle(self, machine: AloneMachine, op: str) -> None:
        """Look once, as whoever is on turn in this module."""
        raise NotImplementedError

    def life(
        self, machine: AloneMachine, number: int, new: str, behaviour: str
    ) -> tuple[str, bool]:
        """One upgrade whose helper is killed at its n-th rename; the step it was at, and whether
        it came to that."""
        old = machine.runs()
        before = machine.place.tree()
        machine.publish(new, behaviour)
        op = machine.write(current_version=old)
        names = "rename,renameat,renameat2"
        inject = f"inject={names}:signal=KILL:when={number}"
        under = ("strace", "-q", "-o", "/dev/null", "-e", f"trace={names}", "-e", inject)
        done = machine.helper(op, "--hub-pid", str(machine.pid()), under=under)
        killed = done.returncode in (-9, 137)
        left = machine.record()
        self.is_of_the_contract(left)
        record = self.settled(machine, op)
        self.is_of_the_contract(record)
        told = f"killed at {number}, {left['phase']} {left.get('step')}: {record}"
        wait_for(machine.runs, f"a hub, {told}")
        if record["phase"] == "succeeded":
            self.assertEqual((machine.runs(), machine.place.installed()), (new, new), told)
        else:
            self.assertEqual(record["phase"], "failed", told)
            self.assertEqual(machine.runs(), old, told)
            self.assertEqual(machine.place.tree(), before, told)
        return str(left.get("step")), killed

    def settled(self, machine: AloneMachine, op: str) -> dict[str, Any]:
        def look() -> bool:
            if machine.record()["phase"] not in FINISHED:
                self.settle(machine, op)
            return machine.record()["phase"] in FINISHED and not machine.helper_lives()

        wait_for(look, f"the end of {op}: {machine.record()}\n{machine.helper_log(op)}")
        self.assertEqual(machine.record()["operation_id"], op)
        return machine.record()

    def lives(self, behaviour: str, steps: set[str]) -> None:
        machine = self.alone(ready_timeout_s=5)
        minors, seen = itertools.count(1), set()
        for _ in range(MOST_ROUNDS):  # on a slow disk progress is noted once more, or once less
            for number in range(1, MOST):
                step, killed = self.life(machine, number, f"1.{next(minors)}.0", behaviour)
                seen.add(step)
                if not killed:
                    break
            else:
                self.fail(f"it was killed {MOST} times, and never came to its end")
            if steps <= seen:
                return
        self.fail(f"never killed at {steps - seen}")

    def good(self) -> None:
        """At each step on the way to a success."""
        self.lives(programs.GOOD, STEPS)

    def sick(self) -> None:
        """At each step on the way there and back."""
        self.lives(programs.SICK, {*STEPS, "reverting"})
