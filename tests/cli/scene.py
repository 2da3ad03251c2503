"""A home whose hub is a small real HTTP server, driven by the test."""

from __future__ import annotations

import contextlib
import io
import json
import os
import tempfile
import threading
import unittest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Callable

from hub_upgrade.host import boot_store, files, processes
from hub_upgrade.host.files import Home, Lock

Reply = Callable[[], "tuple[int, Any]"]


class FakeHub:
    """Answers each path with what the test put there; `asked` is what was asked, with tokens."""

    def __init__(self, instance: str = "an-instance") -> None:
        self.instance = instance
        self.replies: dict[str, Reply] = {}
        self.asked: list[tuple[str, str, str, Any]] = []
        self.drop_next = 0
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                token = self.headers.get("authorization", "").partition(" ")[2]
                value = json.loads(body) if body else None
                hub.asked.append((self.command, self.path, token, value))
                if self.path != "/health" and hub.drop_next > 0:
                    hub.drop_next -= 1
                    self.close_connection = True
                    return
                status, answer = hub.reply(self.path)
                data = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = _answer  # noqa: N815 - the base class's names
            do_POST = _answer  # noqa: N815

            def log_message(self, *_arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        self._thread.start()

    def reply(self, path: str) -> tuple[int, Any]:
        if path == "/health":
            return 200, {"status": "ok", "service": "parachute-hub", "version": "1.0.0",
                         "instance": self.instance}  # fmt: skip
        reply = self.replies.get(path.partition("?")[0])
        return reply() if reply else (404, {"error": "not_found", "error_description": path})

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class CliCase(unittest.TestCase):
    """A test with a home of its own, and what a command printed and returned."""

    def setUp(self) -> None:
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.scratch = scratch.name
        self.home = Home(os.path.join(scratch.name, "home"))
        os.mkdir(self.home.root, 0o700)

    def serve(self, **more: Any) -> FakeHub:
        """A hub of this process, with `serve.lock` held and `serve.json` written."""
        hub = FakeHub()
        self.addCleanup(hub.close)
        lock = Lock.try_take(self.home.serve_lock)
        assert lock is not None
        self.lock = lock
        self.addCleanup(lock.release)
        self.say(hub, **more)
        return hub

    def say(self, hub: FakeHub, **more: Any) -> None:
        value = {
            "format": 1,
            "pid": os.getpid(),
            "start_time": processes.start_time(os.getpid()),
            "address": f"http://127.0.0.1:{hub.port}",
            "instance": "an-instance",
            "releases": None,
            "proving": False,
            **more,
        }
        boot_store.write_serve(self.home, value)

    def run_command(self, main: Callable[[list[str]], int], *argv: str) -> tuple[int, str, str]:
        """Exit code, stdout and stderr of a command on this home."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                code = main([*argv, "--config-dir", self.home.root])
            except SystemExit as end:
                code = int(end.code or 0)
        return code, out.getvalue(), err.getvalue()

    def tokens(self) -> list[Any]:
        raw = files.read_json(self.home.tokens) or {"tokens": []}
        return list(raw["tokens"])
