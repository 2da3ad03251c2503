"""One hook by itself: what it is told, and what is made of its end."""

from __future__ import annotations

import json
import os
import tempfile
import unittest
from typing import Any
from unittest import mock

from hub_upgrade.domain import operation as op
from hub_upgrade.domain.operation import Operation, with_line
from hub_upgrade.errors import RefusedError
from hub_upgrade.settings import load
from hub_upgrade.upgrade import hooks

OPERATION = Operation("o1", current_version="1.0.0", target_version="1.1.0", channel="rc")


class HooksTest(unittest.TestCase):
    def setUp(self) -> None:
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.root = os.path.realpath(scratch.name)
        self.pieces: list[bytes] = []

    def settings(self, **more: Any) -> Any:
        return load({"config-dir": self.root}, {})._replace(**more)

    def output(self) -> str:
        return b"".join(self.pieces).decode()

    def before(self, *argv: str, operation: Operation = OPERATION, **more: Any) -> None:
        settings = self.settings(before_upgrade=argv, **more)
        hooks.before_upgrade(settings, operation, self.pieces.append)

    def test_it_is_told_by_its_environment_and_works_in_home(self) -> None:
        with mock.patch.dict(os.environ, {"MINE": "kept", "PARACHUTE_ADMIN_TOKEN_FILE": "secret"}):
            self.before("sh", "-c", "pwd; env | sort")
        told = self.output()
        self.assertTrue(told.startswith(self.root + "\n"), told)
        for line in (
            f"PARACHUTE_HOME={self.root}",
            "PARACHUTE_HOOK=before_upgrade",
            "PARACHUTE_OPERATION_ID=o1",
            "PARACHUTE_OPERATION_KIND=upgrade",
            "PARACHUTE_CURRENT_VERSION=1.0.0",
            "PARACHUTE_TARGET_VERSION=1.1.0",
            "MINE=kept",
        ):
            self.assertIn(f"\n{line}\n", told)
        self.assertNotIn("secret", told)

    def test_a_target_that_is_not_known_is_empty(self) -> None:
        operation = OPERATION._replace(target_version=None)
        self.before("sh", "-c", 'echo "<$PARACHUTE_TARGET_VERSION>"', operation=operation)
        self.assertEqual(self.output(), "<>\n")

    def test_arguments_are_words_and_no_shell_reads_them(self) -> None:
        self.before("printf", "%s|", "a b", "$HOME", "*", "")
        self.assertEqual(self.output(), "a b|$HOME|*||")

    def test_without_one_nothing_is_run(self) -> None:
        settings = self.settings()
        hooks.before_upgrade(settings, OPERATION, self.pieces.append)
        self.assertEqual(hooks.after_rollback(settings, OPERATION, self.pieces.append), "")
        self.assertEqual(hooks.on_finish(settings, OPERATION, self.pieces.append), "")
        self.assertEqual(self.pieces, [])

    def test_before_upgrade_that_fails_is_a_refusal(self) -> None:
        for argv, limit_s, why in (
            (("sh", "-c", "echo full >&2; exit 3"), 60, "before_upgrade failed (exit 3): full"),
            (("sh", "-c", "kill -9 $$"), 60, "before_upgrade failed (exit -9)"),
            (("false",), 60, "before_upgrade failed (exit 1)"),
            (("sleep", "60"), 0.2, "before_upgrade was not done within 0.2 s"),
        ):
            with self.subTest(argv), self.assertRaises(RefusedError) as caught:
                self.before(*argv, hook_timeout_s=limit_s)
            self.assertEqual(caught.exception.sentence, f"{why}; nothing was changed")

    def test_after_rollback_is_a_line_however_it_went(self) -> None:
        for argv, limit_s, line in (
            (("true",), 60, "after_rollback is done"),
            (("sh", "-c", "exit 3"), 60, "after_rollback failed (exit 3)"),
            (("sleep", "60"), 0.2, "after_rollback was not done within 0.2 s"),
        ):
            settings = self.settings(after_rollback=argv, hook_timeout_s=limit_s)
            self.assertEqual(hooks.after_rollback(settings, OPERATION, self.pieces.append), line)
            self.assertFalse(hooks.has_run(with_line(OPERATION, f"| {line}")))
            self.assertTrue(hooks.has_run(with_line(OPERATION, line)))

    def test_on_finish_reads_the_record(self) -> None:
        record = OPERATION._replace(phase=op.FAILED, error="it hung", log=("x" * 2000,) * 500)
        settings = self.settings(on_finish=("cat",))
        self.assertEqual(hooks.on_finish(settings, record, self.pieces.append), "")
        told = json.loads(self.output())
        self.assertEqual((told["operation_id"], told["phase"]), ("o1", "failed"))
        self.assertEqual((told["error"], len(told["log"])), ("it hung", 500))

    def test_on_finish_that_does_not_read_is_not_in_the_way(self) -> None:
        record = OPERATION._replace(log=("x" * 2000,) * 500)
        settings = self.settings(on_finish=("sh", "-c", "exit 2"))
        why = hooks.on_finish(settings, record, self.pieces.append)
        self.assertEqual(why, "on_finish failed (exit 2)")


if __name__ == "__main__":
    unittest.main()
