"""A service of Docker's swarm with one replica and one home, updated to another image: what stands
in examples/ for others (Recreate, one machine) is its default, and the other order is shown too."""

from __future__ import annotations

import json
import unittest
import uuid
from typing import Any

from tests.e2e.harness import build, wait_for
from tests.outside.containers.scene import HUB, PYTHON
from tests.outside.restarters.containers_engine import Docker
from tests.outside.restarters.containers_scene import EngineCase, image_of, set_up_images

ENGINE = Docker()
NEWER = "2.0.0"
UPDATED = ("completed", "paused", "rollback_completed", "rollback_paused")


def setUpModule() -> None:
    ENGINE.set_up()
    set_up_images(ENGINE, **{NEWER: build(NEWER)})
    there = ("--advertise-addr=127.0.0.1", "--listen-addr=127.0.0.1:2377")
    ENGINE.run("swarm", "init", *there)


class Swarm(EngineCase):
    engine = ENGINE

    def setUp(self) -> None:
        super().setUp()
        self.service = f"hub-{uuid.uuid4().hex[:8]}"
        self.addCleanup(self.remove)

    def remove(self) -> None:
        """The service, and wait until its tasks are gone from the home."""
        ENGINE.ask("service", "rm", self.service)
        wait_for(lambda: not self.containers(), "the end of its containers")

    def create(self, *options: str, checked: bool = True) -> None:
        """The service of 1.0.0, and wait until it answers."""
        check = "--health-interval=1s" if checked else "--no-healthcheck"
        ENGINE.run(
            "service", "create", "--detach", "--no-resolve-image", f"--name={self.service}",
            "--restart-delay=1s", "--update-monitor=1s", check,
            f"--mount=type=bind,source={self.volume},target=/parachute",
            f"--mount=type=bind,source={self.given},target=/given,readonly",
            f"--env=PORT={self.port}", "--env=PARACHUTE_ADMIN_TOKEN_FILE=/given/token",
            *options, image_of("1.0.0"),
        )  # fmt: skip
        wait_for(lambda: self.answers_there() == "1.0.0", f"1.0.0: {self.output()}")

    def update(self, *options: str) -> str:
        """To the image of 2.0.0; how the swarm says that it went."""
        words = ("--detach", "--no-resolve-image", f"--image={image_of(NEWER)}", *options)
        ENGINE.run("service", "update", *words, self.service)
        return str(wait_for(self.went, f"the update's end: {self.output()}"))

    def went(self) -> str:
        told = json.loads(ENGINE.run("service", "inspect", self.service))[0]
        status: dict[str, Any] = told.get("UpdateStatus") or {}
        return status["State"] if status.get("State") in UPDATED else ""

    def containers(self, *options: str) -> list[str]:
        """Those of the service, the newest first."""
        mine = f"--filter=label=com.docker.swarm.service.name={self.service}"
        return ENGINE.ask("ps", "--quiet", mine, *options).stdout.split()

    def answers_there(self) -> str:
        """The version that answers in one of its containers, "" for none."""
        for one in self.containers():
            told = ENGINE.ask("exec", one, PYTHON, HUB, "doctor", "--health").stdout
            if told.startswith("ok: hub "):
                return told.split()[2]
        return ""

    def output(self) -> str:
        told = (ENGINE.ask("logs", one).stderr for one in self.containers("--all"))
        return "\n---\n".join(told)[-6000:]

    def test_the_first_ends_before_the_second_begins_and_nobody_waits(self) -> None:
        self.create("--network=host", "--env=PARACHUTE_BIND_HOST=127.0.0.1")
        self.assertEqual(self.update("--update-order=stop-first"), "completed")
        self.serves(NEWER)
        self.assertNotIn("is served already", self.output())

    def test_begun_first_and_not_checked_the_second_waits_for_the_first_ones_end(self) -> None:
        self.create("--network=host", "--env=PARACHUTE_BIND_HOST=127.0.0.1", checked=False)
        self.upgraded()
        self.assertEqual(self.update("--update-order=start-first"), "completed")
        self.serves(NEWER)
        wait_for(lambda: self.boot()["current"].startswith(f"{NEWER}-"), "the commit")
        self.assertTrue(self.boot()["previous"].startswith("1.1.0-"))

    def test_begun_first_and_checked_it_never_comes_to_be_and_the_first_serves_on(self) -> None:
        """The swarm waits for the second to be healthy, and that one for the first to end."""
        self.create()
        before = self.boot()
        self.assertEqual(self.update("--update-order=start-first"), "paused")
        self.assertIn("is served already by process 1", self.output())
        self.assertEqual((self.answers_there(), self.boot()), ("1.0.0", before))


if __name__ == "__main__":
    unittest.main()
