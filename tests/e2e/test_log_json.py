"""`--log-format json` through a whole life: whatever prints, every line is one JSON object."""

from __future__ import annotations

import json
import os
import re
import signal
import unittest
from typing import Any

from tests.e2e import bad, door
from tests.e2e.harness import CONFIG, Hub, RealCase, build, cli, wait_for

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
LEVELS = {"info", "warning", "error"}
SOURCES = {"launcher", "hub", "hub.pyz serve"}
LAST_WORDS = """
def main(argv):
    os.write(2, b"half a line, \\xff and then \\x1b[2J\\n{not json}\\n[1]\\n\\n")
    os.write(2, b'{"time":"7"}\\n' + b"x" * 9000 + b"\\n" + b"no end")
    raise RuntimeError("this is its end")
"""


class JsonLogTest(RealCase):
    config = {**CONFIG, "probation_s": 0.6}

    def events(self, hub: Hub) -> list[dict[str, Any]]:
        """Every line of the log."""
        found = []
        for line in hub.output().split("\n")[:-1]:
            event = json.loads(line)
            self.assertIsInstance(event, dict, line)
            self.assertTrue(TIME.fullmatch(event["time"]), line)
            self.assertIn(event["level"], LEVELS, line)
            self.assertIn(event["source"], SOURCES, line)
            self.assertIsInstance(event["message"], str, line)
            found.append(event)
        self.assertTrue(hub.output().endswith("}\n"))
        return found

    def test_every_line_of_launcher_and_hub_and_of_what_they_run_is_an_object(self) -> None:
        self.publish(build("1.1.0"))
        self.configure(unknown_key=1)
        hub = self.hub().start("--log-format", "json")
        session = door.sign_in(hub, door.printed_code(hub))["token"]
        self.assertEqual(401, hub.request("POST", door.SESSION, {"code": "x"})[0])
        first = self.asked(hub, session)
        spoilt = bad.spoilt("json", LAST_WORDS, bad.REAL_HOME)
        self.publish(build("1.2.0", {bad.HUB: spoilt}))
        second = self.asked(hub, session)
        os.kill(hub.hub_pid(), signal.SIGKILL)
        wait_for(lambda: hub.output().count('"serving 1.1.0') >= 2, "another hub")
        hub.wait_healthy()
        self.assertEqual(0, hub.stop())

        events = self.events(hub)
        texts = [event["message"] for event in events]
        for text in ("serving 1.0.0", "signed in: link:serve", "a sign-in code was refused",
                     f"upgrade {first} was asked for by link:serve from 127.0.0.1",
                     f"upgrade {first} ended as succeeded", f"upgrade {second} ended as failed",
                     "unknown key", "RuntimeError: this is its end", "no end", "{not json}", "[1]"):
            self.assertTrue(any(text in message for message in texts), (text, texts))
        ended = [event for event in events if event.get("operation_id") == second]
        self.assertEqual(["warning"], [event["level"] for event in ended])
        self.assertFalse(any(set(text) & {"\x1b", "\0", "\n"} for text in texts))

    def asked(self, hub: Hub, token: str, **body: Any) -> str:
        """An upgrade to its end, which the log tells after the record; its id."""
        status, answer = hub.request("POST", "/api/hub/upgrade", body or None, token)
        self.assertEqual(202, status, answer)
        hub.finished(answer["operation_id"])
        told = f"{answer['operation_id']} ended as"
        wait_for(lambda: told in hub.output(), "the end in the log")
        return str(answer["operation_id"])

    def test_a_serve_that_cannot_says_so_in_json_too(self) -> None:
        hub = self.hub().start("--log-format", "json")
        port, other = str(hub.port), os.path.join(self.directory, "other")
        words = ("serve", "--port", port, "--config-dir", other, "--log-format", "json")
        done = cli(hub.program, *words)
        self.assertEqual(1, done.returncode)
        event = json.loads(done.stderr)
        self.assertEqual("error", event["level"])
        self.assertIn(f"port {port} on 127.0.0.1 is taken", event["message"])


if __name__ == "__main__":
    unittest.main()
