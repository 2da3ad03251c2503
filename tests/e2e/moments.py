"""Releases that wait at a named moment of an upgrade, so that a test can strike right there.

Every process of such a release looks into the directory `$TEST_PAUSES`: where a file bears the
name of the moment, it makes `MOMENT.reached` and goes on once the file is gone.
"""

from __future__ import annotations

import contextlib
import os
import unittest
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Callable

from hub_upgrade.domain import operation as op
from tests.e2e.harness import CONFIG, Hub, RealCase, build, cli, command_of, descendants, wait_for

ROOT = Path(__file__).resolve().parent.parent.parent
AT_A_TIME = 2
VERSIONS = ("1.0.0", "1.1.0", "1.2.0")

PREPARING = (op.ACCEPTED, *op.PATH[: op.PATH.index(op.HANDING_OVER) + 1])
"""Nothing is handed over yet: at `handing-over` the record says so, but there is no `next.json`."""
NEXT_WRITTEN = "next-written"
TOLD = "told"
STARTING = "starting"
PROBATION = "probation"
COMMITTED = "committed"
TRIAL = (NEXT_WRITTEN, TOLD, STARTING, op.PROVING, PROBATION, COMMITTED)
MOMENTS = (*PREPARING, *TRIAL)

_PAUSES = b"""
import os, time

def pause(moment):
    where = os.environ.get("TEST_PAUSES", "")
    path = os.path.join(where, moment)
    if where and os.path.exists(path):
        open(path + ".reached", "w").close()
        while os.path.exists(path):
            time.sleep(0.005)

def before(moment, act):
    def paused(*args, **named):
        pause(moment)
        return act(*args, **named)
    return paused

def after(moment, act):
    def paused(*args, **named):
        result = act(*args, **named)
        pause(moment or args[1])
        return result
    return paused
"""
_PATCHES = {
    "hub_upgrade/upgrade/journal.py": "Journal.step = pauses.after('', Journal.step)",
    "hub_upgrade/upgrade/transaction.py": (
        "Transaction.run = pauses.before('accepted', Transaction.run)"
    ),
    "hub_upgrade/upgrade/managed.py": (
        "ManagedTransaction.run = pauses.before('accepted', ManagedTransaction.run)"
    ),
    "hub_upgrade/restarters/own_launcher.py": (
        "boot_store.write_next = pauses.after('next-written', boot_store.write_next)"
    ),
    "hub_upgrade/cli/version.py": "main = pauses.before('told', main)",
    "hub_upgrade/cli/plan.py": "main = pauses.before('plan', main)",
    "hub_upgrade/hub/main.py": "Hub.run = pauses.before('starting', Hub.run)",
    "hub_upgrade/upgrade/preflight.py": "WATCH_S = 0.2",
}


def pausing(version: str) -> str:
    """A real release of that version, with the pauses in it."""
    overlay = {"hub_upgrade/pauses.py": _PAUSES}
    for name, patch in _PATCHES.items():
        code = (ROOT / name).read_bytes()
        overlay[name] = code + b"\nfrom hub_upgrade import pauses\n" + patch.encode() + b"\n"
    return build(version, overlay)


class Scene(RealCase):
    """A hub of 1.0.0 that can be held at each moment of its upgrade to 1.1.0."""

    config = {**CONFIG, "probation_s": 2.0}

    def setUp(self) -> None:
        super().setUp()
        self.old = pausing("1.0.0")
        self.pauses = os.path.join(self.directory, "pauses")
        os.mkdir(self.pauses)
        self.offer("1.1.0")

    def runTest(self) -> None:  # noqa: N802 - a scene is also a fixture of its own
        """Nothing: what is made by hand needs a name of a test."""

    def offer(self, version: str) -> None:
        """Publish a release."""
        program = pausing(version)
        done = cli(self.old, "release", "publish", self.repository, "--channel", "latest", program)
        self.assertEqual(done.returncode, 0, done.stderr)

    def served(self) -> Hub:
        """A hub that serves, with the directory of its pauses."""
        hub = self.hub(self.old)
        return hub.start(TEST_PAUSES=self.pauses)

    def hold(self, *moments: str) -> None:
        """From now on whoever comes to one of these waits there."""
        for moment in moments:
            Path(self.pauses, moment).touch()

    def go_on(self) -> None:
        """Nobody waits any more."""
        for name in os.listdir(self.pauses):
            os.unlink(os.path.join(self.pauses, name))

    def held(self, moment: str) -> None:
        """Wait until somebody has come to the moment."""
        wait_for(lambda: os.path.exists(os.path.join(self.pauses, moment + ".reached")), moment)

    def reach(self, hub: Hub, moment: str, version: str = "1.1.0") -> str:
        """Ask for the upgrade to `version`; returns its id at that very moment of it."""
        hub.token()
        first = moment if moment in (*PREPARING, NEXT_WRITTEN) else op.HANDING_OVER
        self.hold(first)
        operation = hub.upgrade()
        self.held(first)
        if first == moment:
            return operation
        if moment in (TOLD, STARTING, op.PROVING):
            self.hold(moment)
        os.unlink(os.path.join(self.pauses, first))
        if moment == PROBATION:
            wait_for(lambda: (hub.health() or {}).get("version") == version, "the trial's answer")
        elif moment == COMMITTED:
            wait_for(lambda: str(hub.boot()["current"]).startswith(version + "-"), "the commit")
        else:
            self.held(moment)
        return operation

    def helper_of(self, hub: Hub) -> int:
        """The helper's PID; 0 when none lives."""
        for pid in descendants(hub.launcher_pid):
            if "helper" in command_of(pid):
                return pid
        return 0

    def boot_of(self, hub: Hub) -> dict[str, Any]:
        """`boot.json`, or {} for none."""
        with contextlib.suppress(OSError, ValueError):
            return hub.boot()
        return {}

    def quick(self) -> None:
        """Short probations from the next start on: what is to be shown has been shown."""
        self.configure(probation_s=0.2)


@contextlib.contextmanager
def one(kind: type[RealCase] = Scene) -> Iterator[Any]:
    """A scene for one of several cases in one test, cleaned up after it."""
    made = kind()
    try:
        made.setUp()
        yield made
    finally:
        made.doCleanups()


def all_of(
    test: unittest.TestCase,
    cases: Iterable[Sequence[Any]],
    run: Callable[..., None],
    versions: Sequence[str] = VERSIONS,
) -> None:
    """`run(*case)` for every case, two at a time; each that fails is one failed subtest."""
    table = list(cases)
    for version in versions:
        pausing(version)  # before there are threads: each is built only once
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        began = [pool.submit(run, *case) for case in table]
        for case, future in zip(table, began):
            with test.subTest(case=" ".join(str(word) for word in case)):
                future.result()
