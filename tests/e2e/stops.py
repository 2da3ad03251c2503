"""Stops of every kind at a moment of an upgrade, and what must hold afterwards."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import subprocess
import sys
import time
from typing import Callable

from hub_upgrade.domain import operation as op
from tests.e2e.harness import FINISHED, WAIT_S, Hub, environment, running_on, wait_for
from tests.e2e.moments import COMMITTED, NEXT_WRITTEN, PREPARING, Scene, one

SUSPENDED_S = 3.0
CTRL_C = b"\x03"
FORWARDER = """
import os, signal, subprocess, sys
child = subprocess.Popen(sys.argv[1:])
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, lambda number, _frame: child.send_signal(number))
sys.exit(child.wait())
"""
"""A parent as `npm run` and others are: it gets the terminal's signal, and passes it on as well."""


class StopScene(Scene):
    """A scene that may have a terminal."""

    terminal = -1
    preparing = False

    def go_on_after_stop(self, hub: Hub) -> None:
        """Nobody waits any more; a helper that prepares was ended by then, or it would go on."""
        if self.preparing:
            wait_for(lambda: not self.helper_of(hub), "the end of the helper")
        self.go_on()


Way = Callable[[StopScene, Hub], int]


def by_signal(number: int) -> Way:
    """A stop by one signal to the launcher."""

    def stop(scene: StopScene, hub: Hub) -> int:
        assert hub.process is not None
        hub.process.send_signal(number)
        scene.go_on_after_stop(hub)
        return ended(hub)

    return stop


def twice(scene: StopScene, hub: Hub) -> int:
    """A second signal, of an operator who has no patience."""
    assert hub.process is not None
    hub.process.send_signal(signal.SIGTERM)
    if scene.preparing:  # a hub that is ended before it has said so leaves that to the next
        wait_for(lambda: hub.record().get("phase") in FINISHED, "the last word")
    else:
        time.sleep(0.5)
    with contextlib.suppress(ProcessLookupError):
        hub.process.send_signal(signal.SIGTERM)
    code = ended(hub)
    scene.go_on()
    return code


def by_terminal(scene: StopScene, hub: Hub) -> int:
    """Ctrl-C, typed at the terminal that the hub was started from."""
    press_ctrl_c(scene)
    scene.go_on_after_stop(hub)
    return ended(hub)


def press_ctrl_c(scene: StopScene) -> None:
    """Type it."""
    os.write(scene.terminal, CTRL_C)


WAYS: dict[str, Way] = {
    "SIGTERM": by_signal(signal.SIGTERM),
    "Ctrl-C": by_terminal,
    "forwarded Ctrl-C": by_terminal,
    "SIGHUP": by_signal(signal.SIGHUP),
    "twice": twice,
}


def ended(hub: Hub) -> int:
    """Wait for the end of what was started; returns its exit code."""
    assert hub.process is not None and hub.process.stdout is not None
    code = hub.process.wait(WAIT_S)
    hub.process.stdout.close()
    hub.process = None
    return code


def start(scene: StopScene, way: str) -> Hub:
    """A hub that can be stopped that way."""
    if not way.endswith("Ctrl-C"):
        return scene.served()
    hub = scene.hub(scene.old)
    scene.terminal, other = pty.openpty()
    scene.addCleanup(os.close, scene.terminal)
    words = [sys.executable, hub.program, "serve", "--config-dir", hub.home]
    words += ["--port", str(hub.own_port()), "--releases", str(hub.releases)]
    if way.startswith("forwarded"):
        words = [sys.executable, "-c", FORWARDER, *words]
    with open(hub.log, "ab") as log:
        hub.process = subprocess.Popen(
            [sys.executable, "-c", ON_TERMINAL, os.ttyname(other), *words],
            env=environment(TEST_PAUSES=scene.pauses), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=log, start_new_session=True,
        )  # fmt: skip
    os.close(other)
    assert hub.process.stdout is not None
    line = hub.process.stdout.readline().decode()
    scene.assertTrue(line.startswith("listening on"), line + hub.output())
    hub.url = line.split()[2]
    hub.port = int(hub.url.rpartition(":")[2])
    hub.wait_healthy()
    return hub


