"""What `make run` shows, run as it is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from tests.e2e.harness import WAIT_S, environment

TOUR = str(Path(__file__).resolve().parents[2] / "examples" / "tour.py")


class TourTest(unittest.TestCase):
    def setUp(self) -> None:
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.scratch = scratch.name
        self.tour = subprocess.Popen(
            [sys.executable, TOUR], env=environment(TMPDIR=self.scratch, HOME=self.scratch),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self.addCleanup(self.tour.communicate)
        self.addCleanup(self.tour.kill)

    def test_it_upgrades_goes_on_serving_and_leaves_nothing_behind_on_ctrl_c(self) -> None:
        assert self.tour.stdout is not None
        said = ""
        for line in self.tour.stdout:
            said += line
            if line.startswith("Ctrl-C stops it"):
                break
        self.assertIn("succeeded (proving)", said)
        self.assertIn("The processes are the same", said)
        self.assertIn(" rollback --config-dir ", said)
        self.tour.send_signal(signal.SIGINT)
        rest, _err = self.tour.communicate(timeout=WAIT_S)
        self.assertEqual(0, self.tour.returncode, said + rest)
        self.assertEqual([], os.listdir(self.scratch))


if __name__ == "__main__":
    unittest.main()
