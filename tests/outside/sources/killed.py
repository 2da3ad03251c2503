"""What looks after a managed hub, killed or stopped at each moment of that hub's upgrade.

| moment | held by | what is left to be done |
|---|---|---|
| accepted, staging | a pause in our own program | nothing was changed |
| asking | a registry that does not answer | nothing was changed |
| backing-up | a `before_upgrade` that waits | nothing was changed |
| installing | a registry that holds the files back: the tool is at work | put back, no restart |
| handing-over, proving | a pause in our own program | one restart, proven |
| leaving | the old hub, which takes its time to stop | one restart, proven |
| probation | its length | one restart, proven |
| reverting | a pause in our own program | two restarts, taken back |
| restoring | an `after_rollback` that waits | two restarts, taken back |

Each module test_killed_*.py is one way to be ended; where only the hub dies, its helper lives on.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hub_upgrade.domain import operation as op
from tests.e2e.harness import (
    WAIT_S,
    Hub,
    command_of,
    descendants,
    wait_for,
    without_children,
)
from tests.e2e.moments import pausing
from tests.outside.sources import programs, registry
from tests.outside.sources.beside import NEW, NEXT, OLD, BesideCase
from tests.outside.sources.machine import Machine
from tests.outside.sources.snapshot import set_aside

SLOW_S = 600.0
PROBATION_S = 4
WAITS = 'touch "$1.reached"; while test -e "$1"; do sleep 0.02; done'
LEAVES = b'process.on("SIGTERM", () => process.exit(0));'
LEAVES_LATE = b"""
const waits = process.env.TEST_PAUSES + "/leaving";
process.on("SIGTERM", () => {
  if (fs.existsSync(waits)) fs.writeFileSync(waits + ".reached", "");
  setInterval(() => fs.existsSync(waits) || process.exit(0), 20);
});
"""


class KilledCase(BesideCase):
    """The moments; `end_it` is the way of a module."""

    helper_lives_on = False

    def end_it(self, hub: Hub) -> None:
        """End something of what looks after the hub."""
        raise NotImplementedError

    def scene(self, moment: str, behaviour: str = programs.GOOD) -> tuple[Machine, Hub]:
        """A machine whose hub has an upgrade to go to, and what looks after it."""
        self.pauses = Path(tempfile.mkdtemp(prefix="pauses-"))
        self.addCleanup(shutil.rmtree, self.pauses, ignore_errors=True)
        self.addCleanup(self.go_on)
        machine = self.machine(start=False)
        self.configure(machine, moment)
        machine.program = pausing("1.0.0")
        late = programs.JAVASCRIPT.replace(LEAVES, LEAVES_LATE)
        machine.place.publish(OLD, files={"hub.js": late} if moment == "leaving" else None)
        machine.place.install(OLD)
        machine.told["TEST_PAUSES"] = str(self.pauses)
        machine.run()
        wait_for(lambda: machine.runs() == OLD, OLD)
        machine.place.publish(NEW, behaviour=behaviour)
        hub = machine.serve()
        self.told(machine, version=OLD)
        return machine, hub

    def configure(self, machine: Machine, moment: str) -> None:
        """hub.json: the hook that holds this moment, or the length of it."""
        more: dict[str, Any] = {"ready_timeout_s": 5}
        for hook in ("before_upgrade", "after_rollback"):
            argv = ["sh", "-c", WAITS, "sh", str(self.pauses / hook)]
            more[hook] = argv if moment == hook else ["true"]
        if moment == "probation":
            more["probation_s"] = PROBATION_S
        machine.configure(**more)

    def hold(self, moment: str) -> None:
        """Who comes to it waits, until `go_on`."""
        (self.pauses / moment).touch()

    def held(self, moment: str) -> None:
        """Wait until it has come to that."""
        wait_for((self.pauses / f"{moment}.reached").exists, moment)

    def go_on(self) -> None:
        """Nobody is held any more."""
        with contextlib.suppress(OSError):
            for path in self.pauses.iterdir():
                path.unlink()

    def struck(
        self,
        moment: str,
        behaviour: str = programs.GOOD,
        reach: Callable[[Machine], None] | None = None,
    ) -> tuple[Machine, dict[str, Any]]:
        """Ask for the upgrade, strike at that moment, serve again; the record at its end."""
        machine, hub = self.scene(moment, behaviour)
        self.before = machine.place.tree()
        if reach is None:
            self.hold(moment)
            operation = self.post(machine)["operation_id"]
            self.held(moment)
        else:
            reach(machine)
            operation = machine.record()["operation_id"]
        self.assertNotIn(machine.record()["phase"], op.TERMINAL)
        self.end_it(hub)
        self.go_on()
        machine.mend()
        if hub.process is None:
            hub.start(**machine.environment)  # type: ignore[arg-type]
        record = hub.finished(operation)
        wait_for(machine.runs, "the hub")
        return machine, record

    def is_over(self, machine: Machine, record: dict[str, Any], phase: str, restarts: int) -> None:
        """The end is that one, and true; nothing is left over, and the next upgrade works."""
        told = f"{record}\n{self.hub(machine).output()[-2000:]}"
        self.assertEqual(record["phase"], phase, told)
        runs = NEW if phase == op.SUCCEEDED else OLD
        self.assertEqual((machine.runs(), machine.place.installed()), (runs, runs), told)
        self.assertEqual(self.starts(machine) - 1, restarts, told)
        if phase == op.FAILED:
            self.assertEqual(machine.place.tree(), self.before, told)
            self.assertEqual(record.get("rolled_back_to"), OLD if restarts else None, told)
        self.told(machine, version=runs)
        machine.place.publish(NEXT)
        self.goes(machine, NEXT)
        self.assertEqual(self.starts(machine) - 1, restarts + 1)
        # What is kept no longer goes after the last word.
        prefix = str(machine.place.prefix)
        wait_for(lambda: len(set_aside(prefix)) == 1, "one way back, and nothing else")

    # --- nothing was changed ---

    def unchanged(self, moment: str, reach: Callable[[Machine], None] | None = None) -> None:
        machine, record = self.struck(moment, reach=reach)
        if self.helper_lives_on:
            self.is_over(machine, record, op.SUCCEEDED, 1)
        else:
            self.assertIn("nothing was changed", record["error"])
            self.is_over(machine, record, op.FAILED, 0)

    def test_accepted(self) -> None:
        self.unchanged("accepted")

    def test_asking(self) -> None:
        self.unchanged("asking", lambda machine: self.slow(machine, registry.DOCUMENTS))

    def test_staging(self) -> None:
        self.unchanged(op.STAGING)

    def test_backing_up(self) -> None:
        self.unchanged("before_upgrade")

    # --- the tool is at work ---

    def slow(self, machine: Machine, what: str) -> None:
        """Come to where the tool waits for the registry."""
        site = machine.place.registry
        site.slow_s, site.asked[:] = SLOW_S, []
        site.break_down(registry.SLOW, what)
        wanted = ".tgz" if what == registry.FILES else machine.place.package
        self.post(machine)
        wait_for(lambda: any(path.endswith(wanted) for path in site.asked), "the tool")

    def test_installing(self) -> None:
        machine, record = self.struck(
            "installing", reach=lambda machine: self.slow(machine, registry.FILES)
        )
        if self.helper_lives_on:
            self.is_over(machine, record, op.SUCCEEDED, 1)
        else:
            self.assertIn(f"what was rewritten is put back, {OLD} runs on", record["error"])
            self.is_over(machine, record, op.FAILED, 0)

    # --- restarted, and proven ---

    def proven(self, moment: str, reach: Callable[[Machine], None] | None = None) -> None:
        machine, record = self.struck(moment, reach=reach)
        self.is_over(machine, record, op.SUCCEEDED, 1)

    def test_handing_over(self) -> None:
        self.proven(op.HANDING_OVER)

    def test_leaving(self) -> None:
        self.proven("leaving")

    def test_proving(self) -> None:
        self.proven(op.PROVING)

    def test_probation(self) -> None:
        def reach(machine: Machine) -> None:
            self.post(machine)
            wait_for(lambda: machine.runs() == NEW, NEW)

        self.proven("probation", reach)

    # --- taken back ---

    def taken_back(self, moment: str) -> None:
        machine, record = self.struck(moment, programs.SICK)
        self.assertIn("it answers 500", record["error"])
        self.is_over(machine, record, op.FAILED, 2)

    def test_reverting(self) -> None:
        self.taken_back(op.REVERTING)

    def test_restoring(self) -> None:
        self.taken_back("after_rollback")


# --- who is ended --------------------------------------------------------------------------------


def helper_of(hub: Hub) -> int:
    """The helper that is at work."""
    found = [pid for pid in descendants(hub.launcher_pid) if "helper" in command_of(pid)]
    return without_children(found)[0]  # the guard of its tool is a copy of it


def kill(*pids: int) -> None:
    """SIGKILL, at one moment."""
    for number in (signal.SIGSTOP, signal.SIGKILL):  # or one saw the end of another
        for pid in pids:
            assert pid > 1
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


def ended(hub: Hub) -> None:
    """The launcher has ended: reap it."""
    assert hub.process is not None
    hub.process.wait(WAIT_S)
    hub.stop()
