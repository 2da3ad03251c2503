"""Somebody else's hub in a unit of the system's manager, or of a lingering user's."""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from tests.e2e.harness import FINISHED, TIDYING, WAIT_S, wait_for
from tests.outside.readme.visitor import Inside
from tests.outside.restarters import managed_hub
from tests.outside.restarters.machines import USER, Managers
from tests.outside.restarters.managed_boot import PROGRAM
from tests.outside.restarters.managed_hub import GOOD, PORT, UNIT

OLD, NEW, NEXT = "1.0.0", "1.1.0", "1.2.0"
TIMES = {"ready_timeout_s": 6, "probation_s": 1, "probation_max_s": 20}
SERVE_PORT = 1939
SERVE = "hub-upgrades.service"
SERVE_UNIT = """\
[Service]
Type=notify
ExecStart=/usr/bin/python3 {program} serve --config-dir {home} --port {port}
{environment}
"""


class Start(NamedTuple):
    """One start of the hub, as it noted it itself."""

    version: str
    invocation: str
    pid: int


class OtherHub:
    """Somebody else's hub on a machine: `scope` is whose manager keeps it, `user` whose it is."""

    def __init__(self, machine: Managers, scope: str = "system", user: str = "") -> None:
        self.machine = machine
        self.scope = scope
        self.user = user or ("root" if scope == "system" else USER)
        self.root = "/srv/other" if self.user == "root" else f"/home/{self.user}/other"
        self.checkout = f"{self.root}/checkout"
        self.author = f"{self.root}/author"
        self.home = f"{self.root}/home"
        self.unit = UNIT
        units = {"system": "/usr/lib/systemd/system", "user": f"/home/{USER}/.config/systemd/user"}
        self.units = units[scope]
        self._read = 0

    # --- said on the machine ---

    def path(self, inside: str) -> Path:
        """Where a file of it lies for us."""
        return self.machine.on_disk(inside)

    def sh(self, script: str) -> str:
        """Said by its owner, who has but what `su` gives."""
        return self.machine.sh(script, self.user)

    def control(self, *words: str) -> subprocess.CompletedProcess[str]:
        """systemctl, said by whom the manager obeys."""
        return self.machine.systemctl(*words, scope=self.scope)

    def obeyed(self, *words: str) -> str:
        """The same, which must succeed; what it printed."""
        done = self.control(*words)
        if done.returncode:
            raise AssertionError(f"systemctl {words}: {done.stdout}{done.stderr}")
        return done.stdout.strip()

    def journal(self) -> str:
        """What the unit printed, and what its manager said of it."""
        return self.machine.told_by(self.unit, self.scope)

    def journal_since_it_began(self) -> str:
        """Of this story alone."""
        return self.journal()[self._read :]

    def lives(self, pid: int) -> bool:
        """Whether that process is there, and no corpse."""
        state = self.machine.run(f"ps -o state= -p {pid}").stdout.strip()
        return state not in ("", "Z")

    def scopes(self) -> str:
        """The transient scopes that helpers run in now."""
        listed = ("list-units", "--all", "--no-legend", "--plain", "hub-upgrade-*.scope")
        return self.obeyed(*listed)

    # --- its life ---

    def begin(self, hub: dict[str, Any] | None = None, run: bool = True, **settings: Any) -> None:
        """All anew: a checkout of OLD, an empty home, and the unit with these settings."""
        self.end()
        git = "git -c init.defaultBranch=main init --quiet"
        for name in (self.author, self.home):
            self.path(name).mkdir(parents=True)
        self.path(self.home).chmod(0o700)
        self.configure(hub)
        self.machine.sh(f"chown -R {self.user}: {self.root}")
        self.sh(f"{git} {self.author}")
        self.publish(OLD)
        self.sh(f"git clone --quiet {self.author} {self.checkout}")
        self.write_unit(**settings)
        self._read = len(self.journal())
        if run:
            self.obeyed("start", self.unit)
            self.until(OLD)

    def run_bare(self) -> None:
        """Run it as somebody at a terminal would, in no unit."""
        said = " ".join(f"{name}={value}" for name, value in self.environment().items())
        run = f"env {said} setsid python3 {self.checkout}/server.py"
        self.sh(f"{run} >/dev/null 2>&1 </dev/null &")
        self.until(OLD)

    def kill_all(self) -> None:
        """Every process that ever was it is gone, whoever started it."""
        for pid in {one.pid for one in self.starts()}:
            file = f"/proc/{pid}/cmdline"  # the number may be another's by now
            self.machine.run(f"grep -qa {self.checkout}/ {file} && kill -KILL {pid}")
        wait_for(lambda: not self.version(), "its end")

    def end(self) -> None:
        """Nothing of it is left on the machine, and nothing runs."""
        self.control("stop", self.unit, SERVE, "hub-upgrade-*.scope")
        self.kill_all()
        self.control("unmask", self.unit)
        self.control("reset-failed")
        shutil.rmtree(self.path(self.root), ignore_errors=True)
        self.machine.sh(f"rm -f {self.units}/{UNIT} {self.units}/{SERVE} {self.units}/{self.unit}")
        self.unit = UNIT

    def configure(self, hub: dict[str, Any] | None = None, **more: Any) -> None:
        """Write hub.json."""
        said = {"health_url": f"http://127.0.0.1:{PORT}/health", **(hub or {})}
        path = self.path(f"{self.home}/hub.json")
        path.write_text(json.dumps({**TIMES, **more, "hub": said}))

    def publish(self, version: str, behaviour: str = GOOD, **more: str) -> None:
        """A commit on the branch that the checkout follows, tagged; `more` lies there besides."""
        for name, text in {**managed_hub.files(version, behaviour), **more}.items():
            self.path(f"{self.author}/{name}").write_text(text)
        who = "-c user.name=Author -c user.email=author@localhost"
        self.sh(
            f"cd {self.author} && git add --all && git {who} commit --quiet --message={version} "
            f"&& git tag v{version}"
        )

    def environment(self) -> dict[str, str]:
        """What the hub is started with."""
        return {
            "PORT": str(PORT), "STARTS": f"{self.root}/starts", "PARACHUTE_HOME": self.home,
            "HUB_PYZ": PROGRAM,
        }  # fmt: skip

    def write_unit(self, name: str = UNIT, **settings: str) -> None:
        """Its unit, known to the manager."""
        self.unit = name
        user = self.user if self.scope == "system" and self.user != "root" else ""
        text = managed_hub.unit(self.checkout, self.environment(), user, settings)
        self._write(name, text)

    def _write(self, name: str, text: str) -> None:
        self.machine.asked(
            f"mkdir -p {self.units}; cat >{self.units}/{name} <<'END'\n{text}\nEND", self.scope
        )
        self.obeyed("daemon-reload")

    def serve(self, *environment: str) -> None:
        """`hub.pyz serve` beside it, in a unit of its own with the same manager."""
        lines = "\n".join(f"Environment={one}" for one in environment)
        said = SERVE_UNIT.format(
            program=PROGRAM, home=self.home, port=SERVE_PORT, environment=lines
        )
        self._write(SERVE, said)
        self.obeyed("start", SERVE)

    def starts(self) -> list[Start]:
        """Every start of it since it began anew."""
        try:
            lines = self.path(f"{self.root}/starts").read_text().splitlines()
        except FileNotFoundError:
            return []
        return [Start(one, two, int(pid)) for one, two, pid in (line.split() for line in lines)]

    def version(self) -> str:
        """What answers on /health, "" for nothing healthy."""
        connection = Inside(self.machine.process, "127.0.0.1", PORT, "")
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
            connection.request("GET", "/health")
            answer = connection.getresponse()
            told = json.loads(answer.read())
            return str(told.get("version")) if answer.status == 200 else ""
        return ""

    def until(self, version: str) -> None:
        """Wait until that version answers."""
        self.wait(lambda: self.version() == version, version)

    def head(self) -> str:
        """The version that lies on the disk, and whether all of it does."""
        told = self.sh(f"cd {self.checkout} && cat package.json && git status --porcelain")
        return str(json.loads(told)["version"])

    # --- upgraded ---

    def hub_pyz(self, *argv: str, **env: str) -> subprocess.CompletedProcess[str]:
        """One command of it, by the hub's owner."""
        said = " ".join(f"{name}={value}" for name, value in env.items())
        words = " ".join(argv)
        return self.machine.run(
            f"env {said} PARACHUTE_HOME={self.home} python3 {PROGRAM} {words}", self.user,
            limit_s=2 * WAIT_S,
        )  # fmt: skip

    def ask(self, **environ: str) -> str:
        """The hub upgrades itself: it starts a helper inside its own unit; the operation."""
        operation = str(uuid.uuid4())
        connection = Inside(self.machine.process, "127.0.0.1", PORT, "")
        connection.request("POST", "/", json.dumps({"op": operation, "environ": environ}))
        if connection.getresponse().status != 202:
            raise AssertionError("the hub did not take it")
        connection.close()
        return operation

    def post(self, path: str = "/api/hub/upgrade", **body: Any) -> str:
        """Asked of the `serve` beside it, over HTTP; the operation."""
        made = self.hub_pyz("token", "create", "--scope", "hub:admin", "--name", uuid.uuid4().hex)
        headers = {"Authorization": f"Bearer {made.stdout.strip()}"}

        def accepted() -> str:
            connection = Inside(self.machine.process, "127.0.0.1", SERVE_PORT, "")
            connection.request("POST", path, json.dumps(body), headers)
            answer = connection.getresponse()
            told = answer.read().decode()
            connection.close()
            if answer.status == 503 or (answer.status == 409 and TIDYING in told):
                return ""  # it looks at the other hub at this moment, or its helper is at its end
            if answer.status != 202:
                raise AssertionError(f"{answer.status} {told}")
            return str(json.loads(told)["operation_id"])

        return str(wait_for(accepted, "its being accepted"))

    def record(self) -> dict[str, Any]:
        """The status file as it lies there; {} for none."""
        try:
            value = json.loads(self.path(f"{self.home}/hub-upgrade-status.json").read_text())
        except (OSError, ValueError):
            return {}
        return dict(value)

    def wait(self, what: Callable[[], Any], why: str) -> None:
        """Wait until that is so; else all is told that is to be known then."""
        try:
            wait_for(what, why)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.told()}") from None

    def reaches(self, step: str) -> dict[str, Any]:
        """The record, once it is at this step."""
        self.wait(lambda: self.record().get("step") == step, step)
        return self.record()

    def over(self, operation: str) -> dict[str, Any]:
        """The terminal record of that operation, which somebody else brings to its end."""

        def look() -> bool:
            record = self.record()
            return record.get("operation_id") == operation and record.get("phase") in FINISHED

        self.wait(look, f"the end of {operation}")
        return self.record()

    def told(self) -> str:
        """All that is to be known of the present operation, for a failure's message."""
        record = self.record()
        log = self.path(f"{self.home}/logs/upgrade-{record.get('operation_id')}.log")
        parts = [json.dumps(record, indent=1)]
        for path in (log, self.path(f"{self.home}/helper.out")):
            with contextlib.suppress(OSError):
                parts.append(path.read_text(errors="replace")[-3000:])
        return "\n".join([*parts, self.journal()[-1500:]])
