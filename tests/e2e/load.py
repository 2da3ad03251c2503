"""Clients that ask without a pause until standard input ends, then tell how it went, as JSON.

Usage: python load.py PORT CLIENTS. Every second client makes a new connection for each request.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time

TIMEOUT_S = 30.0
REQUEST = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
LAST = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


class Client(threading.Thread):
    """One client; `failures` are sentences."""

    def __init__(self, port: int, keep_alive: bool, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.port, self.keep_alive, self.stop = port, keep_alive, stop
        self.requests, self.longest_s = 0, 0.0
        self.failures: list[str] = []
        self.seen: set[str] = set()

    def run(self) -> None:
        connection = None
        while not self.stop.is_set():
            began = time.monotonic()
            try:
                if connection is None:
                    connection = socket.create_connection(("127.0.0.1", self.port), TIMEOUT_S)
                connection.sendall(REQUEST if self.keep_alive else LAST)
                self.seen.add(str(read_answer(connection)["version"]))
            except (OSError, ValueError, KeyError) as error:
                kind = "kept alive" if self.keep_alive else "new"
                self.failures.append(f"{kind}: {type(error).__name__}: {error}")
                connection = None
            self.requests += 1
            self.longest_s = max(self.longest_s, time.monotonic() - began)
            if not self.keep_alive and connection is not None:
                connection.close()
                connection = None


def read_answer(connection: socket.socket) -> dict[str, object]:
    """One whole answer's JSON; raises ValueError for anything but a 200."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            raise ValueError(f"closed after {len(data)} bytes of an answer")
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise ValueError(head.split(b"\r\n")[0].decode("ascii", "replace"))
    length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
    while len(body) < length:
        piece = connection.recv(65536)
        if not piece:
            raise ValueError("closed in the middle of an answer's body")
        body += piece
    value = json.loads(body)
    return dict(value)


def main() -> None:
    port, count = int(sys.argv[1]), int(sys.argv[2])
    stop = threading.Event()
    clients = [Client(port, number % 2 == 0, stop) for number in range(count)]
    for client in clients:
        client.start()
    print("asking", flush=True)
    sys.stdin.read()
    stop.set()
    for client in clients:
        client.join(TIMEOUT_S + 5)
    json.dump(
        {
            "requests": sum(client.requests for client in clients),
            "failures": [failure for client in clients for failure in client.failures][:20],
            "longest_ms": round(1000 * max(client.longest_s for client in clients)),
            "hanging": sum(client.is_alive() for client in clients),
            "versions": sorted(set().union(*(client.seen for client in clients))),
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main()
