"""What holds of a hub in a container, whichever engine keeps it: where home lies, whose it is, who
starts it again, and what a new image brings."""

from __future__ import annotations

import json
import os
import signal
import socket

from tests.e2e import bad
from tests.e2e.harness import build, wait_for
from tests.outside.containers.scene import HOME, PYTHON, USER
from tests.outside.restarters.containers_engine import Engine
from tests.outside.restarters.containers_scene import (
    CONFIG,
    EngineCase,
    image_of,
    set_up_images,
)

OLDER, NEWER, BAD = "0.9.0", "2.0.0", "3.0.0"
SPOILT = b"raise SystemExit('bad on purpose')\n"


def images(engine: Engine) -> None:
    """The images of these cases; the bad one's launcher is as good as any, and its hub is not."""
    spoilt = build(BAD, {bad.HUB: SPOILT})
    others = {OLDER: build(OLDER), NEWER: build(NEWER), BAD: spoilt}
    set_up_images(engine, **others)


class Homes(EngineCase):
    """Where home lies."""

    redeployed: tuple[str, ...]
    """What the engine's user is told where an upgrade could not last."""

    def test_without_a_volume_it_is_deployed_anew(self) -> None:
        self.one.run()
        self.serves()
        self.must_redeploy(self.token_known, "own files (overlay at /)", *self.redeployed)
        self.cli("upgrade", code=3)
        self.assertEqual(self.one.stop(), 0)

    def test_a_named_volume_is_made_for_the_hubs_user_and_outlives_its_containers(self) -> None:
        name = f"parachute-{os.getpid()}"
        self.addCleanup(self.engine.ask, "volume", "rm", "--force", name)
        self.addCleanup(self.one.remove)
        named = f"--volume={name}:{HOME}"
        write = f"open('{HOME}/hub.json', 'w').write({json.dumps(CONFIG)!r})"
        self.engine.run("run", "--rm", named, image_of("1.0.0"), PYTHON, "-c", write)
        self.one.run(named)
        self.serves()
        answer = self.post(self.token_known)
        self.assertEqual(answer["mode"], "in-place", answer)
        record = self.finished(self.token_known, answer["operation_id"])
        self.assertEqual(record["phase"], "succeeded", record)
        self.one.run(named, "--read-only", "--tmpfs=/tmp")
        self.serves("1.1.0")
        self.assertEqual(self.one.stop(), 0)

    def test_below_a_read_only_root_all_is_done_on_the_volume(self) -> None:
        options = (self.mount, "--read-only", "--tmpfs=/tmp", "--cap-drop=ALL",
                   "--security-opt=no-new-privileges")  # fmt: skip
        self.one.run(*options)
        self.serves()
        self.upgraded()
        self.one.run(*options)
        self.serves("1.1.0")
        self.assertEqual(self.one.stop(), 0)


class OthersHomes(EngineCase):
    """A home that is no volume, or another user's; `in_memory` is how the engine is told to make it
    one that its user may write."""

    in_memory: tuple[str, ...]

    def test_a_home_in_memory_is_deployed_anew(self) -> None:
        self.one.run(*self.in_memory)
        self.serves()
        self.must_redeploy(self.token_known, "tmpfs")

    def test_it_is_any_users_who_owns_the_home(self) -> None:
        for user in (0, 4321):
            with self.subTest(user=user):
                self.renew(user)
                self.chown(self.given, user)
                self.one.run(self.mount, f"--user={user}:{user}")
                self.serves()
                self.upgraded()
                owner = os.stat(os.path.join(self.volume, "hub-upgrade-status.json")).st_uid
                self.assertEqual((owner, self.one.stop()), (user, 0))

    def test_a_home_that_is_its_groups_alone_will_do(self) -> None:
        """As Kubernetes hands out a volume for `fsGroup`: root's, and open to the group."""
        os.chown(self.volume, 0, USER)
        os.chmod(self.volume, 0o2775)
        self.one.run(self.mount, f"--user={USER}:{USER}")
        self.serves()
        self.upgraded()

    def test_a_home_of_somebody_else_serves_and_says_what_mends_it(self) -> None:
        self.chown(self.volume, 0)
        os.chmod(self.volume, 0o755)
        self.one.run(self.mount)
        self.serves()
        self.must_redeploy(self.token_known, f"chown -R {USER} {HOME}")


