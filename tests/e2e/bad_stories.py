"""Stories about releases that are not as the old one expects, each on a hub of its own."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path
from typing import Any

from build_pyz import VERSION_FILE
from tests.e2e import bad, load
from tests.e2e.bad import BY_NAME, EVERYWHERE, REAL_HOME, VERSION, Bad
from tests.e2e.bad_scene import OLD, Scene
from tests.e2e.harness import Hub, children_of, wait_for

HANDOVER = "hub_upgrade/hub/handover.py"
EXEC = b"os.execve(argv[0], argv, environment)"
NO_EXEC = b'raise OSError(8, "Exec format error")'
TALKS = Bad(
    "says nonsense beside the truth",
    bad.NONSENSE.replace("Hub._say = ", "junk = ").strip()
    + "\n_say = Hub._say\n"
    + "Hub._say = lambda self, text: [junk(self, text), _say(self, text)][1]",
)


def _is_pending(pid: int, number: signal.Signals) -> bool:
    status = Path("/proc", str(pid), "status").read_text()
    pending = int(status.partition("ShdPnd:")[2].split()[0], 16)
    return bool(pending >> (number - 1) & 1)


def _connect(hub: Hub) -> socket.socket:
    return socket.create_connection(("127.0.0.1", hub.port), 30)


def _closed_after_their_answers(scene: Scene, hub: Hub, identity: str, version: str) -> None:
    """An idle connection is closed, one that is half-way is answered first."""
    idle, half = _connect(hub), _connect(hub)
    idle.sendall(load.REQUEST)
    load.read_answer(idle)
    half.sendall(load.REQUEST[:20])
    scene.assertEqual(idle.recv(100), b"", "it is closed, not reset")
    half.sendall(load.REQUEST[20:])
    scene.assertEqual(load.read_answer(half)["version"], version)
    scene.assertEqual(half.recv(100), b"")
    idle.close()
    half.close()
    record = hub.finished(identity)
    scene.assertEqual(record["phase"], "succeeded", record)


def a_handoff_record_that_the_old_one_does_not_take(scene: Scene) -> None:
    """Neither takes the other's: there and back, in one process, connections are closed first.

    That is no failure, so that there is but one case, without a preflight that could refuse it.
    """
    members = {VERSION_FILE: bad.versioned(HANDOFF_FORMATS="(2,)", HANDOFF_FORMAT="2")}
    bad.publish(scene.repository, bad.build(VERSION, members))
    hub, before, prober = scene.begin()
    _closed_after_their_answers(scene, hub, hub.upgrade(), OLD)
    scene.assertEqual(hub.wait_healthy()["version"], VERSION)
    _closed_after_their_answers(scene, hub, hub.rollback(), VERSION)
    scene.is_back(hub, before, prober.stop())
    scene.assertEqual((hub.launcher_pid, hub.hub_pid()), (before.launcher, before.hub))
    scene.assertEqual(hub.stop(), 0)


def its_last_words_are_kept_from_a_launcher_that_did_not_run(scene: Scene) -> None:
    """The trial has printed all and died before the launcher reads its RELOADING=1."""
    row = BY_NAME["dies at once"]
    bad.publish(scene.repository, row.build(REAL_HOME))
    hub, before, prober = scene.begin()
    made = scene.command(hub)
    wait_for(lambda: hub.record().get("step") == "preflight", "the preflight")
    os.kill(before.hub, signal.SIGSTOP)
    wait_for(lambda: _is_pending(before.hub, signal.SIGUSR1), "the launcher to tell the hub")
    os.kill(hub.launcher_pid, signal.SIGSTOP)
    os.kill(before.hub, signal.SIGCONT)
    try:
        wait_for(lambda: before.hub not in children_of(hub.launcher_pid), "the trial's death")
    finally:
        os.kill(hub.launcher_pid, signal.SIGCONT)
    made.communicate()
    record = hub.finished()
    scene.assertEqual(made.returncode, 5, record)
    scene.assertIn(f"| {row.last_words}", record["log"])
    scene.is_back(hub, before, prober.stop())
    scene.assertEqual(hub.stop(), 0)


def it_cannot_be_executed(scene: Scene) -> None:
    """The old hub serves on as if nothing had been, and the release is rejected."""
    handover = bad.source_of(HANDOVER)
    scene.assertIn(EXEC, handover)
    old = bad.build(OLD, {HANDOVER: handover.replace(EXEC, NO_EXEC)})
    digest = bad.publish(scene.repository, bad.build(VERSION))
    hub, before, prober = scene.begin(program=old)
    code, said, record = scene.upgrade(hub)
    report = prober.stop()
    scene.assertEqual((code, record["phase"]), (5, "failed"), said)
    scene.assertIn("it could not be executed: Exec format error", record["error"])
    scene.assertEqual(record["rolled_back_to"], OLD)
    scene.assertEqual(scene.look(hub)[:3], before[:3], "nothing was restarted")
    scene.assertEqual((report.wrong, report.cut), ([], 0), report)
    scene.is_quarantined(digest, hub)
    scene.is_not_tried_again(hub)
    scene.assertEqual(hub.stop(), 0)


def it_is_tried_again_once_it_is_named(scene: Scene) -> None:
    row = BY_NAME["answers 500"]
    digest = bad.publish(scene.repository, row.build(REAL_HOME))
    hub, before, prober = scene.begin()
    records: list[dict[str, Any]] = []
    for argv in ((), ("--version", VERSION)):
        code, said, record = scene.upgrade(hub, *argv)
        scene.assertEqual(code, 5, said)
        scene.assertTrue(
            os.path.exists(os.path.join(scene.home, "logs", f"trial-{record['operation_id']}.log"))
        )
        records.append(record)
        scene.old_again(hub)
    scene.assertNotEqual(*(record["operation_id"] for record in records))
    scene.is_back(hub, before, prober.stop())
    scene.is_quarantined(digest, hub)
    scene.assertEqual(hub.stop(), 0)


def published_under_another_version(scene: Scene) -> None:
    bad.publish(scene.repository, bad.build("1.0.9"))
    scene.must_refuse(*scene.begin(), "it says it is version '1.0.9', and not 1.1.0")


def _succeeds(scene: Scene, row: Bad, condition: str) -> None:
    """What is odd and yet healthy is proven; and it ends when its launcher does."""
    bad.publish(scene.repository, row.build(condition))
    hub, _before, prober = scene.begin()
    code, said, record = scene.upgrade(hub)
    scene.assertEqual((code, record["phase"]), (0, "succeeded"), said)
    report = prober.stop()
    scene.assertEqual((report.wrong, report.cut), ([], 0), report)
    scene.assertEqual(hub.wait_healthy()["version"], VERSION)
    scene.assertEqual(hub.stop(), 0)


def nonsense_beside_the_truth_changes_nothing(scene: Scene) -> None:
    _succeeds(scene, TALKS, EVERYWHERE)


def a_healthy_one_that_ignores_sigterm_ends_with_its_launcher(scene: Scene) -> None:
    _succeeds(scene, BY_NAME["ignores SIGTERM"], REAL_HOME)


STORIES = (
    a_handoff_record_that_the_old_one_does_not_take,
    its_last_words_are_kept_from_a_launcher_that_did_not_run,
    it_cannot_be_executed,
    it_is_tried_again_once_it_is_named,
    published_under_another_version,
    nonsense_beside_the_truth_changes_nothing,
    a_healthy_one_that_ignores_sigterm_ends_with_its_launcher,
)
