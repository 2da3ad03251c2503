"""What both kinds of containers share: a base tree, releases, and asking the hub in there."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import tempfile
import unittest
from pathlib import Path
from typing import Any, Callable

from tests.e2e.harness import CONFIG, accepted, build, cli, wait_for

OUTSIDE = Path(os.environ.get("OUTSIDE", ".outside")).absolute() / "containers"
BASE = OUTSIDE / "base-bookworm.tar"
FINISHED = ("succeeded", "failed", "redeploy-required")
HOME = "/parachute"
HUB = "/opt/hub.pyz"
PYTHON = "/usr/bin/python3"
USER = 1939
"""The user of examples/Dockerfile: a number that this machine has no name for."""
QUICK = {**CONFIG, "releases": "/releases"}
del QUICK["home_persists"]  # here the evidence decides
ORPHANS = """
import os, time
for _ in range(5):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(0.2)
        os._exit(0)
    os.wait()
"""
"""Five processes whose parents end before them."""


def fingerprint(directory: str) -> dict[str, str]:
    """Everything below a directory: kind, mode, time and content."""
    found = {}
    for root, below, names in os.walk(directory):
        for name in (*below, *names):
            path = os.path.join(root, name)
            about = os.lstat(path)
            plain = os.path.isfile(path) and not os.path.islink(path)
            content = hashlib.sha256(Path(path).read_bytes()).hexdigest() if plain else ""
            key = os.path.relpath(path, directory)
            found[key] = f"{about.st_mode:o} {about.st_mtime_ns} {content}"
    return found


class ContainerCase(unittest.TestCase):
    """A test with a release repository and the ways to ask a hub."""

    port = 0

    def setUp(self) -> None:
        self.directory = os.path.realpath(tempfile.mkdtemp(prefix="container-"))
        self.addCleanup(self.clear)
        os.chmod(self.directory, 0o755)
        self.repository = os.path.join(self.directory, "repository")
        self.publish(build("1.1.0"))

    def clear(self) -> None:
        """Without following what is mounted: all of that went with its namespace."""
        for root, below, names in os.walk(self.directory, topdown=False):
            for name in names:
                os.unlink(os.path.join(root, name))
            for name in below:
                path = os.path.join(root, name)
                (os.unlink if os.path.islink(path) else os.rmdir)(path)
        os.rmdir(self.directory)

    def publish(self, path: str) -> None:
        words = ("release", "publish", self.repository, "--channel", "latest", path)
        done = cli(build("1.0.0"), *words)
        self.assertEqual(done.returncode, 0, done.stderr)

    def chown(self, directory: str, user: int) -> None:
        os.chown(directory, user, user)
        for root, below, names in os.walk(directory):
            for name in (*below, *names):
                os.chown(os.path.join(root, name), user, user, follow_symlinks=False)

    # --- asking ---

    def get(self, path: str, token: str = "", method: str = "GET") -> tuple[int, Any]:
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(client) as connection:
            connection.request(method, path, headers={"Authorization": f"Bearer {token}"})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())

    def health(self) -> dict[str, Any]:
        """What answers now; nothing where nobody does."""
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
            return dict(self.get("/health")[1])
        return {}

    def version(self) -> str:
        """The version that answers now; "" for none."""
        return str(self.health().get("version", ""))

    def wait_for_version(self, version: str) -> None:
        wait_for(lambda: self.version() == version, f"version {version}: {self.output()}")

    def output(self) -> str:
        """What the container printed on stderr."""
        raise NotImplementedError

    def inside(self, *argv: str, code: int = 0) -> str:
        """Run the container's interpreter beside the hub; what it printed on stdout."""
        raise NotImplementedError

    def hub(self, *argv: str, code: int = 0) -> str:
        """Run a command of hub.pyz beside the hub."""
        return self.inside(HUB, *argv, code=code)

    def token(self) -> str:
        return self.hub("token", "create", "--scope", "hub:admin").strip()

    def post(self, token: str, what: str = "upgrade") -> dict[str, Any]:
        """The answer to a POST that is accepted."""
        return accepted(lambda: self.get(f"/api/hub/{what}", token, "POST"))

    def record(self, token: str) -> dict[str, Any]:
        status, record = self.get("/api/hub/upgrade/status", token)
        return dict(record) if status == 200 else {}

    def finished(self, token: str, operation: str) -> dict[str, Any]:
        """The record of that operation once it has ended."""

        def look() -> dict[str, Any] | None:
            with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
                record = self.record(token)
                if record.get("operation_id") == operation and record["phase"] in FINISHED:
                    return record
            return None

        return dict(wait_for(look, f"the end of {operation}; {self.output()}"))

    # --- what must hold ---

    def upgrades(self, token: str, version: str = "1.1.0") -> None:
        """A real upgrade, in place."""
        answer = self.post(token)
        self.assertEqual(answer["mode"], "in-place", answer)
        record = self.finished(token, answer["operation_id"])
        self.assertEqual(record["phase"], "succeeded", f"{record}\n{self.output()}")
        self.assertEqual(self.version(), version)

    def must_redeploy(
        self, token: str, *words: str, releases: Callable[[], dict[str, str]] | None = None
    ) -> dict[str, Any]:
        """202, a finished record that says why, no helper, and no release touched."""
        before = releases() if releases else {}
        answer = self.post(token)
        self.assertEqual(answer["mode"], "redeploy-required", answer)
        record = self.record(token)
        self.assertEqual(record["operation_id"], answer["operation_id"])
        self.assertEqual(record["phase"], "redeploy-required")
        self.assertIsNotNone(record["finished_at"])
        self.assertFalse(record.get("helper_pid"))
        for word in words:
            self.assertIn(word, answer["reason"])
        self.assertEqual(record["reason"], answer["reason"])
        self.assertEqual(releases() if releases else {}, before)
        self.assertEqual(self.version(), "1.0.0")
        return record
