"""The helper in the place of another program's: a hub that writes the status file itself, in its
own words, and starts `hub.pyz helper` beside it."""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

from tests.e2e.harness import FINISHED, wait_for
from tests.outside.sources import programs
from tests.outside.sources.machine import Machine, MachineCase, Runtime
from tests.outside.sources.places import BunPlace

PHASES = ("pending", "running", "restarting", *FINISHED)
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
UPGRADE = b"""http.createServer((request, response) => {
  if (request.method === "POST") return upgrade(request, response, version);
"""
HELPER = b"""
// POST / {"op", "channel", "record", "hubPid"}: its own status file, and the helper, as ever.
function upgrade(request, response, version) {
  let text = "";
  request.on("data", (part) => { text += part; });
  request.on("end", () => {
    const asked = JSON.parse(text), home = process.env.PARACHUTE_HOME;
    const status = path.join(home, "hub-upgrade-status.json");
    fs.writeFileSync(status + ".new", JSON.stringify({
      operation_id: asked.op, phase: "pending", mode: "in-place", current_version: version,
      target_version: null, channel: asked.channel, log: ["accepted"],
      started_at: new Date().toISOString(), ...asked.record,
    }), { mode: 0o600 });
    fs.renameSync(status + ".new", status);
    const pid = asked.hubPid === undefined ? process.pid : asked.hubPid;
    const words = ["helper", "--op", asked.op, "--channel", asked.channel, "--config-dir", home];
    if (pid) words.push("--hub-pid", String(pid));
    const helper = require("child_process").spawn(
      process.env.PYTHON, [process.env.HUB_PYZ, ...words], { detached: true, stdio: "ignore" });
    helper.unref();
    response.writeHead(202);
    response.end(JSON.stringify({ pid: helper.pid }));
  });
}
"""
OTHER = {
    "hub.js": programs.JAVASCRIPT.replace(b"http.createServer((request, response) => {\n", UPGRADE)
    + HELPER
}
"""The files in which the other program differs from the small hub of `programs`."""


def ask_at(port: int, **asked: Any) -> str:
    """Have the hub there upgrade itself; the operation. `asked`: op, channel, record, hubPid."""
    body = {"op": str(uuid.uuid4()), "channel": "latest", **asked}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("POST", "/", json.dumps(body))
        answer = connection.getresponse()
        if answer.status != 202:
            raise AssertionError(answer.status)
        answer.read()
    finally:
        connection.close()
    return str(body["op"])


