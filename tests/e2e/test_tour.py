"""What `make run` shows, run as it is."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Any

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
        self.addCleanup(self.stop)

    def stop(self) -> None:
        """Asked, not killed: its hub would go on serving."""
        if self.tour.poll() is None:
            self.tour.terminate()
        if self.tour.stdout is not None and not self.tour.stdout.closed:
            self.tour.communicate(timeout=WAIT_S)

    def told(self) -> str:
        """What it prints until it goes on serving."""
        assert self.tour.stdout is not None
        told = ""
        for line in self.tour.stdout:
            told += line
            if line.startswith("Ctrl-C stops it"):
                break
        return told

    def signed_in(self, link: str) -> tuple[int, dict[str, Any]]:
        """What the page of that link would do with its code."""
        origin, _, code = link.partition("/#code=")
        connection = http.client.HTTPConnection(origin.rpartition("/")[2], timeout=WAIT_S)
        try:
            connection.request("POST", "/api/session", json.dumps({"code": code}))
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def test_it_upgrades_goes_on_serving_and_leaves_nothing_behind_on_ctrl_c(self) -> None:
        said = self.told()
        self.assertIn("succeeded (proving)", said)
        self.assertIn("The processes are the same", said)
        self.assertIn(" rollback --config-dir ", said)
        links = re.findall(r"http://\S+/#code=\S+", said)
        self.assertEqual(len(links), 1, said)
        status, session = self.signed_in(links[0])
        self.assertEqual((status, sorted(session["scopes"])), (200, ["hub:admin", "hub:read"]))
        status, refused = self.signed_in(links[0])
        self.assertEqual((status, refused.get("error")), (401, "invalid_code"))
        self.tour.send_signal(signal.SIGINT)
        rest, _err = self.tour.communicate(timeout=WAIT_S)
        self.assertEqual(0, self.tour.returncode, said + rest)
        self.assertEqual([], os.listdir(self.scratch))


if __name__ == "__main__":
    unittest.main()
