"""What lsof and ps print on macOS, understood."""

from __future__ import annotations

import sys
import unittest
from unittest import mock

from hub_upgrade.host import commands, hub_process, processes
from hub_upgrade.host.hub_process import HubProcess

LSOF = (
    "p1\nf5\nn*:1939\np410\nf12\nn127.0.0.1:1939\np411\nf12\nn127.0.0.1:1939\n"
    "p500\nf3\nn[::1]:1939\np600\nf9\nn10.0.0.7:1939\n"
)
PRINTS = {
    "lsof -nP -iTCP:1939 -sTCP:LISTEN -Fpn": LSOF,
    "ps -axo pid=,ppid=": "    1     0\n  410     1\n  411   410\n  500     1\nodd\n",
    "ps -ww -o command= -p 410": "/opt/bun /srv/hub/cli.ts serve\n",
    "lsof -a -p 410 -d cwd -Fn": "p410\nfcwd\nn/srv/hub\n",
    "lsof -a -p 410 -d txt -Fn": "p410\nftxt\nn/opt/bun\nftxt\nn/usr/lib/dyld\n",
}


def run(argv: list[str], timeout_s: float) -> commands.Result:
    text = PRINTS.get(" ".join(argv))
    return commands.Result(1 if text is None else 0, (text or "").encode(), b"")


class Macos(unittest.TestCase):
    def setUp(self) -> None:
        for target, name, value in ((sys, "platform", "darwin"), (commands, "run", run)):
            patch = mock.patch.object(target, name, value)
            patch.start()
            self.addCleanup(patch.stop)

    def test_the_listener_is_the_parent_of_those_that_share_its_socket(self) -> None:
        self.assertEqual(hub_process.listener_of("127.0.0.1", 1939), 410)
        self.assertEqual(hub_process.listener_of("::1", 1939), 500)
        self.assertEqual(hub_process.listener_of("127.0.0.1", 1940), 0)
        self.assertTrue(hub_process.is_ancestor(410, 411))
        self.assertFalse(hub_process.is_ancestor(411, 410))

    def test_a_process_is_told_by_ps_and_its_files_by_lsof(self) -> None:
        with mock.patch.object(processes, "start_time", lambda pid: "unknown"):
            self.assertEqual(
                hub_process.look(410),
                HubProcess(410, "unknown", ("/opt/bun", "/srv/hub/cli.ts", "serve"), "/srv/hub",
                           "/opt/bun"),
            )  # fmt: skip
            seen = hub_process.look(999)
        assert seen is not None
        self.assertEqual((seen.argv, seen.cwd), ((), ""))


if __name__ == "__main__":
    unittest.main()
