"""git killed at each step that it takes, a full disk, and what a killed git leaves behind."""

from __future__ import annotations

import os
import re
import shlex
import unittest
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from hub_upgrade.domain.operation import Undo
from hub_upgrade.errors import HostError, HubError
from hub_upgrade.host.files import write_durably
from hub_upgrade.sources.git import BALLAST, GitSource
from tests.crash import disks
from tests.outside.sources.scene_git import GitScene, git

STEPS = ("rename", "unlink", "unlinkat", "mkdir", "link", "symlink", "write")
OTHER_NAMES = ("?renameat", "?renameat2", "?mkdirat", "?linkat", "?symlinkat")
TRACED = """\
#!/bin/sh
number=$(ls {logs} | wc -l)
if test "$number" = "$(cat {logs}.call)"; then inject="-e inject=$(cat {logs}.inject)"; fi
exec strace -f -qq -o {logs}/$number -e trace={steps} $inject {git} "$@"
"""


def ignore(_piece: bytes) -> None:
    """A sink that nobody reads."""


class Point(NamedTuple):
    """The n-th step of a kind (from 1) that a process of the k-th call of git (from 0) takes."""

    call: int
    step: str
    number: int


class Traced:
    """A `git` on the path that counts its calls, and dies where it is told to."""

    def __init__(self, root: Path) -> None:
        self.logs = root / "logs"
        self.directory = root / "traced"
        self.directory.mkdir()
        real = next(
            found
            for found in (os.path.join(part, "git") for part in os.environ["PATH"].split(":"))
            if os.access(found, os.X_OK)
        )
        words = {
            "logs": shlex.quote(str(self.logs)),
            "git": real,
            "steps": ",".join((*STEPS, *OTHER_NAMES)),
        }
        script = self.directory / "git"
        script.write_text(TRACED.format(**words))
        script.chmod(0o755)

    def run(self, call: Any, point: Point | None = None) -> bool:
        """Whether the call succeeded, with git killed at this point."""
        self.logs.mkdir(exist_ok=True)
        for log in self.logs.iterdir():
            log.unlink()
        inject = f"{point.step}:signal=KILL:when={point.number}" if point else ""
        self.logs.with_suffix(".inject").write_text(inject)
        self.logs.with_suffix(".call").write_text(str(point.call) if point else "none")
        path = f"{self.directory}{os.pathsep}{os.environ['PATH']}"
        with mock.patch.dict(os.environ, {"PATH": path}):
            try:
                call()
            except HubError:
                return False
        return True

    def killed(self) -> bool:
        """Whether a process was killed in the last run."""
        return any("killed by SIGKILL" in log.read_text() for log in self.logs.iterdir())

    def points(self) -> list[Point]:
        """All the steps of the last run that did something."""
        found = set()
        for log in self.logs.iterdir():
            counts: Counter[tuple[str, str]] = Counter()
            for line in log.read_text(errors="replace").splitlines():
                match = re.match(r"(\d+) +(\w+)\(", line)
                if match:
                    counts[match.group(1), match.group(2)] += 1
                    if " = -1 E" not in line:
                        number = counts[match.group(1), match.group(2)]
                        found.add(Point(int(log.name), match.group(2), number))
        return sorted(found)


