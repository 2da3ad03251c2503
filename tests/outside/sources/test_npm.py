"""What may go wrong with npm, its registry and the disk."""

from __future__ import annotations

import os
import unittest

from tests.outside.sources import package_cases  # the module: unittest runs classes that it sees
from tests.outside.sources.places import NpmPlace


class Npm(package_cases.NodeCase):
    kind = NpmPlace
    least = 9

    def setUp(self) -> None:
        super().setUp()
        os.environ["UV_THREADPOOL_SIZE"] = "1"  # strace counts in each thread

    def test_what_npm_remembers_is_not_taken_for_the_registrys_answer(self) -> None:
        self.published()
        view = ["npm", "view", f"{self.place.package}@latest", "version", "--prefer-online"]
        self.place.run(view)
        self.place.cut_off()
        self.assertEqual(self.place.run(view).strip(), "1.1.0")  # so npm would have it
        self.host_error(lambda: self.source.resolve("latest", None), "ECONNREFUSED")


if __name__ == "__main__":
    unittest.main()
