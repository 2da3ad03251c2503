"""The installed file against what was proven, and a home that is of no use to it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import unittest
from pathlib import Path
from typing import Any

from tests.e2e.harness import (
    CONFIG,
    Hub,
    RealCase,
    answered,
    build,
    command_of,
    running_on,
    wait_for,
)
from tests.e2e.stops import left_on

ROOT = Path(__file__).resolve().parent.parent.parent
QUICK = {
    "hub_upgrade/upgrade/preflight.py": (
        (ROOT / "hub_upgrade/upgrade/preflight.py").read_bytes() + b"\nWATCH_S = 0.1\n"
    )
}
BAD = {
    **QUICK,
    "hub_upgrade/wiring/hub.py": (
        (ROOT / "hub_upgrade/wiring/hub.py").read_bytes()
        + b"""
_main = main
def main(argv):
    if os.environ.get("TEST_BAD"):
        sys.exit("this image is bad on purpose")
    return _main(argv)
"""
    ),
}
"""Its launcher is as good as any: only what it starts dies, as long as the variable is there."""
IMAGE = "2.0.0"
READ_ONLY = (
    "unshare", "--mount", "sh", "-c",
    'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"',
)  # fmt: skip
NO_LOCKS = ("strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", "trace=flock",
            "-e", "inject=flock:error=ENOLCK")  # fmt: skip
NOT_ALMIGHTY = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
"""Root as any other user is: the modes of files hold."""


def quick(version: str) -> str:
    """A good release that is soon through its preflight. Few versions: each takes a second."""
    return build(version, BAD if version == IMAGE else QUICK)


def works(*command: str) -> bool:
    """Whether a tool is there and may do here what it must."""
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(command, capture_output=True, timeout=20, check=False)
        return done.returncode == 0
    return False


needs_unshare = unittest.skipUnless(
    os.geteuid() == 0 and works("unshare", "--mount", "true"), "needs root and unshare"
)
needs_setpriv = unittest.skipUnless(
    os.geteuid() == 0 and works(*NOT_ALMIGHTY, "true"), "needs root and setpriv"
)


class FactoryCase(RealCase):
    """A home, and installed files that change."""

    config = {**CONFIG, "probation_s": 0.3}

    def installed(self, program: str) -> Hub:
        """A hub whose installed file is that one; a second time it is replaced."""
        self.one: Hub
        if not hasattr(self, "one"):
            self.one = self.hub(program)
        else:
            self.replace(program)
        return self.one

    def replace(self, program: str) -> None:
        """As an installer does: a new file under the old name."""
        shutil.copyfile(program, self.one.program + ".new")
        os.replace(self.one.program + ".new", self.one.program)

    def serves(self, version: str) -> dict[str, Any]:
        """Wait until that version is what answers and is decided for; the boot record then."""

        def decided() -> dict[str, Any] | None:
            answer = self.one.health() or {}
            boot = self.one.boot()
            mine = str(boot["current"]).startswith(f"{version}-") and boot["trial"] is None
            return boot if mine and answer.get("version") == version else None

        return dict(wait_for(decided, f"{version}; log: {self.one.output()[-3000:]}"))

    def tries_of(self, version: str) -> int:
        """How often a factory of that version had its verdict, by the launcher's words."""
        lines = self.one.output().splitlines()
        told = ("is proven and current", "is rejected: ")
        mine = [line for line in lines if line.startswith(f"launcher: {version}-")]
        return sum(any(words in line for words in told) for line in mine)

    def upgrade_to(self, version: str) -> None:
        """By POST, proven."""
        self.publish(quick(version))
        record = self.one.finished(self.one.upgrade())
        self.assertEqual(record["phase"], "succeeded", record)
        self.serves(version)

    def name_of(self, version: str) -> str:
        names = os.listdir(os.path.join(self.home, "releases"))
        return next(n for n in names if n.startswith(f"{version}-") and not n.endswith(".bad"))

    def is_marked_bad(self, version: str) -> bool:
        mark = self.name_of(version) + ".bad"
        return os.path.exists(os.path.join(self.home, "releases", mark))


