"""Transcripts of what needs no operation: help, wrong usage, small commands, and troubles."""

from __future__ import annotations

import os
import socket
import unittest
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hub_upgrade.__main__ import COMMANDS
from hub_upgrade.domain.operation import FAILED, REDEPLOY_REQUIRED, SUCCEEDED, Operation
from hub_upgrade.host import boot_store, processes
from hub_upgrade.host.files import Home, Lock
from hub_upgrade.host.status_store import StatusStore
from tests.e2e.harness import build
from tests.e2e.transcripts import TranscriptCase

ID = "2f1c9b1e-6d0a-4c39-8d8e-3c1f0a9b7e55"
OTHER = "11111111-2222-4333-8444-555555555555"


class Words(TranscriptCase):
    def test_what_it_can_do(self) -> None:
        self.keeps("usage", expected=2)
        self.keeps("usage-help", "--help")
        self.keeps("usage-unknown-command", "dance", expected=2)
        for command in COMMANDS:
            out = self.keeps(f"help-{command}", command, "--help")
            for words in (f"usage: hub.pyz {command}", "example: ", "exit codes: ", "files"):
                self.assertIn(words, out, command)

    def test_wrong_usage_is_one_line_everywhere(self) -> None:
        for command in COMMANDS:
            code, out, err = self.type(command, "--no-such-flag")
            self.assertEqual((2, "", 1), (code, out, err.count("\n")), (command, err))
            self.assertTrue(err.startswith(f"hub.pyz {command}: "), err)
            self.assertIn("--help", err)
        self.keep("usage-unknown-flag")
        for argv in WRONG:
            code, out, err = self.type(*argv)
            self.assertEqual((2, "", 1), (code, out, err.count("\n")), (argv, err))
        self.keep("usage-wrong-values")
        self.assertFalse(os.path.exists(os.path.join(self.home, "tokens.json")))

    def test_small_commands(self) -> None:
        self.keeps("version", "version")
        self.keeps("version-json", "version", "--json")
        self.keeps("run-by-hand", "run", expected=2)
        self.keeps("modules", "modules")
        self.keeps("modules-json", "modules", "--json")
        self.keeps("modules-no-such", "modules", "restart", "mail", expected=1)
        self.keeps("token-link-no-hub", "token", "link", expected=1)
        self.keeps("token-link-no-hub-origin", "token", "link",
                   PARACHUTE_HUB_ORIGIN="https://hub.example")
        self.keeps("doctor-health-no-hub", "doctor", "--health", expected=1, PORT="1")
        Path(self.home, "tokens.json").write_text("nonsense")
        self.keeps("token-create-unreadable", "token", "create", "--scope", "hub:read")

    def test_settings(self) -> None:
        Path(self.home, "hub.json").write_text('{"tries": 5, "allowed_hosts": ["hub.example"]}')
        self.keeps("config", "config", PORT="8080")
        self.keeps("config-json", "config", "--json")
        Path(self.home, "hub.json").write_text('{"tries": 0, "colour": "red"}')
        self.keeps("config-mistakes", "config")
        Path(self.home, "hub.json").write_text("{tries: 5}")
        self.keeps("config-no-json", "config")
        self.keeps("config-bad-variable", "config", PORT="http", expected=2)

    def test_serving(self) -> None:
        """The first start prints a link; a stop is no failure."""
        self.env["KUBERNETES_SERVICE_HOST"] = "10.0.0.1"  # whatever this machine is, it is one now
        for name, argv in (("serve", ()), ("serve-json", ("--log-format", "json"))):
            code, out, err = self.type(
                "serve", "--port", "0", *argv, until="sign in", on_stderr=True
            )
            self.assertEqual(0, code, out + err)
            self.keep(name)

    def test_publishing(self) -> None:
        for version in ("1.1.0", "1.2.0-rc.1"):
            os.link(build(version), os.path.join(self.directory, f"{version}.pyz"))
        publish = ("release", "publish", self.repository)
        self.keeps("release-publish", *publish, "1.1.0.pyz", "--channel", "latest")
        self.keeps("release-publish-json", *publish, "1.2.0-rc.1.pyz", "--channel", "rc", "--json")
        Path(self.directory, "notes.txt").write_text("raise SystemExit(3)\n")
        self.keeps("release-publish-no-release", *publish, "notes.txt", "--channel", "rc",
                   expected=1)
        self.keeps("release-publish-no-file", *publish, "gone.pyz", "--channel", "rc", expected=1)
        other = build("1.1.0", {"hub_upgrade/other.py": b"OTHER = 1\n"})
        os.link(other, os.path.join(self.directory, "other.pyz"))
        self.keeps("release-publish-other-bytes", *publish, "other.pyz", "--channel", "rc",
                   expected=1)
        os.chmod(self.repository, 0o777)
        self.keeps("release-publish-unsafe", *publish, "1.1.0.pyz", "--channel", "rc", expected=1)

    def test_the_helper_by_hand(self) -> None:
        helper = ("helper", "--op", ID, "--channel", "latest")
        self.keeps("helper-no-status-file", *helper, expected=2)
        store = StatusStore(Home(self.home))
        store.claim(Operation(OTHER, current_version="1.0.0"))
        self.keeps("helper-other-operation", *helper, expected=2)
        store.claim(Operation(ID, current_version="1.0.0", channel="rc"))
        self.keeps("helper-other-channel", *helper, expected=2)
        record = Operation(ID, current_version="1.0.0", target_version="1.1.0")
        store.claim(record)
        lock = Lock.try_take(os.path.join(self.home, "operation.lock"))
        assert lock is not None
        self.keeps("helper-owned-by-another", *helper, expected=4)
        lock.release()
        for name, end, code in (
            ("failed", record._replace(phase=FAILED, error="the disk is full"), 1),
            ("taken-back", record._replace(phase=FAILED, error="it answered 500; 1.0.0 runs",
                                           rolled_back_to="1.0.0"), 5),
            ("redeploy", record._replace(phase=REDEPLOY_REQUIRED, reason="change the tag"), 3),
            ("succeeded", record._replace(phase=SUCCEEDED), 0),
        ):
            store.claim(end)
            self.keeps(f"helper-finished-{name}", *helper, expected=code)


