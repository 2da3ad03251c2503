"""`hub.pyz doctor`: what can be wrong is found, with what to do, and nothing is changed."""

from __future__ import annotations

import contextlib
import io
import json
import os
import socket
import subprocess
import sys
import threading
import unittest
from typing import Any, Callable
from unittest import mock

from hub_upgrade.cli import checks, client, doctor, locks
from hub_upgrade.domain.boot_record import BootRecord, Next
from hub_upgrade.domain.operation import FAILED, RUNNING, SUCCEEDED, Operation, Undo
from hub_upgrade.host import boot_store, files, processes, releases
from hub_upgrade.host.files import Lock
from hub_upgrade.host.status_store import StatusStore
from hub_upgrade.wiring import command
from tests.cli.scene import CliCase, FakeHub

DIGEST = "ab" * 32
SICK = """import http.server

class Hub(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(500)
        self.end_headers()
        self.wfile.write(b'{"version": "2.0.0"}')
    log_message = lambda *_words: None

server = http.server.HTTPServer(("127.0.0.1", 0), Hub)
print(server.server_port, flush=True)
server.serve_forever()
"""
"""Another program's hub, as a process of its own: what is tested here forks."""
OPEN = Operation("an-id", phase=RUNNING, step="staging", current_version="1.0.0")


class DoctorCase(CliCase):
    def setUp(self) -> None:
        super().setUp()
        program = os.path.join(self.scratch, "hub.pyz")
        with open(program, "wb") as file:
            file.write(b"a release")
        for name, value in ((command, "program"), (checks, "")):
            if value:
                patch = mock.patch.object(name, value, return_value=program)
                patch.start()
                self.addCleanup(patch.stop)
        files.make_directory(self.home.releases)
        self.source = os.path.join(self.scratch, "repository")

    def doctor(self) -> dict[str, Any]:
        """What was found, by the name of the check; people are told the same."""
        before = self.everything()
        code, out, err = self.run_command(doctor.main, "--json")
        self.assertEqual("", err)
        told = json.loads(out)
        self.assertEqual((0 if told["ok"] else 1), code)
        self.assertEqual(before, self.everything())
        text = self.run_command(doctor.main)[1]
        for one in told["checks"]:
            self.assertIn(f"{one['state']:<7}  {one['check']}: ", text)
            self.assertEqual(one["state"] == "ok", not one["advice"], one)
        found: dict[str, Any] = {}
        for one in told["checks"]:
            found.setdefault(one["check"], one)
        return found

    def everything(self) -> list[tuple[str, bytes]]:
        found = []
        for folder, below, names in os.walk(self.home.root):
            found += [(os.path.join(folder, name), b"") for name in below]
            for name in names:
                path = os.path.join(folder, name)
                content = b"" if os.path.islink(path) else files.read_regular(path)
                found.append((path, content))
        return sorted(found)

    def finds(self, check: str, state: str, *words: str) -> None:
        one = self.doctor()[check]
        self.assertEqual(state, one["state"], one)
        for word in words:
            self.assertIn(word, one["found"] + " -> " + one["advice"])


