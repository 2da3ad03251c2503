"""A checkout's root, its directories and its head, as git lays them out."""

from __future__ import annotations

import os
import unittest

from hub_upgrade.host import checkout
from tests.host.test_executed import Tree

ONE, TWO = "1" * 40, "2a" * 32


class Checkouts(Tree):
    def repository(self, head: str, where: str = "hub/.git") -> None:
        self.make(f"{where}/HEAD", head + "\n")

    def head(self, directory: str = "hub") -> str:
        return checkout.git_head(self.at(directory))

    def test_the_root_is_the_nearest_directory_with_a_git_of_its_own(self) -> None:
        self.repository("ref: refs/heads/main")
        os.makedirs(self.at("hub/src/.git"))
        self.make("hub/vendor/.git", "gitdir: ../.git/modules/vendor\n")
        self.repository(ONE, "hub/.git/modules/vendor")
        self.assertEqual(checkout.root_of(self.at("hub/src/deep")), self.at("hub"))
        self.assertEqual(checkout.root_of(self.at("hub/vendor/src")), self.at("hub/vendor"))
        self.assertEqual(checkout.root_of(self.at("hub-old")), "")

    def test_the_head_is_told_however_it_is_kept(self) -> None:
        self.repository("ref: refs/heads/main")
        self.assertEqual(self.head(), "")
        self.make("hub/.git/packed-refs", f"# pack-refs\n{TWO} refs/heads/main-old\n^{ONE}\n"
                  f"{TWO} refs/heads/main\n")  # fmt: skip
        self.assertEqual(self.head(), TWO)
        self.make("hub/.git/refs/heads/main", ONE + "\n")
        self.assertEqual(self.head(), ONE)
        self.assertEqual(self.head("hub/src/below"), ONE)
        self.repository(TWO)
        self.assertEqual(self.head(), TWO)
        os.unlink(self.at("hub/.git/HEAD"))
        self.link("hub/.git/HEAD", "refs/heads/main")
        self.assertEqual(self.head(), ONE)

    def test_a_worktree_has_its_own_head_and_the_others_branches(self) -> None:
        self.repository("ref: refs/heads/main")
        self.make("hub/.git/refs/heads/next", ONE)
        self.make("tree/.git", f"gitdir: {self.at('hub/.git/worktrees/tree')}\n")
        self.make("hub/.git/worktrees/tree/HEAD", "ref: refs/heads/next\n")
        self.make("hub/.git/worktrees/tree/commondir", "../..\n")
        self.assertEqual(self.head("tree"), ONE)
        own = checkout.git_dir(self.at("tree"))
        self.assertEqual(own, self.at("hub/.git/worktrees/tree"))
        self.assertEqual(checkout.common_dir(own), self.at("hub/.git"))
        self.assertEqual(checkout.common_dir(self.at("hub/.git")), self.at("hub/.git"))

    def test_what_is_no_commit_is_none(self) -> None:
        self.make("hub/secret", ONE)
        for head in ("nonsense", "ref: ../../secret", "ref: refs/../../secret", "ref: /etc/passwd",
                     "ref: refs/heads/.invalid", "G" * 40, "1" * 41, ""):  # fmt: skip
            self.repository(head)
            self.assertEqual(self.head(), "", head)
        self.make("hub/.git/refs/heads/loop", "ref: refs/heads/loop")
        self.repository("ref: refs/heads/loop")
        self.assertEqual(self.head(), "")
        self.assertEqual(self.head("nowhere"), "")

    def test_a_pipe_in_the_place_of_a_file_stops_nobody(self) -> None:
        self.repository("ref: refs/heads/main")
        os.makedirs(self.at("hub/.git/refs/heads"))
        os.mkfifo(self.at("hub/.git/refs/heads/main"))
        self.assertEqual(self.head(), "")


if __name__ == "__main__":
    unittest.main()
