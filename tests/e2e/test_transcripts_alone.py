"""Transcripts of the command line with no hub running."""

from __future__ import annotations

import os
import unittest

from hub_upgrade.host.files import Lock
from tests.e2e.commands import bad_release
from tests.e2e.harness import running_on, wait_for
from tests.e2e.transcripts import TranscriptCase


class Alone(TranscriptCase):
    def setUp(self) -> None:
        super().setUp()
        self.configure(releases=self.repository)

    def test_upgrades_and_going_back(self) -> None:
        self.keeps("alone-status-never", "status")
        self.keeps("alone-history-none", "history")
        self.publish_version("1.1.0")
        self.keeps("alone-plan", "plan")
        self.keeps("alone-rollback-nothing", "rollback", expected=1)
        self.keeps("alone-upgrade", "upgrade")
        self.keeps("alone-upgrade-already", "upgrade")
        self.keeps("alone-status", "status")
        self.keeps("alone-rollback", "rollback")
        self.keeps("alone-upgrade-rejected", "upgrade", expected=1)
        self.publish(bad_release("1.2.0"))
        self.keeps("alone-upgrade-taken-back", "upgrade", expected=5)
        self.keeps("alone-history", "history")

    def test_what_is_interrupted_is_decided_at_the_next_start(self) -> None:
        self.configure(releases=self.repository, probation_s=20, probation_max_s=60)
        self.publish_version("1.1.0")
        self.assertEqual(130, self.type("upgrade", until="proving: ")[0])
        self.keep("alone-upgrade-interrupted")
        self.keeps("alone-status-waits", "status")
        self.keeps("alone-status-watch-waits", "status", "--watch")
        self.keeps("alone-doctor-waits", "doctor")
        self.configure(releases=self.repository)
        self.keeps("alone-rollback-earlier", "rollback")

    def test_no_source_no_home_and_what_is_in_the_way(self) -> None:
        self.configure()
        self.keeps("alone-upgrade-no-source", "upgrade", expected=1)
        self.keeps("alone-plan-no-source", "plan", expected=1)
        self.keeps(
            "alone-upgrade-url", "upgrade", "--releases", "https://releases.example", expected=2
        )
        self.publish_version("1.1.0")
        self.configure(releases=self.repository, before_upgrade="/bin/backup", tries=0)
        self.keeps("alone-upgrade-unsafe", "upgrade", expected=1)
        self.keeps("alone-plan-unsafe", "plan", expected=1)
        self.configure()
        lock = Lock.try_take(os.path.join(self.home, "operation.lock"))
        assert lock is not None
        self.keeps("alone-upgrade-in-flight", "upgrade", "--releases", self.repository, expected=4)
        lock.release()
        self.keeps("alone-upgrade-no-wait", "upgrade", "--releases", self.repository, "--no-wait")
        wait_for(lambda: not running_on(self.home), "the end of the helper")
        elsewhere = os.path.join(self.directory, "elsewhere")
        self.keeps("alone-upgrade-no-home", "upgrade", "--config-dir", "elsewhere", expected=1)
        self.keeps("alone-doctor-no-home", "doctor", "--config-dir", "elsewhere")
        self.keeps("alone-status-no-home", "status", "--config-dir", "elsewhere")
        self.assertFalse(os.path.exists(elsewhere))


if __name__ == "__main__":
    unittest.main()
