"""Requests a second and latency of keep-alive connections, against `http.server` with threads.

    python bench/throughput.py                       the web core with an app of two routes
    python bench/throughput.py --url URL --token T   a hub that runs (`hub.pyz serve`)

Servers and load are processes of their own; rounds alternate (A B A B), and what counts is the
ratio of the medians, because a machine's speed wanders and a ratio of neighbours does not. The
other side is ThreadingHTTPServer, writing each answer at once (`wbufsize = -1`), with the same
bytes to send, no token to check and no table of routes to look into.
"""

from __future__ import annotations

import argparse
import http.client
import http.server
import json
import os
import select
import socket
import statistics
import subprocess
import sys
import time
from typing import Any, NamedTuple
from urllib.parse import urlsplit

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
HEALTH, STATUS = "/health", "/api/hub/upgrade/status"
TARGETS = {HEALTH: {1: 1.1, 8: 3.5, 64: 3.5}, STATUS: {1: 1.0, 8: 2.5, 64: 2.5}}
TOKEN = "hub_for_this_measurement_only"
BODIES = {
    HEALTH: {"status": "ok", "service": "parachute-hub", "version": "0.1.0", "release": "a" * 64,
             "instance": "00000000-0000-4000-8000-000000000000"},
    STATUS: {"operation_id": "00000000-0000-4000-8000-000000000000", "phase": "succeeded",
             "mode": "in-place", "current_version": "0.1.0", "target_version": "0.2.0",
             "channel": "latest", "log": ["a line of the log, as long as they are"] * 8},
}  # fmt: skip


class Load(NamedTuple):
    """What one round measured."""

    per_second: float
    median_us: float


# --- the load: as little work as possible, so that it is never the bottleneck ---------------------


def exchange(sock: socket.socket, request: bytes) -> int:
    """One request and its whole answer, which must be 200; returns the answer's length."""
    sock.sendall(request)
    answer = b""
    while True:
        piece = sock.recv(65536)
        if not piece:
            raise SystemExit(f"connection closed after {answer[:200]!r}")
        answer += piece
        length = whole_length(answer)
        if length and len(answer) >= length:
            if not answer.split(b" ", 2)[1] == b"200":
                raise SystemExit(f"not a 200: {answer[:300]!r}")
            return length


def whole_length(answer: bytes) -> int:
    """The length of an answer, once its head has come; else 0."""
    head, blank, _ = answer.partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    lengths = [int(line[15:]) for line in lines if line.startswith(b"content-length:")]
    return len(head) + 4 + lengths[0] if blank and lengths else 0


def drive(host: str, port: int, request: bytes, connections: int, seconds: float) -> Load:
    """Keep one request in flight on each connection for so long."""
    socks = [socket.create_connection((host, port)) for _ in range(connections)]
    poll = select.epoll()
    by_fd: dict[int, Any] = {}
    for sock in socks:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        length = exchange(sock, request)
        poll.register(sock.fileno(), select.EPOLLIN)
        by_fd[sock.fileno()] = [sock.recv, sock.send, b"", 0.0]
    latencies: list[float] = []
    clock = time.perf_counter
    began = clock()
    end = began + seconds
    for state in by_fd.values():
        state[3] = clock()
        state[1](request)
    now = began
    while now < end:
        for fd, _events in poll.poll():
            state = by_fd[fd]
            answer = state[0](65536)
            if len(answer) != length or state[2]:
                if not answer:
                    raise SystemExit("the server closed a connection")
                state[2] = answer = state[2] + answer
                wanted = whole_length(answer)
                if not wanted or len(answer) < wanted:
                    continue
                state[2] = b""
            now = clock()
            latencies.append(now - state[3])
            state[3] = now
            state[1](request)
    return Load(len(latencies) / (now - began), statistics.median(latencies) * 1e6)


def client_main() -> None:
    """A process of load: its orders come on standard input, for a token is in them."""
    order = json.loads(sys.stdin.read())
    request = f"GET {order['path']} HTTP/1.1\r\nHost: {order['host']}\r\n"
    if order["token"]:
        request += f"Authorization: Bearer {order['token']}\r\n"
    load = drive(
        order["host"],
        order["port"],
        request.encode("ascii") + b"\r\n",
        order["connections"],
        order["seconds"],
    )
    print(json.dumps(load))


def measure(order: dict[str, Any]) -> Load:
    """One round of load in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-E", os.path.abspath(__file__), "client"],
        input=json.dumps(order),
        capture_output=True,
        text=True,
        timeout=order["seconds"] + 60,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"the load failed: {done.stderr.strip() or done.stdout.strip()}")
    return Load(*json.loads(done.stdout))


# --- the servers ----------------------------------------------------------------------------------


class Plain(http.server.BaseHTTPRequestHandler):
    """What there is to beat."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    answers = {path: json.dumps(body).encode("ascii") for path, body in BODIES.items()}

    def do_GET(self) -> None:
        body = self.answers[self.path]
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, *_arguments: object) -> None:
        pass


