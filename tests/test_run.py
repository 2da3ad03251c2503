"""The test runner tells passed from failed, and leaves nothing running."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
import unittest
from functools import partial
from pathlib import Path
from unittest import mock

from tests import run
from tests.e2e.harness import wait_for

HEAD = """import subprocess, sys, time, unittest
class T(unittest.TestCase):
    def test_x(self):
"""


class Reading(unittest.TestCase):
    def test_unittests_closing_lines(self) -> None:
        ended = "Ran 7 tests in 0.1s\n\nFAILED (failures=1, errors=2, skipped=1)\n"
        self.assertEqual(run.outcome_of(1, ended), run.Outcome(3, 3, 1))
        good = "Ran 3 tests in 0.1s\n\nOK (skipped=1, expected failures=1)\n"
        self.assertEqual(run.outcome_of(0, good), run.Outcome(2, 0, 1))

    def test_no_tests_at_all_is_a_failure(self) -> None:
        self.assertEqual(run.outcome_of(0, "Ran 0 tests in 0.0s\n\nOK\n").why, "no tests ran")
        new = run.outcome_of(5, "Ran 0 tests in 0.0s\n\nNO TESTS RAN\n")
        self.assertEqual((new.failed, new.why), (1, "no tests ran"))

    def test_a_crash_after_or_before_the_result_is_a_failure(self) -> None:
        self.assertEqual(run.outcome_of(-11, "Ran 1 test in 0.0s\n\nOK\n").failed, 1)
        self.assertEqual(run.outcome_of(0, "").failed, 1)

    def test_names_are_matched_as_files_or_modules(self) -> None:
        for pattern in ("test_run", "tests/test_run.py", "tests.test_r*"):
            self.assertIn("tests.test_run", run.find([pattern], [], crash=False))
        self.assertEqual(run.find(["test_run"], ["test_run"], crash=False), [])
        self.assertNotIn("tests.test_run", run.find([], [], crash=True))


class Running(unittest.TestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.root = Path(directory.name)
        found = mock.patch.dict(
            os.environ, {"PYTHONPATH": directory.name, "PARACHUTE_HOME": "/nowhere", "PORT": "1"}
        )
        found.start()
        self.addCleanup(found.stop)

    def outcome(self, body: str, limit_s: float = 30.0) -> tuple[run.Outcome, run.Job]:
        (self.root / "sample.py").write_text(HEAD + f"        {body}\n")
        job = run.Job("sample", self.root / "1", limit_s)
        while True:
            outcome = job.poll()
            if outcome is not None:
                return outcome, job
            time.sleep(0.01)

    def test_a_module_has_a_home_and_a_temporary_directory_of_its_own(self) -> None:
        body = (
            "import os; e = os.environ; self.assertEqual(os.path.dirname(e['HOME']), e['TMPDIR']);"
            " self.assertFalse({'PARACHUTE_HOME', 'PORT'} & set(e))"
        )
        outcome, job = self.outcome(body)
        self.assertEqual(outcome, run.Outcome(1, 0, 0), job.output())

    def test_a_module_that_hangs_is_killed_with_its_children(self) -> None:
        sleeper = "subprocess.Popen([sys.executable, '-c', 'input()'], stdin=-1).wait()"
        outcome, job = self.outcome(sleeper, limit_s=0.7)
        self.assertEqual((outcome.failed, outcome.why), (1, "hung and was killed"))
        self.assertEqual(run.processes_of(job.directory), [])

    def is_over(self, job: run.Job) -> bool:
        """Whether nothing of it runs any more."""
        return not run.processes_of(job.directory)

    @unittest.skipUnless(sys.platform == "linux", "needs /proc")
    def test_a_process_left_running_is_a_failure_and_ended(self) -> None:
        for own in ("", "/of its own"):
            leave = (
                "import os; here = os.environ['TMPDIR']; subprocess.Popen(['sleep', '77'],"
                f" start_new_session=True, env={{**os.environ, 'TMPDIR': here + {own!r}}})"
            )
            with mock.patch.object(run, "LEFTOVER_GRACE_S", 0.1):
                outcome, job = self.outcome(leave)
            self.assertEqual((outcome.passed, outcome.failed), (1, 1))
            self.assertIn("sleep 77", outcome.why)
            wait_for(partial(self.is_over, job), "its end")
            shutil.rmtree(job.directory)


if __name__ == "__main__":
    unittest.main()
