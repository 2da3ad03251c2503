"""Six hundred clients who do no good, of which 512 fit: the others are served all the same."""

from __future__ import annotations

from tests.e2e import guests
from tests.e2e.guests import BOUND, a_crowd, descriptors, kept_descriptors, resident_kb
from tests.e2e.harness import wait_for

REQUESTS = 300
EACH_KB = {"silent": 16, "drip": 16, "burst": 32, "deaf": 32, "hoard": 128}
"""What a connection may take. Its objects are less than 8 kB. One that reads has a piece of 8 kB
in work, and may have left one behind; a remembered head is 2 kB, and as an object 8. A request is
at most 16 + 64 kB, put together in pieces (a copy of a third beside it, in the allocator's view),
its hundred header lines are another 30 as objects."""
SPARE_KB = 2048
"""What the hub itself grows by while it works: caches, the allocator's steps."""


class KindsTest(guests.CrowdCase):
    def beside(self, kind: str) -> None:
        hub = self.serving()
        pid = hub.hub_pid()
        files, memory = kept_descriptors(pid), resident_kb(pid)
        peaks = []
        for _ in range(2):
            with a_crowd(hub, kind) as told:
                self.ask(hub, True, REQUESTS)
                self.ask(hub, False, REQUESTS)
                wait_for(lambda: descriptors(pid) >= BOUND, "a full house")
                self.assertLessEqual(descriptors(pid), files + BOUND + 64)
                peaks.append(resident_kb(pid))
            self.assertGreater(told["closed"], 0, "nobody had to leave")
            self.back_to(hub, files)
        self.assertLess(peaks[0] - memory, EACH_KB[kind] * BOUND + SPARE_KB)
        self.assertLess(peaks[1] - peaks[0], EACH_KB[kind] * BOUND // 4 + SPARE_KB)
        self.assertEqual(pid, hub.hub_pid())
        self.assertEqual(hub.stop(), 0, hub.output()[-2000:])

    def test_who_say_nothing(self) -> None:
        self.beside("silent")

    def test_who_send_a_byte_a_second(self) -> None:
        self.beside("drip")

    def test_who_never_read_their_answers(self) -> None:
        self.beside("deaf")

    def test_who_send_a_burst_each_second(self) -> None:
        self.beside("burst")

    def test_who_send_all_but_the_end_of_the_largest_request(self) -> None:
        self.beside("hoard")
