"""Transcripts of the command line beside a hub that runs."""

from __future__ import annotations

import unittest
from pathlib import Path

from tests.e2e.commands import bad_release
from tests.e2e.harness import build
from tests.e2e.transcripts import TranscriptCase

PREFLIGHT = "hub_upgrade/upgrade/preflight.py"
LONG_PREFLIGHT = {PREFLIGHT: Path(PREFLIGHT).read_bytes() + b"\nWATCH_S = 5.0\n"}
"""A release from which the way back takes long enough for a second command to see it there."""
VERSION_FILE = "hub_upgrade/version.py"
PREFLIGHT_FAILS = b"""
import sys
sys.exit("no such module: everything")
"""


class WithHub(TranscriptCase):
    def test_upgrades_and_going_back(self) -> None:
        self.publish_version("1.1.0")
        hub = self.hub().start()
        self.keeps("hub-status-never", "status")
        self.keeps("hub-plan", "plan")
        self.keeps("hub-plan-json", "plan", "--json")
        self.keeps("hub-upgrade-dry-run", "upgrade", "--dry-run")
        self.keeps("hub-rollback-nothing", "rollback", expected=1)
        self.keeps("hub-rollback-nothing-json", "rollback", "--json", expected=1)
        self.keeps("hub-upgrade", "upgrade")
        self.keeps("hub-upgrade-already", "upgrade")
        self.keeps("hub-plan-already", "plan")
        self.keeps("hub-rollback", "rollback")
        self.keeps("hub-upgrade-rejected", "upgrade", expected=1)
        self.keeps("hub-plan-rejected", "plan", expected=1)
        self.keeps("hub-upgrade-named-json", "upgrade", "--version", "1.1.0", "--json")
        self.publish_version("0.9.0")
        self.keeps("hub-upgrade-downgrade", "upgrade", expected=1)
        self.keeps("hub-upgrade-no-such-version", "upgrade", "--version", "9.9.9", expected=1)
        self.keeps("hub-upgrade-candidates-behind", "upgrade", "--channel", "rc", expected=1)
        self.keeps("hub-upgrade-other-source", "upgrade", "--releases", "elsewhere", expected=2)
        self.keeps("hub-status", "status")
        self.keeps("hub-status-json", "status", "--json")
        self.keeps("hub-history", "history")
        hub.stop()

    def test_what_is_followed_interrupted_and_in_the_way(self) -> None:
        self.configure(probation_s=1.5)
        self.publish(build("1.1.0", LONG_PREFLIGHT))
        hub = self.hub().start()
        self.keeps("hub-upgrade-no-wait", "upgrade", "--no-wait")
        self.keeps("hub-upgrade-in-flight", "upgrade", expected=4)
        self.keeps("hub-upgrade-in-flight-json", "rollback", "--json", expected=4)
        self.keeps("hub-status-watch", "status", "--watch")
        self.assertEqual("succeeded", hub.record()["phase"])
        self.assertEqual(130, self.type("rollback", until="preflight: ")[0])
        self.keep("hub-rollback-interrupted")
        self.assertEqual(130, self.type("status", "--watch", until="preflight: ")[0])
        self.keep("hub-status-watch-interrupted")
        hub.finished()
        hub.stop()

    def test_bad_releases(self) -> None:
        hub = self.hub().start()
        self.keeps("hub-upgrade-nothing-published", "upgrade", expected=1)
        self.publish(bad_release("1.2.0"))
        self.keeps("hub-upgrade-taken-back", "upgrade", expected=5)
        self.keeps("hub-status-taken-back", "status")
        self.keeps("hub-doctor-taken-back", "doctor")
        self.publish(build("1.3.0", {"hub_upgrade/wiring/hub.py": PREFLIGHT_FAILS}))
        self.keeps("hub-upgrade-does-not-start", "upgrade", expected=1)
        needy = Path(VERSION_FILE).read_bytes().replace(b'"0.1.0"', b'"1.3.5"')
        needy = needy.replace(b"NEEDS_LAUNCHER_PROTOCOL = 1", b"NEEDS_LAUNCHER_PROTOCOL = 2")
        self.publish(build("1.3.5", {VERSION_FILE: needy}))
        self.keeps("hub-upgrade-needs-launcher", "upgrade", expected=1)
        self.publish_version("1.4.0")
        targets = Path(self.repository, "targets").iterdir()
        target = next(path for path in targets if "1.4.0" in path.name)
        target.write_bytes(b"damaged")
        self.keeps("hub-upgrade-damaged", "upgrade", expected=1)
        hub.stop()

    def test_tokens_and_looking_after_it(self) -> None:
        self.publish_version("1.1.0-rc.1", "rc")
        hub = self.hub().start()
        self.keeps("hub-upgrade-no-such-channel", "upgrade", expected=1)
        self.keeps("token-list-none", "token", "list")
        self.type("token", "create", "--scope", "hub:admin", "--name", "laptop")
        self.type("token", "create", "--scope", "hub:read", "--name", "pager", "--expires", "30d")
        self.type("token", "create", "--scope", "hub:read", "--name", "pager")
        self.keep("token-create")
        self.keeps("token-list", "token", "list")
        self.keeps("token-list-json", "token", "list", "--json")
        self.keeps("token-revoke", "token", "revoke", "laptop")
        self.keeps("token-revoke-several", "token", "revoke", "pager")
        self.keeps("token-revoke-unknown", "token", "revoke", "laptop", expected=1)
        self.keeps("token-link", "token", "link")
        self.keeps("token-link-origin", "token", "link", "--name", "kiosk",
                   PARACHUTE_HUB_ORIGIN="https://hub.example")
        self.keeps("hub-doctor", "doctor")
        self.keeps("hub-doctor-json", "doctor", "--json")
        self.keeps("hub-doctor-health", "doctor", "--health")
        hub.stop()


    def test_where_a_redeploy_is_required(self) -> None:
        self.env["KUBERNETES_SERVICE_HOST"] = "10.0.0.1"  # whatever this machine is, it is one now
        self.configure(home_persists=False, releases=self.repository)
        self.publish_version("1.1.0")
        self.keeps("alone-upgrade-redeploy", "upgrade", expected=3)
        self.keeps("alone-upgrade-redeploy-no-wait", "upgrade", "--no-wait", expected=3)
        hub = self.hub().start(KUBERNETES_SERVICE_HOST="10.0.0.1")
        self.keeps("hub-plan-redeploy", "plan", expected=3)
        self.keeps("hub-upgrade-redeploy", "upgrade", expected=3)
        self.keeps("hub-upgrade-redeploy-no-wait", "upgrade", "--no-wait", expected=3)
        self.keeps("hub-rollback-redeploy", "rollback", expected=3)
        self.keeps("hub-status-redeploy", "status")
        self.keeps("hub-doctor-redeploy", "doctor")
        hub.stop()


if __name__ == "__main__":
    unittest.main()
