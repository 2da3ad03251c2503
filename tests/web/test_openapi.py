"""The description of the HTTP API says of every route what the table says, and nothing else."""

from __future__ import annotations

import json
import re
import unittest

from hub_upgrade.domain.versions import is_version
from hub_upgrade.web.api import ROUTES
from hub_upgrade.web.openapi import ABOUT, REFUSALS, describe


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
        for part in text.split('"$ref": "#/components/')[1:]:
            kind, name = part.split('"')[0].split("/")
            self.assertIn(name, self.made["components"][kind])
        for operation in self.operations.values():
            refusals = {int(code) for code in operation["responses"]} - {200, 202}
            self.assertLessEqual(refusals, set(REFUSALS))
        names = [operation["operationId"] for operation in self.operations.values()]
        self.assertEqual(len(set(names)), len(names))

    def test_a_version_is_what_the_hub_takes_for_one(self) -> None:
        schema = self.made["paths"]["/api/hub/upgrade"]["post"]["requestBody"]
        found = schema["content"]["application/json"]["schema"]["properties"]["version"]
        for text in ("1.2.3", "v1.2.3-rc.1+x", "01.2.3", "1.2", "1.2.3-", "1.2.3\n", "1.2.3 ",
                     "1.2.3-" + "x" * 94, "1.2.3-" + "x" * 95, "1.2.٣", ""):
            # JavaScript's $ is the very end, which is \Z here
            matches = re.search(found["pattern"][:-1] + r"\Z", text) is not None
            taken = matches and len(text) <= found["maxLength"]
            self.assertEqual(is_version(text), taken, text)


if __name__ == "__main__":
    unittest.main()
