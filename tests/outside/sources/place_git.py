"""A hub that is a linked checkout, with the interface of places.py: cloned by the real git, run by
bun, its remote on this machine."""

from __future__ import annotations

import http.server
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path

from hub_upgrade.domain.managed import Managed
from hub_upgrade.sources.git import GitSource
from tests.outside.sources import programs, registry
from tests.outside.sources.places import BUN_TOOL
from tests.outside.sources.scene_git import CONFIG, Answers
from tests.outside.sources.snapshot import snapshot

SLOW = "sh -c 'sleep 1; exec git-upload-pack \"$@\"' --"
ANSWERS = {registry.BUSY: "429", registry.BROKEN: "500", registry.CUT: "cut"}


class GitPlace:
    """`author` is the remote, `checkout` what the hub is run from."""

    manager = "git"
    package = ""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root).resolve()
        self.home = self.root / "home"
        self.author = self.root / "author"
        self.checkout = self.root / "linked checkout"
        self.home.mkdir(parents=True)
        (self.home / ".gitconfig").write_text(CONFIG)
        self._server: http.server.ThreadingHTTPServer | None = None
        self.author.mkdir()
        self._git(self.author, "init", "--quiet")

    @property
    def environment(self) -> dict[str, str]:
        """What git, a helper and the hub's upgrade service find."""
        paths = [str(BUN_TOOL.parent), *(os.path.dirname(shutil.which("git") or ""),)]
        return {
            "PATH": ":".join(dict.fromkeys([*paths, "/usr/local/bin", "/usr/bin", "/bin"])),
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "GIT_CONFIG_NOSYSTEM": "1",
        }

    @property
    def program(self) -> list[str]:
        """What runs the hub; it needs `environment` and a PORT."""
        return [str(BUN_TOOL), str(self.checkout / "hub.js")]

    def publish(
        self,
        version: str,
        channel: str = "latest",
        behaviour: str = programs.GOOD,
        files: Mapping[str, bytes] | None = None,
    ) -> None:
        """A commit on the branch, or for `rc` a tag beside it; every version is tagged."""
        if channel == "rc":
            self._git(self.author, "checkout", "--quiet", "--detach")
        content = {
            "package.json": json.dumps({"name": "hub", "version": version}).encode(),
            "hub.js": programs.JAVASCRIPT,
            "behaviour.txt": behaviour.encode(),
            "node_modules/test-leaf/index.js": b"",
            **(files or {}),
        }
        for name, data in content.items():
            path = self.author / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        self._git(self.author, "add", "--all", "--force")
        self._git(self.author, "commit", "--quiet", "--message", version)
        self._git(self.author, "tag", f"v{version}")
        if channel == "rc":
            self._git(self.author, "checkout", "--quiet", "main")

    def install(self, version: str) -> None:
        """Clone it, or go to that version, as an operator would."""
        if not self.checkout.exists():
            self._git(self.root, "clone", "--quiet", str(self.author), str(self.checkout))
        self._git(self.checkout, "reset", "--quiet", "--hard", f"v{version}")

    def installed(self) -> str:
        """The version that lies there."""
        return str(json.loads((self.checkout / "package.json").read_bytes())["version"])

    def make_source(self) -> GitSource:
        """A new source for this installation; needs `environment`."""
        return GitSource(str(self.checkout), Managed())

    def tree(self) -> bytes:
        """All that is installed, with the commit and the branch."""
        words = ("rev-parse HEAD", "symbolic-ref HEAD", "status --porcelain")
        told = [self._git(self.checkout, *word.split()) for word in words]
        return "\n".join(told).encode() + snapshot(str(self.checkout), without=(".git",))

    def break_down(self, fault: str) -> None:
        """The remote does this from now on."""
        if fault == registry.SLOW:
            self._git(self.checkout, "config", "remote.origin.uploadpack", SLOW)
        elif fault == registry.DOWN:
            self.cut_off()
        else:
            url = f"http://127.0.0.1:{self._port()}/{ANSWERS[fault]}/hub.git"
            self._git(self.checkout, "remote", "set-url", "origin", url)

    def mend(self) -> None:
        """The remote is well again."""
        gone = self.root / "out of reach"
        if gone.exists():
            gone.rename(self.author)
        self._git(self.checkout, "remote", "set-url", "origin", str(self.author))
        self._git(self.checkout, "config", "remote.origin.uploadpack", "git-upload-pack")

    def cut_off(self) -> None:
        """The remote is gone."""
        self.author.rename(self.root / "out of reach")

    def close(self) -> None:
        """Stop what answers in the remote's place."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def _port(self) -> int:
        if self._server is None:
            self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
            threading.Thread(target=self._server.serve_forever, args=(0.01,)).start()
        return int(self._server.server_address[1])

    def _git(self, directory: Path, *words: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(directory), *words], env=self.environment, capture_output=True,
            text=True, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        if done.returncode:
            raise AssertionError(f"{words}: {done.stderr}")
        return done.stdout.strip()