class ImageTest(FactoryCase):
    def test_a_newer_image_is_tried_once_and_is_current_when_proven(self) -> None:
        self.installed(quick("1.0.0")).start()
        self.upgrade_to("1.1.0")
        self.one.stop()
        self.installed(quick("2.0.0")).start()
        boot = self.serves("2.0.0")
        self.assertTrue(boot["previous"].startswith("1.1.0-"), boot)
        self.assertEqual(boot["factory_seen"], self.one.wait_healthy()["release"])
        self.assertEqual(self.one.record()["target_version"], "1.1.0", "no operation asked for it")
        self.assertEqual(self.one.stop(), 0)
        self.one.start()
        self.assertEqual(self.serves("2.0.0"), boot)
        self.assertEqual(self.tries_of("2.0.0"), 1)
        self.one.finished(self.one.rollback())
        self.serves("1.1.0")
        self.assertEqual(self.one.stop(), 0)
        self.one.start()
        self.assertEqual(self.one.wait_healthy()["version"], "1.1.0", "a rollback stays")
        self.serves("1.1.0")
        self.assertEqual(self.tries_of("2.0.0"), 1)
        self.assertEqual(self.one.stop(), 0)

    def test_a_bad_newer_image_is_tried_once_and_what_was_proven_goes_on(self) -> None:
        self.installed(quick("1.0.0")).start()
        self.upgrade_to("1.1.0")
        self.one.stop()
        self.installed(quick(IMAGE)).start(TEST_BAD="1")
        boot = self.serves("1.1.0")
        self.assertEqual(len(boot["rejected"]), 1)
        self.assertEqual(self.tries_of("2.0.0"), 1)
        self.assertTrue(self.is_marked_bad("2.0.0"))
        self.upgrade_to("1.2.0")
        self.one.stop()
        self.one.start(TEST_BAD="1")
        self.assertEqual(self.one.wait_healthy()["version"], "1.2.0", "not tried again")
        self.assertEqual(self.serves("1.2.0")["rejected"], boot["rejected"])
        self.assertEqual(self.tries_of("2.0.0"), 1)
        self.one.stop()
        self.one.start("--factory", TEST_BAD="1")
        self.serves("1.2.0")
        self.assertEqual(self.tries_of("2.0.0"), 2, "forced, it is tried, and bad as before")
        self.one.stop()
        self.one.start("--factory")
        self.assertEqual(self.serves("2.0.0")["rejected"], [], "mended, and forced")
        self.assertFalse(self.is_marked_bad("2.0.0"))
        self.assertEqual(self.one.stop(), 0)

    def test_an_older_image_changes_nothing_unless_it_is_forced(self) -> None:
        self.installed(quick("1.1.0")).start()
        self.upgrade_to("1.2.0")
        self.one.stop()
        self.installed(quick("1.0.0")).start()
        self.assertEqual(self.one.wait_healthy()["version"], "1.2.0")
        boot = self.serves("1.2.0")
        about = self.one.request("GET", "/api/hub", token=self.one.token())[1]
        self.assertEqual(about["launcher_version"], "1.0.0")
        self.upgrade_to("2.0.0")
        self.one.stop()
        self.one.start("--factory")
        forced = self.serves("1.0.0")
        self.assertTrue(forced["previous"].startswith("2.0.0-"), (boot, forced))
        self.assertEqual(self.one.stop(), 0)
        self.one.start()
        self.assertEqual(self.one.wait_healthy()["version"], "1.0.0", "a forced one stays")
        self.assertEqual(self.one.stop(), 0)

    def test_what_was_rolled_back_to_below_the_factory_stays(self) -> None:
        self.installed(quick("1.0.0")).start()
        self.serves("1.0.0")
        self.one.stop()
        self.installed(quick("1.1.0")).start()
        self.serves("1.1.0")
        record = self.one.finished(self.one.rollback())
        self.assertEqual((record["phase"], record["target_version"]), ("succeeded", "1.0.0"))
        self.serves("1.0.0")
        back = ("POST", "/api/hub/rollback", None, self.one.token())
        status, answer = answered(lambda: self.one.request(*back))
        self.assertEqual((status, answer["error"]), (409, "nothing_to_roll_back"))
        for _ in range(2):
            self.assertEqual(self.one.stop(), 0)
            self.one.start()
            self.assertEqual(self.one.wait_healthy()["version"], "1.0.0")
            self.serves("1.0.0")
        self.assertEqual(self.tries_of("1.1.0"), 1)
        self.one.stop()
        self.installed(quick("1.2.0")).start()
        self.serves("1.2.0")
        self.assertEqual(self.one.stop(), 0)


