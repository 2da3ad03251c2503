"""What may go wrong with bun, npm and pip themselves, their registry, and the disk."""

from __future__ import annotations

import functools
import json
import os
import random
import shutil
import stat
import subprocess
import sys
import tempfile
import unittest
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from unittest import mock

from hub_upgrade.domain.operation import TREE, Undo
from hub_upgrade.errors import HostError, RefusedError
from hub_upgrade.sources import rewriter
from tests.outside.sources import registry
from tests.outside.sources.places import PackagePlace, PipPlace

ROOT = Path(__file__).resolve().parents[3]
NAME = "operation-1"
BIG = {"big.bin": random.Random(9).randbytes(1_500_000)}
"""Random, for disks and archives that make little of what repeats."""
SIZE_MB = 64
FREE = (0, 100_000, 1_000_000, 4_000_000)
KILLED = 137
RENAMES = "rename,renameat,renameat2"
LINKS = "symlink,symlinkat"
REMOVALS = "unlink,unlinkat,rmdir"
KILLING = ["strace", "-f", "-qq", "-o", os.devnull, "-e"]
Moments = tuple[str, Iterable[int], tuple[str, ...]]
"""Which calls, the how manieth (strace counts in each thread, and each call by itself), and what
tells them from others of the same kind."""


def ignore(_piece: bytes) -> None:
    """A sink that nobody reads."""


