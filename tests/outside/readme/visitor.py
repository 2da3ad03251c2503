"""Somebody who asks the hub over HTTP in a network of its own, also through a machine's proxies."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import ssl
from collections.abc import Iterator
from typing import Any, NamedTuple

from tests.e2e.harness import FINISHED, WAIT_S, wait_for
from tests.outside.readme.machine import network_of

LINK = re.compile(r"(https?://[^/\s]+)(/\S*)?/#code=(\S+)")


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        return dict(json.loads(self.body))


class Inside(http.client.HTTPConnection):
    """A connection to 127.0.0.1 where that process is, whatever name it is asked for by."""

    def __init__(self, process: int, host: str, port: int, trusts: str) -> None:
        super().__init__(host, port, timeout=WAIT_S)
        self.default_port = 443 if trusts else 80
        self._process = process
        self._trusts = trusts

    def connect(self) -> None:
        with network_of(self._process):
            self.sock = socket.create_connection(("127.0.0.1", self.port), WAIT_S)
        if self._trusts:
            context = ssl.create_default_context(cadata=self._trusts)
            self.sock = context.wrap_socket(self.sock, server_hostname=self.host)


class Visitor:
    """Asks by one name, at one port, below one path; `trusts` is a certificate (PEM) for TLS, and
    `process` one in whose network that is."""

    def __init__(
        self, process: int, host: str = "127.0.0.1", port: int = 1939, path: str = "",
        trusts: str = "",
    ) -> None:  # fmt: skip
        self.process = process
        self.host = host
        self.port = port
        self.path = path
        self.trusts = trusts
        self.token = ""

    @contextlib.contextmanager
    def answering(
        self, method: str, path: str, body: Any = None
    ) -> Iterator[http.client.HTTPResponse]:
        """An answer whose body is still coming."""
        connection = Inside(self.process, self.host, self.port, self.trusts)
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        try:
            text = None if body is None else json.dumps(body)
            connection.request(method, self.path + path, text, headers)
            yield connection.getresponse()
        finally:
            connection.close()

    def ask(self, path: str, method: str = "GET", body: Any = None) -> Answer:
        with self.answering(method, path, body) as answer:
            headers = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, headers, answer.read())

    def version(self) -> str:
        """What runs; "" where nothing answers."""
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
            return str(self.ask("/health").json().get("version"))
        return ""

    def signs_in(self, link: str) -> None:
        """By a link as it was printed: it must lead here, and is good once."""
        found = LINK.search(link)
        if found is None:
            raise AssertionError(f"no sign-in link in: {link}")
        origin, path, secret = found.groups()
        scheme = "https" if self.trusts else "http"
        port = "" if self.port in (80, 443) else f":{self.port}"
        expected = (f"{scheme}://{self.host}{port}", self.path)
        if (origin, path or "") != expected:
            raise AssertionError(f"the link {link} leads not to {expected}")
        answer = self.ask("/api/session", "POST", {"code": secret})
        again = self.ask("/api/session", "POST", {"code": secret})
        if (answer.status, again.status) != (200, 401):
            raise AssertionError(f"signing in: {answer}, again: {again}")
        self.token = str(answer.json()["token"])

    def post(self, path: str) -> str:
        """An operation that is accepted; its id."""
        answer = self.ask(path, "POST")
        if answer.status != 202:
            raise AssertionError(f"POST {path}: {answer}")
        return str(answer.json()["operation_id"])

    def finished(self, operation: str) -> dict[str, Any]:
        """The record of that operation at its end."""

        def look() -> dict[str, Any] | None:
            answer = self.ask("/api/hub/upgrade/status")
            record = answer.json() if answer.status == 200 else {}
            ours = record.get("operation_id") == operation and record["phase"] in FINISHED
            return record if ours else None

        return dict(wait_for(look, f"the end of {operation}"))


def events(stream: http.client.HTTPResponse) -> Iterator[dict[str, Any]]:
    """The events of an open stream, each as soon as it is whole."""
    for line in iter(stream.readline, b""):
        if line.startswith(b"data: "):
            yield json.loads(line[6:])
