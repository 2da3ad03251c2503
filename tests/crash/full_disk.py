"""What must hold on a disk that is full, and once there is room again.

While it is full: whoever served serves on, in the same process; no state file is half written; a
request is refused in one sentence that an operator can act on. Once there is room: the operation
ends, its record is true, and the next upgrade succeeds.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hub_upgrade.domain.operation import ROLLBACK, UPGRADE
from hub_upgrade.host import files, releases
from hub_upgrade.host.files import Home
from tests.crash import disks
from tests.e2e.harness import FINISHED, WAIT_S, Hub, cli, running_on, wait_for
from tests.e2e.moments import COMMITTED, PREPARING, Scene

FULL = "No space left on device"
WATCHED_S = 1.5
"""How long it is looked at after the last helper: the launcher looks, and writes, every second."""
LONGEST_SENTENCE = 400


class FullScene(Scene):
    """A scene whose home lies on a small disk of its own; all else has room."""

    config = {**Scene.config, "probation_s": 1.0}
    kind = disks.TMPFS
    disk: disks.Disk

    def setUp(self) -> None:
        super().setUp()
        stack = contextlib.ExitStack()
        self.disk = stack.enter_context(disks.KINDS[self.kind](self.directory))
        self.addCleanup(stack.close)
        self.home = os.path.join(self.disk.path, "home")
        os.mkdir(self.home, 0o700)
        self.configure()
        self.disk.sync()

    def hub(self, program: str | None = None) -> Hub:
        """Its output is kept beside the disk."""
        hub = super().hub(program)
        hub.log = os.path.join(self.directory, "serve.log")
        return hub


class Ext4Scene(FullScene):
    """The same on a disk with a journal."""

    kind = disks.EXT4


SCENES: dict[str, type[FullScene]] = {disks.TMPFS: FullScene, disks.EXT4: Ext4Scene}


class Watcher:
    """Sees to it that one and the same process serves all the time."""

    def __init__(self, scene: FullScene, hub: Hub) -> None:
        self.scene = scene
        self.hub = hub
        self.pids = (hub.launcher_pid, hub.hub_pid())

    def look(self) -> None:
        """/health is 200, from the processes that were there before."""
        told = self.hub.output()[-3000:]
        self.scene.assertIsNotNone(self.hub.health(), told)
        # For the moment of an execve nobody can tell what a process is.
        serving = wait_for(self.hub.hub_pid, f"a hub; {told}")
        self.scene.assertEqual((self.hub.launcher_pid, serving), self.pids, told)

    def until_calm(self) -> None:
        """Until the helper has ended, or handed over, and then for a while."""
        deadline = time.monotonic() + WAIT_S
        while self.scene.helper_of(self.hub) and not self._handed_over():
            self.scene.assertLess(time.monotonic(), deadline, "the helper does not end")
            self.look()
            time.sleep(0.05)
        deadline = time.monotonic() + WATCHED_S
        while time.monotonic() < deadline:
            self.look()
            time.sleep(0.05)

    def _handed_over(self) -> bool:
        """It is the launcher's turn, and the helper only waits for that."""
        return os.path.exists(os.path.join(self.scene.home, "releases", "next.json"))


def intact(scene: FullScene) -> None:
    """Nothing under home is half written: every record parses, every release is what it says."""
    for path in Path(scene.home).rglob("*.json"):
        scene.assertIsInstance(json.loads(path.read_text()), dict, path)
    history = Path(scene.home, "history.jsonl")
    for line in history.read_text().splitlines() if history.exists() else ():
        json.loads(line)
    home = Home(scene.home)
    for release in releases.find(home).values():
        scene.assertTrue(release.whole, f"{release.name} is damaged")
        marker = Path(home.releases, release.name, releases.GOOD)
        if marker.exists():
            scene.assertEqual(marker.read_text().strip(), release.digest)
    names = [name for _root, below, here in os.walk(scene.home) for name in (*below, *here)]
    scene.assertEqual([name for name in names if ".corrupt" in name], [])


def is_sentence(scene: FullScene, text: Any) -> None:
    """One that an operator can act on: no traceback, not a bare errno, not a page."""
    scene.assertIsInstance(text, str)
    scene.assertNotIn("\n", text)
    scene.assertNotIn("Traceback", text)
    scene.assertNotIn("an error of the hub's own", text)
    scene.assertNotIn("[Errno", text)
    scene.assertTrue(text.split(": ")[0] != FULL, "which disk is it?")
    scene.assertTrue(10 < len(text) < LONGEST_SENTENCE, text)