ON_TERMINAL = """
import fcntl, os, sys, termios
terminal = os.open(sys.argv[1], os.O_RDWR)
fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
os.dup2(terminal, 0)
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Makes the terminal ours: its Ctrl-C goes to our process group from now on."""


def stop_at(moment: str, way: str, scene: StopScene) -> None:
    """Stop the hub that way at that moment, and show that nothing was lost by it."""
    hub = start(scene, way)
    before = scene.boot_of(hub)
    operation = scene.reach(hub, moment)
    scene.preparing = moment in PREPARING
    scene.assertEqual(WAYS[way](scene, hub), 0, hub.output())
    scene.assertEqual(left_on(scene.home), [])
    boot, record = scene.boot_of(hub), hub.record()
    scene.assertEqual(boot["rejected"], [], record)
    if boot["trial"] is not None:
        scene.assertEqual(boot["trial"]["tries_left"], 3, "the try was not given back")
        scene.assertNotIn(record["phase"], ("failed", "succeeded"))
    if moment in PREPARING:
        scene.assertEqual(record["phase"], "failed", record)
        scene.assertIn("the hub was stopped", record["error"])
        scene.assertEqual(boot, before)
    scene.quick()
    hub.start(TEST_PAUSES=scene.pauses)
    afterwards(scene, hub, operation, failed=moment in PREPARING)


def afterwards(scene: StopScene, hub: Hub, operation: str, failed: bool = False) -> None:
    """The operation ends as it should, nothing is held against any release, and the next works."""
    record = hub.finished(operation)
    expected = "failed" if failed else "succeeded"
    scene.assertEqual(record["phase"], expected, f"{record}\n{hub.output()[-3000:]}")
    scene.assertNotIn("rolled_back_to", record)
    version = "1.0.0" if failed else "1.1.0"
    wait_for(lambda: (hub.health() or {}).get("version") == version, version)
    if not failed:
        scene.offer("1.2.0")
    wait_for(lambda: scene.helper_of(hub) == 0, "the helper's end")
    following = hub.finished(hub.upgrade())
    scene.assertEqual(following["phase"], "succeeded", f"{following}\n{hub.output()[-3000:]}")
    boot = scene.boot_of(hub)
    scene.assertEqual((boot["rejected"], boot["trial"]), ([], None))
    verdicts = [verdict["verdict"] for verdict in boot["verdicts"]]
    scene.assertEqual(verdicts, ["committed"] * (1 if failed else 2))
    scene.assertEqual(hub.stop(), 0, hub.output()[-3000:])
    scene.assertEqual(left_on(scene.home), [])


def left_on(home: str) -> list[int]:
    """Who still works on a home, after the moment that an end takes."""
    deadline = time.monotonic() + 5
    while running_on(home) and time.monotonic() < deadline:
        time.sleep(0.02)
    return running_on(home)


def suspend_at(moment: str, who: str, scene: StopScene, for_s: float = SUSPENDED_S) -> None:
    """SIGSTOP at that moment and SIGCONT later, for one process: nobody is blamed for it."""
    hub = scene.served()
    operation = scene.reach(hub, moment)
    pids = {"launcher": hub.launcher_pid, "hub": hub.hub_pid(), "helper": scene.helper_of(hub)}
    pid = pids[who]
    scene.assertTrue(pid, f"no {who} at {moment}")
    os.kill(pid, signal.SIGSTOP)
    try:
        scene.go_on()
        time.sleep(for_s)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
    afterwards(scene, hub, operation)


def suspensions() -> list[tuple[str, str]]:
    """Every process that there is at a moment, with the moment."""
    with_helper = (*PREPARING, NEXT_WRITTEN, op.PROVING)
    found = [(moment, who) for moment in (*PREPARING, *LATER) for who in ("launcher", "hub")]
    return found + [(moment, "helper") for moment in with_helper]


def stopped(moment: str, way: str) -> None:
    """`stop_at` in a scene of its own."""
    with one(StopScene) as scene:
        stop_at(moment, way, scene)


def suspended(moment: str, who: str) -> None:
    """`suspend_at` in a scene of its own."""
    with one(StopScene) as scene:
        suspend_at(moment, who, scene)


LATER = (NEXT_WRITTEN, "told", "starting", op.PROVING, "probation", COMMITTED)
