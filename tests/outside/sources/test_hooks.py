"""The operator's hooks around the upgrade of somebody else's hub, which migrates its own data."""

from __future__ import annotations

import json
import os
import unittest
from pathlib import Path
from typing import Any

from tests.e2e.harness import wait_for
from tests.outside.sources import programs
from tests.outside.sources.beside import NEW, NEXT, OLD, BesideCase
from tests.outside.sources.machine import Machine, clean_environment

DATA = b"""
const file = process.env.DATA_FILE, mine = Number(version.split(".")[1]);
const data = fs.existsSync(file) ? JSON.parse(fs.readFileSync(file, "utf8")) : { notes: ["hello"] };
if ((data.schema || 0) > mine) {
  console.error("the data is of schema " + data.schema + ", and I know " + mine);
  process.exit(4);
}
fs.writeFileSync(file, JSON.stringify({ ...data, schema: mine, touched: version }));
require("test-leaf");
"""
"""A hub that makes its data newer at its start, and refuses what is newer than itself."""
HUB = programs.JAVASCRIPT.replace(b'require("test-leaf");\n', DATA)
NOTE = """
cd "$PARACHUTE_HOME"
cp hub-upgrade-status.json "at-$PARACHUTE_HOOK.json"
echo "$PARACHUTE_HOOK $PARACHUTE_OPERATION_KIND $PARACHUTE_CURRENT_VERSION \\
$PARACHUTE_TARGET_VERSION disk $(sed -n 's/.*"version": "\\(.*\\)".*/\\1/p' "$1") \\
runs $(grep -o '"touched":"[^"]*"' "$2" | cut -d'"' -f4)" >> hooks
"""
BACK_UP = NOTE + 'cp "$2" "$2.saved"; echo saved'
RESTORE = NOTE + 'cp "$2.saved" "$2"; echo restored'
FINISH = 'cat >> "$PARACHUTE_HOME/ends"'


def setUpModule() -> None:
    clean_environment()


