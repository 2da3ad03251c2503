"""Links, codes and tokens: what opens the page, what does not, and what is said then."""

from __future__ import annotations

import json
import unittest
from pathlib import Path

from tests.e2e.harness import Hub, cli
from tests.outside.browser.scene import PageCase

REFUSED = "status of 401"
KEPT = "return Object.values(localStorage).join()"


class SigningInTest(PageCase):
    def token(self, hub: Hub, scope: str, name: str) -> str:
        words = ("token", "create", "--scope", scope, "--name", name, "--config-dir", hub.home)
        made = cli(hub.program, *words)
        self.assertEqual(made.returncode, 0, made.stderr)
        return made.stdout.strip()

    def paste(self, secret: str) -> None:
        self.browser.sees("Or paste a link, a code or a token")
        self.browser.run("document.getElementById('secret').value = ''")
        self.browser.type("#secret", secret)
        self.browser.button("Sign in")

    def is_outside(self, why: str) -> None:
        self.browser.sees(why, "#sign-in-why")
        self.browser.sees("hub.pyz token link")
        self.assertEqual(self.browser.text("#hub"), "")
        self.assertEqual(self.browser.title, "Sign in · Parachute hub")

    def test_the_link_that_serve_prints_opens_the_page_signed_in(self) -> None:
        hub = self.serving()
        link = self.printed_link(hub)
        self.browser.open(link)
        self.shows("1.0.0")
        self.assertEqual(self.browser.url, self.page)
        token = self.browser.run(KEPT)
        self.assertGreater(len(token), 20)
        self.browser.reload()
        self.shows("1.0.0")
        self.assertEqual(self.browser.url, self.page)
        asked = self.browser.requests()
        self.assertEqual([url for url in asked if token in url or "code=" in url], [])

    def test_a_link_works_once_and_another_can_be_pasted(self) -> None:
        hub = self.serving()
        used = self.link(hub)
        self.browser.open(used)
        self.shows("1.0.0")
        self.browser.button("Sign out")
        self.assertEqual(self.browser.run(KEPT), "")
        self.may_log = (REFUSED,)
        self.browser.open(used)
        self.is_outside("This sign-in link was used already")
        self.assertEqual(self.browser.url, self.page)
        self.paste(used)
        self.is_outside("This sign-in link was used already")
        self.paste(self.link(hub))
        self.shows("1.0.0")
        self.assertEqual(self.browser.focused(), "version-title")

    def test_a_code_alone_and_a_token_alone_can_be_pasted(self) -> None:
        hub = self.serving()
        self.browser.open(self.page)
        self.may_log = (REFUSED,)
        self.paste(self.link(hub).partition("#code=")[2])
        self.shows("1.0.0")
        self.browser.button("Sign out")
        self.assertEqual(self.browser.focused(), "secret")
        self.paste(self.token(hub, "hub:admin", "pasted"))
        self.shows("1.0.0")
        self.browser.button("Sign out")
        self.browser.reload()
        self.paste("rubbish and more")
        self.is_outside("That is neither a link, nor a code, nor a token.")

    def test_an_expired_code_is_told_in_plain_words(self) -> None:
        hub = self.serving()
        link = self.link(hub)
        tokens = Path(hub.home, "tokens.json")
        kept = json.loads(tokens.read_text())
        for code in kept["codes"]:
            code["expires_at"] = "2020-01-01T00:00:00.000Z"
        tokens.write_text(json.dumps(kept))
        self.may_log = (REFUSED,)
        self.browser.open(link)
        self.is_outside("or is older than 15 minutes")

    def test_a_used_link_signs_nobody_out(self) -> None:
        hub = self.serving()
        link = self.link(hub)
        self.browser.open(link)
        self.shows("1.0.0")
        self.may_log = (REFUSED,)
        self.browser.open(link)
        self.browser.until(lambda: self.browser.url == self.page, "the fragment to go")
        self.browser.sees("running", "#badge")

    def test_a_token_that_is_revoked_leads_back_to_the_form_by_itself(self) -> None:
        hub = self.serving()
        self.browser.open(self.page)
        self.paste(self.token(hub, "hub:admin", "short"))
        self.shows("1.0.0")
        self.may_log = (REFUSED,)
        done = cli(hub.program, "token", "revoke", "short", "--config-dir", hub.home)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.is_outside("Your sign-in has expired, or was revoked. Please sign in again.")
        self.assertEqual(self.browser.run(KEPT), "")

    def test_a_token_that_may_only_look_gets_no_button_that_would_be_refused(self) -> None:
        self.publish(self.new)
        hub = self.serving()
        self.browser.open(self.page)
        self.paste(self.token(hub, "hub:read", "looker"))
        self.browser.sees("1.0.0 → 1.1.0", "#plan-what")
        self.browser.sees("This token may only look (hub:read)")
        self.assertTrue(self.browser.run("return document.getElementById('go').disabled"))


if __name__ == "__main__":
    unittest.main()
