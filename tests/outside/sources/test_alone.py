"""The helper alone, started by the hub that it upgrades: to each of its ends."""

from __future__ import annotations

import json
import re
import tempfile
import unittest
from pathlib import Path

from tests.e2e.harness import wait_for
from tests.outside.sources import programs
from tests.outside.sources.alone import AloneCase, AloneMachine, Watched
from tests.outside.sources.machine import clean_environment

README = Path(__file__).resolve().parents[3] / "README.md"
NAMED = re.compile(r"`([^`]+)`")
OTHERS = {"hub.json"}
"""What the test itself has put there."""


def setUpModule() -> None:
    clean_environment()


def files_of_the_readme() -> list[re.Pattern[str]]:
    """What may lie in home, as the README's table names it."""
    table = README.read_text().partition("## Who writes what in home")[2].partition("\n## ")[0]
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    names = [name for cell in cells for name in NAMED.findall(cell)]
    patterns = (re.sub(r"<[^>]*>", "[^/]+", re.escape(name)) for name in names)
    return [re.compile(pattern.replace(r"\*", "[^/]*")) for pattern in patterns]


class Ends(AloneCase):
    def test_the_hub_is_upgraded_and_its_own_program_can_read_all_that_is_written(self) -> None:
        machine = self.alone()
        machine.publish("1.1.0")
        old = machine.pid()
        op = machine.ask(record={"log": ["asked for by a click"]})
        watched = Watched(machine.home / "hub-upgrade-status.json")
        wait_for(watched.look, f"the end: {machine.helper_log(op)}")
        record = watched.states[-1]
        self.assertEqual((record["phase"], record["operation_id"]), ("succeeded", op), record)
        self.assertEqual((record["current_version"], record["target_version"]), ("1.0.0", "1.1.0"))
        self.assertEqual((machine.runs(), machine.starts()), ("1.1.0", 2))
        self.assertEqual(machine.place.installed(), "1.1.0")
        self.assertIn("asked for by a click", record["log"])
        told = f"process {old} was asked to stop, and is gone"
        self.assertTrue(any(line.startswith(told) for line in record["log"]), record["log"])
        for state in watched.states:
            self.is_of_the_contract(state)
        seen = list(dict.fromkeys(state["phase"] for state in watched.states))
        self.assertEqual(seen, [one for one in ("pending", "running", "restarting", "succeeded")
                                if one in seen])  # fmt: skip
        self.assertEqual(watched.modes, {0o600})
        machine.ended(op)  # its helper, too: the history comes after the record
        allowed = files_of_the_readme()
        for name in machine.files() - OTHERS:
            self.assertTrue(any(one.fullmatch(name) for one in allowed), name)

    def test_a_sick_version_is_taken_back(self) -> None:
        machine = self.alone(ready_timeout_s=5)
        before = machine.place.tree()
        machine.publish("1.1.0", behaviour=programs.SICK)
        record = machine.ended(machine.ask())
        self.is_of_the_contract(record)
        self.assertEqual((record["phase"], record["rolled_back_to"]), ("failed", "1.0.0"))
        self.assertIn("it answers 500", record["error"])
        self.assertIn("1.0.0 runs", record["error"])
        self.assertEqual((machine.place.tree(), machine.runs()), (before, "1.0.0"))
        self.assertEqual(machine.starts(), 3)
        self.assertEqual(machine.helper(record["operation_id"]).returncode, 5)

    def test_what_is_current_already_is_not_restarted(self) -> None:
        machine = self.alone()
        record = machine.ended(machine.ask())
        self.is_of_the_contract(record)
        self.assertEqual((record["phase"], record["target_version"]), ("succeeded", "1.0.0"))
        self.assertIn("nothing was restarted", " ".join(record["log"]))
        self.stays(machine)

    def test_a_downgrade_is_refused_with_what_forces_it(self) -> None:
        machine = self.alone()
        machine.publish("0.9.0")
        op = machine.ask()
        record = machine.ended(op)
        self.is_of_the_contract(record)
        self.assertEqual(record["phase"], "failed")
        force = "hub.pyz upgrade --version 0.9.0 --allow-downgrade"
        self.assertIn(force, record["error"])
        self.stays(machine)
        done = machine.helper(op)
        self.assertEqual((done.returncode, done.stderr), (1, ""))
        self.assertIn(record["error"], done.stdout)

    def test_a_candidate_is_for_its_channel(self) -> None:
        machine = self.alone()
        machine.place.publish("1.1.0-rc.1", "rc")
        record = machine.ended(machine.ask(channel="rc"))
        self.assertEqual((record["phase"], record["channel"]), ("succeeded", "rc"), record)
        self.assertEqual(machine.runs(), "1.1.0-rc.1")

    def test_without_a_hub_json_it_is_the_hub_of_whoever_started_it(self) -> None:
        machine = self.alone()
        (machine.home / "hub.json").unlink()
        machine.place.cut_off()
        record = machine.ended(machine.ask())
        self.assertEqual((record["phase"], record["install"]), ("failed", "package"), record)
        self.assertIn("bun", record["error"])
        self.stays(machine)