class OverwrittenTest(FactoryCase):
    def test_the_installed_file_may_be_replaced_while_it_runs(self) -> None:
        self.installed(quick("1.0.0")).start()
        pids = self.one.launcher_pid, self.one.hub_pid()
        Path(self.one.program).write_bytes(Path(quick("2.0.0")).read_bytes())
        self.answers_all("1.0.0")
        self.upgrade_to("1.1.0")
        Path(self.one.program).write_bytes(b"garbage" * 50_000)
        self.answers_all("1.1.0")
        self.upgrade_to("1.2.0")
        os.unlink(self.one.program)
        self.assertEqual(pids, (self.one.launcher_pid, self.one.hub_pid()))
        os.kill(self.one.hub_pid(), signal.SIGKILL)
        self.serves("1.2.0")
        self.assertEqual(self.one.stop(), 0)
        self.installed(quick("2.0.0")).start()
        self.serves("2.0.0")
        self.assertEqual(self.one.stop(), 0)

    def answers_all(self, version: str) -> None:
        """Every route, and what each imports."""
        token = self.one.token()
        for path in ("/api/hub", "/api/hub/upgrade/plan", "/ready"):
            self.assertEqual(self.one.request("GET", path, token=token)[0], 200, path)
        status = self.one.request("GET", "/api/hub/upgrade/status", token=token)[0]
        self.assertIn(status, (200, 404))
        self.assertEqual(self.one.wait_healthy()["version"], version)

    def test_a_damaged_copy_of_the_factory_is_made_again_at_the_next_start(self) -> None:
        self.installed(quick("1.0.0")).start()
        self.one.stop()
        copy = Path(self.home, "releases", self.name_of("1.0.0"), "hub.pyz")
        for content in (b"", copy.read_bytes()[:1000], os.urandom(5000)):
            self.spoil(copy, content)
            self.one.start()
            self.assertEqual(self.one.wait_healthy()["version"], "1.0.0")
            self.assertEqual(copy.read_bytes(), Path(quick("1.0.0")).read_bytes())
            self.assertEqual(self.one.stop(), 0)

    def test_a_factory_copy_damaged_while_it_runs_keeps_nobody_from_serving(self) -> None:
        self.installed(quick("1.0.0")).start()
        copy = Path(self.home, "releases", self.name_of("1.0.0"), "hub.pyz")
        first = self.one.wait_healthy()
        for content in (os.urandom(5000), b""):
            self.spoil(copy, content)
            os.kill(self.one.hub_pid(), signal.SIGKILL)
            again = self.one.wait_healthy()
            self.assertEqual(again["release"], first["release"])
            self.assertNotEqual(again["instance"], first["instance"])
        shutil.rmtree(copy.parent)
        os.kill(self.one.hub_pid(), signal.SIGKILL)
        self.assertEqual(self.one.wait_healthy()["release"], first["release"])
        self.upgrade_to("1.1.0")
        self.assertEqual(self.one.stop(), 0)

    def spoil(self, path: Path, content: bytes) -> None:
        """Another content in the same file, as a bad disk would."""
        path.chmod(0o600)
        path.write_bytes(content)


