"""A directory set aside whole, and put back by renames. By real tools: tests/outside/sources."""

from __future__ import annotations

import os
import shutil
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from hub_upgrade.domain.operation import FAILED, Operation
from hub_upgrade.domain.transitions import finish
from hub_upgrade.errors import HostError, RefusedError
from hub_upgrade.host.files import Home
from hub_upgrade.host.status_store import StatusStore
from hub_upgrade.sources import trees
from hub_upgrade.sources.trees import Layout


class Trees(unittest.TestCase):
    def setUp(self) -> None:
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.prefix = Path(holder.name).resolve()
        self.tree = self.prefix / "lib" / "@scope" / "hub"
        self.layout = Layout(str(self.tree), str(self.prefix), str(self.prefix / "lib"))
        (self.tree / "deep").mkdir(parents=True)
        (self.prefix / "bin").mkdir()
        self.write("hub.js", "one", 0o755)
        (self.tree / "deep" / "link").symlink_to("../hub.js")
        (self.prefix / "bin" / "hub").symlink_to("../lib/@scope/hub/hub.js")
        (self.prefix / "bin" / "other").write_text("#!/bin/sh\n")
        self.before = self.seen()

    def write(self, name: str, text: str, mode: int = 0o644) -> None:
        path = self.tree / name
        path.write_text(text)
        path.chmod(mode)
        os.utime(path, (1e9, 1e9))

    def seen(self) -> list[tuple[str, int, str]]:
        """Everything below the prefix, but what is kept."""
        found = []
        for path in sorted(self.prefix.rglob("*")):
            if trees.KEPT in str(path):
                continue
            link, about = path.is_symlink(), path.lstat()
            content = os.readlink(path) if link else path.read_text() if path.is_file() else ""
            found.append((str(path), about.st_mode, content))
        return found

    def rewrite(self) -> None:
        """As a manager does it: another file, another command, nothing of the old."""
        os.rename(self.tree, self.tree.parent / "gone")
        self.tree.mkdir()
        self.write("new.js", "two")
        (self.prefix / "bin" / "hub").unlink()
        (self.prefix / "bin" / "new").symlink_to("../lib/@scope/hub/new.js")
        for path in sorted((self.tree.parent / "gone").rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        (self.tree.parent / "gone").rmdir()

    def test_what_was_kept_comes_back_as_it_was(self) -> None:
        kept = trees.keep(self.layout, "a")
        self.assertEqual(self.seen(), self.before)
        self.rewrite()
        for _ in range(2):
            trees.put_back(kept)
            self.assertEqual(self.seen(), self.before)
        self.assertEqual((self.tree / "hub.js").stat().st_mtime, 1e9)
        self.assertFalse(trees.is_kept(kept))

    def test_it_comes_back_where_everything_above_is_gone(self) -> None:
        kept = trees.keep(self.layout, "a")
        self.rewrite()
        (self.tree / "new.js").unlink()
        self.tree.rmdir()
        self.tree.parent.rmdir()
        trees.put_back(kept)
        self.assertEqual(self.seen(), self.before)

    def test_what_failed_half_way_goes_on_from_there(self) -> None:
        for broken in ("rename", "replace", "unlink"):
            kept = trees.keep(self.layout, "a")
            self.rewrite()
            with mock.patch.object(os, broken, side_effect=OSError("no")):
                self.assertRaises(OSError, trees.put_back, kept)
            trees.put_back(kept)
            self.assertEqual(self.seen(), self.before, broken)

    def test_keeping_that_fails_leaves_nothing(self) -> None:
        for broken in ("sync", "rename", "symlink"):
            full = mock.patch.object(os, broken, side_effect=OSError(28, "No space left"))
            with full, self.assertRaises(HostError) as caught:
                trees.keep(self.layout, "a")
            self.assertIn("No space left", caught.exception.sentence)
            self.assertEqual(self.seen(), self.before)
            self.assertEqual(list(self.prefix.rglob(trees.KEPT + "*")), [])

    def test_the_same_name_again_begins_anew(self) -> None:
        trees.keep(self.layout, "a")
        self.write("hub.js", "another", 0o755)
        before = self.seen()
        kept = trees.keep(self.layout, "a")
        self.rewrite()
        trees.put_back(kept)
        self.assertEqual(self.seen(), before)

    def test_what_is_forgotten_is_gone_and_cannot_be_put_back(self) -> None:
        kept = trees.keep(self.layout, "a")
        for _ in range(2):
            trees.forget(kept)
            self.assertFalse(os.path.lexists(kept))
        self.assertRaises(HostError, trees.put_back, kept)
        self.assertEqual(self.seen(), self.before)

    def test_scripts_that_do_not_belong_to_it_are_neither_read_nor_touched(self) -> None:
        """As where Python lies below the same prefix, and some are another user's."""
        ours = f"#!{self.prefix}/bin/python3\n"
        pip, ansible = self.prefix / "bin" / "pip", self.prefix / "bin" / "ansible"
        pip.write_text(ours + "old")
        with mock.patch.object(trees, "open", side_effect=PermissionError, create=True):
            kept = trees.keep(self.layout, "a")
        self.rewrite()
        pip.write_text(ours + "new")
        ansible.write_text(ours)
        trees.put_back(kept)
        self.assertEqual((pip.read_text(), ansible.read_text()), (ours + "new", ours))

    def test_it_comes_back_below_a_directory_whose_name_is_no_utf8(self) -> None:
        odd = Path(os.fsdecode(os.fsencode(self.prefix) + b"/t\xff"))
        (odd / "lib").mkdir(parents=True)
        (odd / "bin").mkdir()
        os.rename(self.tree, odd / "lib" / "hub")
        self.tree = odd / "lib" / "hub"
        (odd / "bin" / os.fsdecode(b"h\xfe")).symlink_to("../lib/hub/hub.js")
        before = self.seen()
        kept = trees.keep(Layout(str(self.tree), str(odd), str(odd / "lib")), "a")
        os.rename(self.tree, self.prefix / "away")
        trees.put_back(kept)
        os.rename(self.prefix / "away", odd / "away")
        shutil.rmtree(odd / "away")
        shutil.rmtree(kept)
        self.assertEqual(self.seen(), before)

    def test_what_the_killed_left_is_swept(self) -> None:
        for end in (trees.MAKING, trees.REPLACED, trees.DOOMED):
            (self.prefix / "lib" / f"{trees.KEPT}old{end}" / "tree").mkdir(parents=True)
        kept = trees.keep(self.layout, "a")
        self.assertEqual([str(path) for path in self.prefix.rglob(trees.KEPT + "*")], [kept])

    def test_what_another_home_keeps_to_come_back_is_swept_once_that_has_ended(self) -> None:
        other = self.prefix / "another home"
        other.mkdir()
        store = StatusStore(Home(str(other)))
        record = store.claim(Operation("a"))
        kept = trees.keep(self.layout, "a", home=str(other))
        with self.assertRaises(RefusedError) as caught:
            trees.keep(self.layout, "b", home="/home/ours")
        self.assertIn(f"hub.pyz status --config-dir {other}", caught.exception.sentence)
        self.assertEqual([str(path) for path in self.prefix.rglob(trees.KEPT + "*")], [kept])
        trees.keep(self.layout, "a", home=str(other))
        store.update(record.operation_id, lambda record: finish(record, FAILED, "now"))
        kept = trees.keep(self.layout, "b", home="/home/ours")
        self.assertEqual([str(path) for path in self.prefix.rglob(trees.KEPT + "*")], [kept])


if __name__ == "__main__":
    unittest.main()
