"""A request becomes a claimed operation and a helper, or a refusal."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import unittest
from typing import Any
from unittest import mock

from hub_upgrade.domain import operation as op
from hub_upgrade.domain.boot_record import Next, Trial
from hub_upgrade.domain.install import Decision, Place
from hub_upgrade.domain.managed import Managed
from hub_upgrade.domain.operation import Operation
from hub_upgrade.domain.transitions import finish
from hub_upgrade.errors import RefusedError
from hub_upgrade.host import boot_store, files, processes
from hub_upgrade.host.files import Lock
from hub_upgrade.host.status_store import MemoryStatusStore, StatusStore
from hub_upgrade.upgrade import accept
from hub_upgrade.upgrade.accept import Desk, Patience, accept_rollback, accept_upgrade
from hub_upgrade.upgrade.survey_record import Survey
from tests.upgrade.scene import Scene


class Clock:
    """Time that goes on only while somebody sleeps; `slept` is how long that was, in seconds."""

    def __init__(self) -> None:
        self.slept = 0.0

    def monotonic(self) -> float:
        return 1000.0 + self.slept

    def sleep(self, seconds: float) -> None:
        self.slept += seconds


class Accept(Scene):
    def setUp(self) -> None:
        super().setUp()
        self.held: list[Lock] = []
        self.addCleanup(self.let_go)

    def let_go(self) -> None:
        for lock in self.held:
            lock.release()

    def keep(self, _operation: Operation, lock: Lock) -> int:
        """A helper that lives: the lock's open file description stays open."""
        self.held.append(Lock(os.dup(lock.fd), lock.path))
        return os.getpid()

    def upgrade(
        self, desk: Desk | None = None, channel: object = None, version: object = None
    ) -> Operation:
        return accept_upgrade(desk or self.desk(self.keep), channel, version, False, "me")

    def refused(self, desk: Desk | None = None, **values: Any) -> RefusedError:
        before = self.store.read()
        with self.assertRaises(RefusedError) as caught:
            self.upgrade(desk, **values)
        self.assertEqual(self.store.read(), before)
        return caught.exception

    def test_an_accepted_upgrade_is_recorded_with_its_helper(self) -> None:
        operation = self.upgrade()
        unnamed = operation._replace(helper_pid=None, helper_start_time=None)
        self.assertEqual(self.record(), unnamed, "the helper records itself with its first step")
        self.assertEqual((operation.phase, operation.mode), (op.PENDING, op.IN_PLACE))
        self.assertEqual(operation.helper_pid, os.getpid())
        self.assertEqual(operation.helper_start_time, processes.start_time(os.getpid()))
        self.assertEqual(operation.current_release, self.current)
        self.assertEqual((operation.channel, operation.requested_by), ("latest", "me"))

    def test_there_is_no_instant_at_which_an_accepted_operation_is_unowned(self) -> None:
        seen = []

        def start(operation: Operation, lock: Lock) -> int:
            seen.append((Lock.try_take(self.home.operation_lock), self.record().operation_id))
            return self.keep(operation, lock)

        operation = self.upgrade(self.desk(start))
        self.assertEqual(seen, [(None, operation.operation_id)])
        self.assertIsNone(Lock.try_take(self.home.operation_lock))

    def test_two_posts_start_one_helper_and_the_second_names_the_first(self) -> None:
        operation = self.upgrade()
        with mock.patch.object(accept, "time", Clock()) as clock:
            error = self.refused()
        self.assertEqual(clock.slept, 0.0)
        self.assertEqual((error.code, error.status), ("upgrade_in_flight", 409))
        self.assertIn(operation.operation_id, error.sentence)
        self.assertEqual(len(self.held), 1)

    def test_a_lock_that_no_operation_explains_is_waited_for_once_however_many_ask(self) -> None:
        lock = self.take()
        desk = self.desk(self.keep)
        with mock.patch.object(accept, "time", Clock()) as clock:
            for _ in range(20):
                error = self.refused(desk)
        self.assertEqual(error.code, "upgrade_in_flight")
        self.assertLess(clock.slept, 2 * accept.TIDYING_S)
        lock.release()
        self.assertEqual(self.upgrade(desk).phase, op.PENDING)

    def test_who_has_no_loop_to_hold_up_waits_for_a_helper_that_tidies_up_after_its_end(
        self,
    ) -> None:
        lock = self.take()
        desk = self.desk(self.keep, patience=Patience(accept.LEAVING_S))
        with mock.patch.object(accept, "time", Clock()) as clock:
            self.refused(desk)
            self.assertLess(clock.slept, 2 * accept.TIDYING_S, "no operation has ended")
        self.store.claim(Operation("ended", phase=op.SUCCEEDED))
        with mock.patch.object(accept, "time", Clock()) as clock:
            self.refused(self.desk(self.keep))
            self.assertLess(clock.slept, 2 * accept.TIDYING_S)
        desk = self.desk(self.keep, patience=Patience(accept.LEAVING_S))
        with mock.patch.object(accept, "time", Clock()) as clock:
            self.refused(desk)
            self.assertAlmostEqual(clock.slept, accept.LEAVING_S, delta=0.1)
        lock.release()

    def test_the_channel_is_a_closed_set_and_a_bad_one_is_echoed_in_part(self) -> None:
        for bad in ("beta", "", "LATEST", 3, ["rc"], "x" * 10_000):
            error = self.refused(channel=bad)
            self.assertEqual((error.code, error.status), ("invalid_channel", 400))
            self.assertIn("latest or rc", error.sentence)
            self.assertLess(len(error.sentence), 200)

    def test_without_a_channel_it_is_read_off_the_running_version(self) -> None:
        rc = self.running._replace(version="1.0.0-rc.2")
        self.assertEqual(self.upgrade(self.desk(self.keep, running=rc)).channel, "rc")

    def test_a_bad_version_is_refused_and_a_leading_v_is_not(self) -> None:
        for bad in ("1", "latest", 7, "1.2.3 ; rm", "x" * 10_000):
            self.assertEqual(self.refused(version=bad).code, "invalid_version")
        operation = self.upgrade(version="v1.2.3")
        self.assertEqual(operation.request, op.Request("1.2.3", False))
        self.assertEqual(operation.target_version, "1.2.3")

    def test_without_a_release_source_it_says_how_to_configure_one(self) -> None:
        error = self.refused(self.desk(self.keep, releases=None))
        self.assertEqual((error.code, error.status), ("no_release_source", 409))
        self.assertIn("hub.json", error.sentence)

    def test_a_safety_that_cannot_be_read_refuses_upgrades_and_no_rollback(self) -> None:
        files.write_json(self.home.hub_json, {"before_upgrade": "/bin/backup"})
        error = self.refused()
        self.assertEqual((error.code, error.status), ("invalid_config", 409))
        self.assertIn("before_upgrade must be a list", error.sentence)
        self.assertEqual(accept_rollback(self.desk(self.keep), "me").phase, op.PENDING)

    def test_anything_pending_refuses(self) -> None:
        nxt = Next("o9", "upgrade", self.before, files.sha256(b"before"), False)
        boot_store.write_next(self.home, nxt)
        self.assertIn("o9", self.refused().sentence)
        boot_store.remove_next(self.home)
        for operation_id, words in (("o9", "o9"), (None, "factory")):
            trial = Trial(self.before, files.sha256(b"before"), operation_id, "upgrade", 1)
            boot_store.write_boot(self.home, self.boot._replace(trial=trial))
            self.assertIn(words, self.refused().sentence)
        boot_store.write_boot(self.home, self.boot)
        self.upgrade()

    def test_what_cannot_be_read_is_no_answer(self) -> None:
        for path in (self.home.boot_json, self.home.next_json):
            with open(path, "w", encoding="ascii") as file:
                file.write("{")
            self.assertEqual(self.refused().code, "upgrade_in_flight")
            os.unlink(path)
            boot_store.write_boot(self.home, self.boot)
        os.unlink(self.home.boot_json)
        self.assertEqual(self.refused().code, "upgrade_in_flight")
        self.upgrade(self.desk(self.keep, launcher_alive=lambda: False))

    def test_a_dead_record_is_settled_before_the_new_claim(self) -> None:
        self.store.claim(Operation("dead", phase=op.RUNNING))
        operation = self.upgrade()
        self.assertEqual(self.record().operation_id, operation.operation_id)
        past = self.store.history()
        self.assertEqual([(e["operation_id"], e["phase"]) for e in past], [("dead", "failed")])

    def test_a_lock_that_a_launcher_prunes_under_is_waited_for_shortly(self) -> None:
        lock = self.take()
        with mock.patch("time.sleep", lambda _s: lock.release()):
            self.upgrade()

    def test_a_full_disk_is_507_and_nothing_is_changed(self) -> None:
        def full(_path: str, _data: bytes) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        error = self.refused(self.desk(self.keep, store=StatusStore(self.home, full)))
        self.assertEqual((error.code, error.status), ("cannot_record", 507))
        self.assertEqual(self.held, [])
        self.upgrade()

    def test_a_helper_that_cannot_be_started_is_a_failure_and_the_slot_is_free(self) -> None:
        def broken(_operation: Operation, _lock: Lock) -> int:
            raise OSError(errno.EAGAIN, "no more processes")

        operation = self.upgrade(self.desk(broken))
        self.assertEqual(operation.phase, op.FAILED)
        self.assertIn("no more processes", operation.error or "")
        self.upgrade()

    def test_in_redeploy_mode_the_record_is_finished_and_no_helper_starts(self) -> None:
        store = MemoryStatusStore()
        desk = self.desk(self.keep, store=store, trouble="home cannot be written")
        for kind in op.KINDS:
            upgrade = kind == op.UPGRADE
            operation = self.upgrade(desk) if upgrade else accept_rollback(desk, "me")
            self.assertEqual(operation.kind, kind)
            self.assertEqual(operation.phase, op.REDEPLOY_REQUIRED)
            self.assertIsNotNone(operation.finished_at)
            self.assertIn("home cannot be written", operation.reason)
            self.assertEqual(store.read(), operation)
        shutil.rmtree(self.home.releases)
        with open(self.home.releases, "wb"):
            pass  # it cannot hold releases: nothing there can be written, nor read
        self.assertEqual(self.upgrade().phase, op.REDEPLOY_REQUIRED)
        self.assertEqual(self.held, [])

    def test_the_record_bears_what_hub_json_said_of_a_managed_hub(self) -> None:
        place = Place(directory="/srv/hub", source="package")
        seen = Survey(Decision("npm", op.IN_PLACE, "why", (), place), "1.0.0", 1, "", "")
        hub = Managed(health_url="http://127.0.0.1:7/x", version_field="build")
        told = []
        for other in (hub, hub._replace(install_command=("sh",), restart="exit"),
                      hub._replace(package="an\udcffother")):  # fmt: skip
            desk = self.desk(survey=lambda: seen, hub=other)
            operation = accept_upgrade(desk, "latest", None, False, "me")
            told.append(operation.accepted_by)
            self.store.update(operation.operation_id, lambda record: finish(record, op.FAILED, ""))
        self.assertEqual(told[0][1:], ("http://127.0.0.1:7/x", "build"))
        self.assertEqual(told[1], told[0])
        self.assertEqual(told[2][1:], told[0][1:])
        self.assertNotEqual(told[2][0], told[0][0])
        desk = self.desk(survey=lambda: seen, hub=hub)
        itself = accept_upgrade(desk, "latest", None, False, "me", itself=True)
        self.assertEqual(itself.accepted_by, ())
        self.store.update(itself.operation_id, lambda record: finish(record, op.FAILED, ""))
        alone = accept_rollback(self.desk(), "me").accepted_by
        self.assertEqual((len(alone), alone[0] in {told[0][0], told[1][0]}), (1, False))

    def test_a_rollback_knows_its_target_at_once(self) -> None:
        operation = accept_rollback(self.desk(self.keep), "me")
        self.assertEqual((operation.kind, operation.target_version), (op.ROLLBACK, "0.9.0"))
        self.assertEqual(operation.target_release, self.before)
        self.assertEqual(operation.target_digest, files.sha256(b"before"))

    def test_a_checkout_with_nothing_kept_is_told_that_versions_are_tags(self) -> None:
        place = Place(directory="/srv/hub")
        for source, tagged in (("git", True), ("package", False)):
            decision = Decision("npm", op.IN_PLACE, "why", (), place._replace(source=source))
            seen = Survey(decision, "1.0.0", 1, "", "")
            with self.assertRaises(RefusedError) as caught:
                accept_rollback(self.desk(self.keep, survey=lambda: seen), "me")  # noqa: B023
            self.assertEqual(caught.exception.code, "nothing_to_roll_back")
            self.assertEqual("needs the tag vV" in caught.exception.sentence, tagged)

    def test_there_is_nothing_to_roll_back_to_a_missing_or_damaged_release(self) -> None:
        path = os.path.join(self.home.releases, self.before, "hub.pyz")
        os.chmod(path, 0o600)
        with open(path, "wb") as file:
            file.write(b"other")
        for boot in (self.boot, self.boot._replace(previous=None),
                     self.boot._replace(previous="0.1.0-" + "0" * 16)):  # fmt: skip
            boot_store.write_boot(self.home, boot)
            with self.assertRaises(RefusedError) as caught:
                accept_rollback(self.desk(self.keep), "me")
            self.assertEqual(caught.exception.code, "nothing_to_roll_back")


