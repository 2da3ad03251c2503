"""Somebody else's hub for the page to look after: a checkout whose server is a Python file."""

from __future__ import annotations

import sys

from tests.outside.sources import programs
from tests.outside.sources.place_git import GitPlace

SERVER = b"""
import http.server, json, os, pathlib, subprocess

here = pathlib.Path(__file__).resolve().parent
behaviour = (here / "behaviour.txt").read_text()
try:
    version = json.loads((here / "package.json").read_text())["version"]
except OSError:
    head = ["git", "-C", str(here), "rev-parse", "--short=12", "HEAD"]
    version = subprocess.check_output(head, text=True).strip()

class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"version": version}).encode()
        self.send_response(500 if behaviour == "sick" else 200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_words):
        pass

http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Health).serve_forever()
"""


class CheckoutPlace(GitPlace):
    """A place as Machine wants one, which needs no tool but git."""

    @property
    def program(self) -> list[str]:
        """What runs the hub; it needs `environment` and a PORT."""
        return [sys.executable, str(self.checkout / "server.py")]

    def install(self, version: str) -> None:
        """Clone it once it has a server."""
        self.commit(version, programs.GOOD)
        self._git(self.root, "clone", "--quiet", str(self.author), str(self.checkout))

    def commit(self, version: str, behaviour: str) -> str:
        """The version that a new commit bears: its own first digits, where none is given."""
        package = self.author / "package.json"
        if version:
            package.write_text(f'{{"version": "{version}"}}')
        else:
            package.unlink(missing_ok=True)
        (self.author / "behaviour.txt").write_text(behaviour)
        (self.author / "server.py").write_bytes(SERVER)
        self._git(self.author, "add", "--all")
        self._git(self.author, "commit", "--quiet", "--allow-empty", "--message", "another")
        return version or self._git(self.author, "rev-parse", "--short=12", "HEAD")
