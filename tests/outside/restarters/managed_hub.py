"""Somebody else's hub, in Python, and the unit that keeps it alive. `GET /health` tells the version
that its checkout had when it was started; every start leaves a line with the unit's invocation."""

from __future__ import annotations

from typing import Any

GOOD = "good"
DYING = "dying"
"""Prints two lines and ends with 3, at once."""
LAST_WORDS = "this hub cannot go on"
LATE = "late"
"""Serves, and never tells systemd that it is ready."""
SLOW = "slow"
"""Takes its time until it listens, and is ready."""
SICK = "sick"
"""Serves, and its health answers 500."""
LEAVING = "leaving"
"""Serves for a moment, says that it stops, and ends with 0."""
ONCE = "once"
"""Serves for a moment, and ends with 3; the second time it stays."""

ENDLESS: dict[str, Any] = {"Restart": "always", "RestartSec": "50ms", "StartLimitIntervalSec": "0"}
"""A unit's settings: it is started again however often it ends."""
UNIT = "parachute-hub.service"
PORT = 4000

SERVER = '''"""A test's hub."""
import http.server, json, os, pathlib, signal, socket, subprocess, sys, threading, time

here = pathlib.Path(__file__).resolve().parent
home = os.environ["PARACHUTE_HOME"]
behaviour = (here / "behaviour.txt").read_text()
version = json.loads((here / "package.json").read_text())["version"]
with open(os.environ["STARTS"], "a") as starts:
    starts.write(f"{version} {os.environ.get('INVOCATION_ID', '-')} {os.getpid()}\\n")


def stop(*_):
    time.sleep(float(os.environ.get("STOP_S", "0")))
    os._exit(int(os.environ.get("STOP_STATUS", "0")))


signal.signal(signal.SIGTERM, stop)
if behaviour == "dying":
    print("the database is of a newer version\\nthis hub cannot go on", flush=True)
    time.sleep(0.5)  # a user's journal looks up whose words these are while it lives
    sys.exit(3)


class Hub(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(500 if behaviour == "sick" else 200, {"status": "ok", "version": version})

    def do_POST(self):
        """Upgrade itself, as such programs do: a status file of its own, and a helper."""
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        status = os.path.join(home, "hub-upgrade-status.json")
        now = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
        record = {
            "operation_id": asked["op"], "phase": "pending", "mode": "in-place",
            "current_version": version, "target_version": None, "channel": "latest", "log": [],
            "started_at": now,
        }
        with open(status + ".new", "w") as file:
            json.dump(record, file)
        os.replace(status + ".new", status)
        words = ["helper", "--op", asked["op"], "--channel", "latest", "--config-dir", home]
        environ = {**os.environ, **asked.get("environ", {})}
        with open(os.path.join(home, "helper.out"), "ab") as out:
            helper = subprocess.Popen(
                [sys.executable, os.environ["HUB_PYZ"], *words, "--hub-pid", str(os.getpid())],
                env=environ, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                start_new_session=True,
            )
        threading.Thread(target=helper.wait, daemon=True).start()
        self.answer(202, {"helper": helper.pid})

    def answer(self, status, told):
        body = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_words):
        pass


time.sleep(4 if behaviour == "slow" else 0)
http.server.ThreadingHTTPServer.allow_reuse_address = True
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Hub)
print("serving " + version, flush=True)
if os.environ.get("NOTIFY_SOCKET") and behaviour != "late":
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.connect(os.environ["NOTIFY_SOCKET"].replace("@", "\\0", 1))
        manager.send(b"READY=1")
        if behaviour == "leaving":
            threading.Timer(0.7, lambda: (manager.send(b"STOPPING=1"), os._exit(0))).start()
            server.serve_forever()
if behaviour == "once" and not os.path.exists(os.path.join(home, "once")):
    pathlib.Path(home, "once").touch()
    threading.Timer(4, os._exit, [3]).start()
server.serve_forever()
'''


def files(version: str, behaviour: str) -> dict[str, str]:
    """What a version of it consists of."""
    return {
        "package.json": f'{{"name": "hub", "version": "{version}"}}\n',
        "behaviour.txt": behaviour,
        "server.py": SERVER,
    }


def unit(checkout: str, environment: dict[str, str], user: str, settings: dict[str, str]) -> str:
    """Its unit's file; `settings` are added to [Service], or replace what is said there."""
    service = {
        "ExecStart": f"/usr/bin/python3 {checkout}/server.py",
        "Type": "notify",
        "Restart": "no",
        "TimeoutStopSec": "20",
        **({"User": user} if user else {}),
        **settings,
    }
    limits = {name: service.pop(name) for name in list(service) if name.startswith("StartLimit")}
    lines = [f"Environment={name}={value}" for name, value in environment.items()]
    return "\n".join(
        [
            "[Unit]", "Description=A hub of somebody else's",
            *(f"{name}={value}" for name, value in limits.items()),
            "[Service]", *(f"{name}={value}" for name, value in service.items()), *lines,
            "[Install]", "WantedBy=default.target", "",
        ]
    )  # fmt: skip
