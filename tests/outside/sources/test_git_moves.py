"""A checkout kept, moved and brought back: what is refused, dependencies, and submodules."""

from __future__ import annotations

import functools
import os
import shlex
import shutil
import unittest
from pathlib import Path
from typing import Any
from unittest import mock

from hub_upgrade.domain.operation import FAILED, Operation
from hub_upgrade.domain.transitions import finish
from hub_upgrade.errors import HostError, HubError, RefusedError
from hub_upgrade.host.files import Home
from hub_upgrade.host.status_store import StatusStore
from hub_upgrade.sources import git_install
from hub_upgrade.sources.git import GitSource
from tests.outside.sources.scene_git import GitScene, git


def ignore(_piece: bytes) -> None:
    """A sink that nobody reads."""


class Moves(unittest.TestCase):
    """What the tests below have in common."""

    def setUp(self) -> None:
        self.scene = GitScene(self)
        self.hub = self.scene.hub

    @property
    def source(self) -> GitSource:
        return self.scene.make_source()

    def resolve(self, version: str | None = None) -> Any:
        return self.source.resolve("latest", version)

    def refused(self, code: str, call: Any) -> str:
        before = self.scene.tree()
        with self.assertRaises(RefusedError) as caught:
            call()
        self.assertEqual(caught.exception.code, code)
        self.assertEqual(self.scene.tree(), before)
        return caught.exception.sentence

    def keep_refused(self, code: str) -> str:
        return self.refused(code, lambda: self.source.keep("one"))


class Keeping(Moves):
    def test_a_dirty_tree_is_refused_and_ten_files_are_named(self) -> None:
        for number in range(12):
            self.scene.write(f"more/{number:02}.txt", "theirs")
        self.scene.commit()
        git(self.hub, "pull", "--quiet")
        (self.hub / "lib" / "böse datei.txt").write_text("mine")
        self.assertIn("(lib/böse datei.txt)", self.keep_refused("dirty_tree"))
        for number in range(12):
            (self.hub / "more" / f"{number:02}.txt").unlink()
        git(self.hub, "add", "more/00.txt")
        sentence = self.keep_refused("dirty_tree")
        self.assertIn("lib/böse datei.txt, more/00.txt", sentence)
        self.assertIn("more/08.txt and 3 more)", sentence)

    def test_what_is_under_way_is_refused_by_name(self) -> None:
        git(self.hub, "checkout", "--quiet", "-b", "other")
        for branch in ("other", "main"):
            git(self.hub, "checkout", "--quiet", branch)
            (self.hub / "package.json").write_text(branch)
            git(self.hub, "commit", "--quiet", "--all", "--message", branch)
        for words, name in ((("merge", "other"), "merge"), (("rebase", "other"), "rebase")):
            with self.assertRaises(AssertionError):
                git(self.hub, *words)
            self.assertIn(f"a {name} is in progress", self.keep_refused("git_in_progress"))
            git(self.hub, words[0], "--abort")
        self.source.keep("one")

    def test_a_lock_that_is_there_is_refused_and_stays(self) -> None:
        lock = self.hub / ".git" / "index.lock"
        lock.touch()
        self.assertIn(str(lock), self.keep_refused("git_in_progress"))
        self.assertTrue(lock.exists())

    def test_untracked_files_are_nobodys_business(self) -> None:
        (self.hub / "mine").write_text("mine")
        undo = self.source.keep("one")
        self.scene.publish("1.1.0")
        before = self.scene.tree()
        self.source.swap(self.resolve(), ignore)
        self.source.revert(undo, ignore)
        self.assertEqual(self.scene.tree(), before)

    def test_what_was_kept_is_not_tidied_away(self) -> None:
        self.scene.publish("1.1.0")
        git(self.hub, "pull", "--quiet")
        undo = self.source.keep("one")
        self.source.swap(self.resolve("1.0.0"), ignore)
        self.scene.cut_off()
        for ref in ("refs/remotes/origin/main", "refs/remotes/origin/HEAD", "ORIG_HEAD"):
            git(self.hub, "update-ref", "--no-deref", "-d", ref)
        for tag in git(self.hub, "tag").split():
            git(self.hub, "tag", "--delete", tag)
        git(self.hub, "reflog", "expire", "--expire=now", "--all")
        git(self.hub, "gc", "--quiet", "--prune=now")
        self.assertTrue(self.source.has(undo))
        self.source.revert(undo, ignore)
        self.assertEqual(self.source.installed().version, "1.1.0")

    def test_nothing_of_ours_is_left_in_the_end(self) -> None:
        self.scene.installs_with("true")
        self.scene.write("bun.lock", "1")
        self.scene.publish("1.1.0")
        for back in (False, True):
            undo = self.source.keep("one")
            self.source.swap(self.resolve(), ignore)
            if back:
                self.source.revert(undo, ignore)
            self.source.discard(undo)
            self.assertEqual(list((self.hub / ".git").glob("parachute-*")), [])
            self.assertNotIn("refs/parachute", git(self.hub, "for-each-ref"))
            git(self.hub, "reset", "--quiet", "--hard", "v1.0.0")