class Refused(AloneCase):
    def wrong(self, machine: AloneMachine, op: str, *argv: str, channel: str = "latest") -> str:
        """It is refused in one line, and nothing has changed; the line."""
        before = self.seen(machine)
        done = machine.helper(op, *argv, channel=channel)
        self.assertEqual((done.returncode, done.stdout), (2, ""), done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        self.assertEqual(self.seen(machine), before)
        return done.stderr

    def seen(self, machine: AloneMachine) -> object:
        paths = sorted(machine.home.rglob("*"))
        return [(str(path), path.read_bytes() if path.is_file() else b"") for path in paths]

    def test_what_is_not_its_operation_is_one_line_and_changes_nothing(self) -> None:
        machine = self.alone()
        self.assertIn("there is no status file", self.wrong(machine, "some"))
        op = machine.write(channel="rc")
        self.assertIn("the operation's channel is rc, not latest", self.wrong(machine, op))
        self.assertIn("channel must be latest or rc", self.wrong(machine, op, channel="beta"))
        self.assertIn(f"another operation's: {op}", self.wrong(machine, "another", channel="rc"))
        self.assertIn("process ID", self.wrong(machine, op, "--hub-pid", "0", channel="rc"))
        self.assertIn("unknown argument", self.wrong(machine, op, "--now", channel="rc"))
        nothings: list[object] = [[], {}, {"phase": "pending"}, "text", {"operation_id": 7}]
        for nothing in nothings:
            machine.write_raw(nothing)
            self.assertIn("bears no operation", self.wrong(machine, "x"), str(nothing))
        (machine.home / "hub-upgrade-status.json").write_bytes(b'{"operation_id": "x", "pha')
        self.assertIn("bears no operation", self.wrong(machine, "x"))
        self.stays(machine)

    def test_it_never_makes_a_home(self) -> None:
        machine = self.alone()
        with tempfile.TemporaryDirectory() as directory:
            home = f"{directory}/home"
            argv = ("helper", "--op", "x", "--channel", "latest", "--config-dir", home)
            done = machine.command(*argv)
            self.assertEqual((done.returncode, done.stdout), (2, ""))
            self.assertEqual(list(Path(directory).iterdir()), [])

    def test_a_finished_operation_is_told_with_its_exit_code(self) -> None:
        machine = self.alone()
        for code, fields in (
            (0, {"phase": "succeeded", "target_version": "7.0.0"}),
            (1, {"phase": "failed", "error": "the sky fell"}),
            (3, {"phase": "redeploy-required", "mode": "redeploy-required"}),
        ):
            op = machine.write(**fields, finished_at="2026-01-02T03:04:06.000Z")
            before = machine.record()
            done = machine.helper(op, "--hub-pid", str(machine.pid()))
            self.assertEqual((done.returncode, done.stderr), (code, ""), fields)
            self.assertIn(f"{op} {fields['phase']}", done.stdout)
            self.assertIn(str(fields.get("error", "")), done.stdout)
            self.assertEqual(machine.record(), before)
        self.stays(machine)


class OddRecords(AloneCase):
    def test_a_record_with_only_its_identity_is_enough(self) -> None:
        machine = self.alone()
        machine.publish("1.1.0")
        machine.write_raw({"operation_id": "bare"})
        done = machine.helper("bare", "--hub-pid", str(machine.pid()))
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        record = machine.record()
        self.is_of_the_contract(record)
        found = (record["phase"], record["current_version"], record["target_version"])
        self.assertEqual(found, ("succeeded", "1.0.0", "1.1.0"))

    def test_odd_content_is_passed_over(self) -> None:
        machine = self.alone()
        machine.publish("1.1.0")
        op = machine.write(
            log=["first", 7, None, {"text": "x"}, "last\n", "\u2028\u00fc"], pid=12,
            extra={"a": [1]}, target_version=1.1, error=None, finished_at=None, mode="sideways", log_url="http://x/",
            current_version=..., started_at=17, schema="two", request=[1], undo="none", step=4,
        )  # fmt: skip
        done = machine.helper(op, "--hub-pid", str(machine.pid()))
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        record = machine.record()
        self.is_of_the_contract(record)
        self.assertEqual((record["phase"], record["target_version"]), ("succeeded", "1.1.0"))
        self.assertEqual(record["log"][:3], ["first", "last\n", "\u2028\u00fc"])
        history = json.loads(machine.command("history", "--json").stdout)
        self.assertIn(op, json.dumps(history))

    def test_a_file_that_others_may_read_is_so_no_more(self) -> None:
        machine = self.alone()
        op = machine.write()
        status = machine.home / "hub-upgrade-status.json"
        status.chmod(0o644)
        self.assertEqual(machine.helper(op, "--hub-pid", str(machine.pid())).returncode, 0)
        self.assertEqual(status.stat().st_mode & 0o777, 0o600)


if __name__ == "__main__":
    unittest.main()
