"""The hub as process 1 of containers made with nothing but namespaces: roots of every kind, with
home in them and on a volume, signals, orphans, and other people's volumes."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Any, Callable, ClassVar

from tests.e2e.harness import WAIT_S, build, children_of, descendants, wait_for, zombies_parents
from tests.outside.containers.scene import (
    BASE,
    HOME,
    HUB,
    ORPHANS,
    PYTHON,
    QUICK,
    USER,
    ContainerCase,
    fingerprint,
)

INSIDE = Path(__file__).with_name("inside.py")
ENVIRONMENT = {"PARACHUTE_HOME": HOME, "PORT": "0", "PATH": "/usr/bin:/bin"}
DISK_BYTES = 192 << 20


def setUpModule() -> None:
    """The base tree with the hub in it: the pristine image of every test."""
    directory = tempfile.mkdtemp(prefix="tree-")
    unittest.addModuleCleanup(shutil.rmtree, directory, ignore_errors=True)
    tree = NamespaceCase.tree = os.path.join(directory, "tree")
    os.mkdir(tree)
    subprocess.run(["tar", "-xf", str(BASE), "-C", tree], check=True)
    os.makedirs(os.path.dirname(tree + HUB), exist_ok=True)
    shutil.copyfile(build("1.0.0"), tree + HUB)
    for mounted in (HOME, "/releases"):
        os.makedirs(tree + mounted, exist_ok=True)


class NamespaceCase(ContainerCase):
    """A container, made anew from the pristine tree at every start."""

    tree: ClassVar[str]

    def setUp(self) -> None:
        super().setUp()
        self.server: subprocess.Popen[str] | None = None
        self.starts = 0
        self.log = os.path.join(self.directory, "log")

    # --- its parts ---

    def path(self, name: str) -> str:
        path = os.path.join(self.directory, name)
        os.makedirs(path, exist_ok=True)
        return path

    def volume(self, config: dict[str, Any] | None = None, user: int = 0) -> dict[str, Any]:
        """A directory of this machine's disk for home, with a hub.json in it."""
        source = self.path("volume")
        os.chmod(source, 0o755)
        Path(source, "hub.json").write_text(json.dumps(config or QUICK))
        self.chown(source, user)
        return {"kind": "bind", "source": source, "target": HOME}

    def disk(self, filled: str = "") -> str:
        """A new file system in a file; returns the file."""
        path = os.path.join(self.directory, f"disk-{len(os.listdir(self.directory))}")
        with open(path, "wb") as file:
            file.truncate(DISK_BYTES)
        filling = ["-d", filled] if filled else []
        subprocess.run(["mkfs.ext4", "-q", "-F", *filling, path], check=True)
        return path

    def root(self, kind: str) -> dict[str, Any]:
        """A pristine root of that kind."""
        if kind == "overlay":
            layers = {name: self.path(f"{name}-{self.starts}") for name in ("upper", "work")}
            return {"kind": kind, "lower": self.tree, **layers}
        if kind == "bind":
            source = os.path.join(self.directory, f"root-{self.starts}")
            subprocess.run(["cp", "-a", self.tree, source], check=True)
            return {"kind": kind, "source": source}
        if kind == "ext4":
            return {"kind": kind, "source": self.disk(self.tree)}
        return {"kind": "tmpfs", "tree": self.tree}

    # --- its life ---

    def start(
        self,
        *volumes: dict[str, Any],
        root: str = "overlay",
        read_only: bool = False,
        user: int = 0,
        serve: tuple[str, ...] = (),
        **env: str,
    ) -> str:
        """Run it until it listens; returns the directory that holds its root's changes."""
        self.starts += 1
        self.user = user
        made = self.root(root)
        repository = {"kind": "bind", "source": self.repository, "target": "/releases"}
        plan = {
            "at": self.path("root"), "root": made, "mounts": [*volumes, repository],
            "read_only": read_only, "user": user, "environment": {**ENVIRONMENT, **env},
            "argv": [PYTHON, HUB, "serve", "--releases", "/releases", *serve],
        }  # fmt: skip
        self.chown(self.repository, user)
        with open(self.log, "ab") as log:
            self.server = subprocess.Popen(
                ["unshare", "--fork", "--pid", "--mount", "--kill-child", sys.executable,
                 str(INSIDE), json.dumps(plan)],
                stdout=subprocess.PIPE, stderr=log, stdin=subprocess.DEVNULL, text=True,
            )  # fmt: skip
        self.addCleanup(self.kill, self.server)
        assert self.server.stdout is not None
        line = self.server.stdout.readline()
        self.assertTrue(line.startswith("listening on http://127.0.0.1:"), line + self.output())
        self.port = int(line.rpartition(":")[2])
        self.launcher = children_of(self.server.pid)[0]
        self.wait_for_version(self.version() or "1.0.0")
        return str(made.get("upper", ""))

    def kill(self, server: subprocess.Popen[str]) -> None:
        """With process 1 all its others end, and with them the namespace and its mounts."""
        server.kill()
        server.wait()
        if server.stdout is not None:
            server.stdout.close()

    def stop(self, *numbers: int) -> int:
        """Signal process 1, and its exit code."""
        assert self.server is not None
        for number in numbers or (signal.SIGTERM,):
            os.kill(self.launcher, number)
        return self.server.wait(WAIT_S)

    def output(self) -> str:
        return Path(self.log).read_text()[-6000:]

    def inside(self, *argv: str, code: int = 0) -> str:
        done = subprocess.run(
            ["nsenter", f"--target={self.launcher}", "--mount", "--pid", "--root", "--wd",
             f"--setuid={self.user}", f"--setgid={self.user}", PYTHON, *argv],
            capture_output=True, text=True, timeout=WAIT_S, check=False, env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout

    def releases_in(self, upper: str) -> Callable[[], dict[str, str]]:
        return lambda: fingerprint(upper + HOME + "/releases")


class InTheImage(NamespaceCase):
    """Home lies in the container's own root."""

    def test_home_on_an_overlay_is_redeployed_and_nothing_is_touched(self) -> None:
        upper = self.start()
        token = self.token()
        record = self.must_redeploy(
            token, "own files (overlay at /)", "newer image", "mount storage", HOME,
            releases=self.releases_in(upper),
        )  # fmt: skip
        evidence = "\n".join(record["evidence"])
        for words in ("container: process 1 is python3", "container: PARACHUTE_HOME is /parachute",
                      "lies on / (overlay", "releases: writable"):  # fmt: skip
            self.assertIn(words, evidence)
        self.assertFalse(list(Path(upper + HOME, "logs").glob("upgrade-*")), "a helper ran")
        before = self.releases_in(upper)()
        self.assertIn("redeploy-required", self.hub("status"))
        self.assertIn("newer image", self.hub("plan", code=3))
        self.assertIn("newer image", self.hub("upgrade", code=3))
        self.assertEqual(self.releases_in(upper)(), before)
        self.assertEqual(self.stop(), 0)

    def test_no_root_of_any_kind_is_a_place_for_releases(self) -> None:
        for kind, words in (("bind", "own files (ext4 at /)"), ("ext4", "own files (ext4 at /)"),
                            ("tmpfs", "/ is a tmpfs, which lives in memory")):  # fmt: skip
            with self.subTest(root=kind):
                self.start(root=kind)
                self.must_redeploy(self.token(), words, "newer image")
                self.assertEqual(self.stop(), 0)

    def test_a_read_only_root_serves_all_the_same(self) -> None:
        self.start(read_only=True)
        status, about = self.get("/health")
        self.assertEqual((status, about["version"]), (200, "1.0.0"))
        self.assertIn("cannot be written (Read-only file system", self.output())
        self.assertEqual(self.stop(), 0)

    def test_the_operators_word_is_believed_and_shown(self) -> None:
        self.start()
        script = f"import json; open('{HOME}/hub.json', 'w').write(json.dumps({{**{QUICK!r}, "
        self.inside("-c", script + "'home_persists': True}))")
        plan = json.loads(self.hub("plan", "--json"))
        self.assertEqual(plan["mode"], "in-place")
        self.assertIn("hub.json: home survives a restart (home_persists)", plan["evidence"])


class OnAVolume(NamespaceCase):
    """Home is a mount of its own."""

    def test_an_upgrade_is_still_there_after_a_start_from_the_pristine_image(self) -> None:
        volume = self.volume()
        upper = self.start(volume)
        token = self.token()
        self.upgrades(token)
        self.assertFalse(os.path.exists(upper + HOME + "/releases"), "it went to the image")
        self.assertEqual(self.stop(), 0)
        self.start(volume)
        self.assertEqual(self.version(), "1.1.0")
        answer = self.post(token, "rollback")
        self.assertEqual(self.finished(token, answer["operation_id"])["phase"], "succeeded")
        self.assertEqual(self.stop(), 0)
        self.start(volume)
        self.assertEqual(self.version(), "1.0.0")
        self.assertEqual(self.stop(), 0)

    def test_it_is_in_place_below_a_root_of_any_kind(self) -> None:
        for kind in ("bind", "ext4", "tmpfs"):
            with self.subTest(root=kind):
                volume = self.volume()
                self.start(volume, root=kind)
                self.upgrades(self.token())
                self.assertEqual(self.stop(), 0)
                self.start(volume, root="overlay")
                self.assertEqual(self.version(), "1.1.0")
                self.assertEqual(self.stop(), 0)
                shutil.rmtree(volume["source"])

    def test_a_file_system_of_its_own_is_a_volume_too(self) -> None:
        volume = {"kind": "ext4", "source": self.disk(), "target": HOME}
        for version in ("1.0.0", "1.1.0"):
            self.start(volume)
            self.assertEqual(self.version(), version)
            if version == "1.0.0":
                text = json.dumps(QUICK)
                self.inside("-c", f"open('{HOME}/hub.json', 'w').write({text!r})")
                self.assertEqual(self.stop(), 0)
                self.start(volume)
                self.upgrades(self.token())
            self.assertEqual(self.stop(), 0)

    def test_below_a_read_only_root_it_is_in_place(self) -> None:
        volume = self.volume()
        for version in ("1.0.0", "1.1.0"):
            self.start(volume, read_only=True)
            self.assertEqual(self.version(), version)
            if version == "1.0.0":
                self.upgrades(self.token())
            self.assertEqual(self.stop(), 0)

    def test_what_is_in_memory_or_has_memory_mounted_over_it_is_none(self) -> None:
        over = {"kind": "tmpfs", "target": HOME + "/releases"}
        for mounts, words in (
            ([{"kind": "tmpfs", "target": HOME}], "/parachute is a tmpfs"),
            ([self.volume(), over], "/parachute/releases is a tmpfs"),
        ):
            self.start(*mounts)
            self.must_redeploy(self.token(), words, "newer image")
            self.assertEqual(self.stop(), 0)

    def test_a_read_only_volume_serves_and_says_so(self) -> None:
        volume = self.volume()
        self.start(volume)
        token = self.token()
        self.assertEqual(self.stop(), 0)
        self.start({**volume, "read_only": True})
        self.assertIn("Read-only file system", self.output())
        self.must_redeploy(token, "Read-only file system", "writable storage at /parachute")
        self.assertEqual(self.stop(), 0)

    def test_a_volume_of_another_user_serves_and_names_owner_user_and_the_chown(self) -> None:
        volume = self.volume(user=USER)
        self.start(volume, user=USER)
        token = self.token()
        self.upgrades(token)
        self.assertEqual(self.stop(), 0)
        self.chown(volume["source"], 0)
        for root, below, _names in os.walk(volume["source"]):  # read, but not written, by others
            for name in below:
                os.chmod(os.path.join(root, name), 0o755)
        for path in Path(volume["source"]).rglob("*"):
            path.chmod(path.stat().st_mode | 0o044)
        self.start(volume, user=USER)
        self.assertEqual(self.version(), "1.1.0")
        said = f"its owner is root (0), we are {USER}); mend it with: chown -R {USER} {HOME}"
        self.assertIn(said, self.output())
        answer = self.post(token)
        self.assertEqual(answer["mode"], "redeploy-required")
        self.assertIn(said, answer["reason"])
        self.assertEqual(self.stop(), 0)
        self.chown(volume["source"], USER)
        self.start(volume, user=USER)
        self.assertEqual(self.post(token)["mode"], "in-place")
        self.assertEqual(self.stop(), 0)


class ProcessOne(NamespaceCase):
    """What only process 1 has to do."""

    def test_it_reaps_every_orphan(self) -> None:
        self.start(self.volume())
        before = set(descendants(self.launcher))
        self.inside("-c", ORPHANS)
        wait_for(
            lambda: set(descendants(self.launcher)) <= before
            and self.launcher not in zombies_parents(),
            "the orphans' end",
        )
        self.assertEqual(self.version(), "1.0.0")
        self.assertEqual(self.stop(), 0)

    def test_every_signal_that_asks_for_the_end_ends_it_with_0(self) -> None:
        volume = self.volume()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            self.start(volume)
            self.assertEqual(self.stop(number), 0, number)

    def test_a_second_signal_ends_it_at_once(self) -> None:
        slow = {**QUICK, "stop_s": 3600}
        self.start(self.volume(slow))
        hub = wait_for(lambda: children_of(self.launcher), "the hub")[0]
        os.kill(hub, signal.SIGSTOP)
        os.kill(self.launcher, signal.SIGTERM)
        self.assertIsNone(self.server and self.server.poll())
        wait_for(self.asked_again, "the end by a second signal")
        assert self.server is not None
        self.assertEqual(self.server.wait(WAIT_S), 0)

    def asked_again(self) -> bool:
        """Again and again: one press that arrives twice is no second signal."""
        assert self.server is not None
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.launcher, signal.SIGTERM)
        return self.server.poll() is not None

    def test_a_stop_on_probation_gives_the_try_back_and_the_next_container_goes_on(self) -> None:
        volume = self.volume({**QUICK, "probation_s": 300})
        self.start(volume)
        token = self.token()
        operation = self.post(token)["operation_id"]
        self.wait_for_version("1.1.0")
        self.assertEqual(self.stop(), 0)
        boot = json.loads(Path(volume["source"], "releases", "boot.json").read_text())
        self.assertEqual((boot["trial"]["tries_left"], boot["rejected"]), (3, []))
        self.volume()
        self.start(volume)
        self.assertEqual(self.finished(token, operation)["phase"], "succeeded")
        self.assertEqual(self.version(), "1.1.0")
        self.assertEqual(self.stop(), 0)

    def test_an_address_that_nobody_outside_reaches_is_told_once(self) -> None:
        volume = self.volume()
        self.start(volume)
        told = [line for line in self.output().splitlines() if "PARACHUTE_BIND_HOST" in line]
        self.assertEqual(len(told), 1, self.output())
        self.assertIn("PARACHUTE_BIND_HOST=0.0.0.0", told[0])
        self.assertEqual(self.stop(), 0)


if __name__ == "__main__":
    unittest.main()
