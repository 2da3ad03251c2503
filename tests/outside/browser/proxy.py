"""A proxy that has the hub under a path of its own, as nginx or Caddy would; it streams."""

from __future__ import annotations

import http.client
import http.server
import threading

PREFIX = "/tools/hub"
CHUNK = 65536
PER_CONNECTION = frozenset({"connection", "date", "server"})


class Proxy(http.server.ThreadingHTTPServer):
    """Serves a hub at `url`, until it is closed."""

    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.port = port
        self.url = f"http://127.0.0.1:{self.server_port}{PREFIX}/"
        self._thread = threading.Thread(target=self.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join()


class Handler(http.server.BaseHTTPRequestHandler):
    """One request: its prefix taken off, the answer handed on as it comes."""

    server: Proxy

    def do_GET(self) -> None:
        if not self.path.startswith(PREFIX + "/"):
            self.send_error(404)
            return
        length = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(length) if length else None
        headers = {k: v for k, v in self.headers.items() if k.lower() not in PER_CONNECTION}
        hub = http.client.HTTPConnection("127.0.0.1", self.server.port)
        try:
            hub.request(self.command, self.path[len(PREFIX) :], body, headers)
            answer = hub.getresponse()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in PER_CONNECTION:
                    self.send_header(name, value)
            self.end_headers()
            while data := answer.read1(CHUNK):
                self.wfile.write(data)
        except OSError:
            pass  # one of the two has gone
        finally:
            hub.close()

    do_POST = do_GET  # noqa: N815 - the base class looks for this name

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as above
        pass