class PackageCase(unittest.TestCase):
    """The tests; test_bun.py, test_npm.py and test_pip.py derive from it."""

    kind: type[PackagePlace]

    def setUp(self) -> None:
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.root = Path(holder.name)
        self.place = self.installed(self.root / "place")

    def installed(self, root: Path) -> PackagePlace:
        place = self.kind(root)
        self.addCleanup(place.close)
        place.own_commands = True
        place.publish("1.0.0", files=self.big(place))
        place.install("1.0.0")
        patched = mock.patch.dict(os.environ, place.environment, clear=True)
        patched.start()
        self.addCleanup(patched.stop)
        return place

    def big(self, place: PackagePlace) -> dict[str, bytes]:
        prefix = "parachute_test_hub/" if isinstance(place, PipPlace) else ""
        return {prefix + name: data for name, data in BIG.items()}

    @property
    def source(self) -> Any:
        return self.place.make_source()

    def published(self, version: str = "1.1.0") -> Any:
        """Publish, and resolve."""
        self.place.publish(version, files=self.big(self.place))
        return self.source.resolve("latest", version)

    def everything(self) -> tuple[bytes, dict[str, int]]:
        """What is installed, and when each file was written (compiled code depends on it)."""
        times = {}
        for directory, _names, found in os.walk(self.place.prefix):
            for path in (os.path.join(directory, name) for name in found):
                about = os.lstat(path)
                if stat.S_ISREG(about.st_mode) and not self.passed_over(path):
                    times[path] = about.st_mtime_ns
        return self.place.tree(), times

    def assert_same(self, before: tuple[bytes, dict[str, int]], what: str = "") -> None:
        """Everything is as it was. What is not is told in short: all of it is megabytes."""
        now = self.everything()
        changed = set(before[0].split(b"\n")) ^ set(now[0].split(b"\n"))
        times = set(before[1].items()) ^ set(now[1].items())
        told = [repr(line[:150]) for line in changed] + [str(pair) for pair in times]
        self.assertEqual(sorted(told)[:20], [], what)
        self.assertTrue(now == before, what)

    def passed_over(self, path: str) -> bool:
        """What is no part of what is installed: caches, what is kept, pip compiling itself."""
        marks = ("/.parachute-", "/install/cache/", "/pip/", "/kill-")
        return any(mark in path for mark in marks)

    def host_error(self, call: Callable[[], object], *parts: str) -> HostError:
        with self.assertRaises(HostError) as caught:
            call()
        sentence = caught.exception.sentence
        self.assertNotIn("\n", sentence)
        self.assertLess(len(sentence), 900)
        for part in parts:
            self.assertIn(part, sentence)
        return caught.exception

    def refused(self, code: str, call: Callable[[], object], *parts: str) -> None:
        with self.assertRaises(RefusedError) as caught:
            call()
        self.assertEqual(caught.exception.code, code)
        for part in parts:
            self.assertIn(part, caught.exception.sentence)

    # --- which version ---

    def test_the_digest_is_the_registrys(self) -> None:
        found = self.published()
        pinned = "1.1.0"
        self.assertEqual(found.digest, self.place.registry.integrity(self.place.package, pinned))
        self.assertTrue(found.digest.startswith(self.place.integrities))

    def test_what_is_not_there_is_named_with_what_is(self) -> None:
        self.place.publish("1.1.0")
        self.place.publish("1.2.0-rc.3", "rc")
        self.refused(
            "no_such_version", lambda: self.source.resolve("rc", "7.0.0"),
            self.place.package, "7.0.0", "1.1.0 for latest", "1.2.0-rc.3 for rc",
        )  # fmt: skip

    def test_a_package_that_is_not_there_is_refused(self) -> None:
        source = self.source
        source.package = "no-such-package"
        for channel in ("latest", "rc"):
            self.refused(
                "no_such_version", functools.partial(source.resolve, channel, None),
                "no-such-package",
            )  # fmt: skip

    def test_candidates_alone_are_no_stable_version(self) -> None:
        self.place.publish("0.9.0-rc.2", "rc")
        self.withdraw("1.0.0")
        self.assertEqual(self.source.resolve("rc", None).version, "0.9.0-rc.2")
        self.refused("no_such_version", lambda: self.source.resolve("latest", None))

    def withdraw(self, version: str) -> None:
        """No version for `latest` any more."""
        self.place.registry.unpublish(self.place.package, version)
        self.place.registry.tag(self.place.package, "latest", None)

    # --- the registry ---

    def test_a_registry_in_trouble_is_one_sentence_and_nothing_changes(self) -> None:
        self.published()
        before = self.everything()
        for fault, part in (
            (registry.DOWN, ""), (registry.BUSY, "429"), (registry.BROKEN, "500"),
            (registry.CUT, ""), (registry.GARBAGE, ""),
        ):  # fmt: skip
            with self.subTest(fault=fault):
                self.place.break_down(fault)
                self.host_error(
                    lambda: self.source.resolve("latest", None), self.place.package, part
                )
                self.place.mend()
        self.assert_same(before)
        self.assertEqual(self.source.resolve("latest", None).version, "1.1.0")

    def test_a_slow_registry_is_waited_for_and_a_silent_one_is_not(self) -> None:
        self.published()
        self.place.break_down(registry.SLOW)
        self.assertEqual(self.source.resolve("latest", None).version, "1.1.0")
        self.place.break_down(registry.SILENT)
        with mock.patch.object(rewriter, "RESOLVE_S", 1.5):
            self.host_error(lambda: self.source.resolve("latest", None), "1.5 s")

    def test_a_file_that_does_not_come_leaves_what_is_installed(self) -> None:
        resolved = self.published()
        before = self.everything()
        for fault in (registry.DOWN, registry.BUSY, registry.BROKEN, registry.CUT,
                      registry.GARBAGE, registry.SILENT):  # fmt: skip
            with self.subTest(fault=fault):
                self.forget_downloads()
                undo = self.source.keep(NAME)
                self.place.registry.break_down(fault, registry.FILES)
                limit = 4.0 if fault == registry.SILENT else 60.0
                with mock.patch.object(rewriter, "SWAP_S", limit):
                    self.host_error(lambda: self.source.swap(resolved, ignore), self.place.package)
                self.place.cut_off()
                self.source.revert(undo, ignore)
                self.assert_same(before)
                self.source.discard(undo)
                self.place.mend()

    def test_a_corrupt_file_is_not_installed(self) -> None:
        resolved = self.published()
        before = self.everything()
        self.place.registry.corrupt(self.place.package, "1.1.0")
        self.forget_downloads()
        undo = self.source.keep(NAME)
        self.host_error(lambda: self.source.swap(resolved, ignore), self.place.package)
        self.source.revert(undo, ignore)
        self.assert_same(before)

    def test_another_version_than_the_pinned_one_is_seen(self) -> None:
        other = json.dumps({"name": self.place.package, "version": "6.6.6"}).encode()
        text = f"Metadata-Version: 2.1\nName: {self.place.package}\nVersion: 6.6.6\n".encode()
        manifest = self.manifest_in("1.1.0")
        files = {manifest: other if manifest.endswith(".json") else text}
        self.place.publish("1.1.0", files=files)
        resolved = self.source.resolve("latest", "1.1.0")
        before = self.everything()
        undo = self.source.keep(NAME)
        try:
            self.source.swap(resolved, ignore)
        except HostError as error:  # pip looks for itself
            self.assertIn("1.1.0", error.sentence)
        self.assertNotEqual(self.source.installed().version, "1.1.0")
        self.source.revert(undo, ignore)
        self.assert_same(before)

    def manifest_in(self, version: str) -> str:
        return "package.json"

    def forget_downloads(self) -> None:
        """The tool's cache, so that it must ask for the file."""
        for path in (self.place.home / ".npm", self.place.home / ".cache",
                     self.place.prefix / "install" / "cache"):  # fmt: skip
            shutil.rmtree(path, ignore_errors=True)

    # --- the machine ---

    def test_a_missing_tool_is_a_sentence_and_127(self) -> None:
        resolved = self.published()
        self.remove_tool()
        with mock.patch.dict(os.environ, {"PATH": str(self.root)}):
            for call in (
                lambda: self.source.resolve("latest", None),
                lambda: self.source.swap(resolved, ignore),
            ):
                error = self.host_error(call, self.place.manager)
                self.assertEqual(error.exit_code, 127)
                self.assertTrue(error.sentence.endswith("(exit 127)"), error.sentence)
            self.assertEqual(self.source.installed().version, "1.0.0")

    def test_a_tool_that_ends_without_a_word_says_nothing_of_versions(self) -> None:
        source = self.source
        with mock.patch.object(source, "tool", return_value=["/bin/sh", "-c", "kill -9 $$"]):
            self.host_error(lambda: source.resolve("latest", None), self.place.package)
            resolved = rewriter.Resolved("1.1.0", "")
            self.host_error(lambda: source.swap(resolved, ignore), "it was ended by signal 9")

    def remove_tool(self) -> None:
        """Where it is not taken from the path."""

    def test_what_is_not_there_is_not_kept(self) -> None:
        for path in self.packages():
            shutil.rmtree(path)
        self.assertEqual(self.source.installed().version, "")
        self.host_error(lambda: self.source.keep(NAME), "not installed")
        self.assertEqual(self.kept(), [])

    def packages(self) -> list[Path]:
        """What must be gone for the package to be gone."""
        return [self.place.directory]

    def kept(self) -> list[str]:
        return [str(path) for path in self.place.prefix.rglob(".parachute-*")]

    def test_a_linked_checkout_is_no_package(self) -> None:
        self.link()
        before = self.place.tree()
        self.refused("linked_package", lambda: self.source.keep(NAME), "checkout")
        self.assertEqual((self.place.tree(), self.kept()), (before, []))

    def link(self) -> None:
        checkout = self.root / "checkout"
        self.place.directory.rename(checkout)
        self.place.directory.symlink_to(checkout)

    def test_nothing_but_what_was_kept_is_ever_touched(self) -> None:
        other = self.place.prefix.parent / ".parachute-kept-x"
        (other / "tree").mkdir(parents=True)
        for undo in (
            Undo(TREE, str(other)), Undo(TREE, str(self.root)), Undo(TREE, "/"),
            Undo("commit", "0" * 40), Undo(TREE, ""),
        ):  # fmt: skip
            self.assertFalse(self.source.has(undo))
            self.host_error(functools.partial(self.source.revert, undo, ignore))
            self.source.discard(undo)
        self.assertTrue((other / "tree").is_dir())

    def test_what_was_discarded_cannot_be_gone_back_to(self) -> None:
        undo = self.source.keep(NAME)
        self.source.discard(undo)
        self.assertFalse(self.source.has(undo))
        self.host_error(lambda: self.source.revert(undo, ignore), "gone")
        self.assertEqual(self.kept(), [])

    def test_what_is_kept_are_copies_and_not_second_names(self) -> None:
        undo = self.source.keep(NAME)
        for directory, _names, found in os.walk(undo.value):
            for name in found:
                self.assertEqual(os.lstat(os.path.join(directory, name)).st_nlink, 1, name)

    @unittest.skipIf(os.geteuid(), "only root mounts")
    def test_what_could_not_be_put_back_by_renaming_is_not_kept(self) -> None:
        listing = self.listing()
        for path in (self.place.bin, self.tree_directory()):
            self.mount("--bind", path, path)
            self.host_error(lambda: self.source.keep(NAME), "different mounts")
            subprocess.run(["umount", "-l", path], check=True)
            self.assertEqual(self.listing(), listing)

    def tree_directory(self) -> Path:
        """What the tool rewrites."""
        return Path(self.source.layout().tree)

    @unittest.skipIf(os.geteuid(), "only root mounts")
    def test_what_an_overlay_does_not_rename_is_brought_back_too(self) -> None:
        resolved = self.published()
        disk = self.root / "disk"
        disk.mkdir()
        self.mount("-t", "tmpfs", "tmpfs", disk)
        for name in ("upper", "work"):
            (disk / name).mkdir()
        prefix = self.place.prefix
        layers = f"lowerdir={prefix},upperdir={disk}/upper,workdir={disk}/work,redirect_dir=off"
        self.mount("-t", "overlay", "-o", layers, "overlay", prefix)
        before = self.everything()
        undo = self.source.keep(NAME)
        self.source.swap(resolved, ignore)
        self.place.cut_off()
        for _ in range(2):
            self.source.revert(undo, ignore)
            self.assert_same(before)

    def mount(self, *words: str | Path) -> None:
        """Until the test ends."""
        subprocess.run(["mount", *words], check=True)
        self.addCleanup(subprocess.call, ["umount", "-l", words[-1]], stderr=subprocess.DEVNULL)

    @unittest.skipIf(os.geteuid(), "only root mounts a disk of its own")
    def test_a_full_disk_when_the_tree_is_kept(self) -> None:
        self.on_a_small_disk()
        before, listing = self.everything(), self.listing()
        for free in FREE[:3]:
            with self.subTest(free=free):
                self.fill(free)
                error = self.host_error(lambda: self.source.keep(NAME), "No space left")
                self.assertIn("nothing was changed", error.sentence)
                self.assert_same(before)
                self.assertEqual(self.listing(), listing)

    @unittest.skipIf(os.geteuid(), "only root mounts a disk of its own")
    def test_a_full_disk_when_the_tree_is_rewritten(self) -> None:
        self.on_a_small_disk()
        resolved = self.published()
        before = self.everything()
        for free in FREE:
            with self.subTest(free=free):
                self.forget_downloads()
                self.fill(None)
                undo = self.source.keep(NAME)
                self.fill(free)
                try:
                    self.source.swap(resolved, ignore)
                except HostError as error:
                    self.assertIn(self.place.package, error.sentence)
                self.fill(0)
                self.place.cut_off()
                self.source.revert(undo, ignore)
                self.assert_same(before)
                self.source.discard(undo)
                self.place.mend()

    def on_a_small_disk(self) -> None:
        """The whole place once more, on a disk of its own."""
        self.disk = self.root / "disk"
        self.disk.mkdir()
        self.mount("-t", "tmpfs", "-o", f"size={SIZE_MB}m", "tmpfs", self.disk)
        self.place = self.installed(self.disk / "place")

    def fill(self, free: int | None) -> None:
        """Leave so many bytes free, all for None."""
        filler = self.disk / "filler"
        filler.unlink(missing_ok=True)
        if free is not None:
            left = os.statvfs(self.disk)
            with open(filler, "wb") as file:
                os.posix_fallocate(file.fileno(), 0, left.f_bavail * left.f_bsize)
                os.ftruncate(file.fileno(), os.fstat(file.fileno()).st_size - free or 1)

    def listing(self) -> list[str]:
        return sorted(map(str, self.place.prefix.rglob("*")))

    # --- killed ---

    def test_the_tool_killed_at_each_of_its_moves(self) -> None:
        resolved = self.published()
        before = self.everything()
        reached = 0
        for inject, numbers, where in self.moments():
            for number in numbers:
                self.forget_downloads()
                undo = self.source.keep(NAME)
                words = f"inject={inject}:signal=KILL:when={number}"
                killed = self.swap_under([*KILLING, words, *where], resolved)
                self.assertTrue(self.source.has(undo))
                self.place.cut_off()
                self.source.revert(undo, ignore)
                self.assert_same(before, f"killed at {inject} {number} {where}")
                self.assertEqual(self.litter(), [])
                self.source.discard(undo)
                self.place.mend()
                reached += killed
                if not killed:
                    break  # it makes no more such calls
        self.assertGreaterEqual(reached, self.least)

    least = 0

    def moments(self) -> list[Moments]:
        """At which of its calls the tool is killed."""
        return [(RENAMES, range(1, 60), ()), (LINKS, range(1, 60), ()),
                (REMOVALS, (1, 2, 5, 20), ())]  # fmt: skip

    def swap_under(self, words: list[str], resolved: Any) -> bool:
        """Whether the tool was killed."""
        source = self.source
        with mock.patch.object(source, "tool", return_value=[*words, *source.tool()]):
            try:
                source.swap(resolved, ignore)
            except HostError:
                return True
        return False

    def litter(self) -> list[str]:
        """What a killed tool left, beside what is installed."""
        return [str(path) for path in self.place.prefix.rglob(".*hub-*")
                if not path.name.startswith(".parachute-")]  # fmt: skip

    def test_going_back_killed_at_each_of_its_moves(self) -> None:
        resolved = self.published()
        before = self.everything()
        for calls, points in ((RENAMES, range(1, 60)), (REMOVALS, (1, 2, 7, 50, 400))):
            for point in points:
                undo = self.source.keep(NAME)
                self.source.swap(resolved, ignore)
                self.place.cut_off()
                status = self.revert_killed(undo, calls, point)
                self.assertIn(status, (0, KILLED))
                for time in ("once", "twice"):
                    self.source.revert(undo, ignore)
                    self.assert_same(before, f"killed at {calls} {point}, again {time}")
                self.source.discard(undo)
                self.place.mend()
                if not status:
                    break
            self.assertGreater(point, 1)
        self.source.discard(self.source.keep(NAME))  # it sweeps
        self.assertEqual(self.kept(), [])

    def test_keeping_killed_at_each_of_its_moves(self) -> None:
        before = self.everything()
        whole = Undo(TREE, os.path.join(self.source.beside(), ".parachute-kept-" + NAME))
        made = [(RENAMES, range(1, 60)), ("mkdir,mkdirat", (1, 2, 4)), (REMOVALS, (1, 9))]
        for calls, points in made:
            for point in points:
                self.source.discard(self.source.keep(NAME))  # it sweeps
                self.assertEqual(self.kept(), [])
                self.source.keep(NAME)
                killed = self.killed(f"keep({NAME!r})", calls, point)
                if self.source.has(whole):
                    self.source.revert(whole, ignore)
                self.assert_same(before, f"killed at {calls} {point}")
                if not killed:
                    break
            self.assertGreater(point, 1)

    def revert_killed(self, undo: Undo, calls: str, point: int) -> int:
        """Revert in a process that is killed at its n-th call; 0 when there is no such."""
        return self.killed(f"revert(Undo(*{tuple(undo)!r}), print)", calls, point)

    def killed(self, call: str, calls: str, point: int) -> int:
        """Make a call of the source in a process that is killed at its n-th system call of that
        kind; 0 when it made no such."""
        code = (
            "import sys; from hub_upgrade.sources.package import package_source;"
            "from hub_upgrade.domain.install import Place;"
            "from hub_upgrade.domain.managed import Managed;"
            "from hub_upgrade.domain.operation import Undo;"
            f"place = Place(*{tuple(self.place.place)!r});"
            f"package_source(place, Managed()).{call}"
        )
        inject = f"inject={calls}:signal=KILL:when={point}"
        argv = [*KILLING, inject, sys.executable, "-B", "-c", code]
        done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
        self.assertIn(done.returncode, (0, -9, KILLED), done.stderr)
        return KILLED if done.returncode else 0


class NodeCase(PackageCase):
    """What only a registry with tags can do."""

    def test_a_tag_that_is_no_version_is_refused(self) -> None:
        self.place.registry.tag(self.place.package, "rc", "banana")
        self.refused("no_such_version", lambda: self.source.resolve("rc", None), "'banana'")
        self.assertEqual(self.source.resolve("latest", None).version, "1.0.0")
