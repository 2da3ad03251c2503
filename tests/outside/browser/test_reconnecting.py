"""The connection is lost, in every way that an upgrade or a fault can lose it: the page says so,
keeps trying, and shows what is true as soon as it can be asked."""

from __future__ import annotations

import contextlib
import os
import signal
import unittest
from pathlib import Path

from tests.e2e import bad
from tests.e2e.harness import Hub, wait_for
from tests.outside.browser.scene import CUT, NEXT, PageCase

WATCH = """
const badge = document.getElementById('badge');
window.seen = [];
new MutationObserver(() => window.seen.push(badge.innerText))
  .observe(badge, {childList: true, characterData: true, subtree: true});
"""
WENT_AWAY = "return (window.seen || []).some((words) => words.includes('reconnecting'))"


class ReconnectingTest(PageCase):
    def watched(self, hub: Hub) -> None:
        self.enter(hub)
        self.browser.run(WATCH)

    def lost(self) -> None:
        self.browser.until(lambda: self.browser.run(WENT_AWAY), "the word that it reconnects")

    def back(self) -> None:
        self.browser.sees("running", "#badge")

    def kill_hub(self, hub: Hub) -> int:
        """SIGKILL for the hub's process; its launcher starts another."""
        pid = int(wait_for(hub.hub_pid, "the hub's process"))
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        self.may_log = (CUT, "status of 503")
        return pid

    def test_the_hub_is_killed_and_comes_back(self) -> None:
        hub = self.serving()
        self.watched(hub)
        since = self.browser.run("return document.querySelector('#f-since time').dateTime")
        self.kill_hub(hub)
        self.lost()
        self.back()
        self.browser.until(
            lambda: since
            != self.browser.run("return document.querySelector('#f-since time').dateTime"),
            "the new process's own facts",
        )

    def test_the_hub_is_killed_while_the_upgrade_is_prepared(self) -> None:
        self.publish(self.new)
        hub = self.serving()
        self.watched(hub)
        self.browser.button("Upgrade to 1.1.0")
        wait_for(lambda: hub.record().get("step") in ("verifying", "preflight"), "the helper")
        self.kill_hub(hub)
        self.lost()
        self.browser.sees("Upgraded: 1.0.0 → 1.1.0", "#operation-title")
        self.back()
        self.shows(NEXT)

    def test_the_new_release_is_killed_on_probation(self) -> None:
        self.publish(self.new)
        hub = self.serving()
        self.watched(hub)
        self.browser.button("Upgrade to 1.1.0")
        self.browser.sees("on probation", "#badge")
        self.kill_hub(hub)
        self.lost()
        self.browser.sees("Taken back to 1.0.0", "#operation-title")
        self.back()
        self.shows("1.0.0")

    def test_all_is_killed_and_decided_at_the_next_start(self) -> None:
        self.configure(probation_s=20)
        self.publish(self.new)
        hub = self.serving()
        self.watched(hub)
        self.browser.button("Upgrade to 1.1.0")
        self.browser.sees("on probation", "#badge")
        self.may_log = (CUT, "status of 503")
        hub.kill_all()
        self.lost()
        self.browser.sees("The hub does not answer — this page keeps trying.", "#wait")
        self.browser.sees("that is decided at the next start", "#wait")
        self.assertIn("Upgrading 1.0.0 → 1.1.0", self.browser.text("#operation-title"))
        self.assertIn("Last heard: Prove", self.browser.text("#operation-text"))
        self.configure(probation_s=0.4)
        hub.start()
        self.browser.sees("Upgraded: 1.0.0 → 1.1.0", "#operation-title")
        self.back()
        self.assertEqual(self.browser.text("#wait"), "")

    def test_a_trial_that_knows_nobody_signs_nobody_out(self) -> None:
        code = (
            "later(1.2, lambda hub: os._exit(4))\n"
            "def dispatch(table, request, app):\n"
            "    if request.path == '/health':\n"
            "        return _good_dispatch(table, request, app)\n"
            "    return error_response(401, 'unauthenticated', 'who are you?')"
        )
        spoilt = bad.spoilt("it knows nobody", code, bad.REAL_HOME)
        bad.publish(self.repository, bad.build(NEXT, {bad.HUB: spoilt}))
        hub = self.serving()
        self.watched(hub)
        self.may_log = (CUT, "status of 503", "status of 401")
        self.browser.button("Upgrade to 1.1.0")
        self.browser.sees("Taken back to 1.0.0", "#operation-title")
        self.back()
        self.assertEqual(self.browser.text("#sign-in"), "")
        told = [entry["message"] for entry in self.browser.log("browser")]
        self.assertTrue([words for words in told if "status of 401" in words], told)

    def test_a_hub_that_cannot_answer_is_asked_until_it_can(self) -> None:
        code = (
            "def dispatch(table, request, app):\n"
            "    answer = _good_dispatch(table, request, app)\n"
            "    well = os.path.exists(app.settings.home.root + '/well')\n"
            "    if request.path != '/api/hub' or well:\n"
            "        return answer\n"
            "    return error_response(500, 'internal_error', 'this is a bug in the hub')"
        )
        spoilt = bad.spoilt("it cannot say what it is", code, bad.EVERYWHERE)
        hub = self.hub(bad.build("1.0.0", {bad.HUB: spoilt})).start()
        self.page = hub.url.rstrip("/") + "/"
        self.may_log = ("status of 500",)
        self.browser.open(self.link(hub))
        self.browser.sees("This is a bug in the hub — this page keeps trying.", "#wait")
        Path(hub.home, "well").touch()
        self.shows("1.0.0")
        self.assertEqual(self.browser.text("#wait"), "")

    def test_a_hub_that_hangs_is_asked_again(self) -> None:
        hub = self.serving()
        self.watched(hub)
        pid = int(wait_for(hub.hub_pid, "the hub's process"))
        self.may_log = (CUT, "status of 503")
        with self.clock_forward():
            os.kill(pid, signal.SIGSTOP)
            try:
                self.lost()
            finally:
                os.kill(pid, signal.SIGCONT)
        self.back()

    @contextlib.contextmanager
    def clock_forward(self):  # type: ignore[no-untyped-def]
        """Let the page think that nothing was heard for a minute."""
        self.browser.run("const now = Date.now; window.late = 60e3;"
                         "Date.now = () => now() + window.late;")  # fmt: skip
        yield
        self.browser.run("window.late = 0")


if __name__ == "__main__":
    unittest.main()
