"""Which commit a channel or a version means, and what is refused, by real git."""

from __future__ import annotations

import contextlib
import multiprocessing
import shutil
import subprocess
import unittest
from pathlib import Path
from typing import Any
from unittest import mock

from hub_upgrade.domain.managed import Managed
from hub_upgrade.domain.versions import told
from hub_upgrade.errors import HostError, RefusedError
from hub_upgrade.sources.git import GitSource
from hub_upgrade.sources.git_command import Git
from tests.outside.sources.scene_git import GitScene, directory_for, git


class Checkout(unittest.TestCase):
    """What the tests below have in common."""

    def setUp(self) -> None:
        self.scene = GitScene(self)

    def resolve(self, channel: str = "latest", version: str | None = None) -> Any:
        return self.scene.make_source().resolve(channel, version)

    def refused(self, code: str, channel: str = "latest", version: str | None = None) -> str:
        """The sentence; nothing was changed."""
        before = self.scene.tree()
        with self.assertRaises(RefusedError) as caught:
            self.resolve(channel, version)
        self.assertEqual(caught.exception.code, code)
        self.assertEqual(self.scene.tree(), before)
        return caught.exception.sentence


class Channels(Checkout):
    def test_latest_is_the_head_of_the_branch_that_is_followed(self) -> None:
        self.scene.publish("1.1.0")
        self.assertEqual(self.resolve(), ("1.1.0", self.scene.head(self.scene.author), ""))

    def test_an_unchanged_head_is_what_is_installed(self) -> None:
        for channel in ("latest", "rc"):
            self.assertEqual(self.resolve(channel)[:2], self.scene.make_source().installed())

    def test_the_version_is_told_by_package_json_or_version_or_the_commit(self) -> None:
        author = self.scene.author
        self.scene.write("VERSION", "2.0.0\n")
        self.scene.commit()
        self.assertEqual(self.resolve().version, "1.0.0")
        for content in ("{", "[]", '{"version": 7}', '{"version": ""}', '{"version": "a\\nb"}'):
            self.scene.write("package.json", content)
            self.scene.commit()
            self.assertEqual(self.resolve().version, "2.0.0", content)
        (author / "VERSION").unlink()
        commit = self.scene.commit()
        self.assertEqual(self.resolve().version, told(commit[:12]))

    def test_a_checkout_with_commits_of_its_own_on_top_stays_where_it_is(self) -> None:
        (self.scene.hub / "mine").write_text("mine")
        git(self.scene.hub, "add", "mine")
        git(self.scene.hub, "commit", "--quiet", "--message", "mine")
        found = self.resolve()
        self.assertEqual(found.digest, self.scene.head())
        self.assertIn("origin/main lacks commits that are here", found.note)

    def test_a_rewritten_upstream_history_is_refused(self) -> None:
        self.scene.publish("1.1.0")
        git(self.scene.hub, "pull", "--quiet")
        self.scene.commit("another history", "--amend")
        self.assertIn("history was rewritten", self.refused("not_fast_forward"))
        self.refused("not_fast_forward", "rc")

    def test_a_branch_and_a_remote_may_have_any_name(self) -> None:
        hub = self.scene.hub
        git(self.scene.author, "checkout", "--quiet", "-b", "release/größer")
        git(hub, "remote", "rename", "origin", "elsewhere")
        git(hub, "fetch", "--quiet", "elsewhere")
        git(hub, "checkout", "--quiet", "-b", "a/b", "elsewhere/release/größer")
        self.scene.publish("1.1.0")
        self.assertEqual(self.resolve().version, "1.1.0")

    def test_a_branch_of_the_same_repository_is_followed_too(self) -> None:
        hub = self.scene.hub
        git(hub, "checkout", "--quiet", "--track", "-b", "mine", "main")
        self.assertEqual(self.resolve().digest, self.scene.head())

    def test_a_detached_head_is_refused(self) -> None:
        git(self.scene.hub, "checkout", "--quiet", "--detach")
        sentence = self.refused("detached_head")
        self.assertIn(f"git -C {self.scene.hub} switch main", sentence)

    def test_a_branch_that_follows_none_is_refused(self) -> None:
        git(self.scene.hub, "branch", "--unset-upstream")
        self.assertIn("--set-upstream-to=origin/main", self.refused("no_upstream"))

    def test_a_dirty_tree_is_refused_as_soon_as_there_is_something_to_do(self) -> None:
        (self.scene.hub / "package.json").write_text("{}")
        self.assertEqual(self.resolve().digest, self.scene.head())
        self.scene.publish("1.1.0")
        self.assertIn("(package.json)", self.refused("dirty_tree"))

    def test_no_ref_is_written_nor_what_the_operator_has_fetched(self) -> None:
        git(self.scene.hub, "fetch", "--quiet")
        fetched = self.scene.hub / ".git" / "FETCH_HEAD"
        before = git(self.scene.hub, "show-ref"), fetched.read_text()
        self.scene.publish("1.1.0")
        self.scene.publish("1.2.0-rc.1", "rc")
        for version in (None, "1.1.0", "1.0.0"):
            self.resolve("rc", version)
        self.assertEqual((git(self.scene.hub, "show-ref"), fetched.read_text()), before)


