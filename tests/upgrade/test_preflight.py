"""Candidates of every kind, tried on a spare socket with a scratch home."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
import unittest
from unittest import mock

from hub_upgrade.errors import RefusedError
from hub_upgrade.host import files, releases
from hub_upgrade.host.files import Home
from hub_upgrade.host.operation_log import OperationLog
from hub_upgrade.upgrade import preflight as module
from hub_upgrade.upgrade.preflight import Preflight, Says
from tests.upgrade.scene import zipapp

HUB = """
import json, os, signal, socket, sys, time
HOW = "%(how)s"
def say(text):
    address = os.environ["NOTIFY_SOCKET"]
    target = "\\0" + address[1:] if address.startswith("@") else address
    socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(text, target)
if sys.argv[1:] == ["version", "--json"]:
    if HOW == "dies":
        sys.exit("no such module")
    if HOW == "mute":
        time.sleep(60)
    print("{" if HOW == "not json" else json.dumps({"version": "%(version)s",
          "launcher_protocol": 2, "needs_launcher_protocol": 1}))
    sys.exit(0)
assert sys.argv[1:] == ["run"] and os.environ["LISTEN_PID"] == str(os.getpid())
home = os.environ["PARACHUTE_HOME"]
open(os.path.join(home, "mine"), "w").close()
os.makedirs(os.path.join(home, "logs", "deep"))
os.symlink("/", os.path.join(home, "logs", "root"))
print("home", home, sorted(os.listdir(home)), flush=True)
signal.signal(signal.SIGTERM, signal.SIG_IGN if HOW == "deaf" else lambda *_: os._exit(0))
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
listener = socket.socket(fileno=3)
listener.setblocking(True)
if HOW == "never ready":
    say(b"\\xff\\x00nonsense")
    time.sleep(60)
if HOW == "spoofed":
    if os.fork() == 0:
        say(b"READY=1")
    time.sleep(60)
if HOW == "exits":
    print("the last words", flush=True)
    sys.exit(0)
if HOW == "chatty":
    print("x" * 300000, flush=True)
say(b"READY=1")
if HOW == "late death":
    time.sleep(0.1)
count = 0
while True:
    client, _ = listener.accept()
    client.recv(65536)
    count += 1
    if HOW == "silent":
        time.sleep(60)
    if HOW == "late death" and count == 2:
        sys.exit(3)
    status = "500 Oops" if HOW == "500" else "200 OK"
    body = json.dumps({
        "version": "9.9.9" if HOW == "other version" else "%(version)s",
        "release": "0" * 64 if HOW == "other digest" else os.environ["DIGEST"],
        "instance": str(count) if HOW == "restless" else "one"})
    client.sendall(f"HTTP/1.1 {status}\\r\\n\\r\\n{body}".encode())
    client.close()
