"""The description of the HTTP API says of every route what the table says, and nothing else."""

from __future__ import annotations

import json
import unittest

from hub_upgrade.web.api import ROUTES
from hub_upgrade.web.openapi import ABOUT, SCHEMAS, WORDS, describe


class OpenApiTest(unittest.TestCase):
    def setUp(self) -> None:
        self.made = describe(ROUTES, "1.2.3")
        self.operations = {
            (method.upper(), path): operation
            for path, methods in self.made["paths"].items()
            for method, operation in methods.items()
        }

    def test_every_route_is_described_and_no_other(self) -> None:
        routes = {
            (route.method, route.path.replace("<", "{").replace(">", "}")) for route in ROUTES
        }
        self.assertEqual(routes, set(self.operations))
        self.assertEqual({f"{route.method} {route.path}" for route in ROUTES}, set(ABOUT))

    def test_scopes_and_hosts_are_the_table_s(self) -> None:
        for route in ROUTES:
            path = route.path.replace("<", "{").replace(">", "}")
            operation = self.operations[route.method, path]
            answers = set(operation["responses"])
            self.assertEqual("security" in operation, route.scope is not None, path)
            if route.scope is not None:
                self.assertIn(route.scope, operation["description"])
                self.assertTrue({"401", "403"} <= answers, path)
            self.assertEqual("421" in answers, not route.any_host, path)

    def test_every_reference_is_there_and_every_code_has_words(self) -> None:
        text = json.dumps(self.made)
        for part in text.split('"$ref": "#/components/schemas/')[1:]:
            self.assertIn(part.split('"')[0], SCHEMAS)
        for operation in self.operations.values():
            refusals = {int(code) for code in operation["responses"]} - {200, 202}
            self.assertLessEqual(refusals, set(WORDS))


if __name__ == "__main__":
    unittest.main()