class InTheWay(Moves):
    def in_the_way(self, name: str, version: str | None = None) -> None:
        """It is refused before anything is touched, and going back leaves it there."""
        resolved = self.resolve(version)
        undo = self.source.keep("one")
        sentence = self.refused("untracked_files", lambda: self.source.swap(resolved, ignore))
        self.assertIn(name, sentence)
        before = self.scene.tree()
        self.source.revert(undo, ignore)
        self.assertEqual(self.scene.tree(), before)

    def mine(self, name: str) -> Path:
        path = self.hub / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
        return path

    def test_a_file_that_the_new_version_brings_too_is_never_overwritten(self) -> None:
        self.scene.publish("1.1.0")
        self.mine("new/of 1.1.0/é.txt")
        self.in_the_way("new/of 1.1.0/é.txt")

    def test_neither_is_one_that_git_ignores(self) -> None:
        self.scene.publish("1.1.0")
        self.mine("new/of 1.1.0/é.txt")
        (self.hub / ".git" / "info" / "exclude").write_text("new\n")
        self.in_the_way("new/of 1.1.0/é.txt")

    def test_neither_is_one_on_the_way_back_to_an_older_version(self) -> None:
        self.scene.publish("1.1.0")
        git(self.hub, "pull", "--quiet")
        self.mine("gone/only in 1.0.0.txt")
        self.in_the_way("gone/only in 1.0.0.txt", "1.0.0")

    def test_a_link_to_nowhere_is_in_the_way_too(self) -> None:
        self.scene.publish("1.1.0")
        (self.hub / "new" / "of 1.1.0").mkdir(parents=True)
        (self.hub / "new" / "of 1.1.0" / "é.txt").symlink_to("nowhere")
        self.in_the_way("new/of 1.1.0/é.txt")

    def test_what_git_alone_notices_is_left_by_it_and_by_going_back(self) -> None:
        self.scene.write("tool", "a file")
        self.scene.write("more/of/it", "a file")
        self.scene.publish("1.1.0")
        for name in ("tool/mine", "more"):
            path = self.mine(name)
            before = self.scene.tree()
            undo = self.source.keep("one")
            with self.assertRaises(HubError):
                self.source.swap(self.resolve(), ignore)
            self.source.revert(undo, ignore)
            self.assertEqual(self.scene.tree(), before)
            shutil.rmtree(path.parent) if path.parent != self.hub else path.unlink()

    def test_files_and_directories_may_take_each_others_place(self) -> None:
        self.scene.write("a", "a file")
        self.scene.write("b/b", "in a directory")
        self.scene.write("Readme", "a file")
        (self.scene.author / "link").symlink_to("lib")
        self.scene.commit()
        git(self.hub, "pull", "--quiet")
        before = self.scene.tree()
        git(self.scene.author, "rm", "-r", "--quiet", "a", "b", "link", "Readme")
        self.scene.write("a/a", "in a directory")
        self.scene.write("b", "a file")
        self.scene.write("README", "a file")
        self.scene.write("link/böse datei.txt", "in a directory")
        self.scene.publish("1.1.0")
        undo = self.source.keep("one")
        self.source.swap(self.resolve(), ignore)
        self.assertEqual((self.hub / "a" / "a").read_text(), "in a directory")
        self.source.revert(undo, ignore)
        self.assertEqual(self.scene.tree(), before)

    def test_changes_made_in_the_meantime_are_refused_and_kept(self) -> None:
        self.scene.publish("1.1.0")
        resolved = self.resolve()
        undo = self.source.keep("one")
        self.mine("lib/böse datei.txt")
        self.refused("dirty_tree", lambda: self.source.swap(resolved, ignore))
        before = self.scene.tree()
        self.source.revert(undo, ignore)
        self.assertEqual(self.scene.tree(), before)

    def test_a_checkout_that_was_moved_away_in_the_meantime_is_refused(self) -> None:
        self.scene.publish("1.1.0")
        resolved = self.resolve()
        git(self.hub, "commit", "--quiet", "--allow-empty", "--message", "mine")
        self.refused("not_fast_forward", lambda: self.source.swap(resolved, ignore))


