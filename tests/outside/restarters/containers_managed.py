"""Somebody else's hub in a container, on the volume: as its process 1, and with `hub.pyz serve`
beside it, whichever engine keeps the container."""

from __future__ import annotations

import json
from typing import Any

from tests.e2e.harness import FINISHED, wait_for
from tests.e2e.ports import held_port
from tests.outside.restarters.containers_engine import Engine
from tests.outside.sources import box, programs
from tests.outside.sources.box import HUB, PYTHON, QUICK, TESTHUB, Box, BoxCase
from tests.outside.sources.machine import version_at

LOOP = "while :; do {}; sleep 0.2; done & exec {}"
"""What keeps two: one is begun again whenever it ends, and the other ends with the container."""


class DockerBox(Box):
    """The same container under Docker; its engine's own ways are set by `boxed`."""

    network = ("--network=host",)
    removal = ("rm", "--force")


def boxed(docker: Engine) -> type[Box]:
    """The suite of sources' image in Docker, for the tests of the calling module."""
    docker.build(box.recipe(), box.IMAGE)
    return type("Boxed", (DockerBox,), {
        "engine": staticmethod(docker.run), "asked": staticmethod(docker.ask),
    })  # fmt: skip


class ManagedCase(BoxCase):
    """A test with a managed hub in a box."""

    def say(self, box: Box, **hub: Any) -> None:
        """hub.json once more."""
        told = {"health_url": f"http://127.0.0.1:{box.port}/health", **hub}
        (box.volume / "hub.json").write_text(json.dumps({**QUICK, "hub": told}))

    def settled(self, box: Box) -> dict[str, Any]:
        """The terminal record, by looking for as long as the container ends beneath who looks."""

        def look() -> bool:
            box.hub("status")
            return box.record().get("phase") in FINISHED

        wait_for(look, f"the end: {box.record()} {box.output()}")
        return box.record()


class ProcessOne(ManagedCase):
    """`exec hub.pyz upgrade` in a container whose process 1 is the managed hub."""

    def running(self, **hub: Any) -> Box:
        made = self.box()
        self.say(made, **hub)
        made.run(TESTHUB)
        made.publish("1.1.0")
        return made

    def test_it_is_refused_before_anything_is_touched_and_told_what_to_do(self) -> None:
        made = self.running()
        before = made.touched()
        done = made.hub("upgrade")
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        for words in ("the hub is process 1 here", "Have the container run hub.pyz serve",
                      'set hub.restart to "exit"'):  # fmt: skip
            self.assertIn(words, done.stdout + done.stderr)
        self.assertEqual((made.touched(), made.runs()), (before, "1.0.0"))
        self.assertEqual(made.output().count("serving"), 1)
        self.assertEqual(made.record()["phase"], "failed")

    def test_told_that_something_starts_it_again_it_is_done_and_whoever_looks_next_ends_it(
        self,
    ) -> None:
        made = self.running(restart="exit")
        made.hub("upgrade")  # it ends with the container, whatever it was about to say
        wait_for(lambda: made.output().count("serving") == 2, f"a restart: {made.output()}")
        record = self.settled(made)
        self.assertEqual((record["phase"], made.runs()), ("succeeded", "1.1.0"), record)
        self.assertEqual((made.installed(), made.output().count("serving")), ("1.1.0", 2))


class UnderAnInit(ManagedCase):
    """The managed hub alone under an init: no process 1, and the container ends with it."""

    def test_it_is_as_good_as_process_1(self) -> None:
        made = self.box()
        made.network = (*made.network, "--init")
        self.say(made)
        made.run(TESTHUB)
        made.publish("1.1.0")
        before = made.touched()
        done = made.hub("upgrade")
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertIn("all that process 1 waits for", done.stdout + done.stderr)
        self.assertEqual((made.touched(), made.runs()), (before, "1.0.0"))
        self.say(made, restart="container")
        made.hub("upgrade")
        wait_for(lambda: made.output().count("serving") == 2, f"a restart: {made.output()}")
        record = self.settled(made)
        self.assertEqual((record["phase"], made.runs()), ("succeeded", "1.1.0"), record)


class Beside(ManagedCase):
    """Both in one container, one of them begun again by a shell."""

    def begun(self, first: str, *options: str) -> Box:
        """`first` is what the container ends with: "hub.pyz", or the managed "hub"."""
        made = self.box()
        made.network = (*made.network, *options)
        self.serve_port = held_port()
        serve = " ".join([PYTHON, HUB, "serve", "--port", str(self.serve_port)])
        hub = " ".join(TESTHUB)
        begun_again, ours = (hub, serve) if first == "hub.pyz" else (serve, hub)
        made.run(["/bin/sh", "-c", LOOP.format(begun_again, ours)])
        wait_for(lambda: version_at(self.serve_port), f"hub.pyz: {made.output()}")
        return made

    def upgraded(self, made: Box) -> dict[str, Any]:
        """By the command line, as an operator would; the record."""
        made.hub("upgrade")
        record = made.record()
        self.assertIn(record["phase"], FINISHED, record)
        return record

    def test_it_is_restarted_alone_and_proven_with_or_without_an_init(self) -> None:
        for options in ((), ("--init",)):
            with self.subTest(options):
                made = self.begun("hub.pyz", *options)
                made.publish("1.1.0")
                one = made.processes()[0]
                self.assertEqual(HUB in one, not options, one)
                record = self.upgraded(made)
                self.assertEqual((record["phase"], made.runs()), ("succeeded", "1.1.0"), record)
                lines = made.output().splitlines()
                starts = [line for line in lines if line.startswith("serving ")]
                self.assertEqual(starts, ["serving 1.0.0", "serving 1.1.0"])
                self.assertEqual(made.processes()[0], one)
                made.close()

    def test_a_sick_version_is_taken_back_and_both_run_on(self) -> None:
        made = self.begun("hub.pyz")
        made.publish("1.1.0", programs.SICK)
        record = self.upgraded(made)
        self.assertEqual((record["phase"], record["rolled_back_to"]), ("failed", "1.0.0"), record)
        wait_for(lambda: made.runs() == "1.0.0", made.output())
        self.assertTrue(version_at(self.serve_port))

    def test_beside_process_1_it_is_refused_but_where_hub_json_says_that_both_come_back(
        self,
    ) -> None:
        made = self.begun("hub")
        made.publish("1.1.0")
        record = self.upgraded(made)
        self.assertEqual((record["phase"], made.runs()), ("failed", "1.0.0"), record)
        self.assertIn("the hub is process 1 here", record["error"])
        self.say(made, restart="exit")
        made.hub("upgrade")
        wait_for(lambda: made.runs() == "1.1.0", f"a restart: {made.output()}")
        again = made.record()["operation_id"]
        self.assertNotEqual(again, record["operation_id"])
        self.assertEqual(made.ended(again)["phase"], "succeeded", made.log(again))
        self.assertTrue(wait_for(lambda: version_at(self.serve_port), made.output()))
