"""What the stories of the server share: the hub installed as the README says."""

from __future__ import annotations

import json
from pathlib import Path

from tests.outside.readme.blocks import said
from tests.outside.readme.machine import MachineCase
from tests.outside.readme.visitor import Visitor

OWNER = "parachute"
QUICK = {"probation_s": 1}
"""What the test adds to the README's words, so that it need not wait ten seconds each time."""


class ServerCase(MachineCase):
    """A machine, and a visitor on it."""

    def setUp(self) -> None:
        super().setUp()
        self.visitor = Visitor(self.machine.process)
        home = Path(self.machine.directory, "upper/etc/skel/.parachute")
        self.machine.sh(
            "mkdir -m 700 /etc/skel/.parachute; "
            f"echo '{json.dumps(QUICK)}' >/etc/skel/.parachute/hub.json"
        )
        self.assertTrue(home.is_dir())

    def install(self) -> str:
        """Word by word; what was printed."""
        self.machine.sh(said("python3 build_pyz.py"))
        return self.machine.sh(said("install -m 755 dist/hub.pyz /usr/local/bin/hub.pyz"))

    def publish(self) -> None:
        """The newer release, without upgrading to it: the block's lines but the last two."""
        text = said("python3 build_pyz.py --version 0.2.0 --output dist/hub-0.2.0.pyz")
        *lines, plan, upgrade = text.splitlines()
        self.assertEqual(("plan'", "upgrade'"), (plan.split()[-1], upgrade.split()[-1]))
        self.machine.sh("\n".join(lines))