class HooksOfAManagedHub(BesideCase):
    def scene(self, behaviour: str = programs.GOOD, **more: Any) -> Machine:
        """A hub with data, and hooks that keep them and put them back."""
        machine = self.machine(start=False)
        self.data = machine.directory / "data.json"
        words = ["sh", str(machine.place.manifest), str(self.data)]
        hooks = {
            "before_upgrade": ["sh", "-c", BACK_UP, *words],
            "after_rollback": ["sh", "-c", RESTORE, *words],
            "on_finish": ["sh", "-c", FINISH],
        }
        machine.configure(**{"ready_timeout_s": 5, **hooks, **more})
        machine.told["DATA_FILE"] = str(self.data)
        machine.place.publish(OLD, files={"hub.js": HUB})
        machine.place.install(OLD)
        machine.run()
        wait_for(lambda: machine.runs() == OLD, OLD)
        machine.place.publish(NEW, behaviour=behaviour, files={"hub.js": HUB})
        return machine

    def lines(self, machine: Machine) -> list[str]:
        """What the hooks have written down."""
        path = Path(machine.home, "hooks")
        return path.read_text().splitlines() if path.exists() else []

    def ends(self, machine: Machine, *expected: str) -> None:
        """`on_finish` had these ends, each once, as they lie in the record."""
        path = Path(machine.home, "ends")

        def found() -> list[Any]:
            lines = path.read_text().splitlines() if path.exists() else []
            return [json.loads(line) for line in lines]

        wait_for(lambda: len(found()) >= len(expected), "the ends")
        self.assertEqual([end["phase"] for end in found()], list(expected))
        self.assertEqual(found()[-1], machine.record())

    def holds(self, schema: int, version: str) -> None:
        """The data are of this schema, and this version has touched them last."""
        found = json.loads(self.data.read_text())
        self.assertEqual(found, {"notes": ["hello"], "schema": schema, "touched": version})

    def test_data_are_saved_migrated_and_restored_by_hand(self) -> None:
        machine = self.scene()
        machine.serve()
        self.told(machine, version=OLD)
        record = self.end(machine, "succeeded", self.post(machine)["operation_id"])
        before = f"before_upgrade upgrade {OLD} {NEW} disk {OLD} runs {OLD}"
        self.assertEqual(self.lines(machine), [before])
        at = json.loads(Path(machine.home, "at-before_upgrade.json").read_text())
        self.assertEqual((at["step"], at["phase"]), ("backing-up", "running"))
        self.assertIn("| saved", record["log"])
        self.holds(1, NEW)
        self.ends(machine, "succeeded")
        back = self.post(machine, "/api/hub/rollback")["operation_id"]
        record = self.end(machine, "succeeded", back)
        after = f"after_rollback rollback {NEW} {OLD} disk {OLD} runs {NEW}"
        self.assertEqual(self.lines(machine), [before, after])
        at = json.loads(Path(machine.home, "at-after_rollback.json").read_text())
        self.assertEqual(at["phase"], "running")  # before anything was restarted
        self.assertIn("| restored", record["log"])
        self.assertEqual(machine.runs(), OLD)
        self.holds(0, OLD)
        self.ends(machine, "succeeded", "succeeded")
        self.assertEqual(self.starts(machine), 3)

    def test_what_is_taken_back_finds_its_data_as_they_were(self) -> None:
        machine = self.scene(programs.SICK)
        machine.serve()
        self.told(machine, version=OLD)
        record = self.end(machine, "failed", self.post(machine)["operation_id"])
        self.assertEqual((record["rolled_back_to"], machine.runs()), (OLD, OLD), record)
        after = f"after_rollback upgrade {OLD} {NEW} disk {OLD} runs {NEW}"
        self.assertEqual(self.lines(machine)[1:], [after])
        self.holds(0, OLD)
        self.ends(machine, "failed")

    def test_with_no_hub_of_ours_running(self) -> None:
        machine = self.scene(programs.SICK)
        self.assertEqual(machine.command("upgrade").returncode, 5)
        self.assertEqual(len(self.lines(machine)), 2)
        self.holds(0, OLD)
        self.ends(machine, "failed")
        machine.place.publish(NEXT, files={"hub.js": HUB})
        done = machine.command("upgrade")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(machine.command("rollback").returncode, 0)
        self.assertEqual(len(self.lines(machine)), 4)
        self.holds(0, OLD)
        self.ends(machine, "failed", "succeeded", "succeeded")
        assert machine.runtime is not None
        machine.runtime.stop()
        self.assertEqual(machine.command("upgrade").returncode, 3)  # where it lies is not known
        self.ends(machine, "failed", "succeeded", "succeeded", "redeploy-required")

    def test_without_a_backup_nothing_is_touched(self) -> None:
        for argv, why in (
            (["sh", "-c", "echo no room; exit 3"], "before_upgrade failed (exit 3): no room"),
            (["sleep", "61"], "before_upgrade was not done within 2 s"),
        ):
            with self.subTest(argv):
                machine = self.scene(before_upgrade=argv, hook_timeout_s=2)
                before = machine.place.tree()
                machine.serve()
                self.told(machine, version=OLD)
                record = self.end(machine, "failed", self.post(machine)["operation_id"])
                self.assertEqual(record["error"], f"{why}; nothing was changed")
                self.assertEqual((machine.runs(), machine.place.tree()), (OLD, before))
                self.assertEqual((self.starts(machine), self.lines(machine)), (1, []))
                self.ends(machine, "failed")
                self.assertEqual([name for name in os.listdir(machine.place.prefix / "install")
                                  if name.startswith(".parachute")], [])  # fmt: skip

    def test_without_the_restore_the_old_hub_refuses_its_data(self) -> None:
        machine = self.scene(programs.SICK, after_rollback=None)
        self.assertEqual(machine.command("upgrade").returncode, 5)
        record = machine.record()
        self.assertIn(f"{OLD} is put back, but does not serve yet", record["error"])
        self.assertIn("the data is of schema 1, and I know 0", machine.log())


if __name__ == "__main__":
    unittest.main()
