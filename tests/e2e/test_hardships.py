"""What surrounds a hub may be odd; it serves all the same."""

from __future__ import annotations

import signal
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

    def test_under_nohup_the_end_of_the_terminal_is_not_the_end_of_the_hub(self) -> None:
        hub = Hub(build("0.1.0"), self.home)
        self.addCleanup(hub.kill_all)
        hub.start(prefix=("nohup",))
        before = hub.wait_healthy()
        assert hub.process is not None
        hub.process.send_signal(signal.SIGHUP)
        hub.token()  # time in which it would have stopped
        self.assertEqual(hub.wait_healthy()["instance"], before["instance"])
        self.assertEqual(hub.stop(signal.SIGTERM), 0)


if __name__ == "__main__":
    unittest.main()
