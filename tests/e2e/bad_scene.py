"""One bad release on a hub of its own: what must be true before, during and after."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import traceback
import unittest
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Callable, NamedTuple

from tests.e2e import bad
from tests.e2e.bad import EVERYWHERE, REAL_HOME, VERSION, Bad, Broken
from tests.e2e.harness import WAIT_S, Hub, RealCase, environment, wait_for
from tests.e2e.prober import Prober, Report

CONFIG = {
    "ready_timeout_s": 3,
    "probation_s": 0.6,
    "probation_max_s": 30,
    "drain_s": 2,
    "stop_s": 8,
    "home_persists": True,
}
OLD = "1.0.0"
AT_A_TIME = 2
POLL_S = 0.002
FORCE = f"hub.pyz upgrade --version {VERSION}"


class Before(NamedTuple):
    """What must still be so afterwards."""

    launcher: int
    hub: int
    health: dict[str, Any]
    boot: bytes


class Scene(RealCase):
    """Made for one row, run in any thread, and cleared away by `play`."""

    config = CONFIG

    def runTest(self) -> None:  # noqa: N802 - unittest's name
        """Never run by itself: `play` is."""

    # --- the acts ---

    def begin(
        self, program: str | None = None, config: Mapping[str, object] | None = None
    ) -> tuple[Hub, Before, Prober]:
        """The old version serves, and somebody keeps asking."""
        self.configure(**{**self.config, **(config or {})})
        hub = self.hub(program).start()
        before = self.look(hub)
        self.assertEqual(before.health["version"], OLD)
        return hub, before, Prober(hub.port)

    def look(self, hub: Hub) -> Before:
        health = hub.wait_healthy()
        boot = Path(self.home, "releases", "boot.json")
        return Before(hub.launcher_pid, hub.hub_pid(), health, boot.read_bytes())

    def command(self, hub: Hub, *argv: str) -> subprocess.Popen[str]:
        """`hub.pyz upgrade`, followed to its end by itself."""
        words = [sys.executable, hub.program, "upgrade", "--config-dir", self.home, *argv]
        made = subprocess.Popen(
            words, env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self.addCleanup(made.communicate)
        self.addCleanup(made.kill)
        return made

    def upgrade(self, hub: Hub, *argv: str, kill_helper: bool = False) -> tuple[int, str, Any]:
        """The exit code of the command line, what it said, and the record."""
        before = hub.record().get("operation_id")
        made = self.command(hub, *argv)
        if kill_helper:
            self.kill_helper(hub, before)
        said, _ = made.communicate(timeout=WAIT_S * 2)
        return made.returncode, said, hub.finished()

    def kill_helper(self, hub: Hub, before: str | None) -> None:
        """Stopped as soon as it has handed over, killed once the trial has been taken up."""
        handed = Path(self.home, "releases", "next.json")
        boot: dict[str, Any] = {}
        deadline = time.monotonic() + WAIT_S
        while True:
            accepted = hub.record().get("operation_id") != before
            if accepted and (boot.get("trial") or handed.exists()):
                break
            self.assertLess(time.monotonic(), deadline, hub.record())
            self.assertNotIn("finished_at", self.newer(hub, before))
            time.sleep(POLL_S)
            with contextlib.suppress(OSError, ValueError):
                boot = hub.boot()
        helper = int(hub.record()["helper_pid"])
        with contextlib.suppress(ProcessLookupError):
            os.kill(helper, signal.SIGSTOP)
        try:
            wait_for(lambda: not handed.exists(), "the launcher to take it up")
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(helper, signal.SIGKILL)

    def newer(self, hub: Hub, before: str | None) -> dict[str, Any]:
        record = hub.record()
        return record if record.get("operation_id") != before else {}

    # --- what must be true ---

    def is_untouched(self, hub: Hub, before: Before, report: Report) -> None:
        """Nothing was restarted, nothing decided, and nobody noticed."""
        self.assertEqual(self.look(hub), before)
        self.assertEqual((report.wrong, report.cut), ([], 0), report)
        self.assertEqual(set(report.answers), {(200, OLD)})
        left = [n for n in os.listdir(os.path.join(self.home, "releases")) if VERSION in n]
        self.assertEqual(left, [], "what only this operation had added is taken away")
        self.assertFalse(os.path.exists(os.path.join(self.home, "releases", "next.json")))

    def is_back(self, hub: Hub, before: Before, report: Report) -> None:
        """The old version serves, and nobody was refused meanwhile."""
        health = self.old_again(hub)
        self.assertEqual(health["release"], before.health["release"])
        self.assertEqual(hub.launcher_pid, before.launcher)
        self.assertEqual(report.wrong, [], f"{report}; log: {hub.output()[-3000:]}")
        self.assertIn((200, OLD), report.answers)

    def old_again(self, hub: Hub) -> dict[str, Any]:
        """What the old version says; the bad one may take its time to leave."""

        def answered() -> dict[str, Any] | None:
            health = hub.health()
            return health if health and health["version"] == OLD else None

        return dict(wait_for(answered, f"{OLD}; log: {hub.output()[-3000:]}"))

    def is_quarantined(self, digest: str, hub: Hub) -> None:
        boot = hub.boot()
        self.assertIsNone(boot["trial"])
        self.assertIn(digest, boot["rejected"])
        self.assertTrue(boot["current"].startswith(f"{OLD}-"), boot)
        mark = Path(self.home, "releases", f"{VERSION}-{digest[:16]}.bad")
        self.assertEqual(mark.read_text().strip(), digest)

    def is_not_tried_again(self, hub: Hub) -> None:
        """Not without naming it: nothing happens but a record that says how to force it."""
        before = self.look(hub)
        code, said, record = self.upgrade(hub)
        self.assertEqual((code, record["phase"]), (1, "failed"), said)
        self.assertIn(FORCE, record["error"])
        self.assertIn(FORCE, said)
        self.assertEqual(self.look(hub), before)

    # --- the rows ---

    def refused(self, row: Bad) -> None:
        """As built: the preflight finds it."""
        bad.publish(self.repository, row.build(EVERYWHERE))
        hub, before, prober = self.begin(config=row.config)
        self.must_refuse(hub, before, prober, row.refused)

    def must_refuse(self, hub: Hub, before: Before, prober: Prober, why: str) -> None:
        code, said, record = self.upgrade(hub)
        report = prober.stop()
        self.assertEqual((code, record["phase"]), (1, "failed"), said)
        self.assertIn(why, record["error"])
        self.assertIn(why, said)
        self.assertNotIn("rolled_back_to", record)
        self.is_untouched(hub, before, report)
        self.assertEqual(hub.stop(), 0)

    def taken_back(self, row: Bad, kill_helper: bool = False) -> None:
        """Bad only in the real home: tried, and taken back."""
        digest = bad.publish(self.repository, row.build(REAL_HOME))
        hub, before, prober = self.begin(config=row.config)
        code, said, record = self.upgrade(hub, kill_helper=kill_helper)
        self.old_again(hub)
        report = prober.stop()
        self.assertEqual((code, record["phase"]), (5, "failed"), f"{said} {record}")
        self.assertEqual(record["rolled_back_to"], OLD)
        self.assertIn(row.taken_back, record["error"])
        self.assertIn(row.taken_back, said)
        output = [line for line in record["log"] if line.startswith("| ")]
        self.assertIn(row.last_words, "\n".join(output), record)
        whole = Path(self.home, "logs", f"trial-{record['operation_id']}.log").read_bytes()
        self.assertIn(f"bad on purpose: {row.name}".encode(), whole)
        self.is_back(hub, before, report)
        self.is_quarantined(digest, hub)
        self.is_not_tried_again(hub)
        self.assertEqual(hub.stop(), 0)

    def broken_as_published(self, row: Broken) -> None:
        """It is what was published, and that is no release."""
        path = os.path.join(self.directory, "no-release")
        Path(path).write_bytes(row.spoil(Path(bad.build(VERSION)).read_bytes()) or b"")
        bad.publish(self.repository, path)
        self.must_refuse(*self.begin(), row.as_published)

    def broken_in_repository(self, row: Broken) -> None:
        """It is not what was published: the digest tells."""
        digest = bad.publish(self.repository, bad.build(VERSION))
        bad.spoil(bad.target_of(self.repository, digest), row.spoil)
        self.must_refuse(*self.begin(), row.in_repository)

    def broken_in_home(self, row: Broken) -> None:
        """It was whole when the helper handed it over, and is not when the launcher looks.

        The damage is the disk's and not the release's: it is not quarantined, and once more is
        enough. The launcher is stopped meanwhile, so that it cannot look too early.
        """
        digest = bad.publish(self.repository, bad.build(VERSION))
        hub, before, prober = self.begin()
        made = self.command(hub)
        # Not before it is accepted: a launcher that is just pruning holds operation.lock.
        wait_for(hub.record, "the record")
        os.kill(hub.launcher_pid, signal.SIGSTOP)
        try:
            handed = Path(self.home, "releases", "next.json")
            wait_for(handed.exists, "next.json")
            path = os.path.join(self.home, "releases", f"{VERSION}-{digest[:16]}", "hub.pyz")
            bad.spoil(path, row.spoil)
        finally:
            os.kill(hub.launcher_pid, signal.SIGCONT)
        said, _ = made.communicate(timeout=WAIT_S)
        record = hub.finished()
        self.assertEqual((made.returncode, record["phase"]), (5, "failed"), said)
        self.assertIn(row.in_home, record["error"])
        self.assertEqual(self.look(hub)[:3], before[:3], "nothing was restarted")
        self.assertNotIn(digest, hub.boot()["rejected"])
        code, said, record = self.upgrade(hub)
        self.assertEqual((code, record["phase"]), (0, "succeeded"), said)
        report = prober.stop()
        self.assertEqual((report.wrong, report.cut), ([], 0), report)
        self.assertEqual(hub.stop(), 0)


Case = Callable[[Scene], None]


def play(case: Case) -> str:
    """One row from its beginning to its end; the traceback of what went wrong, or nothing."""
    scene = Scene()
    failed = ""
    try:
        scene.setUp()
        case(scene)
    except BaseException:  # noqa: BLE001 - told by the test that waits for it
        failed = traceback.format_exc()
    finally:
        with contextlib.suppress(Exception):
            scene.doCleanups()
    return failed


def table(cases: Mapping[str, Case]) -> type[unittest.TestCase]:
    """A test class with a test a row, which are played so many at a time: most of them wait."""

    class Rows(unittest.TestCase):
        pool: ThreadPoolExecutor
        played: Mapping[str, Future[str]]

        @classmethod
        def setUpClass(cls) -> None:
            bad.build(OLD)
            cls.pool = ThreadPoolExecutor(AT_A_TIME)
            cls.played = {name: cls.pool.submit(play, case) for name, case in cases.items()}

        @classmethod
        def tearDownClass(cls) -> None:
            cls.pool.shutdown()

    def row(name: str) -> Callable[[Rows], None]:
        def test(self: Rows) -> None:
            failed = self.played[name].result()
            if failed:
                self.fail(failed)

        return test

    for name in cases:
        setattr(Rows, "test_" + name.replace(" ", "_"), row(name))
    return Rows