class Threads(http.server.ThreadingHTTPServer):
    """One thread a connection; a client that leaves is no news."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


def threads_main() -> None:
    """The other side."""
    Plain.answers = {**Plain.answers, **json.loads(sys.stdin.readline() or "{}")}
    Plain.answers = {
        path: body.encode("latin-1") if isinstance(body, str) else body
        for path, body in Plain.answers.items()
    }
    server = Threads(("127.0.0.1", 0), Plain)
    print(server.server_address[1], flush=True)
    server.serve_forever()


def core_main() -> None:
    """The web core alone, with the smallest app that checks a token."""
    sys.path.insert(0, ROOT)
    from hashlib import sha256  # noqa: PLC0415

    from hub_upgrade.host.loop import Loop  # noqa: PLC0415
    from hub_upgrade.web.connections import Connections  # noqa: PLC0415
    from hub_upgrade.web.hosts import Hosts  # noqa: PLC0415
    from hub_upgrade.web.messages import Principal, Request, Response  # noqa: PLC0415
    from hub_upgrade.web.routes import Route, Table, dispatch  # noqa: PLC0415

    known = {sha256(TOKEN.encode()).hexdigest(): Principal("bench", frozenset({"hub:read"}))}
    bodies = {path: json.dumps(body).encode("ascii") for path, body in BODIES.items()}

    def authenticate(value: str | None) -> Principal | None:
        scheme, _, token = (value or "").partition(" ")
        return known.get(sha256(token.encode()).hexdigest()) if scheme else None

    def answer(request: Request, _app: object) -> Response:
        return Response(200, bodies[request.path])

    table = Table(
        [
            Route("GET", HEALTH, None, answer, any_host=True),
            Route("GET", STATUS, "hub:read", answer),
        ],
        authenticate,
        Hosts([]),
    )
    sys.stdin.readline()
    loop = Loop()
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    Connections(loop, listener, lambda request: dispatch(table, request, None)).start()
    print(listener.getsockname()[1], flush=True)
    loop.run()


class Server:
    """A server in a process of its own, on a port that it chose."""

    def __init__(self, role: str, bodies: dict[str, str]) -> None:
        argv = [sys.executable, "-E", os.path.abspath(__file__), role]
        self.process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(bodies) + "\n")
        self.process.stdin.flush()
        self.port = int(self.process.stdout.readline())

    def stop(self) -> None:
        """End it."""
        self.process.kill()
        self.process.communicate()


def bodies_of(host: str, port: int, token: str) -> dict[str, str]:
    """What the hub answers: the other side sends the very same bytes."""
    bodies = {}
    for path in TARGETS:
        connection = http.client.HTTPConnection(host, port, timeout=10)
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        if answer.status != 200:
            raise SystemExit(
                f"GET {path} answered {answer.status}; is there a record, and a token?"
            )
        bodies[path] = answer.read().decode("latin-1")
        connection.close()
    return bodies


# --- the table ------------------------------------------------------------------------------------


def compare(hub: tuple[str, int, str], other: int, rounds: int, seconds: float) -> list[list[str]]:
    """All rounds; one line of the table for each path and number of connections."""
    host, port, token = hub
    table = []
    for path, targets in TARGETS.items():
        for connections, target in targets.items():
            base = {"path": path, "connections": connections, "seconds": seconds}
            ours, theirs = [], []
            for _ in range(rounds):
                ours.append(measure({**base, "host": host, "port": port, "token": token}))
                theirs.append(measure({**base, "host": "127.0.0.1", "port": other, "token": ""}))
            table.append(line(path, connections, target, ours, theirs))
            print("\t".join(table[-1]), file=sys.stderr, flush=True)
    return table


def line(
    path: str, connections: int, target: float, ours: list[Load], theirs: list[Load]
) -> list[str]:
    """The medians of the rounds."""
    our_rate, their_rate = (statistics.median(x.per_second for x in y) for y in (ours, theirs))
    our_wait, their_wait = (statistics.median(x.median_us for x in y) for y in (ours, theirs))
    ratio = our_rate / their_rate
    return [
        path,
        str(connections),
        f"{our_rate:,.0f}",
        f"{their_rate:,.0f}",
        f"{ratio:.2f}",
        f"{target:g}",
        "yes" if ratio >= target else "NO",
        f"{our_wait:.0f}",
        f"{their_wait:.0f}",
    ]


HEADER = [
    "route", "connections", "hub, requests/s", "threads, requests/s", "ratio", "target", "met",
    "hub, median µs", "threads, median µs",
]  # fmt: skip


def main() -> int:
    """Measure, and print the table in Markdown; 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--url", help="a hub that runs, such as http://127.0.0.1:1939")
    parser.add_argument("--token", default=TOKEN, help="one of its tokens, with hub:read")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.5, help="of load in each round")
    arguments = parser.parse_args()
    servers = []
    try:
        if arguments.url:
            parts = urlsplit(arguments.url)
            host, port = parts.hostname or "127.0.0.1", parts.port or 80
            bodies = bodies_of(host, port, arguments.token)
        else:
            servers.append(Server("core", {}))
            host, port, bodies = "127.0.0.1", servers[0].port, {}
        servers.append(Server("threads", bodies))
        hub = (host, port, arguments.token)
        table = compare(hub, servers[-1].port, arguments.rounds, arguments.seconds)
    finally:
        for server in servers:
            server.stop()
    for cells in (HEADER, ["---"] * len(HEADER), *table):
        print("| " + " | ".join(cells) + " |")
    return int(any("NO" in cells for cells in table))


if __name__ == "__main__":
    ROLES = {"client": client_main, "threads": threads_main, "core": core_main}
    role = ROLES.get(sys.argv[1]) if len(sys.argv) > 1 else None
    sys.exit(main() if role is None else role())
