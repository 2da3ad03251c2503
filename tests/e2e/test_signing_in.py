"""Who gets in, by what, for how long, and what is left behind of it."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import unittest
from pathlib import Path
from typing import Any

from tests.e2e import door
from tests.e2e.door import SAID, SESSION, links, listed, printed_code, sign_in
from tests.e2e.harness import CONFIG, FINISHED, Hub, RealCase, answered, build, cli, environment
from tests.e2e.listener import Listener
from tests.e2e.test_factory import READ_ONLY, needs_unshare

SECRET = "s3cret-of-the-operator"
FILE = "PARACHUTE_ADMIN_TOKEN_FILE"


class DoorCase(RealCase):
    def works(self, hub: Hub, token: str) -> dict[str, Any]:
        """The token is good for reading and for more; what it is told about the hub."""
        status, told = hub.request("GET", "/api/hub", None, token)
        self.assertEqual((200, ["hub:admin", "hub:read"]), (status, told.get("scopes")), told)
        status, answer = answered(lambda: hub.request("POST", "/api/hub/rollback", None, token))
        self.assertIn((status, answer.get("error")), {(409, "nothing_to_roll_back"), (202, None)})
        return dict(told)

    def is_out(self, hub: Hub, token: str) -> None:
        status, answer = hub.request("GET", "/api/hub", None, token)
        self.assertEqual((401, "unauthenticated"), (status, answer["error"]))

    def token_file(self, content: str = SECRET + "\n") -> str:
        path = os.path.join(self.directory, "admin-token")
        Path(path).write_text(content)
        return path


class PrintedLinkTest(DoorCase):
    def test_it_is_printed_once_where_there_is_no_token_and_signs_in_once(self) -> None:
        hub = self.hub().start()
        code = printed_code(hub)
        self.assertEqual([f"hub: {SAID}{hub.url}/#code={code}"], links(hub))
        session = sign_in(hub, code)
        self.assertEqual(["expires_at", "scopes", "token"], sorted(session))
        self.works(hub, session["token"])
        status, answer = hub.request("POST", SESSION, {"code": code})
        self.assertEqual((401, "invalid_code"), (status, answer["error"]))
        (known,) = listed(hub)
        self.assertEqual(("link:serve", "session", session["expires_at"]),
                         (known["name"], known["kind"], known["expires_at"]))
        self.assertEqual(0, hub.stop())
        hub.start()
        self.works(hub, session["token"])
        hub.stop()
        self.assertEqual(1, len(links(hub)), "there is a session: nobody needs a link")
        self.assertIn("hub: signed in: link:serve from 127.0.0.1\n", hub.output())

    def test_in_a_json_log_it_is_a_field(self) -> None:
        hub = self.hub().start("--log-format", "json")
        code = printed_code(hub)
        (line,) = links(hub)
        self.assertEqual(f"{hub.url}/#code={code}", json.loads(line)["link"])
        self.works(hub, sign_in(hub, code)["token"])

    def test_whoever_has_a_token_gets_no_link(self) -> None:
        hub = self.hub()
        cli(hub.program, "token", "create", "--scope", "hub:read", "--config-dir", hub.home)
        hub.start().stop()
        self.assertEqual([], links(hub))

    def test_the_public_origin_stands_in_it(self) -> None:
        hub = self.hub().start(PARACHUTE_HUB_ORIGIN="https://hub.example/prefix/")
        code = printed_code(hub)
        self.assertIn(f"https://hub.example/prefix/#code={code}", hub.output())

    def test_what_cannot_be_recorded_uses_no_code_up(self) -> None:
        hub = self.hub().start()
        code = printed_code(hub)
        pid = hub.hub_pid()
        limits = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, limits[1]))  # as a full disk: not a byte
        status, answer = hub.request("POST", SESSION, {"code": code})
        self.assertEqual((507, "cannot_record"), (status, answer["error"]))
        self.assertIn(os.path.join(hub.home, "tokens.json"), answer["error_description"])
        self.assertEqual([], listed(hub))
        resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)
        self.works(hub, sign_in(hub, code)["token"])


class TrialTest(DoorCase):
    config = {**CONFIG, "probation_s": 2.0}

    def test_a_release_on_trial_prints_no_link_and_once_committed_one(self) -> None:
        self.publish(build("1.1.0"))
        hub = self.hub().start()
        first = printed_code(hub)
        words = [sys.executable, hub.program, "upgrade", "--config-dir", hub.home]
        with subprocess.Popen(
            words, env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        ) as command:
            self.addCleanup(command.kill)
            seen_on_trial = 0
            while len(links(hub)) < 2:
                health = hub.health() or {}
                printed = len(links(hub))
                if hub.boot()["trial"] is not None:  # looked at last: so it was on trial before
                    self.assertEqual(1, printed, hub.output())
                    seen_on_trial += health.get("version") == "1.1.0"
                self.assertIn(command.poll(), (None, 0), hub.output())
            trial = hub.boot()["trial"]
            self.assertEqual(0, command.wait())
        self.assertGreater(seen_on_trial, 5)
        self.assertIsNone(trial, "the second link is a committed release's")
        self.assertEqual("1.1.0", hub.wait_healthy()["version"])
        self.assertEqual([], listed(hub), "the command line's own token is gone")
        second = printed_code(hub, 2)
        self.assertNotEqual(first, second)
        self.works(hub, sign_in(hub, second)["token"])


class AdminTokenFileTest(DoorCase):
    def test_it_works_through_an_upgrade_and_there_is_no_link(self) -> None:
        self.publish(build("1.1.0"))
        hub = self.hub().start(PARACHUTE_ADMIN_TOKEN_FILE=self.token_file())
        self.works(hub, SECRET)
        status, answer = hub.request("POST", "/api/hub/upgrade", None, SECRET)
        self.assertEqual(202, status, answer)
        record = hub.finished(answer["operation_id"])
        self.assertEqual(("succeeded", "admin-file from 127.0.0.1"),
                         (record["phase"], record["requested_by"]))
        self.assertEqual("1.1.0", self.works(hub, SECRET)["version"])
        self.assertEqual([], listed(hub))
        self.is_out(hub, SECRET + "x")
        hub.stop()
        self.assertEqual([], links(hub))
        self.assertEqual([], door.leaks(door.of_home(hub), [SECRET]))

    def test_a_file_that_is_no_use_is_told_and_the_link_is_there(self) -> None:
        path = self.token_file("too short\n")
        hub = self.hub().start(PARACHUTE_ADMIN_TOKEN_FILE=path)
        told = self.works(hub, sign_in(hub, printed_code(hub))["token"])
        for text in (told["config_error"], hub.output()):
            self.assertIn(f"{FILE}: {path} must hold one token", text)
            self.assertNotIn("too short", text)

    def unusable(self) -> Hub:
        """A hub whose home cannot even be made, by nobody: a file is in its way."""
        in_the_way = os.path.join(self.directory, "file")
        Path(in_the_way).touch()
        hub = self.hub()
        hub.home = os.path.join(in_the_way, "home")
        hub.log = os.path.join(self.directory, "unusable.log")
        return hub

    def test_it_works_where_home_is_no_use(self) -> None:
        hub = self.unusable().start(PARACHUTE_ADMIN_TOKEN_FILE=self.token_file())
        self.assertIn("trouble", self.works_there(hub, SECRET))

    def test_where_home_is_no_use_a_session_is_kept_in_memory(self) -> None:
        hub = self.unusable().start()
        code = printed_code(hub)
        session = sign_in(hub, code)
        self.assertIn("trouble", self.works_there(hub, session["token"]))
        self.assertEqual(401, hub.request("POST", SESSION, {"code": code})[0])
        hub.stop()
        hub.start()
        self.is_out(hub, session["token"])
        self.works_there(hub, sign_in(hub, printed_code(hub, 2))["token"])

    @needs_unshare
    def test_where_home_is_read_only_too(self) -> None:
        hub = self.hub().start(prefix=(*READ_ONLY, self.home))
        session = sign_in(hub, printed_code(hub))
        self.works_there(hub, session["token"])
        self.assertFalse(os.path.exists(os.path.join(self.home, "tokens.json")))
        hub.stop()
        hub.start(prefix=(*READ_ONLY, self.home), PARACHUTE_ADMIN_TOKEN_FILE=self.token_file())
        self.works_there(hub, SECRET)
        self.is_out(hub, session["token"])

    def works_there(self, hub: Hub, token: str) -> dict[str, Any]:
        """It is good for everything, though nothing can be done in place."""
        status, told = hub.request("GET", "/api/hub", None, token)
        self.assertEqual((200, "redeploy-required"), (status, told["mode"]), told)
        status, answer = hub.request("POST", "/api/hub/upgrade", None, token)
        self.assertEqual((202, "redeploy-required"), (status, answer["mode"]), answer)
        status, record = hub.request("GET", "/api/hub/upgrade/status", None, token)
        self.assertEqual((200, "redeploy-required"), (status, record["phase"]), record)
        return dict(told)


class RevokeTest(DoorCase):
    def revoke(self, hub: Hub, word: str) -> None:
        done = cli(hub.program, "token", "revoke", word, "--config-dir", hub.home)
        self.assertEqual(0, done.returncode, done.stderr)

    def test_the_first_request_after_it_is_refused(self) -> None:
        hub = self.hub().start()
        words = ("token", "create", "--scope", "hub:admin", "--config-dir", hub.home)
        laptop = cli(hub.program, *words, "--name", "laptop").stdout.strip()
        phone = cli(hub.program, *words, "--name", "phone").stdout.strip()
        browser = sign_in(hub, door.made_code(hub, "--name", "browser"))["token"]
        for token in (laptop, phone, browser):
            self.works(hub, token)
        self.revoke(hub, "laptop")
        self.is_out(hub, laptop)
        (known,) = [known for known in listed(hub) if known["name"] == "browser"]
        self.revoke(hub, known["id"])
        self.is_out(hub, browser)
        self.works(hub, phone)
        self.assertEqual(["phone"], [known["name"] for known in listed(hub)])


    def test_its_streams_end_too_whatever_has_become_of_the_hub_since(self) -> None:
        self.publish(build("1.1.0"))
        hub = self.hub().start()
        words = ("token", "create", "--scope", "hub:read", "--config-dir", hub.home)
        heard = {}
        for name in ("laptop", "phone"):
            token = cli(hub.program, *words, "--name", name).stdout.strip()
            heard[name] = Listener(hub, token=token)
            self.addCleanup(heard[name].close)
        self.assertEqual("succeeded", hub.finished(hub.upgrade())["phase"])
        self.revoke(hub, "laptop")
        self.assertTrue(heard["laptop"].hears_the_end())
        operation = hub.rollback()
        told = heard["phone"].until(lambda event: event["phase"] in FINISHED and
                                    event["operation_id"] == operation)
        self.assertEqual("succeeded", told["phase"])
        self.revoke(hub, "phone")
        self.assertTrue(heard["phone"].hears_the_end())


if __name__ == "__main__":
    unittest.main()