def refused(scene: FullScene, hub: Hub) -> None:
    """Asked on a full disk: no, in a sentence, by HTTP and by the command line."""
    open_still = hub.record().get("phase", "failed") not in FINISHED
    status, answer = hub.request("POST", "/api/hub/upgrade", None, hub.token())
    is_sentence(scene, answer.get("error_description"))
    if status == 507:
        scene.assertEqual(answer["error"], "cannot_record")
        scene.assertIn(FULL, answer["error_description"])
    else:
        scene.assertEqual((status, open_still), (409, True), answer)
    done = cli(hub.program, "upgrade", "--no-wait", "--config-dir", scene.home)
    scene.assertIn(done.returncode, (1, 4), done.stderr)
    is_sentence(scene, done.stderr.strip())
    if done.returncode == 1:
        scene.assertRegex(done.stderr, f"{FULL}|on a full disk")


def told_why(scene: FullScene, hub: Hub, operation: str) -> None:
    """A record that could be ended says why in a sentence; one that could not stays open."""
    status, told = hub.request("GET", "/api/hub/upgrade/status", None, hub.token())
    record = hub.record()
    scene.assertEqual((status, told["operation_id"]), (200, operation))
    if record["phase"] == "failed":
        is_sentence(scene, record["error"])
        scene.assertIn(FULL, record["error"])
        scene.assertNotIn("rolled_back_to", record)


def recovers(scene: FullScene, hub: Hub, operation: str | None) -> dict[str, Any]:
    """There is room: the operation ends, its record is true, the next one succeeds, and nothing
    is left lying about. Returns the record of the first, {} for none."""
    scene.disk.empty()
    record: dict[str, Any] = {}
    if operation is not None:
        record = hub.finished(operation)
        if record["phase"] == "failed":
            is_sentence(scene, record["error"])
            scene.assertIn(FULL, record["error"])
        true(scene, hub, record)
    upgraded(scene, hub)
    scene.assertEqual(hub.stop(), 0, hub.output()[-3000:])
    tidy(scene)
    return record


def true(scene: FullScene, hub: Hub, record: dict[str, Any], kind: str = UPGRADE) -> None:
    """`succeeded` if and only if its target runs, and is current; nobody is blamed."""
    old, new = ("1.0.0", "1.1.0") if kind == UPGRADE else ("1.1.0", "1.0.0")
    expected = new if record["phase"] == "succeeded" else old
    wait_for(lambda: (hub.health() or {}).get("version") == expected, f"{expected}: {record}")
    boot = wait_for(lambda: scene.boot_of(hub), "boot.json")
    scene.assertTrue(boot["current"].startswith(expected + "-"), (boot, record))
    scene.assertEqual(bool(boot["rejected"]), (kind, expected) == (ROLLBACK, new), boot)


def upgraded(scene: FullScene, hub: Hub) -> None:
    """The next upgrade is accepted at once, and succeeds."""
    scene.offer("1.2.0")
    wait_for(lambda: scene.helper_of(hub) == 0, "the helper's end")
    record = hub.finished(accepted(scene, hub))
    scene.assertEqual(record["phase"], "succeeded", f"{record}\n{hub.output()[-3000:]}")
    health = hub.wait_healthy()
    scene.assertEqual(health["version"], "1.2.0")
    boot = scene.boot_of(hub)
    scene.assertTrue(boot["current"].endswith(health["release"][: releases.DIGEST_DIGITS]), boot)


def accepted(scene: FullScene, hub: Hub) -> str:
    """The id of an upgrade that is asked for until the launcher has written what it owed."""
    deadline = time.monotonic() + WAIT_S
    while True:
        status, answer = hub.request("POST", "/api/hub/upgrade", None, hub.token())
        if status == 202:
            return str(answer["operation_id"])
        scene.assertEqual(status, 409, answer)
        scene.assertLess(time.monotonic(), deadline, answer)
        time.sleep(0.05)


