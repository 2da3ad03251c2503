"""What real tools put onto the disk, run for real: is it told what it is?"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import unittest
from collections.abc import Mapping
from pathlib import Path

from hub_upgrade.domain.container import Container
from hub_upgrade.domain.install import Decision, Place
from hub_upgrade.domain.managed import Managed
from hub_upgrade.domain.place import ManagedFacts, decide_managed
from hub_upgrade.host import checkout, facts, hub_process, place_facts
from hub_upgrade.host.files import Home
from tests.e2e.harness import wait_for
from tests.e2e.ports import held_port
from tests.outside.sources.places import BUN_TOOL, PLACES, PackagePlace
from tests.outside.sources.scene_git import directory_for, git

HUB = "@openparachute/hub"
SERVE = """
require("http").createServer((request, response) => response.end("{}"))
  .listen(Number(process.env.PORT), "127.0.0.1");
"""


class Running(unittest.TestCase):
    """Starts hubs, and asks what they are."""

    def run_hub(
        self, argv: list[str], env: Mapping[str, str], cwd: Path | None = None
    ) -> hub_process.HubProcess:
        """The process that listens, once it does."""
        port = held_port()
        process = subprocess.Popen(
            argv, env={**env, "PORT": str(port)}, stdout=subprocess.DEVNULL, cwd=cwd,
            start_new_session=True,
        )  # fmt: skip
        self.addCleanup(process.wait)
        self.addCleanup(os.killpg, process.pid, signal.SIGKILL)
        wait_for(lambda: hub_process.listener_of("127.0.0.1", port) != 0, "no listener")
        found = hub_process.look(hub_process.listener_of("127.0.0.1", port))
        assert found is not None
        return found

    def seen(
        self, process: hub_process.HubProcess | None, env: Mapping[str, str], **told: object
    ) -> ManagedFacts:
        """As on a machine, wherever these tests run."""
        managed = Managed()._replace(**told)  # type: ignore[arg-type]
        home = Home(os.path.join(env["HOME"], ".parachute"))
        found = place_facts.probe_managed(home, managed, process, env, None)
        return found._replace(container=Container())

    def decided(
        self, process: hub_process.HubProcess | None, env: Mapping[str, str], **told: object
    ) -> Decision:
        return decide_managed(self.seen(process, env, **told))


class Packages(Running):
    def installed(self, kind: type[PackagePlace]) -> PackagePlace:
        root = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, root, ignore_errors=True)
        place = kind(root)
        self.addCleanup(place.close)
        place.publish("1.0.0")
        place.install("1.0.0")
        return place

    def test_each_managers_package_is_told_by_the_process_that_runs_it(self) -> None:
        for kind in PLACES:
            place = self.installed(kind)
            process = self.run_hub(place.program, place.environment)
            for managed in (place.managed, Managed(package=place.package)):
                decision = self.decided(process, place.environment, **managed._asdict())
                self.assertEqual((decision.place, decision.mode), (place.place, "in-place"))

    def test_each_managers_package_is_told_by_the_command_alone(self) -> None:
        for kind in PLACES:
            place = self.installed(kind)
            decision = self.decided(
                None, place.environment, package=place.package, running_from=place.program[-1]
            )
            self.assertEqual((decision.place, decision.mode), (place.place, "in-place"))

    def test_a_commands_own_first_line_starts_the_same(self) -> None:
        for kind in PLACES:
            place = self.installed(kind)
            process = self.run_hub(place.program[-1:], place.environment)
            decision = self.decided(process, place.environment, package=place.package)
            self.assertEqual(decision.place, place.place, process)


class Checkouts(Running):
    def setUp(self) -> None:
        self.root = directory_for(self)
        self.env = dict(os.environ)
        self.hub = self.root / "the hub"

    def make(self, directory: Path, package: str = HUB) -> Path:
        directory.mkdir(parents=True)
        (directory / "package.json").write_text(f'{{"name": "{package}", "main": "hub.js"}}')
        (directory / "hub.js").write_text(SERVE)
        return directory / "hub.js"

    def commit(self, root: Path) -> str:
        git(root, "add", "-A")
        git(root, "commit", "-qm", "one")
        return git(root, "rev-parse", "HEAD")

    def checkout(self) -> Path:
        path = self.make(self.hub)
        git(self.hub, "init", "-q")
        self.commit(self.hub)
        return path

    def assert_git(self, path: Path, wanted: Path | None, **told: object) -> Decision:
        decision = self.decided(None, self.env, running_from=str(path), **told)
        place = Place("git", directory=str(wanted)) if wanted else Place()
        self.assertEqual(decision.place, place, decision)
        return decision

    def test_a_checkout_is_told_by_what_runs_and_by_its_root(self) -> None:
        path = self.checkout()
        for argv, cwd in (
            (["node", str(path)], None), (["node", "."], self.hub),
            ([str(BUN_TOOL), "hub.js"], self.hub), ([str(BUN_TOOL), "run", "./hub.js"], self.hub),
        ):  # fmt: skip
            process = self.run_hub(argv, self.env, cwd)
            decision = self.decided(process, self.env)
            self.assertEqual(decision.place, Place("git", directory=str(self.hub)), decision)
            self.assertEqual(decision.mode, "in-place")
        self.assert_git(self.hub, self.hub)

    def test_a_start_script_runs_what_its_directory_says(self) -> None:
        self.checkout()
        (self.hub / "package.json").write_text('{"scripts": {"start": "node hub.js"}}')
        for argv in ([str(BUN_TOOL), "run", "start"], ["npm", "start"]):
            process = self.run_hub(argv, self.env, self.hub)
            decision = self.decided(process, self.env)
            self.assertEqual(decision.place, Place("git", directory=str(self.hub)), process)

    def test_a_linked_checkout_names_its_link(self) -> None:
        path = self.checkout()
        env = {**self.env, "BUN_INSTALL": str(self.root / "bun")}
        subprocess.run([BUN_TOOL, "link"], cwd=self.hub, env=env, check=True, capture_output=True)
        link = self.root / "bun" / "install" / "global" / "node_modules" / HUB
        for named in (path, link / "hub.js"):
            process = self.run_hub([str(BUN_TOOL), str(named)], env)
            decision = self.decided(process, env)
            wanted = Place("git", directory=str(self.hub), linked_from=str(link))
            self.assertEqual((decision.place, decision.source), (wanted, "bun-linked"))

    def test_what_a_checkout_tracks_is_it_and_what_it_does_not_is_not(self) -> None:
        mono = self.root / "mono"
        tracked = self.make(mono / "packages" / "h[u]b *")
        (mono / ".gitignore").write_text("node_modules\ndist\n")
        git(mono, "init", "-q")
        self.commit(mono)
        self.assert_git(tracked, mono)
        given = tracked.parent
        self.assert_git(tracked, given, install_dir=str(given))
        (given / "dist").mkdir()
        shutil.copy(tracked, given / "dist")
        self.assert_git(given / "dist" / "hub.js", mono)
        others = (mono / "node_modules" / HUB, mono / "packages" / "hub", mono / "packages" / "h*")
        for other in map(self.make, others):
            decision = self.assert_git(other, None)
            self.assertIn("that does not track it", decision.reason)

    def test_a_home_under_version_control_makes_no_package_a_checkout(self) -> None:
        home = Path(self.env["HOME"])
        git(home, "init", "-q")
        modules = home / ".bun" / "install" / "global" / "node_modules"
        path = self.make(modules / HUB)
        self.commit_some(home, ".gitconfig")
        decision = self.decided(None, self.env, running_from=str(path))
        assert decision.place is not None
        self.assertEqual(decision.place.manager, "bun", decision)
        self.assert_git(self.make(home / "src" / "hub"), None)

    def commit_some(self, root: Path, *names: str) -> None:
        git(root, "add", *names)
        git(root, "commit", "-qm", "one")

    def test_worktrees_shallow_clones_and_submodules_are_checkouts(self) -> None:
        path = self.checkout()
        made = [self.root / name for name in ("tree", "shallow", "above")]
        git(self.hub, "worktree", "add", "-q", str(made[0]))
        git(self.root, "clone", "-q", "--depth", "1", f"file://{self.hub}", str(made[1]))
        self.make(made[2])
        git(made[2], "init", "-q")
        git(made[2], "submodule", "add", "-q", str(self.hub), "vendor/hub")
        for root in (made[0], made[1], made[2] / "vendor" / "hub"):
            self.assert_git(root / path.name, root)
            seen = self.seen(None, self.env, running_from=str(root))
            written = [one.path for one in seen.storage]
            for word in ("--git-dir", "--git-common-dir"):
                self.assertIn(os.path.realpath(root / git(root, "rev-parse", word)), written)
            self.assertEqual(checkout.git_head(str(root)), git(root, "rev-parse", "HEAD"))

    def test_the_head_is_what_git_says_it_is(self) -> None:
        self.checkout()
        for words in (("pack-refs", "--all"), ("checkout", "-q", "-b", "a/b"),
                      ("commit", "-q", "--allow-empty", "-m", "two"), ("gc", "-q"),
                      ("checkout", "-q", "--detach")):  # fmt: skip
            git(self.hub, *words)
            self.assertEqual(checkout.git_head(str(self.hub)), git(self.hub, "rev-parse", "HEAD"))
        new = self.root / "new"
        new.mkdir()
        git(new, "init", "-q")
        self.assertEqual(checkout.git_head(str(new)), "", "nothing was committed")

    def test_looking_writes_nothing_and_runs_nothing_of_the_checkouts(self) -> None:
        path = self.make(self.hub / "packages" / "hub")
        git(self.hub, "init", "-q")
        self.commit(self.hub)
        bad = self.root / "bad"
        bad.write_text(f"#!/bin/sh\ntouch '{self.root}/ran'\n")
        bad.chmod(0o755)
        git(self.hub, "config", "core.fsmonitor", f"'{bad}'")
        git(self.hub, "update-index", "--fsmonitor")
        git(self.hub, "status")
        (self.root / "ran").unlink()
        os.utime(path)
        before = (self.hub / ".git" / "index").stat().st_mtime_ns
        self.assert_git(path, self.hub)
        self.assertEqual((self.hub / ".git" / "index").stat().st_mtime_ns, before)
        self.assertFalse((self.root / "ran").exists())

    def test_somebody_elses_checkout_is_not_trusted(self) -> None:
        if os.geteuid():
            self.skipTest("giving files away needs root")
        path = self.make(self.hub / "packages" / "hub")
        git(self.hub, "init", "-q")
        self.commit(self.hub)
        for one in (self.hub, self.hub / ".git"):
            os.chown(one, 12345, 12345)
        decision = self.assert_git(path, None)
        self.assertIn("whether git tracks", decision.reason)


class Storage(unittest.TestCase):
    def test_a_mount_of_ones_own_is_seen(self) -> None:
        seen = facts.look_at("/dev/shm", None)
        assert seen.mount is not None
        self.assertEqual((seen.mount.point, seen.mount.kind), ("/dev/shm", "tmpfs"))


if __name__ == "__main__":
    unittest.main()
