"""bun, npm, pip and git killed in the midst of an upgrade, at one of their own renames; and the
helper killed at the same moments, by whose end the tool's is brought about.

Of pip's renames half are passed over, and of npm's too where the helper is killed: `numbers`.
"""

from __future__ import annotations

from typing import Any

from tests.e2e.harness import FINISHED, wait_for
from tests.outside.sources.machine import Machine, MachineCase
from tests.outside.sources.striking import BOTH, HELPER, TOOL, Strikes


def lives(pid: int) -> bool:
    """Whether there is such a process, or thread, that has not ended."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(") ")[2][0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


class ToolKilledCase(MachineCase):
    """Each of the modules test_tool_killed_*.py is a column."""

    least = 0
    """So many renames it makes at least."""
    numbers: dict[str, tuple[int, ...]] = {}
    """At which of them; all where none are named."""
    missing = ""
    """What is not there while the package is not."""

    def strikes(self, machine: Machine) -> Strikes:
        """The tool of this machine, which can be struck."""
        pips = [*machine.directory.glob("place/prefix/lib/python*/site-packages/pip/__main__.py")]
        pip = pips[0] if pips else None
        return Strikes(machine.directory / "strikes", machine.environment["PATH"], pip)

    def struck(self, whom: str) -> None:
        """Upgrade again and again, each time struck at the next rename, until it is none."""
        machine = self.machine()
        machine.place.publish("1.1.0")
        strikes = self.strikes(machine)
        before = machine.place.tree()
        times = 0
        for number in self.numbers.get(whom, range(1, 100)):
            strikes.arm(whom, number)
            done = machine.command("upgrade", "--version", "1.1.0", PATH=strikes.path)
            self.assertNotIn("Traceback", done.stdout + done.stderr)
            if not strikes.struck():
                break
            times += 1
            self.died(machine, strikes, whom)
            self.is_true(machine, before, (number, done.stdout, done.stderr, strikes.seen()))
        self.assertGreaterEqual(times, self.least)
        if strikes.struck():  # which it is only once
            done = machine.command("upgrade", "--version", "1.1.0", PATH=strikes.path)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual((machine.runs(), machine.place.installed()), ("1.1.0", "1.1.0"))

    def died(self, machine: Machine, strikes: Strikes, whom: str) -> None:
        """It was the tool that died, and where the helper was killed, it too."""
        struck = strikes.struck()
        self.assertIn("helper", struck["command"])
        wait_for(lambda: not lives(struck["tool"]), "the tool's end")
        self.assertNotRegex(strikes.seen(), rf"(?m)^{struck['tool']} +\+\+\+ exited")
        if whom != TOOL:
            wait_for(lambda: not lives(struck["helper"]), "the helper's end")

    def is_true(self, machine: Machine, before: bytes, told: Any) -> None:
        """The old version runs, or the new one is proven, and is gone back from."""
        record = machine.settled()
        wait_for(machine.runs, f"a hub: {told}")
        if record["phase"] == "succeeded":
            self.assertEqual(machine.runs(), "1.1.0", (told, record))
            done = machine.command("rollback")
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(machine.runs(), "1.0.0", (told, record))
        self.assertEqual(machine.place.tree(), before, (told, record))

    def test_the_tool_killed_at_each_of_its_renames_leaves_the_truth(self) -> None:
        self.struck(TOOL)

    def test_the_helper_killed_at_each_rename_of_its_tool_leaves_the_truth(self) -> None:
        self.struck(HELPER)

    # --- nobody is left ---

    def left_missing(self) -> tuple[Machine, bytes]:
        """A machine on which the tool was killed when the package was not there, with its helper,
        and the hub too."""
        machine = self.machine(ready_timeout_s=5)
        machine.place.publish("1.1.0")
        strikes = self.strikes(machine)
        before = machine.place.tree()
        strikes.arm(BOTH, gone=str(machine.place.prefix / self.missing))
        machine.command("upgrade", "--no-wait", PATH=strikes.path)
        wait_for(strikes.struck, f"a package that is gone: {strikes.seen()}")
        assert machine.runtime is not None
        machine.runtime.stop()
        self.died(machine, strikes, BOTH)
        self.assertEqual([*machine.place.prefix.glob(self.missing)], [], strikes.seen())
        self.assertNotIn(machine.record()["phase"], FINISHED)
        return machine, before

    def is_put_back(self, machine: Machine, before: bytes) -> None:
        """The record says so, and the hub can be started again."""
        record = machine.record()
        self.assertEqual(
            (record["phase"], machine.place.tree() == before), ("failed", True), record
        )
        self.assertIn("1.0.0", record["error"])
        machine.run()
        wait_for(lambda: machine.runs() == "1.0.0", machine.log())

    def test_a_package_left_missing_is_put_back_by_status(self) -> None:
        machine, before = self.left_missing()
        machine.settled()
        self.is_put_back(machine, before)

    def test_a_package_left_missing_is_put_back_by_serve(self) -> None:
        machine, before = self.left_missing()
        machine.serve().finished(machine.record()["operation_id"])
        self.is_put_back(machine, before)
