"""Two containers with one home: a second `serve` while the first still runs, and the first one's
end. Who serves, who waits, and what is told."""

from __future__ import annotations

import json
import time
import unittest
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Callable

from hub_upgrade.domain import operation as op
from tests.e2e.harness import wait_for
from tests.e2e.moments import PROBATION
from tests.e2e.ports import held_port
from tests.outside.containers.scene import HOME, HUB, PYTHON
from tests.outside.restarters.containers_killed import TAG, Killed
from tests.outside.restarters.containers_scene import GIVEN, Container, image_of

AT_A_TIME = 6
LONG_S = 18
"""A probation that lasts longer than a second `serve` waits."""
PATIENCE_S = 2.0
WHY = "is served already by process 1 at http://127.0.0.1:"
TRY = """
import fcntl, sys
try:
    fcntl.flock(open(sys.argv[1]), fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    print("held")
else:
    print("free")
"""


class Rolling(Killed):
    """`one` serves, and `other` comes with the same home and a port of its own."""

    def setUp(self) -> None:
        super().setUp()
        self.other = Container(self, held_port(), "other")
        self.addCleanup(self.other.remove)

    def second(self, *options: str, command: tuple[str, ...] = ()) -> None:
        """The other container, as a deployment that does not wait would start it."""
        pauses = f"--env=TEST_PAUSES={GIVEN}/pauses"
        self.other.run(self.mount, pauses, *options, tag=TAG, command=command)
        wait_for(lambda: self.other.running() or self.other.output(), "the second container")

    def waits(self) -> None:
        """Long enough to serve, the other one does not, nor has it given up."""
        time.sleep(PATIENCE_S)
        self.assertEqual((self.other.output(), self.other.running()), ("", True))

    def seen(self) -> dict[str, Any]:
        """What a second `serve` has no business to change."""
        files = {name: Path(self.volume, name).read_bytes() for name in ("serve.json",)}
        boot = Path(self.volume, "releases", "boot.json")
        return {
            **files, "boot": boot.read_bytes(), "health": self.health(),
            "operation": self.record_there().get("operation_id"),
            "pid": self.one.told("{{.State.Pid}}"),
        }  # fmt: skip

    def lock(self, name: str) -> str:
        """Whether a lock of home can be had in a third container: "held" or "free"."""
        return self.engine.run("run", "--rm", self.mount, image_of(TAG), PYTHON, "-c", TRY,
                               f"{HOME}/{name}")  # fmt: skip

    def answers(self, version: str) -> None:
        """The other one serves, with all that the first one left: tokens, and the record."""
        self.port = self.other.port
        wait_for(lambda: self.version() == version, f"{version}: {self.other.output()}")
        self.assertEqual(self.get("/api/hub", self.token_known)[0], 200)

    # --- lives ---

    def waits_while_another_prepares(self) -> None:
        """The second says why, again and again; the first one's operation goes on; then a turn."""
        operation = self.reach(op.PREFLIGHT)
        before = self.seen()
        self.second("--restart=always")
        wait_for(lambda: WHY in self.other.output(), f"why: {self.other.output()}")
        self.assertEqual(self.seen(), before)
        locks = [self.lock(name) for name in ("serve.lock", "operation.lock")]
        self.assertEqual(locks, ["held", "held"])
        self.go_on()
        self.assertEqual(self.ended(operation)["phase"], "succeeded")
        self.assertEqual(self.one.stop(), 0)
        self.answers("1.1.0")

    def waits_while_another_is_on_probation(self) -> None:
        operation = self.reach_with(PROBATION, probation_s=LONG_S)
        before = self.seen()
        self.second()
        wait_for(lambda: not self.other.running(), "its end")
        self.assertEqual(self.other.told("{{.State.ExitCode}}"), "1")
        self.assertIn(f"{WHY}{self.one.port}", self.other.output())
        after = self.seen()
        self.assertEqual((after["health"], after["pid"]), (before["health"], before["pid"]))
        self.assertEqual(self.ended(operation)["phase"], "succeeded")
        self.assertEqual((self.version(), self.lock("serve.lock")), ("1.1.0", "held"))

    def takes_over(self, end: Callable[[], Any]) -> None:
        """The first one ends within the time that the second waits."""
        operation = self.reach_with("", probation_s=0.4)
        self.assertEqual(self.ended(operation)["phase"], "succeeded")
        self.second()
        self.waits()
        end()
        self.answers("1.1.0")
        self.assertNotIn("cannot", self.other.output())

    def takes_over_from_one_that_stops(self) -> None:
        self.takes_over(self.one.stop)

    def takes_over_from_one_that_is_killed(self) -> None:
        self.takes_over(lambda: self.engine.run("kill", self.one.name))

    def takes_over_a_trial(self) -> None:
        """What was on probation there goes on here, and nothing is rejected."""
        operation = self.reach_with(PROBATION, probation_s=2 * PATIENCE_S)
        self.second()
        self.waits()
        self.assertEqual(self.one.stop(), 0)
        self.answers("1.1.0")
        self.assertEqual(self.ended(operation)["phase"], "succeeded")
        self.assertEqual(self.boot()["rejected"], [])

    def waits_for_one_that_proves(self) -> None:
        """`upgrade` without a hub, in a container of its own; from here nobody can signal it."""
        self.configure(probation_s=2)
        words = ("upgrade", "--releases", f"{GIVEN}/repository")
        self.one.run(self.mount, tag=TAG, command=(PYTHON, HUB, *words))
        serve = Path(self.volume, "serve.json")
        wait_for(lambda: serve.exists() and json.loads(serve.read_bytes()).get("proving"),
                 f"a proof: {self.one.output()}")  # fmt: skip
        self.second()
        wait_for(lambda: not self.one.running(), "the end of the proof")
        self.assertEqual(self.one.told("{{.State.ExitCode}}"), "0", self.one.output())
        self.answers("1.1.0")
        self.assertEqual(self.record_there()["phase"], "succeeded")

    def reach_with(self, moment: str, **config: Any) -> str:
        """As `reach`, with a configuration and no restart policy; "" is no moment at all."""
        self.configure(**config)
        self.one.run(self.mount, f"--env=TEST_PAUSES={GIVEN}/pauses", tag=TAG)
        self.serves()
        operation = str(self.post(self.token_known)["operation_id"])
        if moment:
            self.serves("1.1.0")
        return operation


LIVES: Iterable[Callable[[Any], None]] = (
    Rolling.waits_while_another_prepares,
    Rolling.waits_while_another_is_on_probation,
    Rolling.takes_over_from_one_that_stops,
    Rolling.takes_over_from_one_that_is_killed,
    Rolling.takes_over_a_trial,
    Rolling.waits_for_one_that_proves,
)


class Lives(unittest.TestCase):
    """All at once, for they wait most of the time."""

    scene: type[Rolling]

    def live(self, life: Callable[[Any], None]) -> None:
        scene = self.scene()
        try:
            scene.setUp()
            life(scene)
        finally:
            scene.doCleanups()

    def test_of_two_with_one_home_one_serves_and_the_other_waits_or_says_why(self) -> None:
        with ThreadPoolExecutor(AT_A_TIME) as pool:
            lives = [(life.__name__, pool.submit(self.live, life)) for life in LIVES]
            for name, life in lives:
                with self.subTest(name):
                    life.result()