class Plans(Checkout):
    """Whoever may only read has as many plans made as he likes, beside an upgrade too."""

    def beside(self, count: int, plans: Any) -> list[Any]:
        """So many processes that make plans, each with its exit code; git is run by none that
        has threads."""
        fork = multiprocessing.get_context("fork")
        others = [fork.Process(target=plans, daemon=True) for _ in range(count)]
        for other in others:
            other.start()
            self.addCleanup(other.kill)
        return others

    def ended(self, others: list[Any]) -> list[int]:
        for other in others:
            other.join(60)
        return [other.exitcode for other in others]

    def test_plans_disturb_neither_each_other_nor_an_upgrade(self) -> None:
        over = self.scene.root / "over"

        def plan() -> None:
            while not over.exists():
                with contextlib.suppress(RefusedError):  # the upgrade is at the work tree
                    self.resolve("rc")

        others = self.beside(4, plan)
        try:
            for version in ("1.1.0", "1.2.0", "1.3.0"):
                self.scene.publish(version)
                source = self.scene.make_source()
                resolved = source.resolve("rc", None)
                undo = source.keep("one")
                source.swap(resolved, lambda _piece: None)
                self.assertEqual(source.installed().version, version)
                source.discard(undo)
        finally:
            over.touch()
        self.assertEqual(self.ended(others), [0] * 4)

    def test_they_bring_a_shallow_clones_history_beside_each_other(self) -> None:
        for version in ("1.1.0", "1.2.0"):
            self.scene.publish(version)
        shutil.rmtree(self.scene.hub)
        self.scene.clone("--depth=1")
        others = self.beside(4, lambda: self.resolve("latest", "1.1.0"))
        self.assertEqual(self.ended(others), [0] * 4)

    def test_a_remote_that_is_rewritten_while_it_is_asked_is_asked_again(self) -> None:
        do, rewrites = Git.do, [True, False]

        def rewrite() -> None:
            if rewrites.pop(0):
                self.scene.commit(f"another, {len(rewrites)} to come", "--amend")
                git(self.scene.author, "reflog", "expire", "--expire=now", "--all")
                git(self.scene.author, "gc", "--quiet", "--prune=now")

        def rewritten(source: Git, *words: str, **more: Any) -> str:
            fetches = words[0] == "fetch" and bool(rewrites)
            if fetches:
                rewrite()
            said = do(source, *words, **more)
            if fetches:
                rewrite()
            return said

        with mock.patch.object(Git, "do", rewritten):
            self.scene.commit()
            self.assertEqual(self.resolve().digest, self.scene.head(self.scene.author))
            self.scene.commit("once more")
            rewrites += [True] * 6
            with self.assertRaises(HostError) as caught:
                self.resolve()
        self.assertIn("origin was changed while it was asked", caught.exception.sentence)


