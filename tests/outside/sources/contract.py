"""What every way of installing must keep of `upgrade/ports.py`: one contract, whatever the tool.

A module that tests a source derives a class from one of these and says how its scene is made:

    from tests.outside.sources import contract  # the module: unittest runs classes that it sees

    class Git(contract.RewriterContract):
        def make_scene(self) -> contract.Scene:
            return GitScene(self)

`Scene` below is all that a scene has to offer. Every step is taken by a source of its own, as the
process that goes back is seldom the one that went forward.
"""

from __future__ import annotations

import functools
import os
import signal
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from hub_upgrade.errors import RefusedError
from hub_upgrade.upgrade.ports import Sink

NAME = "contract-1"


class Scene(Protocol):
    """An installation of version 1.0.0, the only one published yet (on `latest`), and a registry,
    remote or repository on this machine that it follows."""

    def publish(self, version: str, channel: str = "latest") -> None:
        """Make this version the one that the channel means from now on.

        What was published before can still be asked for by its exact version. Every version is
        published once, and has another content: one file that is changed, one that is new, one
        that is gone.
        """

    def make_source(self) -> Any:
        """A new source for the installation; the same installation each time."""

    def tree(self) -> bytes:
        """Everything that is installed, names, modes and content, in one order; without what a
        tool keeps for itself (a cache, git's objects)."""

    def cut_off(self) -> None:
        """The registry or the remote answers no more."""


def ignore(_piece: bytes) -> None:
    """A sink that nobody reads."""


class SourceContract(unittest.TestCase):
    """`resolve`, for each and every source."""

    def make_scene(self) -> Scene:
        """The scene, of which `addCleanup` clears everything away."""
        raise NotImplementedError

    def setUp(self) -> None:
        self.scene = self.make_scene()

    def resolve(self, channel: str = "latest", version: str | None = None) -> Any:
        return self.scene.make_source().resolve(channel, version)

    def test_resolving_touches_nothing(self) -> None:
        before = self.scene.tree()
        self.scene.publish("1.1.0")
        self.scene.publish("1.2.0-rc.1", "rc")
        for channel in ("latest", "rc"):
            self.resolve(channel)
        self.resolve("latest", "1.1.0")
        self.assertEqual(self.scene.tree(), before)

    def test_resolving_twice_gives_the_same(self) -> None:
        self.scene.publish("1.1.0")
        first = self.resolve()
        self.assertEqual(first.version, "1.1.0")
        self.assertTrue(first.digest)
        self.assertEqual(self.resolve(), first)

    def test_a_channel_that_moved_a_moment_ago_is_followed(self) -> None:
        for version in ("1.1.0", "1.2.0", "1.3.0"):
            self.scene.publish(version)
            self.assertEqual(self.resolve().version, version)
        for version in ("1.4.0-rc.1", "1.4.0-rc.2", "1.4.0-rc.10"):
            self.scene.publish(version, "rc")
            self.assertEqual(self.resolve("rc").version, version)

    def test_every_version_has_a_digest_of_its_own(self) -> None:
        digests = set()
        for version in ("1.1.0", "1.2.0", "1.3.0"):
            self.scene.publish(version)
            digests.add(self.resolve().digest)
        self.assertEqual(len(digests), 3)

    def test_an_rc_that_is_ahead_is_chosen_on_its_channel_alone(self) -> None:
        self.scene.publish("1.1.0")
        self.scene.publish("1.2.0-rc.1", "rc")
        self.assertEqual(self.resolve("rc").version, "1.2.0-rc.1")
        self.assertEqual(self.resolve("latest").version, "1.1.0")

    def test_an_rc_that_stable_overtook_is_not_chosen_and_the_note_says_so(self) -> None:
        self.scene.publish("1.1.0-rc.1", "rc")
        self.scene.publish("1.1.0")
        found = self.resolve("rc")
        self.assertEqual(found.version, "1.1.0")
        self.assertIn("stays rc", found.note)

    def test_an_exact_version_is_found_after_the_channel_moved_on(self) -> None:
        self.scene.publish("1.1.0")
        digest = self.resolve().digest
        self.scene.publish("1.2.0")
        for version in ("1.1.0", "v1.1.0"):
            found = self.resolve("latest", version)
            self.assertEqual((found.version, found.digest), ("1.1.0", digest))

    def test_a_version_that_is_not_there_is_refused(self) -> None:
        before = self.scene.tree()
        with self.assertRaises(RefusedError) as caught:
            self.resolve("latest", "9.9.9")
        self.assertEqual(caught.exception.code, "no_such_version")
        self.assertIn("9.9.9", caught.exception.sentence)
        self.assertEqual(self.scene.tree(), before)