class AloneMachine(Machine):
    """A machine whose hub does not know of `hub.pyz` but as the helper that it starts."""

    def run(self) -> None:
        told = {"PORT": str(self.port), "PYTHON": sys.executable, "HUB_PYZ": self.program}
        env = {**self.environment, **told}
        self.runtime = Runtime(self.place.program, env, self.directory / "hub.log")

    def publish(self, version: str, behaviour: str = programs.GOOD) -> None:
        """Another version of the other program."""
        self.place.publish(version, behaviour=behaviour, files=OTHER)

    def start(self, version: str = "1.0.0") -> Machine:
        self.publish(version)
        self.place.install(version)
        self.run()
        wait_for(lambda: self.runs() == version, f"{version}: {self.log()}")
        return self

    def pid(self) -> int:
        """The hub's process."""
        assert self.runtime is not None
        return self.runtime.pid

    def starts(self) -> int:
        """How often the hub was started."""
        assert self.runtime is not None
        return self.runtime.starts

    def ask(self, **asked: Any) -> str:
        """Have the hub upgrade itself; the operation."""
        return ask_at(self.port, **asked)

    def write(self, **fields: Any) -> str:
        """A status file as the other program writes one; the operation."""
        fields = {
            "operation_id": str(uuid.uuid4()), "phase": "pending", "mode": "in-place",
            "current_version": self.runs() or "1.0.0", "target_version": None, "channel": "latest",
            "log": [], "started_at": "2026-01-02T03:04:05.678Z", **fields,
        }  # fmt: skip
        self.write_raw({name: value for name, value in fields.items() if value is not ...})
        return str(fields["operation_id"])

    def write_raw(self, value: Any) -> None:
        """Whatever lies there, as the status file."""
        path = self.home / "hub-upgrade-status.json"
        path.write_text(json.dumps(value))
        path.chmod(0o600)

    def helper(
        self, op: str, *argv: str, under: tuple[str, ...] = (), channel: str = "latest"
    ) -> subprocess.CompletedProcess[str]:
        """The helper as the other program starts it, to its end."""
        words = ("helper", "--op", op, "--channel", channel, "--config-dir", str(self.home))
        return self.command(*words, *argv, under=under)

    def ended(self, op: str) -> dict[str, Any]:
        """The terminal record of that operation, which nobody asks for but by reading the file."""

        def look() -> bool:
            record = self.record()
            over = record.get("operation_id") == op and record.get("phase") in FINISHED
            return over and not self.helper_lives()

        wait_for(look, f"the end of {op}: {self.record()}\n{self.helper_log(op)}")
        return self.record()

    def wait_for_its_turn(self) -> None:
        """Until the helper has left the rest to whoever restarts the hub."""

        def left() -> bool:
            return self.record().get("step") == "proving" and not self.helper_lives()

        wait_for(left, f"somebody else's turn: {self.record()}")

    def restart_by_hand(self) -> None:
        """What an operator does, where nobody else may."""
        starts, pid = self.starts(), self.pid()
        os.kill(pid, 15)
        wait_for(lambda: self.starts() > starts and self.pid() != pid, "another process")

    def helper_log(self, op: str) -> str:
        path = self.home / "logs" / f"upgrade-{op}.log"
        return path.read_text(errors="replace")[-3000:] if path.exists() else ""

    def files(self) -> set[str]:
        """What lies in home."""
        found = (path for path in self.home.rglob("*") if not path.is_dir())
        return {str(path.relative_to(self.home)) for path in found}


class AloneCase(MachineCase):
    """A test with such a machine."""

    kind: Any = BunPlace

    def alone(self, **config: Any) -> AloneMachine:
        """Its hub 1.0.0 runs, and is kept alive."""
        made = AloneMachine(self.kind, **config)
        self.addCleanup(made.close)
        made.start()
        return made

    def stays(self, machine: AloneMachine, version: str = "1.0.0", starts: int = 1) -> None:
        """It runs as if nothing had been."""
        self.assertEqual((machine.runs(), machine.starts()), (version, starts))
        self.assertEqual(machine.place.installed(), version)

    def is_of_the_contract(self, record: dict[str, Any]) -> None:
        """The fixed fields are there, as whoever wrote the first record reads them."""
        for name in ("operation_id", "mode", "current_version", "channel", "started_at"):
            self.assertIsInstance(record[name], str, record)
        self.assertIn(record["phase"], PHASES)
        self.assertIn(record["mode"], ("in-place", "redeploy-required"))
        self.assertIn(record["channel"], ("latest", "rc"))
        self.assertIsInstance(record["target_version"], (str, type(None)))
        self.assertTrue(all(isinstance(line, str) for line in record["log"]), record["log"])
        self.assertRegex(record["started_at"], TIME)
        ended = record["phase"] in FINISHED
        self.assertEqual(("finished_at" in record, "error" in record), (ended, ended and
                         record["phase"] == "failed"), record)  # fmt: skip
        for name in ("finished_at", "updated_at"):
            if name in record:
                self.assertRegex(record[name], TIME)
        if "error" in record:
            self.assertIsInstance(record["error"], str)


class Watched:
    """Every state of the status file that is to be seen, until it is done with."""

    def __init__(self, path: Path) -> None:
        self.states: list[dict[str, Any]] = []
        self.modes: set[int] = set()
        self._path = path

    def look(self) -> bool:
        """Whether the last one is a terminal one."""
        with open(self._path, "rb") as file:
            state = json.loads(file.read())  # never half-written
            self.modes.add(os.fstat(file.fileno()).st_mode & 0o777)
        if not self.states or state != self.states[-1]:
            self.states.append(state)
        return state["phase"] in FINISHED