class Candidates(Checkout):
    """The rc channel, and exact versions: both by tags."""

    def elsewhere(self, tag: str) -> None:
        """A tag on a commit that is no descendant of the first."""
        author = self.scene.author
        git(author, "checkout", "--quiet", "--orphan", f"side-{tag}")
        self.scene.commit()
        git(author, "tag", tag)
        git(author, "checkout", "--quiet", "--force", "main")

    def test_a_tag_that_is_no_descendant_is_passed_over_with_a_note(self) -> None:
        self.scene.publish("1.1.0-rc.1", "rc")
        self.elsewhere("v1.2.0-rc.1")
        found = self.resolve("rc")
        self.assertEqual(found.version, "1.1.0-rc.1")
        self.assertIn("cannot be fast-forwarded to it: v1.2.0-rc.1", found.note)

    def test_a_tag_that_names_no_commit_is_passed_over(self) -> None:
        git(self.scene.author, "tag", "v1.2.0-rc.1", "HEAD:package.json")
        found = self.resolve("rc")
        self.assertEqual(found.digest, self.scene.head())
        self.assertIn("v1.2.0-rc.1", found.note)

    def test_a_tag_that_was_moved_a_moment_ago_is_followed_and_the_operators_own_left(self) -> None:
        author, hub = self.scene.author, self.scene.hub
        self.scene.publish("1.1.0-rc.1", "rc")
        self.resolve("rc")
        git(hub, "tag", "v1.1.0-rc.1")
        git(author, "checkout", "--quiet", "--detach")
        commit = self.scene.commit("the same version, anew")
        git(author, "tag", "--force", "v1.1.0-rc.1")
        git(author, "checkout", "--quiet", "main")
        self.assertEqual(self.resolve("rc").digest, commit)
        self.assertEqual(self.resolve("latest", "1.1.0-rc.1").digest, commit)
        self.assertEqual(git(hub, "rev-parse", "v1.1.0-rc.1"), self.scene.head())

    def test_a_tag_that_lies_behind_is_none_to_go_to(self) -> None:
        self.scene.publish("1.1.0-rc.1")
        git(self.scene.author, "commit", "--quiet", "--allow-empty", "--message", "later")
        git(self.scene.hub, "pull", "--quiet")
        found = self.resolve("rc")
        self.assertEqual(found, ("1.1.0-rc.1", self.scene.head(), ""))

    def test_no_more_than_ten_tags_are_looked_at(self) -> None:
        for number in range(12):
            self.elsewhere(f"v2.0.0-rc.{number}")
        self.scene.publish("1.1.0-rc.1", "rc")
        found = self.resolve("rc")
        self.assertEqual(found.version, "1.0.0")
        self.assertEqual(found.note.count("v2.0.0-rc"), 10)

    def test_what_only_looks_like_a_candidate_is_none(self) -> None:
        for tag in ("v9.0.0-rc.1.2", "v9.0.0-rcx", "9-rc.1", "v9.0.0-rc.1-hotfix"):
            git(self.scene.author, "tag", tag)
        self.assertIn("newer than any candidate", self.resolve("rc").note)

    def test_a_remote_without_a_version_follows_its_candidates(self) -> None:
        (self.scene.author / "package.json").unlink()
        self.scene.commit()
        self.scene.publish("1.1.0-rc.1", "rc")
        self.assertEqual(self.resolve("rc").version, "1.1.0-rc.1")

    def test_an_exact_version_is_a_tag_with_a_v_or_without_annotated_or_not(self) -> None:
        author = self.scene.author
        first = self.scene.head(author)
        git(author, "tag", "1.5.0", first)
        git(author, "tag", "--annotate", "--message", "six", "v1.6.0", first)
        for version in ("1.5.0", "v1.5.0", "1.6.0", "v1.6.0"):
            found = self.resolve("latest", version)
            self.assertEqual(found.digest, first)
            self.assertIn("holds version 1.0.0", found.note)

    def test_an_exact_version_may_lie_behind_but_not_apart(self) -> None:
        first = self.scene.head()
        self.scene.publish("1.1.0")
        git(self.scene.hub, "pull", "--quiet")
        self.assertEqual(self.resolve("latest", "1.0.0"), ("1.0.0", first, ""))
        self.elsewhere("v3.0.0")
        self.assertIn("v3.0.0", self.refused("not_fast_forward", "latest", "3.0.0"))

    def test_a_version_without_a_tag_is_refused_by_name(self) -> None:
        sentence = self.refused("no_such_version", "latest", "v9.9.9")
        self.assertIn("origin/main bears 1.0.0", sentence)
        self.assertIn("no tag v9.9.9 and none 9.9.9", sentence)

    def test_the_version_that_the_head_bears_needs_no_tag(self) -> None:
        self.scene.publish("1.1.0")
        git(self.scene.author, "tag", "--delete", "v1.1.0")
        head = self.scene.head(self.scene.author)
        for channel in ("latest", "rc"):
            self.assertEqual(self.resolve(channel, "v1.1.0")[:2], ("1.1.0", head))
        self.scene.publish("1.2.0")
        self.refused("no_such_version", "latest", "1.1.0")
        git(self.scene.author, "tag", "v1.1.0", head)
        self.assertEqual(self.resolve("latest", "1.1.0"), ("1.1.0", head, ""))

    def test_a_head_that_bears_the_version_of_a_tag_behind_it_is_what_the_channel_means(
        self,
    ) -> None:
        self.scene.publish("1.1.0")
        head = self.scene.commit("later, and the same version")
        self.assertEqual(self.resolve("latest", "1.1.0"), self.resolve())
        self.assertEqual(self.resolve().digest, head)

    def test_a_head_that_cannot_be_gone_to_is_none_by_its_version_either(self) -> None:
        self.scene.publish("1.1.0")
        tagged = self.scene.head(self.scene.author)
        git(self.scene.hub, "pull", "--quiet")
        self.scene.commit("another history", "--amend")
        self.assertEqual(self.resolve("latest", "1.1.0").digest, tagged)
        git(self.scene.author, "tag", "--delete", "v1.1.0")
        self.refused("not_fast_forward", "latest", "1.1.0")

    def test_commits_of_the_operators_own_stay_where_the_head_bears_the_version_too(self) -> None:
        git(self.scene.hub, "commit", "--quiet", "--allow-empty", "--message", "mine")
        git(self.scene.author, "tag", "--delete", "v1.0.0")
        self.assertEqual(self.resolve("latest", "1.0.0"), self.resolve())
        self.assertEqual(self.resolve().digest, self.scene.head())

    def test_a_tag_is_followed_whose_branch_is_gone_from_the_remote(self) -> None:
        self.scene.publish("1.1.0")
        git(self.scene.author, "branch", "--move", "main", "trunk")
        self.assertEqual(self.resolve("rc", "1.1.0").version, "1.1.0")
        with self.assertRaises(HostError) as caught:
            self.resolve()
        self.assertIn("refs/heads/main", caught.exception.sentence)