class Kills(unittest.TestCase):
    """A move with everything in it: files new, changed and gone, a submodule that is moved and one
    that is new, and dependencies to be installed."""

    def setUp(self) -> None:
        self.scene = GitScene(self)
        hub, author = self.scene.hub, self.scene.author
        (hub / ".git" / "info" / "exclude").write_text("installed\n")
        self.scene.installs_with("cp yarn.lock installed; sync installed")
        part = self.scene.root / "a pärt"
        part.mkdir()
        git(part, "init", "--quiet")
        self.advance(part, "one")
        self.scene.write("yarn.lock", "1.1.0")
        git(author, "submodule", "--quiet", "add", str(part), "vendor/moved")
        self.scene.publish("1.1.0")
        source = self.scene.make_source()
        source.swap(source.resolve("latest", None), ignore)
        self.advance(part, "two")
        git(author / "vendor" / "moved", "pull", "--quiet", "origin", "main")
        git(author, "submodule", "--quiet", "add", str(part), "vendor/new")
        self.scene.write("yarn.lock", "1.2.0")
        self.scene.write("a/new/place/for.txt", "a new file")
        self.scene.publish("1.2.0")
        self.resolved = source.resolve("latest", None)
        self.before = self.scene.tree()
        self.traced = Traced(self.scene.root)

    def advance(self, part: Path, content: str) -> None:
        (part / f"{content}.txt").write_text(content)
        (part / "all.txt").write_text(content)
        git(part, "add", "--all")
        git(part, "commit", "--quiet", "--message", content)

    @property
    def source(self) -> GitSource:
        return self.scene.make_source()

    def swap(self) -> None:
        self.source.swap(self.resolved, ignore)

    def keep(self) -> Undo:
        """From the same state each time: git does not write anew what it wrote the last time."""
        (self.scene.hub / ".git" / "ORIG_HEAD").unlink(missing_ok=True)
        return self.source.keep("each")

    def wanted(self) -> list[Point]:
        """All but the writes; of these a few for each call, unless the whole is asked for."""
        few = 1000 if os.environ.get("CRASH_TESTS") == "full" else 3
        points = [point for point in self.traced.points() if point.step != "write"]
        writes = [point for point in self.traced.points() if point.step == "write"]
        return points + [point for point in writes if point.number <= few]

    def test_killed_at_each_step_forward_it_is_taken_back_to_the_byte(self) -> None:
        undo = self.keep()
        self.assertTrue(self.traced.run(self.swap))
        after = self.scene.tree()
        points = self.wanted()
        self.source.revert(undo, ignore)
        self.assertEqual(self.scene.tree(), self.before)
        failed = 0
        for point in points:
            with self.subTest(point):
                undo = self.keep()
                failed += not self.traced.run(self.swap, point)
                killed = self.traced.killed()
                self.source.revert(undo, ignore)
                self.assertEqual(self.scene.tree(), self.before)
                self.source.discard(undo)
                self.assertTrue(killed)
        self.assertGreater(failed, 30)
        self.keep()
        self.swap()
        self.assertEqual(self.scene.tree(), after)

    def test_killed_at_each_step_back_it_is_brought_back_by_the_next_try(self) -> None:
        undo = self.keep()
        self.swap()
        self.assertTrue(self.traced.run(lambda: self.source.revert(undo, ignore)))
        self.assertEqual(self.scene.tree(), self.before)
        failed = 0
        for point in self.wanted():
            with self.subTest(point):
                undo = self.keep()
                self.swap()
                failed += not self.traced.run(lambda u=undo: self.source.revert(u, ignore), point)
                killed = self.traced.killed()
                self.source.revert(undo, ignore)
                self.assertEqual(self.scene.tree(), self.before)
                self.source.discard(undo)
                self.assertTrue(killed)
        self.assertGreater(failed, 15)

    def test_killed_at_each_step_of_looking_and_keeping_the_next_try_goes_on(self) -> None:
        def look() -> None:
            self.source.resolve("rc", None)
            self.source.resolve("latest", "1.2.0")
            self.source.keep("one")

        self.assertTrue(self.traced.run(look))
        for point in self.wanted():
            with self.subTest(point):
                self.traced.run(look, point)
                self.assertEqual(self.scene.tree(), self.before)
                look()


