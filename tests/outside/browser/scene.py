"""A real hub, a real browser on its page, and what must hold in every story."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, ClassVar

from tests.e2e.harness import CONFIG, Hub, RealCase, build, cli, wait_for
from tests.outside.browser.webdriver import Browser, Chromedriver

OUTSIDE = Path(os.environ.get("OUTSIDE", ".outside"))
LINK = re.compile(r"http://\S+/#code=\S+")
NEXT = "1.1.0"
CUT = "net::ERR_"
"""How Chromium logs a connection that was cut or refused."""


class PageCase(RealCase):
    """A test with a browser of its own. Unless it says so, the console stays empty, and every
    request goes to the hub."""

    config: dict[str, Any] = {**CONFIG, "probation_s": 3}
    driver: ClassVar[Chromedriver]

    @classmethod
    def setUpClass(cls) -> None:
        cls.driver = Chromedriver()
        cls.addClassCleanup(cls.driver.stop)

    def setUp(self) -> None:
        super().setUp()
        self.may_log: tuple[str, ...] = ()
        self.browser = Browser(self.driver)
        self.addCleanup(self.browser.quit)
        self.page = ""
        self.new = build(NEXT)

    def tearDown(self) -> None:
        super().tearDown()
        wrong = [
            entry["message"]
            for entry in self.browser.log("browser")
            if entry["level"] not in ("DEBUG", "INFO")
            and not any(words in entry["message"] for words in self.may_log)
        ]
        self.assertEqual(wrong, [], "in the console")
        asked = self.browser.requests()
        self.assertEqual(bool(asked), bool(self.page), "the log of requests works")
        elsewhere = [url for url in asked if not url.startswith((self.page, "data:"))]
        self.assertEqual(elsewhere, [], "requests to elsewhere")

    # --- the scene ------------------------------------------------------------------------------

    def serving(self, **more: Any) -> Hub:
        """A hub of 1.0.0 that serves."""
        hub = self.hub().start(**more)
        self.page = f"{hub.url.rstrip('/')}/"
        return hub

    def link(self, hub: Hub) -> str:
        """A fresh sign-in link, from the command line."""
        made = cli(hub.program, "token", "link", "--config-dir", hub.home)
        found = LINK.search(made.stdout)
        if found is None:
            raise AssertionError(made.stdout + made.stderr)
        return found.group()

    def printed_link(self, hub: Hub) -> str:
        """The link that `serve` prints where nobody could sign in yet."""
        found: re.Match[str] = wait_for(lambda: LINK.search(hub.output()), "the printed link")
        return found.group()

    def enter(self, hub: Hub) -> None:
        """Open the page signed in, by a link."""
        self.browser.open(self.link(hub))
        self.browser.sees("Running version")
        self.browser.sees("running", "#badge")

    def shows(self, version: str) -> None:
        self.browser.sees(version, "#version")
