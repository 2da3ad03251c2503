"""Each main state as one sees it: no violation that axe-core finds, light and dark, nothing wider
than the narrowest screen; the pictures of it in OUTSIDE/screenshots (and, with SCREENSHOT=FILE,
the one that the README shows)."""

from __future__ import annotations

import json
import os
import unittest
from pathlib import Path
from typing import Any

from hub_upgrade.host.files import Lock
from tests.e2e import bad
from tests.e2e.harness import CONFIG
from tests.outside.browser.scene import CUT, OUTSIDE, PageCase

SHOTS = OUTSIDE / "screenshots"
LONG_VERSION = "1.0.0-" + "a" * 50
RULES = {"resultTypes": ["violations"]}
FOUND = (
    "axe.run(document, {rules}).then((found) => JSON.stringify(found.violations.map((one) => "
    "[one.id, one.help, one.nodes.map((node) => [node.html, node.failureSummary])])))"
)
TOO_WIDE = """
const wide = document.documentElement.clientWidth;
return [...document.querySelectorAll('body *')]
  .filter((one) => one.checkVisibility() && !one.closest('.unseen'))
  .filter((one) => one.getBoundingClientRect().right > wide + 0.5)
  .map((one) => one.outerHTML.slice(0, 100));
"""


class LooksTest(PageCase):
    config: dict[str, Any] = {**CONFIG, "probation_s": 6}

    def setUp(self) -> None:
        super().setUp()
        found = sorted(OUTSIDE.glob("axe-core-*/axe.min.js"))
        self.assertTrue(found, f"no axe-core in {OUTSIDE}: run install.sh")
        self.axe = found[-1].read_text(encoding="utf-8")
        self.browser.cdp("Emulation.setTimezoneOverride", timezoneId="Europe/Berlin")

    def look(self, name: str) -> None:
        """Check and photograph the present state, light and dark, wide and narrow."""
        for scheme in ("light", "dark"):
            self.browser.media(prefers_color_scheme=scheme, prefers_reduced_motion="reduce")
            self.browser.evaluate(self.axe)
            found = json.loads(self.browser.evaluate(FOUND.replace("{rules}", json.dumps(RULES))))
            self.assertEqual(found, [], f"{name}, {scheme}")
            self.browser.screenshot(str(SHOTS / f"{name}-{scheme}.png"))
        self.browser.media(prefers_reduced_motion="reduce")
        for width in (390, 320):
            self.browser.screen(width, 844, mobile=True)
            self.assertEqual(self.browser.run(TOO_WIDE), [], f"{name}, {width} px wide")
            if width == 390:
                self.browser.screenshot(str(SHOTS / f"{name}-phone.png"))
        self.browser.screen(1000, 800)

    def test_signing_in(self) -> None:
        self.serving()
        self.browser.open(self.page)
        self.browser.sees("Or paste a link")
        self.look("sign-in")

    def test_from_idle_to_succeeded_and_taken_back(self) -> None:
        self.publish(self.new)
        hub = self.serving()
        self.enter(hub)
        self.browser.sees("Upgrade to 1.1.0", "#go")
        self.look("idle")
        self.browser.button("Upgrade to 1.1.0")
        self.browser.sees("on probation", "#badge")
        self.look("running")
        self.browser.sees("Upgraded: 1.0.0 → 1.1.0", "#operation-title")
        self.browser.sees("Nothing to do", "#plan-what")
        self.look("succeeded")
        code = "later(0.4, lambda hub: os._exit(4))"
        dies = bad.spoilt("it dies soon", code, bad.REAL_HOME)
        bad.publish(self.repository, bad.build("1.2.0", {bad.HUB: dies}), "1.2.0")
        self.may_log = (CUT, "status of 503")
        self.browser.button("Check again")
        self.browser.button("Upgrade to 1.2.0")
        self.browser.sees("Taken back to 1.1.0", "#operation-title")
        self.browser.sees("Try 1.2.0 again", "#go")
        self.look("failed")

    def test_redeploy_required_and_warnings(self) -> None:
        self.configure(home_persists=False, no_such_key=1)
        self.publish(self.new)
        hub = self.hub(bad.build(LONG_VERSION)).start()
        self.page = hub.url.rstrip("/") + "/"
        hub.upgrade()
        self.enter(hub)
        self.browser.sees("A redeploy is required", "#operation-title")
        self.browser.sees("no_such_key", "#warnings")
        self.browser.sees(f"{LONG_VERSION} → 1.1.0", "#plan-what")
        self.browser.click("summary")
        self.look("redeploy-required")

    def test_a_log_as_long_as_a_log_can_be(self) -> None:
        line = "x" * 1990
        record = {
            "operation_id": "00000000-0000-4000-8000-000000000000",
            "phase": "failed",
            "error": "it failed <b>on purpose</b>",
            "target_version": "9.9.9",
            "started_at": "2026-01-15T12:00:00.000Z",
            "finished_at": "2026-07-15T12:00:00.000Z",
            "requested_by": "<i>somebody</i> from 127.0.0.1",
            "log": [f"{number} {line}" for number in range(500)],
        }
        hub = self.hub()
        Path(hub.home, "hub-upgrade-status.json").write_text(json.dumps(record))
        hub.start()
        self.page = hub.url.rstrip("/") + "/"
        self.enter(hub)
        self.browser.sees("It failed <b>on purpose</b>", "#operation-text")
        self.browser.sees("<i>somebody</i> from 127.0.0.1, 2026-01-15 13:00:00 +01:00", "#who")
        self.browser.sees("Ended 2026-07-15 14:00:00 +02:00", "#who")
        self.browser.click("#log-title")
        self.browser.sees("499 xxx", "#log")
        self.look("long-log")
        tall = self.browser.run("return document.getElementById('log').clientHeight")
        self.assertLess(tall, 400)

    def test_nothing_moves_for_whom_nothing_shall(self) -> None:
        self.serving()
        self.browser.open(self.page)
        script = (
            "const one = document.getElementById('version'); one.className = 'fresh';"
            "return getComputedStyle(one).animationName"
        )
        self.browser.media(prefers_reduced_motion="no-preference")
        self.assertEqual(self.browser.run(script), "fresh")
        self.browser.media(prefers_reduced_motion="reduce")
        self.assertEqual(self.browser.run(script), "none")

    def test_a_download_shows_how_far_it_is(self) -> None:
        record = {
            "operation_id": "00000000-0000-4000-8000-000000000001",
            "phase": "running",
            "step": "staging",
            "current_version": "1.0.0",
            "target_version": "1.1.0",
            "progress": {"done": 3_000_000, "total": 12_000_000, "unit": "bytes"},
        }
        hub = self.hub()
        status = Path(hub.home, "hub-upgrade-status.json")
        status.write_text(json.dumps(record))
        held = Lock.try_take(os.path.join(hub.home, "operation.lock"))  # as its helper would
        assert held is not None
        self.addCleanup(held.release)
        hub.start()
        self.page = hub.url.rstrip("/") + "/"
        self.enter(hub)
        self.browser.sees("Upgrading 1.0.0 → 1.1.0", "#operation-title")
        self.browser.sees("3.00 MB of 12.00 MB", "#progress")
        bar = "const bar = document.getElementById('bar'); return [bar.position, bar.max]"
        self.assertEqual(self.browser.run(bar), [0.25, 1])
        self.look("downloading")
        record["progress"] = {"done": 4, "total": None, "unit": "files"}
        status.write_text(json.dumps(record))
        self.browser.sees("4 files", "#progress")
        self.assertEqual(self.browser.run(bar), [-1, 1], "nobody knows how far")
        self.may_log = (CUT,)
        hub.kill_all()
        self.browser.sees("this page keeps trying", "#wait")
        self.look("reconnecting")

    def test_the_picture_for_the_readme(self) -> None:
        wanted = os.environ.get("SCREENSHOT")
        if not wanted:
            self.skipTest("no SCREENSHOT=FILE asks for it")
        self.publish(self.new)
        hub = self.serving()
        self.enter(hub)
        self.may_log = (CUT, "status of 503")
        self.browser.button("Upgrade to 1.1.0")
        self.browser.sees("Nothing to do", "#plan-what")
        code = "later(0.4, lambda hub: os._exit(4))"
        dies = bad.spoilt("it dies soon", code, bad.REAL_HOME)
        bad.publish(self.repository, bad.build("1.2.0", {bad.HUB: dies}), "1.2.0")
        self.browser.button("Check again")
        self.browser.button("Upgrade to 1.2.0")
        self.browser.sees("Try 1.2.0 again", "#go")
        bad.publish(self.repository, bad.build("1.2.1"), "1.2.1")
        self.browser.button("Check again")
        self.browser.button("Upgrade to 1.2.1")
        self.browser.sees("on probation", "#badge")
        self.browser.media(prefers_color_scheme="light", prefers_reduced_motion="reduce")
        self.browser.screen(820, 600)
        self.browser.run("document.activeElement.blur()")
        self.browser.screenshot(wanted)
        self.browser.sees("Upgraded: 1.1.0 → 1.2.1", "#operation-title")


if __name__ == "__main__":
    unittest.main()