"""


class Candidates(unittest.TestCase):
    def setUp(self) -> None:
        self.root = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.root)
        self.home = Home(self.root)
        os.mkdir(self.home.releases)
        with open(self.home.hub_json, "w", encoding="ascii") as file:
            file.write("{}")
        self.log_path = os.path.join(self.root, "log")
        self.descriptor = os.open(self.log_path, os.O_WRONLY | os.O_CREAT, 0o600)
        self.addCleanup(os.close, self.descriptor)
        self.limit("WATCH_S", 0.3)
        self.limit("LOOK_EVERY_S", 0.05)

    def limit(self, name: str, value: float) -> None:
        patch = mock.patch.object(module, name, value)
        patch.start()
        self.addCleanup(patch.stop)

    def try_out(self, how: str, data: bytes | None = None) -> Says:
        data = data or zipapp(HUB % {"how": how, "version": "1.1.0"})
        path = os.path.join(self.root, "hub.pyz")
        with open(path, "wb") as file:
            file.write(data)
        digest = files.sha256(data)
        environ = {"DIGEST": digest, "PARACHUTE_HOME": self.root}
        descriptors = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
        try:
            with mock.patch.dict(os.environ, environ):
                trial = Preflight(self.home, OperationLog(self.descriptor))
                says = trial.ask(path, "1.1.0")
                trial.prove(path, "1.1.0", digest)
                return says
        finally:
            self.assertEqual(os.listdir(self.home.releases), [], "the scratch home is left behind")
            if descriptors:
                self.assertEqual(len(os.listdir("/proc/self/fd")), descriptors)
            with self.assertRaises(ChildProcessError):
                os.waitpid(-1, os.WNOHANG)

    def refused(self, how: str, data: bytes | None = None) -> str:
        with self.assertRaises(RefusedError) as caught:
            self.try_out(how, data)
        self.assertNotIn("\n", caught.exception.sentence)
        return caught.exception.sentence

    def log(self) -> str:
        with open(self.log_path, encoding="utf-8") as file:
            return file.read()

    def test_a_healthy_candidate_passes_and_never_sees_the_real_home(self) -> None:
        self.assertEqual(self.try_out("well"), Says("1.1.0", 2, 1))
        self.assertIn(f"home {self.home.releases}/.staging-", self.log())
        self.assertIn("['hub.json', 'logs', 'mine']", self.log())
        self.assertFalse(os.path.exists(os.path.join(self.root, "mine")))

    def test_the_scratch_home_of_a_helper_that_died_goes_with_what_it_had_staged(self) -> None:
        os.makedirs(os.path.join(module._scratch(self.home), "logs"))
        releases.sweep(self.home)
        self.assertEqual(os.listdir(self.home.releases), [])

    def test_without_a_hub_json_there_is_none_in_the_scratch_home(self) -> None:
        os.unlink(self.home.hub_json)
        self.try_out("well")
        self.assertIn("['logs', 'mine']", self.log())

    def test_files_that_do_not_start_are_refused_with_their_last_line(self) -> None:
        self.assertIn("SyntaxError", self.refused("", zipapp("def")))
        self.assertIn("No module named 'nope'", self.refused("", zipapp("import nope")))
        self.assertIn("does not start", self.refused("", b"not a zip at all"))
        whole = zipapp(HUB % {"how": "well", "version": "1.1.0"})
        self.assertIn("does not start", self.refused("", whole[: len(whole) // 2]))
        self.assertIn("no such module", self.refused("dies"))

    def test_what_a_file_says_of_itself_is_checked(self) -> None:
        other = zipapp(HUB % {"how": "well", "version": "1.2.0"})
        self.assertIn("says it is version '1.2.0', and not 1.1.0", self.refused("", other))
        self.assertIn("does not tell its version", self.refused("not json"))
        self.limit("VERSION_S", 0.3)
        self.assertIn("within 0.3 s", self.refused("mute"))

    def test_candidates_that_misbehave_are_refused_each_with_its_reason(self) -> None:
        for how, words in {
            "exits": "exited with status 0 before it was ready; its last line: the last words",
            "500": "/health answered 500",
            "other version": "version '9.9.9'",
            "other digest": "digest differs",
            "restless": "process changed",
            "late death": "exited with status 3",
        }.items():
            with self.subTest(how):
                self.assertIn(words, self.refused(how))

    def test_candidates_that_hang_are_refused_within_their_time(self) -> None:
        self.limit("ANSWER_S", 0.2)
        self.limit("PROOF_S", 0.3)
        self.assertIn("did not answer within 0.2 s", self.refused("silent"))
        self.limit("PROOF_S", 15.0)
        self.limit("STOP_S", 0.3)
        self.assertIn("did not stop within 0.3 s", self.refused("deaf"))
        self.limit("READY_S", 0.3)
        self.assertIn("not ready within 0.3 s", self.refused("never ready"))

    @unittest.skipUnless(sys.platform == "linux", "only Linux says who sent a datagram")
    def test_ready_is_believed_only_from_the_candidate_itself(self) -> None:
        self.limit("READY_S", 1.0)
        self.assertIn("not ready within 1 s", self.refused("spoofed"))

    def test_a_chatty_candidate_does_not_block_on_its_output(self) -> None:
        self.try_out("chatty")
        self.assertGreater(len(self.log()), 300_000)

    def test_a_candidate_that_hangs_dies_without_us(self) -> None:
        self.assertLess(module.READY_S, module.ALARM_S)
        with mock.patch.object(module, "ALARM_S", 1), mock.patch.object(module, "READY_S", 20.0):
            started = time.monotonic()
            self.assertIn("killed by SIGALRM", self.refused("never ready"))
            self.assertLess(time.monotonic() - started, 10)


if __name__ == "__main__":
    unittest.main()
