"""A remote that is away, slow, broken or asks who we are; a git that is missing or led astray."""

from __future__ import annotations

import os
import shlex
import unittest
from pathlib import Path
from unittest import mock

from hub_upgrade.domain.managed import Managed
from hub_upgrade.domain.operation import COMMIT, Undo
from hub_upgrade.errors import HostError
from hub_upgrade.sources import git_command
from hub_upgrade.sources.git import GitSource
from tests.outside.sources.scene_git import GitScene, git, serve


def ignore(_piece: bytes) -> None:
    """A sink that nobody reads."""


class Remote(unittest.TestCase):
    def setUp(self) -> None:
        self.scene = GitScene(self)
        self.scene.publish("1.1.0")

    def point_to(self, url: str) -> None:
        git(self.scene.hub, "remote", "set-url", "origin", url)

    def fails(self, channel: str = "latest") -> str:
        """What is said when nothing can be resolved; nothing was changed."""
        before = self.scene.tree()
        with self.assertRaises(HostError) as caught:
            self.scene.make_source().resolve(channel, None)
        self.assertEqual(self.scene.tree(), before)
        self.assertEqual(caught.exception.exit_code, 1)
        self.assertEqual(len(caught.exception.sentence.splitlines()), 1)
        return caught.exception.sentence

    def program(self, name: str, script: str) -> Path:
        path = self.scene.root / name
        path.write_text("#!/bin/sh\n" + script)
        path.chmod(0o755)
        return path

    def test_a_remote_that_is_gone(self) -> None:
        self.scene.cut_off()
        for channel in ("latest", "rc"):
            self.assertIn("does not appear to be a git repository", self.fails(channel))

    def test_nothing_listens_there(self) -> None:
        self.point_to("http://somebody:secret@127.0.0.1:1/hub.git")
        sentence = self.fails()
        self.assertIn("127.0.0.1", sentence)
        self.assertNotIn("secret", sentence)

    def test_a_remote_that_answers_with_an_error(self) -> None:
        base = serve(self)
        for status in ("404", "429", "500", "503"):
            self.point_to(f"{base}/{status}/hub.git")
            for channel in ("latest", "rc"):
                said = "not found" if status == "404" else f"error: {status}"
                self.assertIn(said, self.fails(channel))

    def test_an_answer_that_is_cut_in_the_middle(self) -> None:
        self.point_to(f"{serve(self)}/cut/hub.git")
        self.fails()

    def test_a_remote_that_never_answers_is_given_up(self) -> None:
        self.point_to(f"{serve(self)}/never/hub.git")
        with mock.patch.object(git_command, "REMOTE_S", 0.5):
            self.assertIn("git ls-remote in", self.fails())

    def test_credentials_that_are_asked_for_are_never_waited_for(self) -> None:
        asked = self.scene.root / "asked"
        asks = self.program("asks", f"echo >> {shlex.quote(str(asked))}; sleep 1000\n")
        git(self.scene.hub, "config", "core.askPass", str(asks))
        self.point_to(f"{serve(self)}/401/hub.git")
        with mock.patch.dict(os.environ, {"GIT_ASKPASS": str(asks), "SSH_ASKPASS": str(asks)}):
            self.assertIn("could not read Username", self.fails())
            self.assertIn("terminal prompts disabled", self.fails("rc"))
        self.assertFalse(asked.exists())

    def test_ssh_is_told_to_ask_nobody_whatever_is_configured(self) -> None:
        told = self.scene.root / "told"
        ssh = self.program("my ssh", f'echo "$@" >> {shlex.quote(str(told))}\nexit 1\n')
        self.point_to("somebody@localhost:hub.git")
        command = shlex.quote(str(ssh)) + " -v"
        with mock.patch.dict(os.environ, {"GIT_SSH": str(ssh)}):
            self.fails()
        git(self.scene.hub, "config", "core.sshCommand", command)
        self.fails()
        with mock.patch.dict(os.environ, {"GIT_SSH_COMMAND": command + " -4"}):
            self.fails()
        lines = [line for line in told.read_text().splitlines() if " -G " not in f" {line} "]
        self.assertEqual(len(lines), 3)
        for line, options in zip(lines, ("", "-v ", "-v -4 ")):
            self.assertIn(f"{options}-oBatchMode=yes", line)

    def test_a_lock_that_a_killed_git_left_is_none_to_stumble_over(self) -> None:
        source = self.scene.make_source()
        source.keep("one")
        self.scene.publish("1.2.0")
        refs = self.scene.hub / ".git" / "refs"
        kept, origins = refs / "parachute/main/kept.lock", refs / "remotes/origin/main.lock"
        for lock in (kept, origins):
            lock.touch()
        self.assertEqual(source.resolve("latest", None).version, "1.2.0")
        self.assertTrue(kept.exists())  # it may be a living one's
        source.keep("two")
        self.assertEqual((kept.exists(), origins.exists()), (False, True))