class HomeTest(DoctorCase):
    def test_all_is_well_beside_a_hub(self) -> None:
        self.serve(releases=None)
        files.write_json(self.home.hub_json, {"home_persists": True})
        found = self.doctor().values()
        self.assertEqual(["source"], [one["check"] for one in found if one["state"] != "ok"])

    def test_a_home_that_is_not_there_is_not_made(self) -> None:
        os.rmdir(self.home.releases)
        os.rmdir(self.home.root)
        self.finds("home", "warning", "not there yet", "hub.pyz serve")
        self.assertFalse(os.path.exists(self.home.root))

    def test_a_home_that_is_no_directory(self) -> None:
        os.rmdir(self.home.releases)
        os.rmdir(self.home.root)
        with open(self.home.root, "w", encoding="utf-8"):
            pass
        self.finds("home", "problem", "no directory", "--config-dir")
        os.unlink(self.home.root)

    def test_a_home_open_to_others(self) -> None:
        for mode, state in (
            (0o755, "warning"), (0o777, "problem"), (0o770, "problem"), (0o700, "ok"),
        ):  # fmt: skip
            os.chmod(self.home.root, mode)
            self.finds("home", state, f"{mode:04o}")

    def test_a_home_of_another_user(self) -> None:
        with mock.patch("os.geteuid", return_value=os.geteuid() + 4242):
            self.finds("home", "problem", "chown -R")

    def test_a_home_that_cannot_be_locked(self) -> None:
        with mock.patch("fcntl.flock", side_effect=OSError(37, "No locks available")):
            self.finds("home", "problem", "No locks available", "local file system")

    def test_settings_that_are_wrong(self) -> None:
        files.write_json(self.home.hub_json, {"tries": 0})
        self.finds("config", "warning", "tries", "hub.json")

    def test_an_interpreter_that_is_gone(self) -> None:
        with mock.patch("hub_upgrade.host.interpreter.find", return_value=""):
            self.finds("interpreter", "problem", "install")

    def test_an_interpreter_that_was_replaced_under_the_hub(self) -> None:
        self.serve()
        with mock.patch("os.readlink", return_value="/usr/bin/python3 (deleted)"):
            self.finds("interpreter", "warning", "restart the hub")

    def test_sources(self) -> None:
        self.finds("source", "warning", "none", "--releases DIR")
        files.write_json(self.home.hub_json, {"releases": self.source})
        self.finds("source", "problem", "holds no releases")
        os.makedirs(os.path.join(self.source, "metadata"))
        os.chmod(self.source, 0o777)
        self.finds("source", "problem", "chmod go-w")
        os.chmod(self.source, 0o755)
        path = os.path.join(self.source, "metadata", "timestamp.json")
        with open(path, "w", encoding="utf-8") as file:
            file.write("nonsense")
        self.finds("source", "problem", "damaged")

    def test_without_a_source_a_managed_hub_is_upgraded_all_the_same(self) -> None:
        files.write_json(self.home.hub_json, {"hub": {}})
        self.finds("source", "ok", "none: hub.pyz itself cannot be upgraded (--self)")

    def test_a_managed_hub_that_tells_its_version_and_is_not_well(self) -> None:
        with subprocess.Popen(
            [sys.executable, "-IS", "-c", SICK], stdout=subprocess.PIPE, text=True
        ) as sick:
            self.addCleanup(sick.kill)
            assert sick.stdout is not None
            url = f"http://127.0.0.1:{sick.stdout.readline().strip()}/health"
            files.write_json(self.home.hub_json, {"hub": {"health_url": url}})
            self.finds("managed hub", "warning", "2.0.0 runs", "but it answers 500")
            sick.kill()

    def test_a_clock_before_what_was_written(self) -> None:
        self.finds("clock", "ok")
        path = os.path.join(self.home.root, "hub.json")
        files.write_json(path, {})
        os.utime(path, (4e9, 4e9))
        self.finds("clock", "warning", "hub.json", "2096-", "set the clock")


class HubTest(DoctorCase):
    def setUp(self) -> None:
        super().setUp()
        patch = mock.patch.object(client, "LOCATE_S", 0.1)
        patch.start()
        self.addCleanup(patch.stop)

    def test_none_runs(self) -> None:
        self.finds("hub", "warning", "none runs", "hub.pyz serve")

    def test_one_runs_or_proves(self) -> None:
        hub = self.serve()
        self.finds("hub", "ok", f"http://127.0.0.1:{hub.port}", str(os.getpid()))
        self.say(hub, proving=True)
        self.finds("hub", "ok", "proves a release")

    def test_one_that_cannot_be_reached(self) -> None:
        self.serve().close()
        self.finds("hub", "problem", "does not answer")


