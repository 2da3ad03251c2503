"""What the hub does where there is no Linux: stories that hold on Linux are told again."""

from __future__ import annotations

import contextlib
import os
import unittest
from collections.abc import Iterator

from tests.e2e import (
    harness,
    test_bad_releases,
    test_command_line,
    test_handoff,
    test_stops,
    test_without_hub,
)
from tests.outside.restarters.without_linux import Elsewhere

EVENTS = "anon_inode:[eventpoll]"


def open_files(pid: int) -> Iterator[str]:
    """What a process has open; it may close something while it is looked at."""
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            yield os.readlink(f"/proc/{pid}/fd/{fd}")


class TakenAwayTest(Elsewhere, harness.RealCase):
    def test_nothing_of_linux_is_left_to_what_runs(self) -> None:
        scratch = os.path.join(self.directory, "tmp")
        os.mkdir(scratch)
        hub = self.hub().start(TMPDIR=scratch)
        for pid in (hub.launcher_pid, hub.hub_pid()):
            self.assertEqual(os.listdir(f"/proc/{pid}/root/proc"), [])
            held = list(open_files(pid))
            self.assertNotIn(EVENTS, held)
            self.assertEqual([name for name in held if name.startswith("/memfd:")], [])
        self.assertEqual(len(os.listdir(scratch)), 1, "the directory of the notification socket")
        self.assertEqual(hub.stop(), 0)
        self.assertEqual(os.listdir(scratch), [])


class Handoff(Elsewhere, test_handoff.HandoffTest):
    pass


class Many(Elsewhere, test_handoff.ManyTest):
    many = 4


class WithHub(Elsewhere, test_command_line.WithHubTest):
    pass


class WithoutHub(Elsewhere, test_without_hub.WithoutHubTest):
    pass


BadReleases = type("BadReleases", (Elsewhere, test_bad_releases.Sample), {})


class Stops(Elsewhere, test_stops.StopsTest):
    pass


if __name__ == "__main__":
    unittest.main()
