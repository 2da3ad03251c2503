"""One client that opens a new connection every 10 ms, and never waits for the one before.

Usage: python asker.py PORT. It asks `GET /health` until standard input ends, and tells, as JSON, of
each request when it was begun (monotonic seconds), how many milliseconds it took, and the version
that answered, or null where there was none: refused, cut off, or anything but a 200.
"""

from __future__ import annotations

import http.client
import json
import sys
import threading
import time

EVERY_S = 0.01
PATIENCE_S = 30.0

told: list[tuple[float, float, str | None]] = []


def ask(port: int) -> None:
    """One request, noted."""
    began = time.monotonic()
    version = None
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    try:
        connection.request("GET", "/health", headers={"Connection": "close"})
        answer = connection.getresponse()
        body = json.loads(answer.read())
        version = str(body["version"]) if answer.status == 200 else None
    except (OSError, http.client.HTTPException, ValueError, KeyError):
        pass
    finally:
        connection.close()
    told.append((began, 1000 * (time.monotonic() - began), version))


def main() -> None:
    port = int(sys.argv[1])
    heard = threading.Thread(target=sys.stdin.read, daemon=True)
    heard.start()
    print("asking", flush=True)
    due, threads = time.monotonic(), []
    while heard.is_alive():
        threads.append(threading.Thread(target=ask, args=(port,), daemon=True))
        threads[-1].start()
        due += EVERY_S
        time.sleep(max(0.0, due - time.monotonic()))
    for thread in threads:
        thread.join(PATIENCE_S)
    json.dump(sorted(told), sys.stdout)


if __name__ == "__main__":
    main()