class Kinds(Checkout):
    """The same from a linked worktree, below a monorepo's root, and from a shallow clone."""

    def test_a_linked_worktree_follows_a_branch_of_its_own(self) -> None:
        git(self.scene.author, "branch", "stable")
        linked = self.scene.root / "another wörktree"
        git(self.scene.hub, "fetch", "--quiet")
        add = ("worktree", "add", "--quiet", "--track", "-b", "s")
        git(self.scene.hub, *add, str(linked), "origin/stable")
        self.scene.publish("1.1.0")
        source = GitSource(str(linked), Managed())
        self.assertEqual(source.resolve("latest", None)[:2], source.installed())
        git(self.scene.author, "branch", "--force", "stable", "main")
        undo = source.keep("one")
        source.swap(source.resolve("latest", None), lambda _piece: None)
        self.assertEqual(source.installed().version, "1.1.0")
        source.revert(undo, lambda _piece: None)
        self.assertEqual(source.installed(), self.scene.make_source().installed())
        self.assertEqual(git(linked, "status", "--porcelain"), "")
        source.discard(undo)
        self.assertNotIn("parachute", git(linked, "for-each-ref"))

    def test_a_directory_in_a_checkout_has_a_version_of_its_own(self) -> None:
        self.scene.write("packages/der hüb/package.json", '{"version": "7.0.0"}')
        self.scene.commit()
        source = GitSource(str(self.scene.hub / "packages" / "der hüb"), Managed())
        git(self.scene.hub, "pull", "--quiet")
        self.scene.write("packages/der hüb/package.json", '{"version": "7.1.0"}')
        self.scene.commit()
        self.assertEqual(source.installed().version, "7.0.0")
        found = source.resolve("latest", None)
        self.assertEqual(found.version, "7.1.0")
        source.swap(found, lambda _piece: None)
        self.assertEqual(source.installed().version, "7.1.0")

    def shallow(self) -> None:
        for version in ("1.1.0", "1.2.0"):
            self.scene.publish(version)
        shutil.rmtree(self.scene.hub)
        self.scene.clone("--depth=1")
        self.assertEqual(git(self.scene.hub, "rev-list", "--count", "HEAD"), "1")

    def test_a_shallow_clone_goes_forward_and_stays_shallow(self) -> None:
        self.shallow()
        self.scene.publish("1.3.0")
        self.scene.publish("1.4.0-rc.1", "rc")
        self.assertEqual(self.resolve().version, "1.3.0")
        self.assertEqual(self.resolve("rc").version, "1.4.0-rc.1")
        self.assertEqual(self.resolve("latest", "1.3.0").version, "1.3.0")
        self.assertEqual(git(self.scene.hub, "rev-parse", "--is-shallow-repository"), "true")

    def test_a_shallow_clone_goes_back_to_what_it_did_not_have(self) -> None:
        self.shallow()
        source = self.scene.make_source()
        source.swap(self.resolve("latest", "1.1.0"), lambda _piece: None)
        self.assertEqual(source.installed().version, "1.1.0")

    def test_a_rewritten_history_is_refused_in_a_shallow_clone_too(self) -> None:
        self.shallow()
        self.scene.commit("another history", "--amend")
        self.refused("not_fast_forward")


