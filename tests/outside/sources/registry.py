"""A registry on loopback: npm's (a document a package, tarballs) and Python's (PEP 503, PEP 691),
with the headers of the real ones, and with whatever a real one may do wrong."""

from __future__ import annotations

import base64
import gzip
import hashlib
import http.server
import io
import json
import socket
import tarfile
import threading
import time
import zipfile
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

Files = Mapping[str, bytes]
"""What is in a package, by path."""

DOWN = "down"
"""Nobody listens: connection refused."""
SILENT = "silent"
"""Takes the request and never answers."""
SLOW = "slow"
"""Answers after `slow_s`."""
BUSY = "429"
BROKEN = "500"
CUT = "cut"
"""Half of the answer, then the end of the connection."""
GARBAGE = "garbage"
"""An answer of the right length and status that is something else (a captive portal)."""
FAULTS = (DOWN, SILENT, SLOW, BUSY, BROKEN, CUT, GARBAGE)

DOCUMENTS, FILES = "documents", "files"
"""What a fault holds for."""
EXECUTABLE = ("bin/", ".sh")


class Registry:
    """Serves from construction to `close()`; what it serves may be changed at any moment.

    `fault` is one of FAULTS or None, and holds for `faulty`: DOCUMENTS, FILES, or both.
    `asked` lists the paths that were asked for.
    """

    def __init__(self) -> None:
        self.fault: str | None = None
        self.faulty: tuple[str, ...] = (DOCUMENTS, FILES)
        self.slow_s = 1.0
        self.asked: list[str] = []
        self._npm: dict[str, dict[str, Any]] = {}
        self._pip: dict[str, dict[str, dict[str, str]]] = {}
        self._files: dict[str, bytes] = {}
        self._over = threading.Event()
        self._server: _Server | None = None
        self._held = _bound(0)
        self.port: int = self._held.getsockname()[1]
        self.up()

    @property
    def npm_url(self) -> str:
        """What npm and bun are told."""
        return f"http://127.0.0.1:{self.port}/npm/"

    @property
    def pip_url(self) -> str:
        """What pip is told."""
        return f"http://127.0.0.1:{self.port}/simple/"

    def up(self) -> None:
        """Listen (again)."""
        if self._server is None:
            self._server = _Server(self, self._held)

    def down(self) -> None:
        """Refuse connections, without giving the port to anybody else."""
        if self._server is not None:
            self._server.stop()
            self._server = None
            self._held = _bound(self.port)

    def break_down(self, fault: str, *faulty: str) -> None:
        """From now on a fault, for DOCUMENTS, FILES or (none named) both."""
        if fault == DOWN:
            self.down()
        else:
            self.fault, self.faulty = fault, faulty or (DOCUMENTS, FILES)

    def mend(self) -> None:
        """No fault any more."""
        self.fault = None
        self.up()

    def close(self) -> None:
        """Stop, and let go of the port."""
        self._over.set()
        self.down()
        self._held.close()

    def publish_npm(
        self, name: str, version: str, files: Files, *tags: str, **more: Any
    ) -> None:
        """Publish, or publish anew, a package for npm and bun, and move `tags` to it.

        `more` goes into its package.json (`bin`, `dependencies`, `scripts`); a package.json
        among `files` is taken as it is.
        """
        manifest = {"name": name, "version": version, **more}
        content = {"package.json": json.dumps(manifest, indent=1).encode(), **files}
        tarball = npm_tarball(content)
        path = f"/npm/{name}/-/{name.rpartition('/')[2]}-{version}.tgz"
        self._files[path] = tarball
        document = self._npm.setdefault(name, {"name": name, "dist-tags": {}, "versions": {}})
        integrity = "sha512-" + base64.b64encode(hashlib.sha512(tarball).digest()).decode()
        shasum = hashlib.sha1(tarball).hexdigest()
        document["versions"][version] = {
            **manifest,
            "_id": f"{name}@{version}",
            "dist": {"integrity": integrity, "shasum": shasum, "tarball": self._url(path)},
        }
        for tag in tags:
            self.tag(name, tag, version)

    def tag(self, name: str, tag: str, version: str | None) -> None:
        """Move a tag of npm's, or remove it."""
        tags = self._npm[name]["dist-tags"]
        tags.pop(tag, None)
        if version is not None:
            tags[tag] = version

    def publish_pip(
        self, name: str, version: str, files: Files, hashed: bool = True, **more: str
    ) -> None:
        """Publish a wheel for pip; `more` are lines of its METADATA (`requires_dist`), or
        `console_scripts`. A `NAME.dist-info/METADATA` among `files` is taken as it is."""
        wheel = python_wheel(name, version, files, **more)
        stem = name.replace("-", "_")
        file = f"{stem}-{version}-py3-none-any.whl"
        self._files[f"/files/{file}"] = wheel
        entry = {"url": self._url(f"/files/{file}")}
        if hashed:
            entry["sha256"] = hashlib.sha256(wheel).hexdigest()
        self._pip.setdefault(name, {})[file] = entry

    def yank(self, name: str, version: str) -> None:
        """Withdraw a version from pip, as PEP 592 has it."""
        for file, entry in self._pip[name].items():
            if f"-{version}-" in file:
                entry["yanked"] = "it loses data"

    def unpublish(self, name: str, version: str) -> None:
        """As if that version had never been there."""
        if name in self._npm:
            self._npm[name]["versions"].pop(version, None)
        for file in [file for file in self._pip.get(name, {}) if f"-{version}-" in file]:
            del self._pip[name][file]

    def corrupt(self, name: str, version: str) -> None:
        """Make the file of a version another one than its hashes say, of the same length."""
        for path in self._paths(name, version):
            data = bytearray(self._files[path])
            middle = len(data) // 2
            data[middle : middle + 16] = bytes(255 - byte for byte in data[middle : middle + 16])
            self._files[path] = bytes(data)

    def integrity(self, name: str, version: str) -> str:
        """What the registry says of a version's file."""
        if name in self._npm:
            return str(self._npm[name]["versions"][version]["dist"]["integrity"])
        path = self._paths(name, version)[0]
        return "sha256=" + self._pip[name][path.rpartition("/")[2]]["sha256"]

    def document(self, path: str, accepts: str) -> tuple[str, bytes] | None:
        """The type and the bytes of what lies at a path; None for nothing."""
        if path.startswith("/npm/"):
            known = self._npm.get(path[len("/npm/") :])
            return None if known is None else ("application/json", json.dumps(known).encode())
        if path.startswith("/simple/"):
            return _simple(path.split("/")[2], self._pip, "json" in accepts)
        return None

    def file(self, path: str) -> bytes | None:
        """The bytes of a file at a path; None for no file."""
        return self._files.get(path)

    def wait(self, seconds: float | None) -> None:
        """For so long, for ever if None, but at most until the registry is mended or closed."""
        until = None if seconds is None else time.monotonic() + seconds
        fault = self.fault
        while not self._over.wait(0.02) and self.fault == fault:
            if until is not None and time.monotonic() >= until:
                return

    def _paths(self, name: str, version: str) -> list[str]:
        stem = name.replace("-", "_")
        wanted = (f"/npm/{name}/-/", f"/files/{stem}-")
        ends = (f"-{version}.tgz", f"-{version}-py3-none-any.whl")
        return [one for one in self._files if one.startswith(wanted) and one.endswith(ends)]

    def _url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, registry: Registry, bound: socket.socket) -> None:
        super().__init__(("127.0.0.1", 0), _Handler, bind_and_activate=False)
        self.registry = registry
        self.socket.close()
        self.socket = bound
        bound.listen(64)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A manager that was killed hangs up; nobody needs to read of it."""


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        registry = self.server.registry
        path = unquote(self.path.partition("?")[0])
        registry.asked.append(path)
        data = registry.file(path)
        kind = FILES if data is not None else DOCUMENTS
        found = ("application/octet-stream", data) if data is not None else registry.document(
            path, self.headers.get("accept", "")
        )
        if registry.fault is not None and kind in registry.faulty:
            self._fail(registry, found)
        elif found is None or found[1] is None:
            self._answer(404, "application/json", b'{"error":"not_found"}')
        else:
            self._answer(200, found[0], found[1])

    def _fail(self, registry: Registry, found: tuple[str, bytes | None] | None) -> None:
        type_, data = found if found is not None else ("application/json", b'{"error":"none"}')
        whole = data or b""
        if registry.fault == SILENT:
            registry.wait(None)
        elif registry.fault == SLOW:
            registry.wait(registry.slow_s)
            self._answer(200 if found else 404, type_, whole)
        elif registry.fault == CUT:
            self._answer(200, type_, whole, len(whole) // 2)
        elif registry.fault == GARBAGE:
            self._answer(200, "text/html", b"<html><body>Please sign in to this network</body>")
        else:
            status = int(registry.fault or BROKEN)
            self._answer(status, "application/json", b'{"error":"have patience"}')

    def _answer(self, status: int, type_: str, data: bytes, only: int | None = None) -> None:
        self.send_response(status)
        self.send_header("content-type", type_)
        self.send_header("content-length", str(len(data)))
        if status == 200:
            # As the public registries do: what a manager may keep, and for how long.
            self.send_header("cache-control", "public, max-age=300")
            self.send_header("etag", f'"{hashlib.sha256(data).hexdigest()[:32]}"')
        self.end_headers()
        self.wfile.write(data[:only])

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        """Nothing: `Registry.asked` tells."""


def _bound(port: int) -> socket.socket:
    """A socket that holds a port of loopback; nobody listens there yet."""
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", port))
    return held


def _simple(
    name: str, known: Mapping[str, dict[str, dict[str, str]]], as_json: bool
) -> tuple[str, bytes] | None:
    if name not in known:
        return None
    if as_json:
        files = [
            {
                "filename": file,
                "url": entry["url"],
                "hashes": {key: entry[key] for key in ("sha256",) if key in entry},
                "yanked": entry.get("yanked", False),
            }
            for file, entry in known[name].items()
        ]
        value = {"meta": {"api-version": "1.0"}, "name": name, "files": files}
        return "application/vnd.pypi.simple.v1+json", json.dumps(value).encode()
    links = "".join(
        f'<a href="{entry["url"]}'
        + (f"#sha256={entry['sha256']}" if "sha256" in entry else "")
        + f'">{file}</a>\n'
        for file, entry in known[name].items()
    )
    return "text/html", f"<!DOCTYPE html><html><body>\n{links}</body></html>".encode()


def npm_tarball(files: Files) -> bytes:
    """An npm package: everything below `package/`, the same bytes at each making."""
    made = io.BytesIO()
    with gzip.GzipFile(fileobj=made, mode="wb", mtime=0) as packed, tarfile.open(
        fileobj=packed, mode="w"
    ) as tar:
        for path, data in sorted(files.items()):
            info = tarfile.TarInfo(f"package/{path}")
            info.size = len(data)
            info.mode = 0o755 if any(mark in path for mark in EXECUTABLE) else 0o644
            tar.addfile(info, io.BytesIO(data))
    return made.getvalue()


def python_wheel(
    name: str, version: str, files: Files, console_scripts: str = "", **metadata: str
) -> bytes:
    """A pure wheel, the same bytes at each making."""
    stem = f"{name.replace('-', '_')}-{version}.dist-info"
    more = "".join(f"{key.replace('_', '-').title()}: {value}\n" for key, value in metadata.items())
    content = {
        f"{stem}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{more}"
        .encode(),
        f"{stem}/WHEEL": b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\n"
        b"Tag: py3-none-any\n",
        **files,
    }
    if console_scripts:
        entry = f"[console_scripts]\n{console_scripts}\n"
        content[f"{stem}/entry_points.txt"] = entry.encode()
    rows = "".join(f"{path},{_record(data)},{len(data)}\n" for path, data in content.items())
    content[f"{stem}/RECORD"] = f"{rows}{stem}/RECORD,,\n".encode()
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in content.items():
            archive.writestr(zipfile.ZipInfo(path, (2024, 1, 1, 0, 0, 0)), data)
    return made.getvalue()


def _record(data: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=")
    return f"sha256={digest.decode()}"