SHOW = """
import fcntl, os, sys
print(sys.argv[1:], flush=True)
print(os.fstat(0).st_ino == os.stat(os.path.join(sys.argv[7], "operation.lock")).st_ino)
print(sorted(n for n in os.environ if n.startswith(("NOTIFY", "LISTEN", "PARACHUTE_"))))
print(sorted(os.listdir("/proc/self/fd"))[:4], os.getsid(0) == os.getpid(), flush=True)
"""


class Start(Scene):
    def test_the_helper_gets_the_lock_as_stdin_and_nothing_that_is_ours(self) -> None:
        program = os.path.join(self.home.root, "hub.pyz")
        with open(program, "w", encoding="ascii") as file:
            file.write(SHOW)
        start = accept.helper_starter(self.home, program, lambda _operation: 4321)
        lock = self.take()
        secrets = {"NOTIFY_SOCKET": "x", "LISTEN_FDS": "1", "PARACHUTE_ADMIN_TOKEN_FILE": "x"}
        with mock.patch.dict(os.environ, secrets):
            pid = start(Operation("o-1", channel="rc"), lock)
        os.waitpid(pid, 0)
        with open(os.path.join(self.home.logs, "upgrade-o-1.log"), encoding="ascii") as file:
            lines = file.read().splitlines()
        expected = ["helper", "--op", "o-1", "--channel", "rc", "--config-dir", self.home.root]
        self.assertEqual(lines[0], str([*expected, "--hub-pid", "4321"]))
        self.assertEqual(lines[1:3], ["True", "[]"])
        self.assertIn("['0', '1', '2', '3'] True", lines[3])

    def test_accepting_imports_nothing_that_weighs_on_the_hub(self) -> None:
        heavy = ["hashlib", "uuid", "dataclasses", "enum", "subprocess", "argparse", "tempfile",
                 "secrets", "hmac", "shutil", "threading", "asyncio", "ssl"]  # fmt: skip
        code = (
            "import sys; from hub_upgrade.upgrade import accept, recovery;"
            "from hub_upgrade.host import status_store;"
            f"print([m for m in {heavy} if m in sys.modules])"
        )
        root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        ran = subprocess.run(
            [sys.executable, "-S", "-c", "import sys; sys.path.insert(0, '.');" + code],
            cwd=root, capture_output=True, text=True, check=True,
        )  # fmt: skip
        allowed = {"enum", "threading"}  # `signal`, `re` and json's own import bring `enum`
        self.assertEqual(set(eval(ran.stdout)) - allowed, set(), ran.stdout)


if __name__ == "__main__":
    unittest.main()
