"""The helper as a process: its command line, its lock, its exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import unittest
from typing import Any

from hub_upgrade import repository
from hub_upgrade.cli import helper as command
from hub_upgrade.domain import operation as op
from hub_upgrade.domain.boot_record import Next, Verdict
from hub_upgrade.domain.managed import Managed
from hub_upgrade.domain.operation import Operation, Undo
from hub_upgrade.host import boot_store, files, processes, releases
from hub_upgrade.host.files import Lock
from hub_upgrade.settings import load, marks_of
from hub_upgrade.wiring import helper
from tests.upgrade.scene import Scene, zipapp
from tests.upgrade.test_preflight import HUB

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Helper(Scene):
    def setUp(self) -> None:
        super().setUp()
        self.repository = os.path.join(self.home.root, "repository")
        os.mkdir(self.repository, 0o700)
        self.file = os.path.join(self.home.root, "newer.pyz")
        self.data = zipapp(HUB % {"how": "well", "version": "1.1.0"})
        with open(self.file, "wb") as file:
            file.write(self.data)
        self.digest = files.sha256(self.data)
        self.name = releases.name_of("1.1.0", self.digest)

    def helper(self, *argv: str, **options: Any) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "DIGEST": self.digest, "TMPDIR": self.home.root}
        env.pop("PARACHUTE_HOME", None)
        options.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.run(
            [sys.executable, "-m", "hub_upgrade", "helper", *argv], cwd=ROOT, env=env, text=True,
            capture_output=True, timeout=120, check=False, **options,
        )  # fmt: skip

    def arguments(self, *more: str) -> list[str]:
        return ["--op", "o1", "--channel", "latest", "--config-dir", self.home.root, *more]

    def claim(self, **fields: Any) -> Operation:
        record = Operation("o1", current_version="1.0.0", current_release=self.current)
        return self.store.claim(record._replace(**fields))

    def follow(self) -> None:
        repository.publish(self.repository, "latest", self.file, "1.1.0")
        boot_store.write_serve(self.home, {"format": 1, "releases": self.repository})


class Usage(Helper):
    def wrong(self, *argv: str) -> str:
        before = {name: self.content(name) for name in os.listdir(self.home.root)}
        ran = self.helper(*argv)
        self.assertEqual((ran.returncode, ran.stdout), (2, ""), argv)
        self.assertEqual(len(ran.stderr.splitlines()), 1, ran.stderr)
        after = {name: self.content(name) for name in os.listdir(self.home.root)}
        self.assertEqual(after, before, "something was changed")
        return ran.stderr

    def content(self, name: str) -> bytes | None:
        path = os.path.join(self.home.root, name)
        if not os.path.isfile(path):
            return None
        with open(path, "rb") as file:
            return file.read()

    def test_a_wrong_command_line_is_one_line_and_exit_2(self) -> None:
        at = ["--config-dir", self.home.root]
        self.assertIn("--op is missing", self.wrong())
        self.assertIn("--op needs a value", self.wrong("--op"))
        self.assertIn("--op needs a value", self.wrong("--op", "--channel", "rc"))
        self.assertIn("--op needs a value", self.wrong("--op=", "--channel", "rc"))
        self.assertIn("--channel is missing", self.wrong("--op", "o1", *at))
        self.assertIn("--channel needs", self.wrong("--op", "o1", *at, "--channel"))
        self.assertIn("latest or rc", self.wrong("--op", "o1", "--channel", "beta" * 99, *at))
        self.assertIn("unknown argument '--nope'", self.wrong(*self.arguments("--nope")))
        self.assertIn("unknown argument 'x'", self.wrong("x"))
        self.assertIn("twice", self.wrong(*self.arguments("--op", "o2")))
        for bad in ("0", "-1", "x", "1.5", "٣", "9" * 30):
            self.assertIn("--hub-pid must", self.wrong(*self.arguments(f"--hub-pid={bad}")))

    def test_a_status_file_that_is_not_the_operations_is_wrong_usage(self) -> None:
        self.assertIn("no status file", self.wrong(*self.arguments()))
        with open(self.home.status, "wb") as file:
            file.write(b"{")
        self.assertIn("bears no operation", self.wrong(*self.arguments()))
        os.unlink(self.home.status)
        self.claim(operation_id="o2")
        self.assertIn("another operation's: o2", self.wrong(*self.arguments()))
        os.unlink(self.home.status)
        self.claim(channel="rc")
        self.assertIn("channel is rc, not latest", self.wrong(*self.arguments()))

    def test_home_is_never_created(self) -> None:
        missing = os.path.join(self.home.root, "missing")
        self.wrong("--op", "o1", "--channel", "rc", "--config-dir", missing)
        self.assertFalse(os.path.exists(missing))

    def test_help_has_an_example_exit_codes_and_files(self) -> None:
        ran = self.helper("--help")
        self.assertEqual(ran.returncode, 0)
        for word in ("example:", "exit codes:", "files:"):
            self.assertIn(word, ran.stdout)

    def test_its_channels_are_the_operations(self) -> None:
        self.assertEqual(command.CHANNELS, op.CHANNELS)

    def test_the_usage_error_imports_almost_nothing(self) -> None:
        code = (
            "import sys; from hub_upgrade.cli import helper; helper.main([]);"
            "print([m for m in ('json', 'typing', 'subprocess', 'argparse') if m in sys.modules])"
        )
        ran = subprocess.run(
            [sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
        )
        self.assertEqual(ran.stdout.strip(), "[]")


class Ended(Helper):
    def test_a_finished_operation_is_told_with_its_exit_code(self) -> None:
        ends: list[tuple[int, dict[str, str]]] = [
            (0, {"phase": op.SUCCEEDED}),
            (1, {"phase": op.FAILED, "error": "it did not start"}),
            (5, {"phase": op.FAILED, "error": "taken back", "rolled_back_to": "1.0.0"}),
            (3, {"phase": op.REDEPLOY_REQUIRED, "reason": "pull a newer image"}),
        ]
        for code, fields in ends:
            self.claim(**fields)
            ran = self.helper(*self.arguments())
            self.assertEqual((ran.returncode, ran.stderr), (code, ""))
            self.assertIn(fields["phase"], ran.stdout)
            self.assertIn(fields.get("error", ""), ran.stdout)

    def test_what_a_dead_helper_handed_over_is_told_as_the_truth_is(self) -> None:
        self.claim(phase=op.RESTARTING, step=op.HANDING_OVER, target_release=self.name)
        boot_store.write_next(self.home, Next("o1", "upgrade", self.name, self.digest, False))
        ran = self.helper(*self.arguments())
        self.assertEqual((ran.returncode, self.record().phase), (0, op.RESTARTING))
        boot_store.remove_next(self.home)
        verdict = Verdict("o1", "rejected", self.name, self.digest, "it hung", "t", ())
        boot_store.write_boot(self.home, self.boot._replace(verdicts=(verdict,)))
        ran = self.helper(*self.arguments())
        self.assertEqual(ran.returncode, 5)
        self.assertIn("it hung", ran.stdout)


class Prepared(Helper):
    def test_run_by_hand_it_takes_the_lock_and_prepares(self) -> None:
        self.follow()
        self.claim()
        ran = self.helper(*self.arguments())
        self.assertEqual(ran.returncode, 0, ran.stdout + ran.stderr + self.upgrade_log())
        self.assertEqual(
            boot_store.read_next(self.home),
            Next("o1", "upgrade", self.name, self.digest, False),
        )
        record = self.record()
        self.assertEqual((record.phase, record.step), (op.RESTARTING, op.HANDING_OVER))
        self.assertIn("decided at the next start", self.upgrade_log())
        self.assertTrue(releases.is_whole(self.home, self.name, self.digest))
        self.assertFalse([n for n in os.listdir(self.home.releases) if n.startswith(".staging")])

    def upgrade_log(self) -> str:
        path = os.path.join(self.home.logs, "upgrade-o1.log")
        if not os.path.exists(path):
            return ""
        with open(path, encoding="utf-8") as file:
            return file.read()

    def test_the_inherited_lock_is_recognised_on_standard_input(self) -> None:
        self.claim()
        lock = self.take()
        ran = self.helper(*self.arguments(), stdin=lock.fd)
        self.assertEqual(ran.returncode, 1)
        self.assertIn("no release source", ran.stdout)
        self.assertIn("no release source", self.record().error or "")

    def test_a_safety_that_cannot_be_read_is_a_failure_and_nothing_is_begun(self) -> None:
        self.follow()
        for config in ({}, {"hub": {"verify_signature": "yes"}}):
            self.claim()
            files.write_json(self.home.hub_json, {"before_upgrade": "/bin/backup", **config})
            ran = self.helper(*self.arguments(), "--hub-pid", "1")
            self.assertEqual((ran.returncode, ran.stderr), (1, ""))
            record = self.record()
            self.assertEqual((record.phase, record.step), (op.FAILED, op.ACCEPTED))
            self.assertIn("before_upgrade must be a list", record.error or "")

    def test_another_hub_json_than_it_was_accepted_by_is_a_failure_and_nothing_is_begun(
        self,
    ) -> None:
        self.follow()
        hub = Managed(health_url="http://127.0.0.1:9/health")
        for kind, accepted, now in (
            ("upgrade", None, {}), ("upgrade", hub, None), ("rollback", hub, {}),
        ):  # fmt: skip
            files.write_json(self.home.hub_json, {"hub": now, "probation_s": 1})
            self.claim(kind=kind, accepted_by=marks_of(accepted))
            ran = self.helper(*self.arguments())
            self.assertEqual(ran.returncode, 1, ran.stderr)
            error = self.record().error or ""
            self.assertIn("hub.json has changed since this was accepted: restart serve", error)
            self.assertTrue(error.endswith("; nothing was changed"), error)
            self.assertIsNone(boot_store.read_next(self.home))
        files.write_json(self.home.hub_json, {"probation_s": 2})
        self.claim(accepted_by=marks_of(None))
        ran = self.helper(*self.arguments())
        self.assertEqual(ran.returncode, 0, ran.stdout + ran.stderr)

    def test_what_is_rewritten_is_gone_on_with_as_it_was_accepted(self) -> None:
        settings = load({"config-dir": self.home.root}, {})
        hub = Managed(health_url="http://127.0.0.1:9/x", version_field="build", package="mine")
        begun = Operation("o1", accepted_by=marks_of(hub))
        for undo in (None, Undo("tree", "kept")):
            found = helper.hub_of(begun._replace(undo=undo), settings)
            told = (found.health_url, found.version_field) == ("http://127.0.0.1:9/x", "build")
            self.assertEqual(told, undo is not None)
        self.assertEqual(helper.hub_of(begun._replace(accepted_by=()), settings), Managed())

    def test_an_owned_operation_is_left_to_its_owner(self) -> None:
        claimed = self.claim()
        self.take()
        ran = self.helper(*self.arguments())
        self.assertEqual(ran.returncode, 4)
        self.assertEqual(self.record(), claimed)

    def test_a_lock_on_another_file_is_no_lock(self) -> None:
        self.claim()
        self.take()
        other = Lock.try_take(os.path.join(self.home.root, "other.lock"))
        assert other is not None
        self.addCleanup(other.release)
        self.assertEqual(self.helper(*self.arguments(), stdin=other.fd).returncode, 4)

    def test_no_child_of_the_helper_holds_the_lock(self) -> None:
        self.data = zipapp(HUB % {"how": "never ready", "version": "1.1.0"})
        with open(self.file, "wb") as file:
            file.write(self.data)
        self.follow()
        self.claim()
        lock = self.take()
        with subprocess.Popen(
            [sys.executable, "-m", "hub_upgrade", "helper", *self.arguments()], cwd=ROOT,
            stdin=lock.fd, stdout=subprocess.DEVNULL,
            env={**os.environ, "TMPDIR": self.home.root},
        ) as running:  # fmt: skip
            lock.release()
            children = f"/proc/{running.pid}/task/{running.pid}/children"
            child = self.wait_for_child(children)
            self.addCleanup(processes.kill_group, child, processes.start_time(child))
            running.send_signal(signal.SIGKILL)
        self.assertIsNotNone(processes.start_time(child))
        again = Lock.try_take(self.home.operation_lock)
        assert again is not None, "a child of the dead helper holds the lock"
        again.release()

    def wait_for_child(self, children: str) -> int:
        """The PID of the candidate, once it is on its spare socket."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if self.record().step == op.PREFLIGHT and "home " in self.upgrade_log():
                with open(children, encoding="ascii") as file:
                    return int(file.read().split()[0])
            time.sleep(0.02)
        raise AssertionError("no candidate was started: " + self.upgrade_log())

    def test_a_record_with_only_the_fixed_fields_is_enough(self) -> None:
        self.follow()
        with open(self.home.status, "w", encoding="ascii") as file:
            json.dump({"operation_id": "o1", "phase": "pending", "channel": "latest"}, file)
        self.assertEqual(self.helper(*self.arguments()).returncode, 0)
        self.assertEqual(self.record().phase, op.RESTARTING)


if __name__ == "__main__":
    unittest.main()
