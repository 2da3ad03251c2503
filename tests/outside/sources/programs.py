"""A small hub of somebody else's, in JavaScript and in Python: `GET /health` on 127.0.0.1:$PORT
tells the version that its own package had when it was started."""

from __future__ import annotations

GOOD = "good"
SICK = "sick"
"""Serves, and its health answers 500."""
DYING = "dying"
"""Prints two lines and ends with 3."""
LYING = "lying"
"""Serves, and tells version 0.0.1."""
SILENT = "silent"
"""Runs, and never listens."""
BEHAVIOURS = (GOOD, SICK, DYING, LYING, SILENT)

JAVASCRIPT = b"""#!/usr/bin/env node
const fs = require("fs"), http = require("http"), path = require("path");
const here = fs.realpathSync(__dirname);
const behaviour = fs.readFileSync(path.join(here, "behaviour.txt"), "utf8");
let { version } = JSON.parse(fs.readFileSync(path.join(here, "package.json"), "utf8"));
require("test-leaf");
process.on("SIGTERM", () => process.exit(0));
if (behaviour === "dying") {
  console.error("the database is of a newer version\\nthis hub cannot go on");
  process.exit(3);
}
if (behaviour === "lying") version = "0.0.1";
if (behaviour === "silent") setInterval(() => {}, 1000);
else http.createServer((request, response) => {
  response.writeHead(behaviour === "sick" ? 500 : 200, { "content-type": "application/json" });
  response.end(JSON.stringify({ status: "ok", service: "test-hub", version, pid: process.pid }));
}).listen(Number(process.env.PORT), "127.0.0.1", () => console.log("serving " + version));
"""

PYTHON = b'''"""A test's hub."""
import http.server, importlib.metadata, json, os, pathlib, signal, sys, time
import test_leaf

class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        told = {"status": "ok", "service": "test-hub", "version": version, "pid": os.getpid()}
        body = json.dumps(told).encode()
        self.send_response(500 if behaviour == "sick" else 200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_words):
        pass

version = importlib.metadata.version("parachute-test-hub")
behaviour = (pathlib.Path(__file__).parent / "behaviour.txt").read_text()
if behaviour == "lying":
    version = "0.0.1"

def main():
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    if behaviour == "dying":
        print("the database is of a newer version\\nthis hub cannot go on", file=sys.stderr)
        sys.exit(3)
    if behaviour == "silent":
        time.sleep(3600)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Health)
    print("serving " + version, flush=True)
    server.serve_forever()
'''