def tidy(scene: FullScene) -> None:
    """No process, no temporary file and nothing half staged is left."""
    wait_for(lambda: not running_on(scene.home), "no process on home")
    names = [name for _root, below, here in os.walk(scene.home) for name in (*below, *here)]
    left = [n for n in names if n.endswith(".tmp") or n.startswith(releases.STAGING)]
    scene.assertEqual(left, [])
    intact(scene)


# --- the stories --------------------------------------------------------------------------------


def at_moment(scene: FullScene, moment: str) -> None:
    """The disk is full from that moment of an upgrade on."""
    hub = scene.served()
    watcher = Watcher(scene, hub)
    operation = scene.reach(hub, moment)
    scene.disk.fill()
    scene.go_on()
    watcher.until_calm()
    intact(scene)
    told_why(scene, hub, operation)
    scene.disk.fill()
    refused(scene, hub)
    intact(scene)
    watcher.look()
    record = recovers(scene, hub, operation)
    expected = "failed" if moment in PREPARING else "succeeded"
    scene.assertEqual(record["phase"], expected, record)


def with_room(scene: FullScene, room: int) -> str:
    """So many bytes are left when the upgrade is asked for; what came of it."""
    hub = scene.served()
    watcher = Watcher(scene, hub)
    token = hub.token()
    scene.disk.fill(room)
    with ended_at(scene, hub, token) as operation:
        watcher.until_calm()
        intact(scene)
        if operation is not None:
            told_why(scene, hub, operation)
        watcher.look()
    record = recovers(scene, hub, operation)
    return str(record.get("error") or record.get("phase") or "refused")


@contextlib.contextmanager
def ended_at(scene: FullScene, hub: Hub, token: str) -> Iterator[str | None]:
    """The operation's id, or None where it was refused for want of room."""
    status, answer = hub.request("POST", "/api/hub/upgrade", None, token)
    if status == 507:
        is_sentence(scene, answer["error_description"])
        scene.assertIn(FULL, answer["error_description"])
        yield None
        return
    scene.assertEqual(status, 202, answer)
    yield str(answer["operation_id"])


def size_of_release(scene: FullScene) -> int:
    """Bytes of the file that is staged."""
    return len(files.read_regular(scene.old, 1 << 24))


def without_inodes(scene: FullScene) -> None:
    """There is room, but no further file can be made."""
    hub = scene.served()
    watcher = Watcher(scene, hub)
    token = hub.token()
    scene.disk.fill_inodes()
    with ended_at(scene, hub, token) as operation:
        scene.assertIsNone(operation)
        watcher.until_calm()
        intact(scene)
    recovers(scene, hub, operation)


def served_first(scene: FullScene, fill: str) -> None:
    """The first `serve` of a home, on a full disk: it serves, and says what it cannot do."""
    getattr(scene.disk, fill)()
    hub = scene.served()
    watcher = Watcher(scene, hub)
    status, answer = hub.request("GET", "/api/hub/upgrade/status")
    scene.assertEqual(status, 401, answer)
    made = cli(hub.program, "token", "create", "--scope", "hub:admin", "--config-dir", scene.home)
    scene.assertEqual(made.returncode, 1)
    is_sentence(scene, made.stderr.strip())
    scene.assertIn(FULL, made.stderr)
    scene.assertIn(FULL, hub.output())
    watcher.look()
    intact(scene)
    scene.disk.empty()
    watcher.look()
    if "cannot be written" in hub.output():  # nor locked: it stays so until the next start
        scene.assertEqual(hub.stop(), 0)
        hub.start(TEST_PAUSES=scene.pauses)
    recovers(scene, hub, None)


def served_again(scene: FullScene, moment: str) -> None:
    """Killed at that moment, and started again on a full disk: the proven release serves, and
    what was begun goes on once there is room."""
    hub = scene.served()
    operation = scene.reach(hub, moment)
    hub.kill_all()
    scene.go_on()
    wait_for(lambda: not running_on(scene.home), "the end of all")
    scene.disk.fill()
    hub.start(TEST_PAUSES=scene.pauses)
    watcher = Watcher(scene, hub)
    watcher.until_calm()
    intact(scene)
    scene.assertEqual((hub.health() or {})["version"], "1.1.0" if moment == COMMITTED else "1.0.0")
    refused(scene, hub)
    record = recovers(scene, hub, operation)
    scene.assertEqual(record["phase"], "failed" if moment in PREPARING else "succeeded", record)