class Leftovers(unittest.TestCase):
    def setUp(self) -> None:
        self.scene = GitScene(self)
        self.scene.publish("1.1.0")
        self.before = self.scene.tree()
        self.undo = self.source.keep("one")
        self.own = self.scene.hub / ".git"

    @property
    def source(self) -> GitSource:
        return self.scene.make_source()

    def swap(self) -> None:
        self.source.swap(self.source.resolve("latest", None), ignore)

    def test_locks_of_a_git_that_was_killed_are_removed_on_the_way_back(self) -> None:
        self.swap()
        for name in ("index", "HEAD", "ORIG_HEAD", "config", "refs/heads/main"):
            (self.own / f"{name}.lock").touch()
        self.source.revert(self.undo, ignore)
        self.assertEqual(self.scene.tree(), self.before)

    def test_locks_are_left_alone_where_nothing_was_begun(self) -> None:
        lock = self.own / "index.lock"
        lock.touch()
        self.source.revert(self.undo, ignore)
        self.assertTrue(lock.exists())
        lock.unlink()

    def test_an_index_that_a_power_cut_left_empty_is_made_anew(self) -> None:
        for content in (b"", b"DIRC", os.urandom(1000)):
            self.swap()
            (self.own / "index").write_bytes(content)
            (self.scene.hub / "package.json").write_bytes(b"")
            self.source.revert(self.undo, ignore)
            self.assertEqual(self.scene.tree(), self.before)

    def test_a_move_that_was_noted_and_never_begun_is_taken_back(self) -> None:
        resolved = self.source.resolve("latest", None)
        write_durably(str(self.own / "parachute-swap"), resolved.digest.encode())
        self.source.revert(self.undo, ignore)
        self.assertEqual(self.scene.tree(), self.before)
        self.assertFalse((self.own / "parachute-swap").exists())


class FullDisk(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        disks.need(disks.TMPFS)

    def setUp(self) -> None:
        outer = GitScene(self)
        made = disks.tmpfs(str(outer.root), kibibytes=32768, inodes=2000)
        self.disk = made.__enter__()
        self.addCleanup(made.__exit__, None, None, None)
        self.scene = GitScene(self, Path(self.disk.path))
        self.scene.write("large", "x" * 300_000)
        self.scene.commit()
        git(self.scene.hub, "pull", "--quiet")
        self.scene.write("large", "y" * 400_000)
        self.scene.write("larger", os.urandom(300_000).hex())
        self.scene.publish("1.1.0")
        self.resolved = self.source.resolve("latest", None)
        self.before = self.scene.tree()

    @property
    def source(self) -> GitSource:
        return self.scene.make_source()

    def test_without_room_for_the_way_back_nothing_begins(self) -> None:
        self.disk.fill(BALLAST // 2)
        with self.assertRaises(HostError) as caught:
            self.source.keep("one")
        self.assertIn("does not take the 8 MiB", caught.exception.sentence)
        self.assertEqual(self.scene.tree(), self.before)
        self.assertGreaterEqual(self.disk.room(), BALLAST // 2 - 4096)

    def test_a_disk_that_fills_up_on_the_way_is_no_hindrance_to_going_back(self) -> None:
        failed = 0
        for room in (0, 4096, 16384, 65536, 300_000, 600_000, 2 << 20):
            with self.subTest(room=room):
                undo = self.source.keep("one")
                self.disk.fill(room)
                try:
                    self.source.swap(self.resolved, ignore)
                except (HubError, OSError):
                    failed += 1
                self.disk.fill()
                self.source.revert(undo, ignore)
                self.assertEqual(self.scene.tree(), self.before)
                self.source.discard(undo)
                self.disk.empty()
        self.assertGreater(failed, 4)

    def test_neither_is_one_that_takes_no_file_more(self) -> None:
        for early in (True, False):
            undo = self.source.keep("one")
            if early:
                self.disk.fill_inodes()
                with self.assertRaises((HubError, OSError)):
                    self.source.swap(self.resolved, ignore)
            else:
                self.source.swap(self.resolved, ignore)
                self.disk.fill_inodes()
            self.source.revert(undo, ignore)
            self.assertEqual(self.scene.tree(), self.before)
            self.disk.empty()


if __name__ == "__main__":
    unittest.main()
