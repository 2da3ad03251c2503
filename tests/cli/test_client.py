"""Which hub is believed, and what is done when it does not answer."""

from __future__ import annotations

import os
import threading
import time
import unittest
from typing import Any
from unittest import mock

from hub_upgrade.cli import client
from hub_upgrade.errors import HostError, RefusedError
from hub_upgrade.host import files
from tests.cli.scene import CliCase

STATUS = "/api/hub/upgrade/status"


class LocateTest(CliCase):
    def setUp(self) -> None:
        super().setUp()
        patch = mock.patch.object(client, "LOCATE_S", 0.3)
        patch.start()
        self.addCleanup(patch.stop)

    def test_the_hub_that_shows_the_same_instance_is_believed(self) -> None:
        hub = self.serve()
        found = client.locate(self.home)
        assert found is not None
        self.assertEqual(("127.0.0.1", hub.port, "1.0.0"), (found.host, found.port, found.version))

    def test_without_a_launcher_there_is_no_hub(self) -> None:
        self.assertIsNone(client.locate(self.home))
        self.assertFalse(os.path.exists(self.home.serve_lock))

    def test_a_stale_serve_json_is_not_asked_at_all(self) -> None:
        hub = self.serve()
        self.lock.release()
        self.assertIsNone(client.locate(self.home))
        self.assertEqual([], hub.asked)

    def test_another_instance_is_not_believed_and_gets_no_token(self) -> None:
        hub = self.serve()
        hub.instance = "a-stranger"
        with self.assertRaises(client.NoAnswerError) as raised, client.connected(self.home):
            self.fail("it was believed")
        self.assertIn(str(os.getpid()), raised.exception.sentence)
        self.assertIn("on a full disk it is not written", raised.exception.sentence)
        self.assertEqual({""}, {token for _method, _path, token, _body in hub.asked})
        self.assertEqual([], self.tokens())

    def test_an_instance_that_changes_in_a_handoff_is_waited_for(self) -> None:
        hub = self.serve()
        hub.instance = "the-new-image"
        timer = threading.Timer(0.1, lambda: self.say(hub, instance="the-new-image"))
        timer.start()
        self.addCleanup(timer.join)
        with mock.patch.object(client, "LOCATE_S", 10):
            self.assertIsNotNone(client.locate(self.home))

    def test_a_launcher_whose_hub_does_not_answer_is_said_with_its_pid(self) -> None:
        hub = self.serve()
        hub.close()
        with self.assertRaises(client.NoAnswerError) as raised:
            client.locate(self.home)
        self.assertIn(f"process {os.getpid()}", raised.exception.sentence)
        self.assertIn("does not answer", raised.exception.sentence)

    def test_the_process_of_serve_json_must_be_the_one_that_wrote_it(self) -> None:
        hub = self.serve(start_time="12345")
        with self.assertRaises(client.NoAnswerError):
            client.locate(self.home)
        self.assertEqual([], hub.asked)

    def test_a_malformed_serve_json_is_no_crash(self) -> None:
        self.serve()
        for value in ({}, {"address": 7}, {"address": "http://["}, {"address": "ftp://x:1"},
                      {"address": "http://127.0.0.1:99999999"}, {"pid": "x"}):
            files.write_json(self.home.serve_json, value)
            with mock.patch.object(client, "LOCATE_S", 0), self.assertRaises(HostError):
                client.locate(self.home)

    def test_a_proxy_in_the_environment_is_never_used(self) -> None:
        self.serve()
        proxies = {"http_proxy": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9",
                   "ALL_PROXY": "http://127.0.0.1:9"}
        with mock.patch.dict(os.environ, proxies):
            self.assertIsNotNone(client.locate(self.home))

    def test_another_user_s_home_is_refused(self) -> None:
        stranger = mock.patch("os.geteuid", return_value=os.geteuid() + 1)
        with stranger, self.assertRaises(HostError) as raised:
            client.ensure_own(self.home)
        self.assertIn("sudo -u", raised.exception.sentence)


