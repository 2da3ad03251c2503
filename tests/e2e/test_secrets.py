"""No token and no code is to be found anywhere: not in a file, a log, a title, an environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import unittest
from pathlib import Path

from hub_upgrade.domain import operation as op
from tests.e2e import door, moments
from tests.e2e.door import LINK, SESSION, sign_in
from tests.e2e.harness import Hub, environment

SECRET = "s3cret-of-the-operator"


class SecretsTest(moments.Scene):
    """An upgrade that is held at each of its moments, to look at everything then."""

    def look(self, hub: Hub, *more: int) -> None:
        places = {**door.of_hub(hub), **door.of_processes(more), **door.of_home(hub)}
        self.assertGreater(len(places), 8, sorted(places))
        self.assertEqual([], door.leaks(places, self.secrets))

    def test_no_token_and_no_code_is_to_be_found_anywhere(self) -> None:
        path = os.path.join(self.directory, "admin-token")
        Path(path).write_text(SECRET)
        hub = self.hub(self.old).start(TEST_PAUSES=self.pauses, PARACHUTE_ADMIN_TOKEN_FILE=path)
        code, unused = door.made_code(hub, "--name", "browser"), door.made_code(hub)
        session = sign_in(hub, code)["token"]
        self.secrets = [SECRET, code, unused, session, hub.token(), "g4rbage-code"]
        self.assertEqual(401, hub.request("POST", SESSION, {"code": "g4rbage-code"})[0])
        self.assertEqual(401, hub.request("GET", "/api/hub", None, session + "x")[0])

        self.hold("plan")
        asked = threading.Thread(
            target=hub.request, args=("GET", "/api/hub/upgrade/plan", None, session)
        )
        asked.start()
        self.held("plan")
        self.look(hub)
        self.go_on()
        asked.join()

        held = (op.STAGING, op.HANDING_OVER)
        self.hold(*held)
        status, answer = hub.request("POST", "/api/hub/upgrade", None, session)
        self.assertEqual(202, status, answer)
        for moment in held:
            self.held(moment)
            self.assertNotEqual(0, self.helper_of(hub))
            self.look(hub)
            if moment == op.HANDING_OVER:
                self.hold("starting")
            os.unlink(os.path.join(self.pauses, moment))
        self.held("starting")
        self.look(hub)
        self.go_on()
        record = hub.finished(answer["operation_id"])
        self.assertEqual(("succeeded", "browser from 127.0.0.1"),
                         (record["phase"], record["requested_by"]))
        # Nor does a candidate that is tried on a spare socket make a link of its own.
        self.assertEqual([], door.leaks(door.of_home(hub), ["#code="]))

        self.hold("starting")  # what a command line makes for itself is no different
        words = [sys.executable, hub.program, "rollback", "--config-dir", hub.home]
        with subprocess.Popen(
            words, env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as command:  # fmt: skip
            self.addCleanup(command.kill)
            self.held("starting")
            self.look(hub, command.pid)
            self.go_on()
            said = command.communicate()[0]
        self.assertEqual(0, command.returncode, said)
        self.assertEqual([], door.leaks({"its output": said}, self.secrets))
        self.assertEqual(0, hub.stop())
        self.look_at_the_end(hub)

    def look_at_the_end(self, hub: Hub) -> None:
        places = door.of_home(hub)
        for name in ("hub-upgrade-status.json", "history.jsonl", "tokens.json"):
            self.assertIn(os.path.join(hub.home, name), places)
        self.assertGreaterEqual(sum("/logs/upgrade-" in place for place in places), 2)
        self.assertEqual([], door.leaks(places, self.secrets))
        self.assertIsNone(LINK.search(hub.output()))
        asked = [json.loads(line)["requested_by"] for line in
                 Path(hub.home, "history.jsonl").read_text().splitlines()]
        self.assertEqual("browser from 127.0.0.1", asked[0])
        self.assertRegex(asked[1], r"\Alocal:\S+ from ")


if __name__ == "__main__":
    unittest.main()
