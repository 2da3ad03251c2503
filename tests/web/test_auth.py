"""Bearer tokens in a header."""

from __future__ import annotations

import os
import tempfile
import unittest

from hub_upgrade.host.files import Home
from hub_upgrade.host.token_store import ADMIN, READ, TokenStore
from hub_upgrade.web.auth import bearer


class BearerTest(unittest.TestCase):
    def setUp(self) -> None:
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.store = TokenStore(Home(os.path.join(scratch.name, "home")))
        self.token = self.store.create((ADMIN,), "laptop")
        self.who = bearer(self.store)

    def test_the_scheme_is_compared_without_case(self) -> None:
        for scheme in ("Bearer", "bearer", "BEARER", "bEaReR"):
            principal = self.who(f"{scheme} {self.token}")
            self.assertEqual("laptop", principal.name if principal else None)

    def test_more_spaces_between_scheme_and_token_are_fine(self) -> None:
        self.assertIsNotNone(self.who(f"Bearer   {self.token} "))

    def test_everything_else_is_nobody(self) -> None:
        for header in (None, "", "Bearer", "Bearer ", self.token, f"Basic {self.token}",
                       f"Bearer {self.token}x", f"Bearer x {self.token}", f"Bearer,{self.token}",
                       f"Bearer\t{self.token}", f"Bearer {self.token}, Bearer {self.token}"):
            self.assertIsNone(self.who(header), header)

    def test_an_admin_s_token_reads_too(self) -> None:
        principal = self.who(f"Bearer {self.token}")
        self.assertEqual({ADMIN, READ}, principal.scopes if principal else None)


if __name__ == "__main__":
    unittest.main()
