"""What an operator sees and does: each way that an operation can go, on the real page."""

from __future__ import annotations

import os
import subprocess
import sys
import unittest

from tests.e2e import bad
from tests.e2e.harness import Hub, environment
from tests.outside.browser.looked_after import CheckoutPlace
from tests.outside.browser.proxy import PREFIX, Proxy
from tests.outside.browser.scene import CUT, NEXT, PageCase
from tests.outside.sources import programs
from tests.outside.sources.machine import Machine

UPGRADED = "Upgraded: 1.0.0 → 1.1.0"
PROVEN = "1.1.0 stayed healthy for its whole probation, and is proven."
WATCH = """
const seen = window.seen = [];
const look = () => {
  const words = [document.getElementById(arguments[0]).innerText, document.title].join(' | ');
  if (seen.at(-1) !== words) seen.push(words);
};
new MutationObserver(look).observe(document, {subtree: true, childList: true, characterData: true});
look();
"""


BUSY = """
const when = arguments[0], ask = window.fetch, title = document.getElementById('operation-title');
const said = {error: 'overloaded', error_description: 'the hub is being looked at'};
window.refusals = 4;
window.fetch = async (path, how) => {
  if (path !== 'api/hub' || !window.refusals || !title.innerText.startsWith(when)) {
    return ask(path, how);
  }
  window.refusals -= 1;
  return new Response(JSON.stringify(said), {status: 503});
};
"""
"""As a hub answers while it looks at the one that it looks after: four times, once that is the
title."""