WRONG = (
    ("upgrade", "--channel", "beta"), ("upgrade", "--channel"), ("upgrade", "--version", "1"),
    ("upgrade", "now"), ("upgrade", "--no-wait=yes"), ("plan", "--version", "latest"),
    ("token",), ("token", "make"), ("token", "create"), ("token", "create", "--scope", "root"),
    ("token", "create", "--scope", "hub:read", "--expires", "soon"),
    ("token", "create", "--scope", "hub:read", "--expires", "9999w"),
    ("token", "create", "--scope", "hub:read", "--name", "a\tb"), ("token", "list", "laptop"),
    ("token", "revoke"), ("token", "link", "--expires", "30d"), ("modules", "stop"),
    ("modules", "list", "mail"), ("release", "publish", "/srv/releases"),
    ("release", "publish", "/srv/releases", "hub.pyz"), ("release", "sign", "a", "b"),
    ("helper",), ("helper", "--op"), ("helper", "--op", ID, "--channel", "beta"),
    ("helper", "--op", ID, "--channel", "rc", "--hub-pid", "zero"), ("serve", "--port", "http"),
    ("serve", "--port"), ("doctor", "--health", "now"), ("version", "1"), ("unit",),
    ("unit", "enable"), ("unit", "install", "--name", "a/b"),
    ("unit", "logs", "-n", "all"),
)  # fmt: skip


class Trouble(TranscriptCase):
    def setUp(self) -> None:
        super().setUp()
        self.configure(releases=self.repository)
        self.publish_version("1.1.0")

    def test_a_hub_that_cannot_be_reached_and_a_home_that_is_served(self) -> None:
        """All at once: each of them waits for a while before it says so."""
        lock = Lock.try_take(os.path.join(self.home, "serve.lock"))
        assert lock is not None
        self.addCleanup(lock.release)
        serving = {"format": 1, "pid": os.getpid(), "address": "http://127.0.0.1:1",
                   "start_time": processes.start_time(os.getpid()), "instance": "an-instance",
                   "releases": None, "proving": False}  # fmt: skip
        boot_store.write_serve(Home(self.home), serving)
        commands = {
            "unreachable-status": ("status",), "unreachable-upgrade": ("upgrade",),
            "unreachable-plan": ("plan",), "unreachable-token-link": ("token", "link"),
            "unreachable-doctor": ("doctor",), "serve-served-already": ("serve", "--port", "0"),
        }  # fmt: skip
        with ThreadPoolExecutor(len(commands)) as pool:
            ends = list(pool.map(lambda argv: self.run_it(argv, {}), commands.values()))
        for (name, argv), end in zip(commands.items(), ends):
            self.note(argv, {}, end)
            self.assertEqual(0 if name == "unreachable-status" else 1, end[0], end)
            self.keep(name)

    def test_what_cannot_be_recorded(self) -> None:
        os.mkdir(os.path.join(self.home, "state.lock"))
        self.keeps("cannot-record-upgrade", "upgrade", expected=1)
        self.keeps("cannot-record-token", "token", "create", "--scope", "hub:read", expected=1)
        self.keeps("cannot-record-doctor", "doctor", expected=1)

    @unittest.skipUnless(os.geteuid() == 0, "only root can give a home away")
    def test_another_user_s_home(self) -> None:
        os.chown(self.home, 4242, 4242)
        for command in (("upgrade",), ("rollback",), ("plan",), ("token", "list")):
            self.assertEqual(1, self.type(*command)[0])
        self.keep("another-users-home")
        self.keeps("another-users-home-doctor", "doctor", expected=1)

    def test_a_port_that_is_taken(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = str(taken.getsockname()[1])
            code, _out, err = self.type("serve", "--port", port)
        self.assertEqual((1, 1), (code, err.count("\n")), err)
        self.words.append((port, "<port>"))
        self.keep("serve-port-taken")


if __name__ == "__main__":
    unittest.main()
