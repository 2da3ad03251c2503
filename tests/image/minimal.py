"""The copied file alone, in an image that holds an interpreter and nothing else, as its PID 1.

Run by `make image`, as root on Debian: `mmdebstrap` makes the images from the system's own mirror.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from typing import Any, ClassVar

from tests.e2e.harness import build, children_of, cli, wait_for, zombies_parents

SUITE = os.environ.get("SUITE", "bookworm")
PYTHON = "/usr/bin/python3"
HOME = "/srv/home"
MINIMAL = "python3-minimal,base-files"
WHOLE = "python3-minimal,libpython3-stdlib,base-files"
ON_A_VOLUME = 'mount --bind "$1" "$1" && shift && exec "$@"'
"""Home is a mount of its own: nothing else in a container is a place for releases."""
ORPHAN = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(0.2)
"""
FINISHED = ("succeeded", "failed", "redeploy-required")


def tool(name: str) -> str:
    """A program of this machine by its whole path: its environment has none."""
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if found is None:
        raise AssertionError(f"{name} is missing")
    return found


def make_image(directory: str, packages: str) -> None:
    """The files of these packages, unpacked and not configured."""
    done = subprocess.run(
        ["mmdebstrap", "--quiet", "--variant=extract", f"--include={packages}", SUITE, directory],
        capture_output=True, text=True, timeout=300, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    if done.returncode:
        raise AssertionError(f"mmdebstrap: {done.stderr[-2000:]}")
    python = os.path.join(directory, PYTHON.lstrip("/"))
    if not os.path.exists(python):  # the link belongs to the package that is not configured
        os.symlink("python3.11", python)


class MinimalImage(unittest.TestCase):
    directory: ClassVar[str]

    @classmethod
    def setUpClass(cls) -> None:
        cls.directory = tempfile.mkdtemp(prefix="image-")
        cls.addClassCleanup(shutil.rmtree, cls.directory, ignore_errors=True)

    def image(self, packages: str) -> str:
        root = os.path.join(self.directory, "whole" if packages == WHOLE else "minimal")
        make_image(root, packages)
        os.makedirs(root + HOME, exist_ok=True)
        shutil.copyfile(build("1.0.0"), os.path.join(root, "srv", "hub.pyz"))
        return root

    def test_without_the_library_one_sentence_names_the_package(self) -> None:
        root = self.image(MINIMAL)
        done = subprocess.run(
            [tool("chroot"), root, PYTHON, "/srv/hub.pyz", "serve", "--config-dir", HOME],
            capture_output=True, text=True, timeout=60, check=False, env={},
        )  # fmt: skip
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("libpython3-stdlib", done.stderr)
        self.assertEqual(len(done.stderr.strip().splitlines()), 1, done.stderr)
        self.assertEqual(os.listdir(root + HOME), [])

    def test_it_serves_upgrades_and_reaps_as_process_one(self) -> None:
        root = self.image(WHOLE)
        published = cli(
            build("1.1.0"), "release", "publish", root + "/srv/releases", "--channel", "latest",
            build("1.1.0"),
        )  # fmt: skip
        self.assertEqual(published.returncode, 0, published.stderr)
        server = self.serve(root)
        launcher = wait_for(lambda: children_of(server.pid), "process 1")[0]
        self.assertEqual(self.get("/health")[1]["version"], "1.0.0")
        token = self.inside(launcher, "/srv/hub.pyz", "token", "create", "--scope", "hub:admin",
                            "--config-dir", HOME).strip()  # fmt: skip
        status, answer = self.get("/api/hub/upgrade", "POST", token)
        self.assertEqual(status, 202, answer)
        record = wait_for(lambda: self.finished(token), "the end of the upgrade")
        self.assertEqual(record["phase"], "succeeded", record)
        self.assertEqual(self.get("/health")[1]["version"], "1.1.0")
        self.inside(launcher, "-c", ORPHAN)
        wait_for(lambda: launcher not in zombies_parents(), "the orphan's end")
        os.kill(launcher, 15)
        self.assertEqual(server.wait(60), 0)

    def serve(self, root: str) -> subprocess.Popen[str]:
        server = subprocess.Popen(
            [tool("unshare"), "--fork", "--pid", "--mount", "--kill-child",
             f"--mount-proc={root}/proc", "/bin/sh", "-c", ON_A_VOLUME, "sh", root + HOME,
             tool("chroot"), root, PYTHON, "/srv/hub.pyz", "serve",
             "--port", "0", "--releases", "/srv/releases"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, stdin=subprocess.DEVNULL,
            env={"PARACHUTE_HOME": HOME},
        )  # fmt: skip
        self.addCleanup(server.wait)
        self.addCleanup(server.kill)
        assert server.stdout is not None
        self.addCleanup(server.stdout.close)
        line = server.stdout.readline()
        self.assertTrue(line.startswith("listening on http://127.0.0.1:"), line)
        self.port = int(line.rpartition(":")[2])
        return server

    def inside(self, launcher: int, *argv: str) -> str:
        """Run the image's interpreter beside the launcher; what it printed."""
        done = subprocess.run(
            [tool("nsenter"), f"--target={launcher}", "--mount", "--pid", "--root", "--wd",
             PYTHON, *argv],
            capture_output=True, text=True, timeout=60, check=False, env={},
        )  # fmt: skip
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def get(self, path: str, method: str = "GET", token: str = "") -> tuple[int, dict[str, Any]]:
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(client) as connection:
            connection.request(method, path, headers={"Authorization": f"Bearer {token}"})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())

    def finished(self, token: str) -> dict[str, Any] | None:
        status, record = self.get("/api/hub/upgrade/status", "GET", token)
        return record if status == 200 and record.get("phase") in FINISHED else None


def main() -> int:
    """Run the tests; closes with one line that counts them."""
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(MinimalImage)
    result = unittest.TextTestRunner(verbosity=2).run(suite)
    failed = len(result.failures) + len(result.errors)
    print(f"{result.testsRun - failed} passed, {failed} failed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
