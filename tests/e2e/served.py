"""A hub that serves alone: nothing to upgrade to, nothing to go back to, tokens of every kind."""

from __future__ import annotations

import re
import time
from typing import Any

from hub_upgrade.host import files
from hub_upgrade.host.files import Home
from hub_upgrade.host.status_store import take_state_lock
from hub_upgrade.host.token_store import ADMIN, READ, TokenStore
from hub_upgrade.web.openapi import ABOUT
from hub_upgrade.web.routes import Route
from tests.e2e.harness import Hub, RealCase

REFUSED_EARLY = {"/api/hub/upgrade/plan": "?channel=nonsense"}
"""Where a right request starts a child, it is refused right before: that takes no time."""


class Served(RealCase):
    """The hub, made by hand: `setUp`, and `doCleanups` in the end."""

    def runTest(self) -> None:  # noqa: N802 - what is made by hand needs the name of a test
        """Nothing."""

    def setUp(self) -> None:
        super().setUp()
        self.served = Hub(self.hub().program, self.home).start()
        self.addCleanup(self.served.kill_all)
        home = Home(self.home)
        store = TokenStore(home)
        self.admin = store.create((ADMIN,), "admin")
        self.reader = store.create((READ,), "reader")
        self.stranger = store.create((READ,), "stranger")
        self.revoked = store.create((ADMIN,), "revoked")
        store.revoke("revoked")
        self.code = store.create_code("link:test")
        lock = take_state_lock(home)  # the hub may be making a sign-in link at this moment
        kept = files.read_json(home.tokens) or {}
        for item in kept["tokens"]:
            if item["name"] == "stranger":
                item["scopes"] = ["hub:of-a-later-release"]
        files.write_json(home.tokens, kept)
        lock.release()
        self.expired = store.create((ADMIN,), "expired", time.time() - 1)  # last: writing drops it
        self.secrets = (
            self.admin, self.reader, self.stranger, self.revoked, self.expired, self.code,
        )  # fmt: skip


class Case:
    """One route, and the request that it answers as it should: `base` is how."""

    def __init__(self, route: Route) -> None:
        self.route = route
        self.path = re.sub("<[a-z]+>", "notes", route.path)
        self.query = REFUSED_EARLY.get(route.path, "")
        self.target = self.path + self.query
        self.name = f"{route.method} {route.path}"
        self.about = ABOUT[self.name]
        self.fields: dict[str, Any] = (self.about.body or {}).get("properties", {})
        self.reads_body = self.about.body is not None
        self.base = (0, "")