class Policies(EngineCase):
    """Who starts it again."""

    def test_either_policy_brings_back_what_was_killed_as_it_was_upgraded(self) -> None:
        for policy in ("always", "on-failure"):
            with self.subTest(policy):
                self.renew()
                self.one.run(self.mount, f"--restart={policy}")
                self.serves()
                self.upgraded()
                before = self.health()
                self.one.kill()
                self.lives_anew(before)
                self.assertEqual(self.version(), "1.1.0")
                self.assertEqual(self.one.stop(), 0)

    def test_what_ends_of_itself_with_0_is_for_always_alone(self) -> None:
        for policy, again in (("always", True), ("on-failure", False)):
            with self.subTest(policy):
                self.renew()
                self.one.run(self.mount, f"--restart={policy}")
                self.serves()
                before = self.health()
                os.kill(int(self.one.told("{{.State.Pid}}")), signal.SIGTERM)
                if again:
                    self.lives_anew(before)
                else:
                    wait_for(lambda: not self.one.running(), "the end")
                    self.assertEqual(self.one.told("{{.State.ExitCode}}"), "0")
                self.one.remove()

    def test_what_cannot_serve_yet_is_started_until_it_can(self) -> None:
        with socket.create_server(("127.0.0.1", self.port)):
            self.one.run(self.mount, "--restart=on-failure")
            wait_for(lambda: self.output().count("is taken by another program") > 1, "two tries")
        self.serves()


class Images(EngineCase):
    """A home that was upgraded, and a container of another image for it."""

    def setUp(self) -> None:
        super().setUp()
        self.one.run(self.mount)
        self.serves()
        self.upgraded()

    def launcher(self) -> str:
        return str(self.get("/api/hub", self.token_known)[1]["launcher_version"])

    def judged(self, version: str) -> None:
        """A factory of that version had its verdict, once: it is written before it is told."""
        wait_for(lambda: self.tried(version), f"its verdict: {self.output()}")
        self.assertEqual(self.tried(version), 1)

    def tried(self, version: str) -> int:
        """How often a factory of that version had its verdict in this container."""
        told = ("is proven and current", "is rejected: ")
        lines = [line for line in self.output().splitlines()
                 if line.startswith(f"launcher: {version}-")]  # fmt: skip
        return sum(any(words in line for words in told) for line in lines)

    def test_a_pristine_one_of_the_same_image_runs_what_was_upgraded_to(self) -> None:
        self.one.run(self.mount)
        self.serves("1.1.0")
        self.assertEqual((self.launcher(), self.boot()["rejected"]), ("1.0.0", []))

    def test_a_newer_factory_is_tried_once_and_runs_from_then_on(self) -> None:
        self.one.run(self.mount, tag=NEWER)
        self.serves(NEWER)
        wait_for(lambda: self.boot()["current"].startswith(f"{NEWER}-"), "the commit")
        self.assertTrue(self.boot()["previous"].startswith("1.1.0-"))
        self.judged(NEWER)
        self.one.run(self.mount, tag=NEWER)
        self.serves(NEWER)
        self.assertEqual((self.launcher(), self.tried(NEWER)), (NEWER, 0))

    def test_a_bad_factory_is_rejected_and_not_tried_again(self) -> None:
        self.one.run(self.mount, "--restart=always", tag=BAD)
        self.serves("1.1.0")
        boot = wait_for(lambda: self.boot() if self.boot()["rejected"] else None, "the rejection")
        self.judged(BAD)
        self.assertEqual(self.launcher(), BAD)
        self.assertTrue(boot["current"].startswith("1.1.0-"), boot)
        self.assertIn("bad on purpose", self.output())
        before = self.health()
        self.one.kill()
        self.lives_anew(before)
        self.assertEqual((self.version(), self.tried(BAD)), ("1.1.0", 1))
        self.assertEqual(self.boot()["rejected"], boot["rejected"])

    def test_an_older_factory_changes_nothing(self) -> None:
        before = self.boot()
        self.one.run(self.mount, tag=OLDER)
        self.serves("1.1.0")
        self.assertEqual((self.launcher(), self.tried(OLDER)), (OLDER, 0))
        after = self.boot()
        self.assertEqual((after["current"], after["rejected"]), (before["current"], []))
