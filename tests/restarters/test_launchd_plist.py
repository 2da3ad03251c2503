"""launchd's property list, held against what launchd takes (no Mac runs this)."""

from __future__ import annotations

import os
import plistlib
import unittest

from hub_upgrade.domain.restart import LABEL
from hub_upgrade.settings import load
from tests.e2e.harness import build, cli
from tests.restarters import launchd_keys

WHO = () if os.getuid() else ("--user", "nobody")
HOME = "/Users/op/a <home> & more"


class PropertyList(unittest.TestCase):
    """What `unit install --launchd --dry-run` prints, on any machine."""

    def printed(self, *argv: str) -> tuple[dict[str, object], list[str]]:
        """The job, and the commands below it."""
        words = ("unit", "install", "--launchd", "--dry-run", "--config-dir", HOME)
        done = cli(build("1.0.0"), *words, *argv, HOME="/Users/op")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        text, _, commands = done.stdout.partition("</plist>")
        job = plistlib.loads(text[text.index("<?xml") :].encode() + b"</plist>")
        return job, commands.split("\n")[2:-1]

    def test_every_key_is_one_of_launchds_with_a_value_that_it_takes(self) -> None:
        for argv in (WHO, (*WHO, "--name", "second"), ("--as-root",) if WHO else ()):
            job, commands = self.printed(*argv, "--port", "1940")
            self.assertEqual(launchd_keys.problems(job), [])
            domain = "system" if WHO else f"gui/{os.getuid()}"
            self.assertEqual(commands[0], f"$ launchctl enable {domain}/{job['Label']}")

    def test_home_is_one_argument_and_the_job_is_kept_alive(self) -> None:
        job, _commands = self.printed(*WHO)
        arguments = job["ProgramArguments"]
        assert isinstance(arguments, list)
        self.assertEqual(arguments[-3:], ["serve", "--config-dir", HOME])
        self.assertEqual((job["KeepAlive"], job["RunAtLoad"]), (True, True))
        self.assertEqual((job["Label"], job.get("UserName")), (LABEL, WHO[1] if WHO else None))
        self.assertGreater(int(str(job["ExitTimeOut"])), load({}, {}).stop_s)

    def test_what_launchd_does_not_know_would_be_found(self) -> None:
        good: dict[str, object] = {"Label": "a", "ProgramArguments": ["b"]}
        self.assertEqual(launchd_keys.problems(good), [])
        for bad in ({"Keepalive": True}, {"KeepAlive": 1}, {"ExitTimeOut": "20"}, {"Label": None},
                    {"ProgramArguments": ["a", 1]}):  # fmt: skip
            self.assertNotEqual(launchd_keys.problems({**good, **bad}), [], bad)


if __name__ == "__main__":
    unittest.main()
