"""`version`, by which an older release learns what a newer one speaks."""

from __future__ import annotations

import contextlib
import io
import json
import sys
import unittest

from hub_upgrade import version
from hub_upgrade.cli.version import main


def told(*argv: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr."""
    out, complaint = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(complaint):
        code = main(list(argv))
    return code, out.getvalue(), complaint.getvalue()


class Version(unittest.TestCase):
    def test_the_version_alone(self) -> None:
        self.assertEqual(told(), (0, version.VERSION + "\n", ""))

    def test_json_tells_the_protocols(self) -> None:
        code, out, complaint = told("--json")
        self.assertEqual((code, complaint), (0, ""))
        self.assertEqual(
            json.loads(out),
            {
                "version": version.VERSION,
                "launcher_protocol": 1,
                "needs_launcher_protocol": 1,
                "handoff_formats": [1],
                "python": ".".join(map(str, sys.version_info[:3])),
            },
        )

    def test_help_has_an_example_and_exit_codes(self) -> None:
        code, out, _ = told("--help")
        self.assertEqual(code, 0)
        self.assertIn("example:", out)
        self.assertIn("exit codes:", out)

    def test_anything_else_is_wrong_usage(self) -> None:
        for argv in (("--jsn",), ("--json", "x"), ("x",), ("--json", "--json")):
            code, out, complaint = told(*argv)
            self.assertEqual((code, out, len(complaint.splitlines())), (2, "", 1))


if __name__ == "__main__":
    unittest.main()