class StagerContract(SourceContract):
    """A `Source`: what it resolved is staged beside what runs."""

    def stage(self, resolved: Any) -> str:
        name: str = self.scene.make_source().stage(resolved, lambda _done, _whole: None)
        return name

    def test_staging_twice_is_staging_once(self) -> None:
        self.scene.publish("1.1.0")
        resolved = self.resolve()
        name = self.stage(resolved)
        after = self.scene.tree()
        self.assertEqual(self.stage(resolved), name)
        self.assertEqual(self.scene.tree(), after)

    def test_what_was_resolved_stays_pinned_when_the_channel_moves(self) -> None:
        self.scene.publish("1.1.0")
        resolved = self.resolve()
        self.scene.publish("1.2.0")
        self.assertIn("1.1.0", self.stage(resolved))


class RewriterContract(SourceContract):
    """A `Rewriter`: what is installed is rewritten, and brought back."""

    def setUp(self) -> None:
        super().setUp()
        self.before = self.scene.tree()

    @property
    def source(self) -> Any:
        return self.scene.make_source()

    def forward(self, version: str = "1.1.0", sink: Sink = ignore) -> Any:
        """Publish, resolve, keep and swap, as an upgrade does it; returns the Undo."""
        self.scene.publish(version)
        resolved = self.resolve()
        undo = self.source.keep(NAME)
        self.source.swap(resolved, sink)
        return undo

    def assert_back(self) -> None:
        self.assertEqual(self.scene.tree(), self.before)
        self.assertEqual(self.source.installed().version, "1.0.0")

    def test_what_is_installed_is_told(self) -> None:
        self.assertEqual(self.source.installed().version, "1.0.0")
        self.assert_back()

    def test_swapping_installs_what_was_resolved(self) -> None:
        self.scene.publish("1.1.0")
        resolved = self.resolve()
        self.source.keep(NAME)
        self.source.swap(resolved, ignore)
        found = self.source.installed()
        self.assertEqual(found.version, "1.1.0")
        self.assertIn(found.digest, ("", resolved.digest))
        self.assertNotEqual(self.scene.tree(), self.before)

    def test_what_was_resolved_stays_pinned_when_the_channel_moves(self) -> None:
        self.scene.publish("1.1.0")
        resolved = self.resolve()
        self.scene.publish("1.2.0")
        self.source.keep(NAME)
        self.source.swap(resolved, ignore)
        self.assertEqual(self.source.installed().version, "1.1.0")

    def test_what_the_tool_prints_is_passed_on(self) -> None:
        pieces: list[bytes] = []
        self.forward(sink=pieces.append)
        self.assertTrue(b"".join(pieces).strip())

    def test_keeping_touches_nothing(self) -> None:
        undo = self.source.keep(NAME)
        self.assertTrue(self.source.has(undo))
        self.assertTrue(undo.kind and undo.value)
        self.assert_back()

    def test_keeping_again_begins_anew(self) -> None:
        first = self.forward()
        self.source.discard(first)
        self.before = self.scene.tree()
        self.scene.publish("1.2.0")
        resolved = self.resolve()
        for _ in range(2):
            undo = self.source.keep(NAME)
        self.source.swap(resolved, ignore)
        self.source.revert(undo, ignore)
        self.assertEqual(self.scene.tree(), self.before)
        self.assertEqual(self.source.installed().version, "1.1.0")

    def test_reverting_brings_back_the_same_bytes_with_the_network_gone(self) -> None:
        undo = self.forward()
        self.scene.cut_off()
        self.assertTrue(self.source.has(undo))
        self.source.revert(undo, ignore)
        self.assert_back()

    def test_reverting_twice_is_reverting_once(self) -> None:
        undo = self.forward()
        self.scene.cut_off()
        for _ in range(2):
            self.assertEqual(self.source.revert(undo, ignore), "")
            self.assert_back()

    def test_reverting_what_was_never_swapped_changes_nothing(self) -> None:
        undo = self.source.keep(NAME)
        self.source.revert(undo, ignore)
        self.assert_back()

    def test_a_swap_that_was_killed_is_taken_back(self) -> None:
        self.scene.publish("1.1.0")
        resolved = self.resolve()
        for pieces in (1, 2, 3):
            undo = self.source.keep(NAME)
            killed_while(functools.partial(self.source.swap, resolved), pieces)
            self.assertTrue(self.source.has(undo))
            self.source.revert(undo, ignore)
            self.assert_back()
            self.source.discard(undo)

    def test_a_revert_that_was_killed_is_finished_by_the_next(self) -> None:
        for pieces, version in ((1, "1.1.0"), (2, "1.2.0")):
            undo = self.forward(version)
            killed_while(functools.partial(self.source.revert, undo), pieces)
            self.source.revert(undo, ignore)
            self.assert_back()
            self.source.discard(undo)

    def test_after_going_back_the_next_try_goes_forward(self) -> None:
        undo = self.forward()
        self.source.revert(undo, ignore)
        self.source.discard(undo)
        undo = self.forward("1.2.0")
        self.assertEqual(self.source.installed().version, "1.2.0")
        self.source.revert(undo, ignore)
        self.assert_back()

    def test_an_older_version_is_installed_where_it_is_asked_for(self) -> None:
        self.source.discard(self.forward())
        resolved = self.resolve("latest", "1.0.0")
        undo = self.source.keep(NAME)
        self.source.swap(resolved, ignore)
        self.assert_back()
        self.source.revert(undo, ignore)
        self.assertEqual(self.source.installed().version, "1.1.0")

    def test_discarding_leaves_what_is_installed(self) -> None:
        undo = self.forward()
        after = self.scene.tree()
        for _ in range(2):
            self.source.discard(undo)
            self.assertEqual(self.scene.tree(), after)
        self.assertEqual(self.source.installed().version, "1.1.0")


def killed_while(call: Callable[[Sink], object], pieces: int) -> None:
    """Make the call in a process that is killed with its tools at the n-th piece they print."""
    pid = os.fork()
    if not pid:
        try:
            call(_Killer(pieces))
        finally:
            os._exit(0)
    os.waitpid(pid, 0)


class _Killer:
    """A sink at whose n-th piece all that this process started is killed, and then it itself."""

    def __init__(self, pieces: int) -> None:
        self._left = pieces

    def __call__(self, _piece: bytes) -> None:
        self._left -= 1
        if self._left <= 0:
            for pid in iter(lambda: next(iter(descendants(os.getpid())), 0), 0):
                _kill(pid)
            _kill(os.getpid())


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def descendants(root: int) -> list[int]:
    """The processes below this one that still live, by /proc."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            stat = (entry / "stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        state, parent = stat.rpartition(")")[2].split()[:2]
        if state not in "ZX":
            parents[int(entry.name)] = int(parent)
    found: list[int] = []
    level = [root]
    while level:
        level = [pid for pid, parent in parents.items() if parent in level]
        found += level
    return found