class LocksTest(DoctorCase):
    def taken(self, path: str) -> Lock:
        lock = Lock.try_take(path)
        assert lock is not None
        self.addCleanup(lock.release)
        return lock

    def test_whoever_holds_a_lock_is_found_and_whoever_waits_for_it_is_not(self) -> None:
        path = self.home.state_lock
        self.assertEqual([], locks.holders(path))
        lock = self.taken(path)
        self.assertEqual([os.getpid()], locks.holders(path))
        descriptor = os.open(path, os.O_RDWR)
        lock.release()
        self.assertEqual([], locks.holders(path))
        os.close(descriptor)

    def test_the_launcher_s_own_lock(self) -> None:
        self.finds("serve.lock", "ok", "free")
        hub = self.serve()
        self.finds("serve.lock", "ok", f"process {os.getpid()}")
        self.say(hub, pid=1, start_time=processes.start_time(1))
        self.finds("serve.lock", "problem", f"process {os.getpid()}", "hub.pyz serve")

    def test_operation_lock(self) -> None:
        path, store = self.home.operation_lock, StatusStore(self.home)
        lock = self.taken(path)
        self.finds("operation.lock", "warning", f"process {os.getpid()}", "no operation is open")
        store.claim(OPEN._replace(helper_pid=os.getpid(), helper_start_time="1"))
        self.finds("operation.lock", "ok", "prepares upgrade an-id (staging)")
        store.update("an-id", lambda record: record._replace(helper_pid=1))
        self.finds("operation.lock", "warning", "is not the helper")
        lock.release()
        self.finds("operation.lock", "warning", "free", "hub.pyz status")
        self.serve()
        self.finds("operation.lock", "ok", "the launcher's turn")

    def test_a_state_lock_that_is_held_for_long(self) -> None:
        with mock.patch.object(locks, "LOCK_WAIT_S", 0):
            lock = self.taken(self.home.state_lock)
            self.finds("state.lock", "problem", f"process {os.getpid()}", "end that process")
            with mock.patch("time.sleep", side_effect=lambda _seconds: lock.release()):
                self.finds("state.lock", "ok")

    def test_what_is_no_lock(self) -> None:
        os.mkdir(self.home.operation_lock)
        self.finds("operation.lock", "problem", "no file that can be locked")

    def test_it_takes_none_that_another_could_miss(self) -> None:
        self.serve()
        self.taken(self.home.operation_lock)
        with mock.patch.object(Lock, "try_take", wraps=Lock.try_take) as taking:
            self.run_command(doctor.main)
        self.assertEqual(
            [mock.call(self.home.serve_lock, shared=True)] * taking.call_count,
            taking.call_args_list,
        )


class LeftoversTest(DoctorCase):
    def lay(self, name: str, old: bool = True) -> str:
        path = os.path.join(self.home.root, name)
        with open(path, "w", encoding="utf-8"):
            pass
        if old:
            os.utime(path, (1e9, 1e9))
        return path

    def test_each_thing_that_lies_about_is_told_with_what_to_do(self) -> None:
        for name, words in (
            ("tokens.json.corrupt", "look into it"),
            (".serve.json.0123.tmp", "the next upgrade"),
            ("releases/.staging-preflight-01", "the next upgrade"),
            ("releases/notes.txt", "nobody knows"),
            ("releases/boot.json.corrupt-12ab", "look into it"),
        ):
            path = self.lay(name)
            self.finds("leftovers", "warning", path, words)
            os.unlink(path)
        self.finds("leftovers", "ok")

    def test_what_is_just_being_written_is_none(self) -> None:
        self.lay(".serve.json.0123.tmp", old=False)
        self.finds("leftovers", "ok")
        self.lay("releases/.staging-0123")
        StatusStore(self.home).claim(OPEN)
        self.finds("leftovers", "ok")

    def test_releases_are_none_unless_they_are_damaged(self) -> None:
        name = releases.add(self.home, "1.0.0", b"a release")
        releases.mark_bad(self.home, name, files.sha256(b"a release"))
        boot_store.write_boot(self.home, BootRecord(current=name))
        self.finds("leftovers", "ok")
        path = releases.path_of(self.home, name)
        os.chmod(path, 0o600)
        with open(path, "w", encoding="utf-8") as file:
            file.write("damaged")
        self.finds("leftovers", "warning", name, "passed over")

    def test_what_waits_for_a_launcher(self) -> None:
        boot_store.write_next(self.home, Next("an-id", "upgrade", "1.1.0-x", DIGEST, False))
        self.finds("leftovers", "warning", "decided at the next start", "hub.pyz serve")
        self.serve()
        self.finds("leftovers", "ok")

    def test_the_last_operation(self) -> None:
        store = StatusStore(self.home)
        self.finds("last operation", "ok", "there was none")
        ended = OPEN._replace(finished_at="2026-01-01T00:00:00.000Z", target_version="1.1.0")
        store.claim(ended._replace(phase=FAILED, error="the disk is full"))
        self.finds("last operation", "warning", "the disk is full", "2026-01-01", "1.0.0 stays")
        store.claim(ended._replace(phase=FAILED, error="bad", rolled_back_to="1.0.0"))
        self.finds("last operation", "warning", "Bad", "upgrade --version 1.1.0")
        store.claim(ended._replace(phase=SUCCEEDED, undo=Undo("release", "x")))
        self.finds("last operation", "ok", "1.0.0 -> 1.1.0")

    def test_no_state_of_the_files_is_a_crash(self) -> None:
        for path in (
            self.home.status,
            self.home.serve_json,
            self.home.boot_json,
            self.home.next_json,
            self.home.tokens,
            self.home.history,
            self.home.hub_json,
        ):
            for content in (b"", b"{", b"[]", b"{}", os.urandom(50)):
                with open(path, "wb") as file:
                    file.write(content)
                self.doctor()
            os.unlink(path)