class Installed(unittest.TestCase):
    def test_what_is_no_checkout_has_no_version(self) -> None:
        root = directory_for(self)
        for directory in (root, root / "nowhere"):
            self.assertEqual(GitSource(str(directory), Managed()).installed(), ("", ""))

    def test_the_version_is_the_disks_and_the_commit_is_heads(self) -> None:
        scene = GitScene(self)
        (scene.hub / "package.json").write_text('{"version": "1.0.1"}')
        self.assertEqual(scene.make_source().installed(), ("1.0.1", scene.head()))
        (scene.hub / "package.json").unlink()
        self.assertEqual(scene.make_source().installed(), (told(scene.head()[:12]), scene.head()))


class Signatures(Checkout):
    def setUp(self) -> None:
        super().setUp()
        self.scene.managed = self.scene.managed._replace(verify_signature=True)
        trusted = self.key("trusted")
        self.key("stranger")
        allowed = self.scene.root / "allowed signers"
        allowed.write_text("somebody@localhost " + trusted.with_suffix(".pub").read_text())
        git(self.scene.hub, "config", "gpg.ssh.allowedSignersFile", str(allowed))
        git(self.scene.author, "config", "gpg.format", "ssh")

    def key(self, name: str) -> Path:
        path = self.scene.root / name
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)]
        subprocess.run(words, check=True, stdin=subprocess.DEVNULL)
        return path

    def sign_with(self, name: str) -> None:
        git(self.scene.author, "config", "user.signingKey", str(self.scene.root / name))

    def test_an_unsigned_commit_is_refused_but_not_where_nothing_is_to_be_done(self) -> None:
        self.assertEqual(self.resolve().version, "1.0.0")
        self.scene.publish("1.1.0")
        self.assertIn("(it is not signed)", self.refused("bad_signature"))
        self.refused("bad_signature", "latest", "1.1.0")

    def test_a_signed_commit_is_taken(self) -> None:
        self.sign_with("trusted")
        commit = self.scene.commit("signed", "--gpg-sign")
        self.assertEqual(self.resolve().digest, commit)

    def test_a_strangers_signature_is_refused_with_gits_words(self) -> None:
        self.sign_with("stranger")
        self.scene.commit("signed", "--gpg-sign")
        self.assertRegex(self.refused("bad_signature"), "(?i)no principal matched")

    def test_a_signed_tag_is_taken_and_one_of_a_stranger_is_not(self) -> None:
        self.sign_with("trusted")
        commit = self.scene.commit()
        git(self.scene.author, "tag", "--sign", "--message", "good", "v1.1.0")
        self.assertEqual(self.resolve("latest", "1.1.0").digest, commit)
        (self.scene.author / "package.json").write_text('{"version": "1.1.5"}')
        commit = self.scene.commit()
        self.refused("bad_signature", "latest", "1.1.5")
        git(self.scene.author, "tag", "--sign", "--message", "the head, good", "v1.1.5")
        self.assertEqual(self.resolve("latest", "1.1.5").digest, commit)
        self.sign_with("stranger")
        git(self.scene.author, "tag", "--sign", "--message", "bad", "v1.2.0")
        self.assertRegex(self.refused("bad_signature", "latest", "1.2.0"), "(?i)no principal")


if __name__ == "__main__":
    unittest.main()