class UselessHomeTest(FactoryCase):
    """The hub serves all the same, says why, and keeps its status in memory."""

    def prepared(self, version: str = "1.1.0") -> str:
        """A home with a proven release above the factory; returns a token."""
        self.installed(quick("1.0.0")).start()
        token = self.one.token()
        self.upgrade_to(version)
        self.assertEqual(self.one.stop(), 0)
        return token

    def temporaries(self) -> list[str]:
        return [n for n in os.listdir(tempfile.gettempdir()) if n.startswith("hub-factory-")]

    def must_redeploy(self, token: str, why: str) -> None:
        """All that is promised for a home that cannot be used."""
        hub = self.one
        files = sorted((str(p), p.stat().st_mtime_ns) for p in Path(self.home).rglob("*"))
        self.assertIn(why, hub.request("GET", "/api/hub", token=token)[1]["trouble"])
        status, answer = hub.request("POST", "/api/hub/upgrade", token=token)
        self.assertEqual((status, answer["mode"]), (202, "redeploy-required"), answer)
        self.assertIn(why, answer["reason"])
        status, record = hub.request("GET", "/api/hub/upgrade/status", token=token)
        self.assertEqual((status, record["phase"]), (200, "redeploy-required"), record)
        self.assertEqual(record["operation_id"], answer["operation_id"])
        self.assertIn("finished_at", record)
        status, answer = hub.request("POST", "/api/hub/rollback", token=token)
        self.assertEqual((status, answer["mode"]), (202, "redeploy-required"), answer)
        known = hub.request("GET", "/api/hub/upgrade/history", token=token)[1]["operations"]
        self.assertEqual([entry["phase"] for entry in known][:2], ["redeploy-required"] * 2)
        plan = hub.request("GET", "/api/hub/upgrade/plan", token=token)[1]
        self.assertEqual(plan["mode"], "redeploy-required", plan)
        self.assertIn(why, hub.output())
        after = sorted((str(p), p.stat().st_mtime_ns) for p in Path(self.home).rglob("*"))
        self.assertEqual(files, after, "nothing in home was touched")

    def lives_on(self, version: str) -> None:
        """The hub may die, and the launcher brings it back; then both leave."""
        before = self.one.wait_healthy()
        self.assertEqual(before["version"], version)
        pid = next(pid for pid in running_on(self.home) if "run" in command_of(pid))
        os.kill(pid, signal.SIGKILL)

        def another() -> dict[str, Any] | None:
            found = self.one.health()
            return found if found and found["instance"] != before["instance"] else None

        again = wait_for(another, "another hub")
        self.assertEqual(again["release"], before["release"])
        left = len(self.temporaries())
        self.assertEqual(self.one.stop(), 0)
        self.assertLessEqual(len(self.temporaries()), max(0, left - 1), "its private copy stays")
        self.assertEqual(left_on(self.home), [])  # strace ends after whom it traced

    @needs_unshare
    def test_a_home_on_a_read_only_mount(self) -> None:
        token = self.prepared()
        for installed, argv in (("1.0.0", ()), ("1.2.0", ()), ("1.2.0", ("--factory",))):
            self.installed(quick(installed)).start(*argv, prefix=(*READ_ONLY, self.home))
            self.must_redeploy(token, "cannot be written (Read-only file system")
            self.assertLess(self.one.output().count("the trial waits"), 4, "said once")
            self.lives_on("1.1.0")
        self.one.start()
        self.serves("1.2.0")
        self.assertEqual(self.one.stop(), 0)

    @needs_unshare
    def test_an_empty_home_on_a_read_only_mount(self) -> None:
        self.installed(quick("1.0.0")).start(prefix=(*READ_ONLY, self.home))
        self.replace(quick("2.0.0"))
        self.assertIn("cannot be written", self.one.output())
        self.lives_on("1.0.0")

    @needs_setpriv
    def test_a_home_of_another_user_is_served_from_and_the_chown_is_told(self) -> None:
        token = self.prepared()
        for path in (Path(self.home), *Path(self.home).rglob("*")):
            os.chown(path, 4321, 4321)
            path.chmod(path.stat().st_mode | 0o055)
        self.one.start(prefix=NOT_ALMIGHTY)
        why = f"its owner is 4321, we are root (0)); mend it with: chown -R 0 {self.home}"
        self.must_redeploy(token, why)
        self.lives_on("1.1.0")
        for path in (Path(self.home), *Path(self.home).rglob("*")):
            os.chown(path, 0, 0)
        self.one.start()
        self.upgrade_to("1.2.0")
        self.assertEqual(self.one.stop(), 0)

    @needs_setpriv
    def test_a_home_that_nobody_may_look_into(self) -> None:
        os.chown(self.home, 4321, 4321)
        self.installed(quick("1.0.0")).start(prefix=NOT_ALMIGHTY)
        self.assertIn(f"chown -R 0 {self.home}", self.one.output())
        self.lives_on("1.0.0")

    @unittest.skipUnless(works(*NO_LOCKS, "true"), "needs strace that can inject errors")
    def test_a_home_on_a_file_system_that_cannot_lock(self) -> None:
        token = self.prepared()
        self.one.start(prefix=NO_LOCKS)
        self.must_redeploy(token, "cannot be locked (No locks available); use a local file system")
        self.lives_on("1.1.0")
        self.one.start()
        self.upgrade_to("1.2.0")
        self.assertEqual(self.one.stop(), 0)
