"""A remote, a checkout that follows it, and a git that knows nobody's own configuration.

Every path has a space and letters beyond ASCII.
"""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import tempfile
import threading
import unittest
from pathlib import Path
from typing import Any
from unittest import mock

from hub_upgrade.domain.managed import Managed
from hub_upgrade.sources.git import GitSource
from tests.outside.sources.snapshot import snapshot

CONFIG = """\
[user]
	name = Somebody
	email = somebody@localhost
[init]
	defaultBranch = main
[protocol "file"]
	allow = always
[advice]
	detachedHead = false
"""


def git(directory: Path | str, *words: str) -> str:
    """What a call prints; it must succeed."""
    argv = ["git", "-C", str(directory), *words]
    done = subprocess.run(
        argv, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        raise AssertionError(f"{' '.join(argv)}: {done.stderr}")
    return done.stdout.strip()


def directory_for(test: unittest.TestCase) -> Path:
    """A directory of this test's own, and a git that is configured by nobody else."""
    holder = tempfile.TemporaryDirectory()
    test.addCleanup(holder.cleanup)
    root = Path(holder.name) / "Höhle mit Leerraum"
    home = root / "home"
    home.mkdir(parents=True)
    (home / ".gitconfig").write_text(CONFIG)
    kept = {name: word for name, word in os.environ.items() if not name.startswith("GIT_")}
    mine = {**kept, "HOME": str(home), "XDG_CONFIG_HOME": str(home), "GIT_CONFIG_NOSYSTEM": "1"}
    patched = mock.patch.dict(os.environ, mine, clear=True)
    patched.start()
    test.addCleanup(patched.stop)
    return root


class GitScene:
    """A contract.Scene. `author` is a work tree and the remote at once, `hub` the checkout."""

    def __init__(self, test: unittest.TestCase, where: Path | None = None) -> None:
        self.test = test
        self.root = where or directory_for(test)
        self.author = self.root / "author"
        self.hub = self.root / "hub"
        self.managed = Managed(source="git")
        self.author.mkdir()
        git(self.author, "init", "--quiet")
        self.write("lib/böse datei.txt", "the same in all of them\n")
        self.write("gone/only in 1.0.0.txt", "will be gone\n")
        self.publish("1.0.0")
        self.clone()

    # --- the contract's -------------------------------------------------------------------------

    def publish(self, version: str, channel: str = "latest") -> None:
        if channel == "rc":
            git(self.author, "checkout", "--quiet", "--detach")
        (self.author / "package.json").write_text(json.dumps({"name": "hub", "version": version}))
        if version != "1.0.0":
            git(self.author, "rm", "--quiet", "-r", "--ignore-unmatch", "gone", "new")
            self.write(f"new/of {version}/é.txt", version * 100)
        self.commit(version)
        git(self.author, "tag", f"v{version}")
        if channel == "rc":
            git(self.author, "checkout", "--quiet", "main")

    def make_source(self) -> GitSource:
        return GitSource(str(self.hub), self.managed)

    def tree(self) -> bytes:
        """With the commit, the branch, and what git thinks of it all."""
        asked = ("rev-parse HEAD", "rev-parse --symbolic-full-name HEAD", "status --porcelain")
        told = [git(self.hub, *words.split()) for words in asked]
        return "\n".join(told).encode() + snapshot(str(self.hub), without=(".git",))

    def cut_off(self) -> None:
        self.author.rename(self.root / "out of reach")

    # --- more -----------------------------------------------------------------------------------

    def clone(self, *options: str) -> None:
        """The checkout, made anew."""
        where = self.author.as_uri() if options else str(self.author)
        git(self.root, "clone", "--quiet", *options, where, str(self.hub))

    def write(self, name: str, content: str) -> None:
        """A file of the author's."""
        path = self.author / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)

    def commit(self, message: str = "a change", *options: str) -> str:
        """All that the author has, as one commit; its name."""
        git(self.author, "add", "--all")
        git(self.author, "commit", "--quiet", "--allow-empty", "--message", message, *options)
        return self.head(self.author)

    def head(self, where: Path | None = None) -> str:
        """The commit that is checked out, in the hub's checkout or another."""
        return git(where or self.hub, "rev-parse", "HEAD")

    def installs_with(self, script: str) -> None:
        """The install command: a shell's words, run in the checkout."""
        self.managed = self.managed._replace(install_command=("sh", "-ec", script))


class Answers(http.server.BaseHTTPRequestHandler):
    """What is answered depends on the path: `/401/...`, `/500/...`, `/cut/...`, `/never/...`."""

    def do_GET(self) -> None:
        word = self.path.split("/")[1]
        if word == "never":
            self.server.over.wait()  # type: ignore[attr-defined]
        elif word == "cut":
            self.send_response(200)
            self.send_header("content-type", "application/x-git-upload-pack-advertisement")
            self.send_header("content-length", "1000")
            self.end_headers()
            self.wfile.write(b"001e# service=git-upload-pack\n0000")
        else:
            self.send_response(int(word))
            if word == "401":
                self.send_header("www-authenticate", 'Basic realm="a password"')
            self.send_header("content-length", "0")
            self.end_headers()
        self.close_connection = True

    def log_message(self, *words: Any) -> None:
        pass


def serve(test: unittest.TestCase) -> str:
    """An HTTP server on loopback that gives such answers; its address."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.daemon_threads = True
    server.over = threading.Event()  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()

    def stop() -> None:
        server.over.set()  # type: ignore[attr-defined]
        server.shutdown()
        thread.join()
        server.server_close()

    test.addCleanup(stop)
    return f"http://127.0.0.1:{server.server_address[1]}"
