"""What surrounds a hub may be odd; it serves all the same."""

from __future__ import annotations

import unittest

from tests.e2e.harness import Hub, RealCase, build


class Hardships(RealCase):
    def test_a_port_of_the_environment_that_is_none_matters_to_nobody_who_was_told_another(
        self,
    ) -> None:
        hub = Hub(build("0.1.0"), self.home)
        self.addCleanup(hub.stop)
        hub.start(PORT="tcp://10.0.0.1:80")
        self.assertNotIn("must be a port", hub.output())


if __name__ == "__main__":
    unittest.main()