class Homes(Moves):
    def test_a_move_that_another_home_began_is_that_homes_to_end(self) -> None:
        other = self.scene.root / "another home"
        other.mkdir()
        store = StatusStore(Home(str(other)))
        store.claim(Operation("theirs"))
        before = self.scene.tree()
        self.scene.publish("1.1.0")
        theirs, ours = self.source, self.source
        theirs.home, ours.home = str(other), "/home/ours"
        undo = theirs.keep("theirs")
        theirs.swap(self.resolve(), ignore)
        sentence = self.refused("upgrade_in_flight", lambda: ours.keep("ours"))
        self.assertIn(f"hub.pyz status --config-dir {other}", sentence)
        anew = self.source
        anew.revert(undo, ignore)
        self.assertEqual(self.scene.tree(), before)
        theirs.keep("theirs")
        theirs.swap(self.resolve(), ignore)
        store.update("theirs", lambda record: finish(record, FAILED, "now"))
        ours.keep("ours")


class Dependencies(Moves):
    """The install command leaves the lock file's content in `installed`, and a line in `ran`."""

    SCRIPT = "cp bun.lock installed; echo it ran; echo >> {ran}; test ! -e {fail} || exit 3"

    def setUp(self) -> None:
        super().setUp()
        (self.hub / ".git" / "info" / "exclude").write_text("installed\n")
        self.ran, self.failing = self.scene.root / "ran", self.scene.root / "fail"
        self.lock("old")
        git(self.hub, "pull", "--quiet")
        (self.hub / "installed").write_text("old")
        words = {"ran": shlex.quote(str(self.ran)), "fail": shlex.quote(str(self.failing))}
        self.scene.installs_with(self.SCRIPT.format(**words))

    def lock(self, content: str) -> None:
        self.scene.write("bun.lock", content)
        self.scene.commit()

    def runs(self) -> int:
        return len(self.ran.read_text().splitlines()) if self.ran.exists() else 0

    def installed(self) -> str:
        return (self.hub / "installed").read_text()

    def test_they_are_installed_only_where_a_lock_file_changed(self) -> None:
        self.scene.publish("1.1.0")
        undo = self.source.keep("one")
        self.source.swap(self.resolve(), ignore)
        self.source.revert(undo, ignore)
        self.assertEqual(self.runs(), 0)
        self.lock("new")
        undo = self.source.keep("one")
        pieces: list[bytes] = []
        self.source.swap(self.resolve(), pieces.append)
        self.assertIn(b"it ran", b"".join(pieces))
        self.assertEqual((self.runs(), self.installed()), (1, "new"))
        self.source.revert(undo, ignore)
        self.assertEqual((self.runs(), self.installed()), (2, "old"))
        self.source.revert(undo, ignore)
        self.assertEqual(self.runs(), 2)

    def test_an_install_that_fails_goes_back_and_the_next_try_runs_it_again(self) -> None:
        self.lock("new")
        before = self.scene.tree()
        self.failing.touch()
        undo = self.source.keep("one")
        with self.assertRaises(HostError) as caught:
            self.source.swap(self.resolve(), ignore)
        self.assertIn("failed: it ran", caught.exception.sentence)
        self.assertEqual(self.installed(), "new")
        owed = self.source.revert(undo, ignore)
        self.assertIn("failed: it ran", owed)
        self.assertIn("owed", owed)
        runs = self.runs()
        self.assertEqual(git(self.hub, "rev-parse", "HEAD"), undo.value)
        self.assertEqual(self.source.revert(undo, ignore), "")
        self.assertEqual(self.runs(), runs)
        self.failing.unlink()
        (self.hub / "installed").write_text("old")
        self.assertEqual(self.scene.tree(), before)
        self.source.discard(undo)
        self.source.keep("two")
        self.source.swap(self.resolve(), ignore)
        self.assertEqual((self.runs(), self.installed()), (runs + 1, "new"))

    def test_an_install_that_was_never_finished_is_owed_by_whatever_comes_next(self) -> None:
        first = self.scene.head()
        self.lock("new")
        self.failing.touch()
        undo = self.source.keep("one")
        with self.assertRaises(HostError):
            self.source.swap(self.resolve(), ignore)
        self.assertIn("owed", self.source.revert(undo, ignore))
        self.source.discard(undo)
        self.failing.unlink()
        self.assertEqual(self.scene.head(), first)
        self.lock("old")
        runs = self.runs()
        undo = self.source.keep("two")
        self.source.swap(self.resolve(), ignore)
        self.assertEqual((self.runs(), self.installed()), (runs + 1, "old"))
        self.source.discard(undo)
        self.scene.publish("1.1.0")
        self.source.keep("three")
        self.source.swap(self.resolve(), ignore)
        self.assertEqual(self.runs(), runs + 1)

    def test_going_back_before_they_were_touched_does_not_touch_them(self) -> None:
        """It may need the network, and there is nothing to bring back."""
        self.lock("new")
        before = self.scene.tree()
        undo = self.source.keep("one")
        resolved = self.resolve()
        with mock.patch.object(git_install.Dependencies, "install", side_effect=HostError("cut")):
            with self.assertRaises(HostError):
                self.source.swap(resolved, ignore)
            self.assertNotEqual(self.scene.tree(), before)
            self.source.revert(undo, ignore)
        self.assertEqual(self.scene.tree(), before)

    def test_an_install_that_does_not_end_is_ended(self) -> None:
        self.lock("new")
        self.scene.installs_with("sleep 1000")
        self.source.keep("one")
        resolved = self.resolve()
        with mock.patch.object(git_install, "INSTALL_S", 0.2), self.assertRaises(HostError) as told:
            self.source.swap(resolved, ignore)
        self.assertIn("took longer than 0.2 s", told.exception.sentence)

    def test_a_command_that_is_not_there_is_one_sentence_and_exit_code_127(self) -> None:
        self.lock("new")
        self.scene.managed = self.scene.managed._replace(install_command=("no-such-tool", "x"))
        self.source.keep("one")
        with self.assertRaises(HostError) as caught:
            self.source.swap(self.resolve(), ignore)
        self.assertEqual(caught.exception.exit_code, 127)
        self.assertRegex(caught.exception.sentence, r"^no-such-tool .*\(exit 127\)$")

    def test_without_a_command_bun_is_run_for_its_own_lock_and_no_other(self) -> None:
        self.scene.managed = self.scene.managed._replace(install_command=None)
        bun = self.scene.root / "bun"
        bun.write_text(f'#!/bin/sh\necho "$@" >> {shlex.quote(str(self.ran))}\n')
        bun.chmod(0o755)
        with mock.patch.dict(os.environ, {"PATH": f"{bun.parent}{os.pathsep}{os.environ['PATH']}"}):
            self.lock("new")
            self.source.keep("one")
            self.source.swap(self.resolve(), ignore)
        self.assertEqual(self.ran.read_text(), "install --frozen-lockfile\n")
        for name in ("package-lock.json", "requirements.txt"):
            (self.scene.author / "bun.lock").unlink()
            self.scene.write(name, "{}")
            self.scene.commit()
            swap = functools.partial(self.source.swap, self.resolve(), ignore)
            sentence = self.refused("no_install_command", swap)
            self.assertIn(name, sentence)
            self.scene.write("bun.lock", "new")
            self.scene.commit()

    def test_lock_files_count_in_the_directory_and_above_it(self) -> None:
        inner = self.hub / "packages" / "hüb"
        self.scene.write("packages/hüb/package.json", "{}")
        self.scene.write("packages/other/package.json", "{}")
        self.scene.commit()
        git(self.hub, "pull", "--quiet")
        for name, runs in (
            ("packages/other/bun.lock", 0),
            ("packages/hüb/lib/yarn.lock", 0),
            ("packages/hüb/uv.lock", 1),
            ("packages/yarn.lock", 2),
            ("bun.lock", 3),
        ):
            self.scene.installs_with(f"test -f package.json; echo >> {shlex.quote(str(self.ran))}")
            self.scene.write(name, "changed")
            self.scene.commit()
            source = GitSource(str(inner), self.scene.managed)
            source.swap(source.resolve("latest", None), ignore)
            self.assertEqual(self.runs(), runs, name)