class StoryTest(PageCase):
    def test_an_upgrade_before_ones_eyes_and_back(self) -> None:
        self.publish(self.new)
        hub = self.serving()
        self.enter(hub)
        self.shows("1.0.0")
        self.browser.sees("latest", "#f-channel")
        self.browser.sees("pyz", "#f-source")
        self.browser.sees("1.0.0 → 1.1.0", "#plan-what")
        self.browser.sees("There is no earlier release to go back to.")
        self.browser.run(WATCH, "version")
        self.browser.button("Upgrade to 1.1.0")
        self.browser.sees("on probation", "#badge")
        self.shows(NEXT)
        self.assertEqual(self.browser.focused(), "operation-title")
        self.browser.sees(UPGRADED, "#operation-title")
        self.browser.sees(PROVEN, "#operation")
        self.browser.sees(f"{UPGRADED}. {PROVEN}", "#ended")
        seen = self.browser.run("return window.seen")
        titles = ("Upgrading", "Upgraded: 1.0.0 → 1.1.0")
        self.assertEqual([title for title in titles if title not in " ".join(seen)], [], seen)
        record = hub.finished()
        self.assertEqual(record["phase"], "succeeded")
        self.browser.sees(f"Asked for by {record['requested_by']}", "#who")
        self.browser.sees("Upgrade 1.0.0 → 1.1.0 succeeded", "#history")
        self.browser.sees(f"asked for by {record['requested_by']}", "#history")
        self.browser.sees("Nothing to do: 1.1.0 runs, and is what latest has.", "#plan-what")
        self.browser.sees("This page came with 1.0.0; 1.1.0 runs now.")
        self.browser.button("Reload the page")
        self.browser.sees(UPGRADED, "#operation-title")
        self.assertNotIn("This page came with", self.browser.text())
        self.browser.button("Roll back to 1.0.0")
        self.browser.sees("Rolled back: 1.1.0 → 1.0.0", "#operation-title")
        self.shows("1.0.0")
        self.browser.sees("Rollback 1.1.0 → 1.0.0 succeeded", "#history")
        self.browser.sees("There is no earlier release to go back to.")
        self.assertEqual(hub.wait_healthy()["version"], "1.0.0")

    def tab_to(self, wanted: str) -> None:
        for _ in range(30):
            if self.browser.focused() == wanted:
                return
            self.browser.press("Tab")
        raise AssertionError(f"Tab never came to {wanted}; now at {self.browser.focused()}")

    def test_the_same_by_keyboard_alone(self) -> None:
        self.publish(self.new)
        hub = self.serving()
        link = self.link(hub)
        self.browser.open(self.page)
        self.browser.sees("Or paste a link")
        self.tab_to("secret")
        self.browser.press(*link, "Enter")
        self.browser.sees("Upgrade to 1.1.0", "#go")
        self.assertEqual(self.browser.focused(), "version-title")
        self.tab_to("go")
        self.browser.press("Enter")
        self.browser.until(lambda: self.browser.focused() == "operation-title", "the focus to move")
        self.browser.sees(UPGRADED, "#operation-title")
        self.browser.sees("Roll back to 1.0.0", "#back")
        self.tab_to("back")
        self.browser.press("Space")
        self.browser.sees("Rolled back: 1.1.0 → 1.0.0", "#operation-title")
        self.assertEqual(hub.wait_healthy()["version"], "1.0.0")

    def test_a_bad_release_is_taken_back_and_the_page_says_why(self) -> None:
        bad.publish(self.repository, bad.BY_NAME["dies after 1 s"].build(bad.REAL_HOME))
        hub = self.serving()
        self.enter(hub)
        self.browser.button("Upgrade to 1.1.0")
        self.may_log = (CUT, "status of 503")  # the trial's death cuts its connections
        self.browser.sees("Taken back to 1.0.0", "#operation-title")
        self.browser.sees("1.1.0 was taken back: it exited with status 4", "#operation-text")
        self.browser.sees("The last lines that 1.1.0 printed:", "#last")
        self.browser.sees("bad on purpose: dies after 1 s", "#last-lines")
        self.browser.sees("running", "#badge")
        self.shows("1.0.0")
        self.browser.sees("Upgrade 1.0.0 → 1.1.0 taken back to 1.0.0", "#history")
        self.browser.sees("1.1.0 failed here before", "#stops")
        self.browser.button("Try 1.1.0 again")
        self.browser.until(lambda: hub.record().get("request", {}).get("version"), "the new try")
        hub.finished()
        self.browser.until(
            lambda: self.browser.text("#history").count("taken back to 1.0.0") == 2, "both tries"
        )

    def test_a_release_that_is_refused_changes_nothing(self) -> None:
        bad.publish(self.repository, bad.BY_NAME["dies at once"].build(bad.EVERYWHERE))
        hub = self.serving()
        self.enter(hub)
        instance = hub.wait_healthy()["instance"]
        self.browser.button("Upgrade to 1.1.0")
        self.browser.sees("The upgrade failed", "#operation-title")
        self.browser.sees(hub.finished()["error"][1:], "#operation-text")
        self.shows("1.0.0")
        self.assertEqual(hub.wait_healthy()["instance"], instance)

    def test_redeploy_required_is_said_before_and_after(self) -> None:
        self.configure(home_persists=False)
        self.publish(self.new)
        hub = self.serving()
        self.enter(hub)
        self.browser.sees("redeploy required", "#mode")
        reason = hub.request("GET", "/api/hub", None, hub.token())[1]["reason"]
        self.browser.sees(reason[1:], "#stops")
        self.browser.click("summary")
        self.browser.sees(reason[1:], "#reason")
        self.assertTrue(self.browser.text("#evidence"))
        self.assertTrue(self.browser.run("return document.getElementById('go').disabled"))
        hub.upgrade()  # as any other client may
        self.browser.sees("A redeploy is required", "#operation-title")
        self.browser.sees(reason[1:], "#operation-text")
        self.browser.sees("Upgrade 1.0.0 redeploy required", "#history")
        self.shows("1.0.0")

    def command(self, hub: Hub, *argv: str) -> subprocess.Popen[bytes]:
        made = subprocess.Popen(
            [sys.executable, hub.program, *argv, "--config-dir", hub.home],
            env=environment(), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.addCleanup(made.wait)
        return made

    def test_what_somebody_else_starts_is_seen(self) -> None:
        self.publish(self.new)
        hub = self.serving()
        self.enter(hub)
        self.browser.sees("Upgrade to 1.1.0", "#go")
        self.command(hub, "upgrade")
        self.browser.sees("Upgrading 1.0.0", "#operation-title")
        self.assertNotEqual(self.browser.focused(), "operation-title", "nobody's focus is taken")
        self.browser.sees(UPGRADED, "#operation-title")
        self.browser.sees("Asked for by local:", "#who")

    def test_it_is_the_same_under_a_path_of_a_proxy(self) -> None:
        self.publish(self.new)
        hub = self.serving()
        proxy = Proxy(hub.port)
        self.addCleanup(proxy.close)
        self.page = proxy.url
        self.browser.open(proxy.url + "#" + self.link(hub).partition("#")[2])
        self.browser.button("Upgrade to 1.1.0")
        self.browser.sees("on probation", "#badge")
        self.browser.sees(UPGRADED, "#operation-title")
        self.assertEqual(self.browser.url, proxy.url)
        self.assertIn(PREFIX, str(self.browser.run("return Object.keys(localStorage)")))

    def test_the_other_channel_shows_its_own_plan(self) -> None:
        self.publish(bad.build("1.2.0-rc.1"), "rc")
        hub = self.serving()
        self.enter(hub)
        self.browser.until(lambda: "→" not in self.browser.text("#plan-what"), "no stable release")
        self.browser.click("#channels [value=rc]")
        self.browser.button("Upgrade to 1.2.0-rc.1")
        self.browser.sees("Upgraded: 1.0.0 → 1.2.0-rc.1", "#operation-title")
        self.assertEqual(hub.finished()["channel"], "rc")
        self.browser.sees("rc", "#f-channel")

    def test_a_request_that_is_refused_says_so_in_the_hubs_words(self) -> None:
        self.publish(self.new)
        hub = self.serving()
        self.enter(hub)
        self.browser.sees("Upgrade to 1.1.0", "#go")
        self.browser.run("window.fetch = ((ask) => (path, how) => how.method === 'POST'"
                         " ? ask(path, {...how, body: '{\"version\": \"0.0\"}'}) : ask(path, how))"
                         "(window.fetch)")  # fmt: skip
        self.may_log = ("status of 400",)
        self.browser.button("Upgrade to 1.1.0")
        self.browser.sees("The version must be an exact one such as 1.2.3", "#refused")
        self.browser.until(lambda: self.browser.focused() == "go", "the focus back on the button")
        self.assertEqual(hub.record(), {})

    def test_a_hub_that_could_not_be_told_of_for_a_moment_is_asked_about_again(self) -> None:
        self.publish(self.new)
        hub = self.serving()
        self.enter(hub)
        self.browser.sees("Upgrade to 1.1.0", "#go")
        self.browser.button("Sign out")
        self.browser.run(BUSY, "")
        self.browser.type("#secret", self.link(hub))
        self.browser.button("Sign in")
        self.shows("1.0.0")
        self.browser.sees("Upgrade to 1.1.0", "#go")
        self.assertEqual(self.browser.run("return window.refusals"), 0)

    def test_a_hub_that_is_looked_after_is_told_of_as_what_it_is(self) -> None:
        machine = Machine(CheckoutPlace, ready_timeout_s=4, probation_s=0.5)
        self.addCleanup(machine.close)
        hub = machine.start("2.0.0").serve()
        self.page = f"{hub.url.rstrip('/')}/"
        self.may_log = ("status of 503",)  # while it is looked at
        good = machine.place.commit("", programs.GOOD)
        self.enter(hub)
        self.shows("2.0.0")
        self.browser.sees("then the hub is restarted, and does not answer meanwhile", "#plan-how")
        self.browser.run(BUSY, "Upgraded")
        self.browser.button(f"Upgrade to {good}")  # a version that nobody can name
        self.browser.sees(f"Upgraded: 2.0.0 → {good}", "#operation-title")
        self.shows(good)
        for untrue in ("Running since", "Launcher", "This page came with", "without a request"):
            self.assertNotIn(untrue, self.browser.text())
        sick = machine.place.commit("", programs.SICK)
        self.browser.button("Check again")
        self.browser.button(f"Upgrade to {sick}")
        self.browser.sees(f"Taken back to {good}", "#operation-title")
        self.browser.sees("give its commit a tag, and name that", "#stops")
        self.browser.sees(f"Upgrade to {sick}", "#go")
        self.assertTrue(self.browser.run("return document.getElementById('go').disabled"))
        shots = os.environ.get("SHOTS")
        if shots:
            self.browser.screen(900, 1400)
            self.browser.screenshot(shots)


if __name__ == "__main__":
    unittest.main()
