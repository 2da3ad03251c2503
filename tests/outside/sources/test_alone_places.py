"""Containers whose code runs from where no upgrade would reach it, and one where it does."""

from __future__ import annotations

import unittest
from typing import Any

from tests.e2e.harness import wait_for
from tests.outside.sources.box import (
    BUN,
    HOME,
    INSTALL,
    TESTHUB,
    Box,
    BoxCase,
    set_up_module,
)

IN_IMAGE = "the container's own files"
OLD = "/parachute-old/bun"


def setUpModule() -> None:
    set_up_module()


class Places(BoxCase):
    def must_redeploy(self, argv: list[str], install: str, *words: str) -> dict[str, Any]:
        """Run so, its upgrade is a redeploy: nothing is touched, and nobody is restarted."""
        box = self.box()
        box.run(argv, install)
        box.publish("1.1.0")
        before = box.touched()
        op = box.ask()
        record = box.ended(op)
        self.assertEqual(record["phase"], "redeploy-required", record)
        self.assertEqual(record["mode"], "redeploy-required")
        for word in words:
            self.assertIn(word, record["reason"])
        self.assertIn("container: ", "\n".join(record["evidence"]))
        self.untouched(box, before)
        told = box.hub("helper", "--op", op, "--channel", "latest")
        self.assertEqual((told.returncode, told.stderr), (3, ""))
        self.assertIn(record["reason"], told.stdout)
        self.assertEqual(box.hub("plan").returncode, 3)
        self.assertEqual(box.hub("upgrade").returncode, 3)
        self.untouched(box, before)
        return record

    def untouched(self, box: Box, before: object) -> None:
        self.assertEqual(box.touched(), before)
        self.assertEqual((box.runs(), box.installed()), ("1.0.0", "1.0.0"))
        self.assertEqual(box.output().count("serving"), 1)

    def test_an_image_that_runs_its_own_source_beside_an_install_on_the_volume(self) -> None:
        argv = [BUN, "/app/src/cli.ts"]
        record = self.must_redeploy(
            argv, INSTALL, "/app/src/cli.ts", f"bun would rewrite {INSTALL}"
        )
        self.assertEqual(record["source"], "unknown")

    def test_a_checkout_that_was_copied_into_the_image(self) -> None:
        record = self.must_redeploy([BUN, "/srv/hub/hub.js"], INSTALL, "/srv/hub", IN_IMAGE)
        self.assertEqual((record["source"], record.get("install")), ("container", None))
        self.assertIn("git: the work tree /srv/hub is its directory", record["evidence"])

    def test_a_directory_beside_the_volume_is_not_on_it(self) -> None:
        argv = [BUN, f"{OLD}/bin/testhub"]
        for install in (INSTALL, OLD, HOME):
            with self.subTest(install):
                record = self.must_redeploy(argv, install, OLD, IN_IMAGE)
                self.assertEqual(record["source"], "container")

    def test_what_runs_from_bun_s_directory_on_the_volume_is_in_place(self) -> None:
        box = self.box()
        box.run(TESTHUB)
        done = box.hub("plan", "--json")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn('"in-place"', done.stdout)
        self.assertIn(f"{INSTALL}/install/global/node_modules", done.stdout)

    def test_nor_does_it_matter_what_bun_install_says_there(self) -> None:
        box = self.box()
        box.run(TESTHUB, install=OLD)
        box.publish("1.1.0")
        op = box.ask()
        wait_for(lambda: box.runs() == "1.1.0", box.log(op))
        self.assertEqual((box.installed(), box.record()["mode"]), ("1.1.0", "in-place"))
        self.assertNotIn("/parachute-old", " ".join(box.touched()[0]))


if __name__ == "__main__":
    unittest.main()