class Submodules(Moves):
    def setUp(self) -> None:
        super().setUp()
        self.part = self.scene.root / "a pärt"
        self.part.mkdir()
        git(self.part, "init", "--quiet")
        self.advance("one")

    def advance(self, content: str) -> None:
        (self.part / f"{content}.txt").write_text(content)
        (self.part / "all.txt").write_text(content)
        git(self.part, "add", "--all")
        git(self.part, "commit", "--quiet", "--message", content)

    def add(self) -> None:
        git(self.scene.author, "submodule", "--quiet", "add", str(self.part), "vendor/the pärt")
        self.scene.publish("1.1.0")

    def forward(self) -> Any:
        undo = self.source.keep("one")
        self.source.swap(self.resolve(), ignore)
        return undo

    def content(self) -> str:
        return (self.hub / "vendor" / "the pärt" / "all.txt").read_text()

    def test_one_that_is_new_comes_and_goes(self) -> None:
        before = self.scene.tree()
        self.add()
        for _ in range(2):
            undo = self.forward()
            self.assertEqual(self.content(), "one")
            self.source.revert(undo, ignore)
            self.assertEqual(self.scene.tree(), before)

    def test_one_that_is_changed_is_moved_and_moved_back_without_the_network(self) -> None:
        self.add()
        self.source.discard(self.forward())
        before = self.scene.tree()
        self.advance("two")
        git(self.scene.author / "vendor" / "the pärt", "pull", "--quiet", "origin", "main")
        self.scene.publish("1.2.0")
        undo = self.forward()
        self.assertEqual(self.content(), "two")
        self.scene.cut_off()
        self.part.rename(self.scene.root / "away")
        self.source.revert(undo, ignore)
        self.assertEqual(self.content(), "one")
        self.assertEqual(self.scene.tree(), before)

    def test_one_that_a_killed_git_had_half_moved_is_brought_back_to_the_byte(self) -> None:
        self.add()
        self.source.discard(self.forward())
        before = self.scene.tree()
        part = self.hub / "vendor" / "the pärt"
        old = self.scene.head(part)
        self.advance("two")
        git(self.scene.author / "vendor" / "the pärt", "pull", "--quiet", "origin", "main")
        self.scene.publish("1.2.0")
        undo = self.forward()
        git(part, "read-tree", old)  # the files come first, the index and HEAD after them
        git(part, "update-ref", "--no-deref", "HEAD", old)
        self.source.revert(undo, ignore)
        self.assertEqual(self.scene.tree(), before)

    def test_one_that_cannot_be_had_fails_and_all_goes_back(self) -> None:
        self.add()
        before = self.scene.tree()
        undo = self.source.keep("one")
        resolved = self.resolve()
        self.part.rename(self.scene.root / "away")
        with self.assertRaises(HostError) as caught:
            self.source.swap(resolved, ignore)
        self.assertIn("git submodule failed", caught.exception.sentence)
        self.source.revert(undo, ignore)
        self.assertEqual(self.scene.tree(), before)

    def test_one_that_is_dropped_comes_back(self) -> None:
        self.add()
        self.source.discard(self.forward())
        before = self.scene.tree()
        git(self.scene.author, "rm", "--quiet", "vendor/the pärt")
        self.scene.publish("1.2.0")
        undo = self.forward()
        self.source.revert(undo, ignore)
        self.assertEqual(self.scene.tree(), before)

    def test_changes_in_one_are_the_operators(self) -> None:
        self.add()
        self.source.discard(self.forward())
        (self.hub / "vendor" / "the pärt" / "all.txt").write_text("mine")
        self.assertIn("vendor/the pärt", self.keep_refused("dirty_tree"))

    def test_files_where_one_is_to_be_are_in_the_way(self) -> None:
        self.add()
        mine = self.hub / "vendor" / "the pärt" / "mine"
        mine.parent.mkdir(parents=True)
        mine.write_text("mine")
        resolved = self.resolve()
        undo = self.source.keep("one")
        self.refused("untracked_files", lambda: self.source.swap(resolved, ignore))
        self.source.revert(undo, ignore)
        self.assertEqual(mine.read_text(), "mine")


if __name__ == "__main__":
    unittest.main()
