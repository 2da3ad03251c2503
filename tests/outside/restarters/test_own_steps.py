"""`systemctl stop` and `restart`, and SIGTERM to the main process, at every step of an upgrade."""

from __future__ import annotations

import unittest

from tests.outside.restarters.own_steps import ASKED, StepsCase


class Stopped(StepsCase):
    def test_stop_restart_and_a_signal_to_the_main_process_at_every_step(self) -> None:
        self.strike_at_every_step(*ASKED)


if __name__ == "__main__":
    unittest.main()
