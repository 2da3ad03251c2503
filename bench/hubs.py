"""Hubs that run, each brought to its new version in another way: by the handoff of hub.pyz, by
systemd that restarts another program's hub, by the end of a container that is run again.

The last two need what the suite of restarters installs: root, a Debian with systemd, podman, git.
The other program is a small HTTP server in a git checkout, and `hub.pyz serve` runs beside it.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import subprocess
import tempfile
import unittest
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable, NamedTuple

from bench.scene import Scene, scene
from tests.e2e.harness import FINISHED, build, wait_for
from tests.e2e.ports import held_port
from tests.outside.containers import podman
from tests.outside.containers.scene import BASE
from tests.outside.readme import machine
from tests.outside.readme.visitor import Inside
from tests.outside.restarters import managed_boot, managed_hub, managed_machine

PROBATION_S = 1
GIT = managed_boot.GIT
IN_HOME = "/parachute"
BOTH = (
    "while :; do python3 /srv/hub.pyz serve --port {serve}; sleep 0.2; done & "
    "exec python3 {home}/checkout/server.py"
)
"""The other program is process 1: the container ends with it, and is run again with both."""


class Way(NamedTuple):
    """One hub that runs: `post` asks for an upgrade to the release that `publish` made the newest,
    and returns a function that tells whether all of it has ended well."""

    name: str
    port: int
    prefix: tuple[str, ...]
    publish: Callable[[str], None]
    post: Callable[[], Callable[[], bool]]


class Boot(unittest.TestCase):
    """Whose end is the machine's."""


def missing() -> str:
    """What keeps the other two from being measured; "" for nothing."""
    if os.getuid():
        return "root is needed"
    for what, there in (
        ("a Debian with systemd", machine.TREE.exists()),
        ("git for it", GIT.exists()),
        ("podman", shutil.which("podman")),
        ("a base for podman's images", BASE.exists()),
    ):
        if not there:
            return f"{what} is not here"
    return ""


@contextlib.contextmanager
def handoff() -> Iterator[Way]:
    """hub.pyz itself."""
    with scene() as made:
        made.hub.start()
        token = made.hub.token()

        def post() -> Callable[[], bool]:
            return _posted(_http(made.hub.port), token, made.hub.record)

        yield Way("handoff of hub.pyz", made.hub.port, (), _publisher(made), post)


def _publisher(made: Scene) -> Callable[[str], None]:
    return lambda version: made.publish(build(version))


@contextlib.contextmanager
def systemd() -> Iterator[Way]:
    """Another program's hub in a unit of a system manager."""
    try:
        hub = managed_machine.OtherHub(managed_boot.boot(Boot))
        hub.begin()
        hub.serve()
        pid = hub.machine.process
        made = hub.hub_pyz("token", "create", "--scope", "hub:admin")
        token = made.stdout.strip()

        def post() -> Callable[[], bool]:
            serve = Inside(pid, "127.0.0.1", managed_machine.SERVE_PORT, "")
            return _posted(serve, token, hub.record)

        inside = ("nsenter", f"--net=/proc/{pid}/ns/net", "--")
        port = managed_hub.PORT
        yield Way("systemd restart of a managed hub", port, inside, hub.publish, post)
    finally:
        Boot.doClassCleanups()


@contextlib.contextmanager
def container() -> Iterator[Way]:
    """Another program's hub as process 1 of a container, with hub.pyz beside it."""
    directory = Path(tempfile.mkdtemp(prefix="bench-"))
    name, lock = f"bench-{os.getpid()}", podman.set_up()
    try:
        port, serve = held_port(), held_port()
        home = directory / "home"
        home.mkdir(0o700)
        token = "bench-" + os.urandom(16).hex()
        (directory / "token").write_text(token)
        told = {"health_url": f"http://127.0.0.1:{port}/health", "restart": "exit"}
        (home / "hub.json").write_text(json.dumps({"probation_s": PROBATION_S, "hub": told}))
        author = home / "author"
        author.mkdir()
        _git(author, "-c", "init.defaultBranch=main", "init", "--quiet")
        _commit(author, managed_machine.OLD)
        _git(home, "clone", "--quiet", str(author), "checkout")
        _git(home / "checkout", "remote", "set-url", "origin", f"{IN_HOME}/author")
        env = {
            "PORT": str(port), "STARTS": f"{IN_HOME}/starts", "PARACHUTE_HOME": IN_HOME,
            "PARACHUTE_ADMIN_TOKEN_FILE": "/srv/token",
        }  # fmt: skip
        volumes = {
            home: IN_HOME, directory / "token": "/srv/token:ro",
            Path(build(managed_boot.OURS)): "/srv/hub.pyz:ro",
            GIT / "usr/bin/git": "/usr/bin/git:ro",
            GIT / "usr/lib/git-core": "/usr/lib/git-core:ro",
        }  # fmt: skip
        podman.podman(
            "run", "--detach", f"--name={name}", "--restart=always",
            *(f"--env={key}={value}" for key, value in env.items()),
            *(f"--volume={ours}:{theirs}" for ours, theirs in volumes.items()),
            podman.base_image(), "sh", "-c", BOTH.format(serve=serve, home=IN_HOME),
        )  # fmt: skip
        wait_for(lambda: _answers(port) and _answers(serve), "both hubs in the container")

        def post() -> Callable[[], bool]:
            return _posted(_http(serve), token, lambda: _record(home))

        said = "container exit of a managed hub, --restart=always"
        yield Way(said, port, (), lambda version: _commit(author, version), post)
    finally:
        podman.ask("rm", "--force", "--time=0", "--ignore", name)
        podman.tear_down(lock)
        shutil.rmtree(directory, ignore_errors=True)


def _git(directory: Path, *words: str) -> None:
    who = ("-c", "user.name=Author", "-c", "user.email=author@localhost")
    subprocess.run(["git", *who, *words], cwd=directory, check=True, stdout=subprocess.DEVNULL)


def _commit(author: Path, version: str) -> None:
    for name, text in managed_hub.files(version, managed_hub.GOOD).items():
        (author / name).write_text(text)
    _git(author, "add", "--all")
    _git(author, "commit", "--quiet", f"--message={version}")
    _git(author, "tag", f"v{version}")


def _http(port: int) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", port, timeout=30)


def _answers(port: int) -> bool:
    try:
        with contextlib.closing(_http(port)) as connection:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False


def _record(home: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((home / "hub-upgrade-status.json").read_bytes()))
    except (OSError, ValueError):
        return {}


def _posted(
    serve: http.client.HTTPConnection, token: str, record: Callable[[], dict[str, Any]]
) -> Callable[[], bool]:
    """A request that is accepted, and whether what it asked for has ended."""
    with contextlib.closing(serve) as connection:
        headers = {"Authorization": f"Bearer {token}"}
        connection.request("POST", "/api/hub/upgrade", None, headers)
        answer = connection.getresponse()
        told = json.loads(answer.read())
    if answer.status != 202:
        raise SystemExit(f"POST /api/hub/upgrade: {answer.status} {told}")

    def ended() -> bool:
        seen = record()
        if seen.get("operation_id") != told["operation_id"] or seen["phase"] not in FINISHED:
            return False
        if seen["phase"] != "succeeded":
            raise SystemExit(f"{seen}")
        return True

    return ended