class HealthTest(CliCase):
    def health(self, **env: str) -> tuple[int, str, str]:
        clean = {"PORT": "1", "PARACHUTE_BIND_HOST": "127.0.0.1", **env}
        with mock.patch.dict(os.environ, clean):
            code, out, err = self.run_command(doctor.main, "--health")
        self.assertEqual(1, (out + err).count("\n"))
        return code, out, err

    def replies(self, hub: FakeHub, status: int, body: Any) -> None:
        patch = mock.patch.object(hub, "reply", return_value=(status, body))
        patch.start()
        self.addCleanup(patch.stop)

    def test_the_hub_of_serve_json_is_asked_and_no_file_is_touched(self) -> None:
        hub = self.serve()
        os.chmod(self.home.root, 0o500)
        code, out, _err = self.health()
        os.chmod(self.home.root, 0o700)
        self.assertEqual(0, code)
        self.assertIn(f"1.0.0 answers on 127.0.0.1 port {hub.port}", out)
        self.assertEqual([("GET", "/health", "", None)], hub.asked)

    def test_without_a_serve_json_the_environment_says_where(self) -> None:
        hub = self.serve()
        for path in (self.home.serve_json, self.home.serve_lock):
            os.unlink(path)
        self.assertEqual(0, self.health(PORT=str(hub.port))[0])
        self.assertEqual(0, self.health(PORT=str(hub.port), PARACHUTE_BIND_HOST="0.0.0.0")[0])
        self.assertEqual(1, self.health()[0])
        self.assertEqual(1, self.health(PORT="none")[0])

    def test_a_stale_serve_json_is_not_the_end_of_it(self) -> None:
        hub = self.serve()
        self.say(hub, address="http://127.0.0.1:1")
        self.assertEqual(0, self.health(PORT=str(hub.port))[0])

    def test_what_answers_must_be_a_hub(self) -> None:
        hub = self.serve()
        for status, body in (
            (200, {}),
            (200, []),
            (500, {"service": "parachute-hub"}),
            (200, {"service": "another", "version": "1"}),
            (200, None),
        ):
            self.replies(hub, status, body)
            code, _out, err = self.health()
            self.assertEqual(1, code)
            self.assertIn("something else answers there", err)

    def test_a_hub_that_is_overloaded_is_no_hub_to_be_replaced(self) -> None:
        hub = self.serve()
        self.replies(hub, 503, {"error": "overloaded"})
        self.assertEqual(0, self.health()[0])

    def slow(self, talk: Callable[[socket.socket], None]) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)

        def answer() -> None:
            connection = listener.accept()[0]
            with connection:
                talk(connection)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        self.addCleanup(thread.join)
        return int(listener.getsockname()[1])

    def test_one_that_never_answers_or_never_ends_is_not_waited_for(self) -> None:
        over = threading.Event()

        def trickle(connection: socket.socket) -> None:
            try:
                while not over.wait(0.01):
                    connection.sendall(b"x")
            except OSError:
                pass

        for talk in (lambda _connection: over.wait(), trickle):
            port = self.slow(talk)  # type: ignore[arg-type]
            with mock.patch.object(doctor, "LIMIT_S", 0.2):
                code, _out, err = self.health(PORT=str(port))
            self.assertEqual(1, code)
            self.assertIn(f"port {port}", err)
        over.set()

    def test_it_loads_next_to_nothing(self) -> None:
        code = "import sys, hub_upgrade.cli.doctor; print(*sys.modules)"
        done = subprocess.run([sys.executable, "-S", "-c", code], stdout=subprocess.PIPE,
                              text=True, check=True)  # fmt: skip
        loaded = set(done.stdout.split())
        self.assertFalse(
            loaded
            & {
                "http.client",
                "ssl",
                "argparse",
                "subprocess",
                "typing",
                "hub_upgrade.cli.checkup",
                "hub_upgrade.settings",
            }
        )

    def test_wrong_usage_is_one_line(self) -> None:
        for argv in (["--health", "--bogus"], ["--health", "--json"], ["--bogus"]):
            code, out, err = self.run_command(doctor.main, *argv)
            self.assertEqual((2, "", 1), (code, out, err.count("\n")), argv)
        with contextlib.redirect_stderr(io.StringIO()):
            for words in (["--config-dir"], ["--config-dir="], ["--config-dir", ""]):
                self.assertEqual(2, doctor.health(words), words)


if __name__ == "__main__":
    unittest.main()