class Git(unittest.TestCase):
    def setUp(self) -> None:
        self.scene = GitScene(self)

    def test_without_git_there_is_one_sentence_and_exit_code_127(self) -> None:
        source = self.scene.make_source()
        undo = Undo(COMMIT, self.scene.head())
        with mock.patch.dict(os.environ, {"PATH": str(self.scene.root)}):
            self.assertEqual(source.installed().version, "1.0.0")
            self.assertTrue(source.has(undo))
            source.discard(undo)
            for call in (
                lambda: source.resolve("latest", None),
                lambda: source.keep("one"),
                lambda: source.revert(undo, ignore),
            ):
                with self.assertRaises(HostError) as caught:
                    call()
                self.assertEqual(caught.exception.exit_code, 127)
                self.assertRegex(caught.exception.sentence, r"^git is not .*\(exit 127\)$")

    def test_a_directory_that_is_no_checkout(self) -> None:
        for directory in (self.scene.root, self.scene.root / "nowhere"):
            source = GitSource(str(directory), Managed())
            with self.assertRaises(HostError) as caught:
                source.resolve("latest", None)
            self.assertIn(str(directory), caught.exception.sentence)
            self.assertFalse(source.has(Undo(COMMIT, "0" * 40)))

    @unittest.skipIf(os.geteuid(), "only root can give a checkout to another user")
    def test_a_checkout_of_another_user_is_told_in_gits_own_words(self) -> None:
        os.chown(self.scene.hub / ".git", 65534, 65534)
        os.chown(self.scene.hub, 65534, 65534)
        with self.assertRaises(HostError) as caught:
            self.scene.make_source().resolve("latest", None)
        self.assertIn("dubious ownership", caught.exception.sentence)
        self.assertIn("git config --global --add safe.directory", caught.exception.sentence)

    def test_an_inherited_environment_leads_to_no_other_repository(self) -> None:
        other = str(self.scene.author / ".git")
        led = {"GIT_DIR": other, "GIT_WORK_TREE": str(self.scene.root), "GIT_INDEX_FILE": "/none"}
        before = self.scene.head()
        with mock.patch.dict(os.environ, led):
            source = self.scene.make_source()
            self.assertEqual(source.installed(), ("1.0.0", before))
            self.assertEqual(source.keep("one").value, before)

    def test_no_hook_runs(self) -> None:
        ran = self.scene.root / "ran"
        hooks = self.scene.hub / ".git" / "hooks"
        for name in ("post-merge", "post-checkout", "reference-transaction", "post-index-change"):
            hook = hooks / name
            hook.write_text(f"#!/bin/sh\necho {name} >> {shlex.quote(str(ran))}\n")
            hook.chmod(0o755)
        self.scene.publish("1.1.0")
        source = self.scene.make_source()
        resolved = source.resolve("latest", None)
        undo = source.keep("one")
        source.swap(resolved, ignore)
        source.revert(undo, ignore)
        source.discard(undo)
        self.assertFalse(ran.exists() and ran.read_text())
        git(self.scene.hub, "checkout", "--quiet", "--detach")
        self.assertTrue(ran.exists())

    def test_what_is_kept_and_gone_is_told(self) -> None:
        source = self.scene.make_source()
        self.assertTrue(source.has(source.keep("one")))
        for kind, value in ((COMMIT, "0" * 40), (COMMIT, "main"), (COMMIT, "--help")):
            self.assertFalse(source.has(Undo(kind, value)))
            with self.assertRaises(HostError):
                source.revert(Undo(kind, value), ignore)


if __name__ == "__main__":
    unittest.main()