class ClientTest(CliCase):
    def setUp(self) -> None:
        super().setUp()
        self.hub = self.serve()
        self.hub.replies[STATUS] = lambda: (200, {"phase": "running"})
        for name, value in (("RETRY_S", 5.0), ("PAUSE_S", 0.01)):
            patch = mock.patch.object(client, name, value)
            patch.start()
            self.addCleanup(patch.stop)

    def connected(self) -> Any:
        return client.connected(self.home)

    def test_a_short_lived_token_is_made_and_removed_again(self) -> None:
        with self.connected() as hub:
            hub.get(STATUS)
            hub.get(STATUS)
            made = self.tokens()
        self.assertEqual([f"local:{client.user_name()}"], [entry["name"] for entry in made])
        self.assertEqual(["hub:admin"], made[0]["scopes"])
        left = time.time() + 15 * 60
        self.assertLessEqual(abs(_seconds(made[0]["expires_at"]) - left), 60)
        self.assertEqual([], self.tokens())
        sent = {token for _m, path, token, _b in self.hub.asked if path == STATUS}
        self.assertEqual(1, len(sent))
        self.assertEqual(made[0]["sha256"], files.sha256(sent.pop().encode()))

    def test_the_token_goes_even_when_the_work_fails(self) -> None:
        with self.assertRaises(KeyboardInterrupt), self.connected() as hub:
            hub.get(STATUS)
            raise KeyboardInterrupt
        self.assertEqual([], self.tokens())

    def test_another_token_of_the_same_name_stays(self) -> None:
        with self.connected() as one:
            one.get(STATUS)
            with self.connected() as two:
                two.get(STATUS)
            self.assertEqual(1, len(self.tokens()))

    def test_a_token_that_expired_on_the_way_is_made_anew(self) -> None:
        answers = [(401, {"error": "unauthenticated"}), (200, {"phase": "running"})]
        self.hub.replies[STATUS] = lambda: answers.pop(0)
        with self.connected() as hub:
            self.assertEqual(200, hub.get(STATUS).status)
            self.assertEqual(1, len(self.tokens()))

    def test_reading_is_tried_again_when_the_connection_breaks(self) -> None:
        self.hub.drop_next = 2
        with self.connected() as hub:
            self.assertEqual({"phase": "running"}, hub.get(STATUS).value)

    def test_an_overloaded_hub_is_asked_again(self) -> None:
        answers = [(503, {"error": "overloaded", "error_description": "later"}), (200, {})]
        self.hub.replies[STATUS] = lambda: answers.pop(0)
        with self.connected() as hub:
            self.assertEqual(200, hub.get(STATUS).status)

    def test_what_an_overloaded_hub_did_not_take_is_sent_again(self) -> None:
        answers = [(503, {"error": "overloaded", "error_description": "later"}), (202, {"a": 1})]
        self.hub.replies["/api/hub/upgrade"] = lambda: answers.pop(0)
        with self.connected() as hub:
            self.assertEqual({"a": 1}, hub.post("/api/hub/upgrade", {}))
        self.assertEqual([], answers)

    def test_asking_again_has_an_end(self) -> None:
        self.hub.drop_next = 1_000_000
        soon = mock.patch.object(client, "RETRY_S", 0.1)
        with soon, self.connected() as hub, self.assertRaises(client.NoAnswerError):
            hub.get(STATUS)

    def test_a_hub_that_was_stopped_is_not_waited_for(self) -> None:
        with self.connected() as hub:
            self.hub.drop_next = 1_000_000
            self.lock.release()
            started = time.monotonic()
            with self.assertRaises(client.LauncherGoneError):
                hub.get(STATUS)
            self.assertLess(time.monotonic() - started, client.RETRY_S / 2)

    def test_no_token_is_sent_to_whoever_has_the_port_of_a_dead_launcher(self) -> None:
        with self.connected() as hub:
            hub.get(STATUS)
            before = len(self.hub.asked)
            dead = mock.patch("hub_upgrade.host.processes.alive", return_value=False)
            soon = mock.patch.object(client, "RETRY_S", 0.05)
            with dead, soon, self.assertRaises(HostError):
                hub.get(STATUS)
            self.assertEqual(before, len(self.hub.asked))

    def test_what_changes_something_is_sent_once(self) -> None:
        self.hub.drop_next = 1
        with self.connected() as hub, self.assertRaises(client.NoAnswerError) as raised:
            hub.post("/api/hub/upgrade", {})
        self.assertIn("hub.pyz status", raised.exception.sentence)
        posts = [path for method, path, _t, _b in self.hub.asked if method == "POST"]
        self.assertEqual(["/api/hub/upgrade"], posts)

    def test_a_refusal_is_the_hub_s_own_sentence_with_our_exit_code(self) -> None:
        for status, code, exit_code in ((409, "upgrade_in_flight", 4), (400, "invalid_version", 2),
                                        (409, "no_release_source", 1), (507, "cannot_record", 1)):
            self.hub.replies["/api/hub/upgrade"] = lambda s=status, c=code: (  # type: ignore[misc]
                s, {"error": c, "error_description": "its words"}
            )
            with self.connected() as hub, self.assertRaises(RefusedError) as raised:
                hub.post("/api/hub/upgrade", {})
            error = raised.exception
            self.assertEqual((code, "its words", exit_code),
                             (error.code, error.sentence, error.exit_code))


def _seconds(text: str) -> float:
    return time.mktime(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone


if __name__ == "__main__":
    unittest.main()
