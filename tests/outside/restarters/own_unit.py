"""hub.pyz kept by a unit of its own on a machine: installed by its own command, and asked."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable

from tests.e2e.harness import CONFIG, WAIT_S, Hub, build, wait_for
from tests.e2e.prober import Prober
from tests.outside.readme.machine import network_of
from tests.outside.readme.visitor import Inside
from tests.outside.restarters.machines import BOTH, USER, Managers, ManagersCase

OWNER = "parachute"
"""Who the system's units run as."""
QUICK = {key: value for key, value in CONFIG.items() if key != "home_persists"}
"""The times of a test; whether home persists is for the hub to find out."""
STEADY = ("MainPID", "ActiveState", "NRestarts", "ActiveEnterTimestampMonotonic", "InvocationID")
"""All of these stay the same while a unit stays up."""


class OwnUnit(Hub):
    """One unit and its hub. Everything of it lies in `place`, a directory of the machine's: the
    installed file, home, and the repository of releases that it follows."""

    def __init__(
        self, machine: Managers, scope: str, name: str, port: int, place: str, home: str = ""
    ) -> None:
        self.place = place
        self.inside = home or f"{place}/home"
        super().__init__(f"{place}/hub.pyz", str(machine.on_disk(self.inside)))
        self.machine = machine
        self.scope = scope
        self.name = name
        self.port = port
        self.owner = OWNER if scope == "system" else USER

    # --- its life ---

    def lay(self, program: str, **config: Any) -> None:
        """Put everything there, as an operator would before the unit is installed."""
        place = self.machine.on_disk(self.place)
        place.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(program, place / "hub.pyz")
        (place / "hub.pyz").chmod(0o755)
        self.machine.sh(f"install -d -o {self.owner} {shlex.quote(self.place)}/releases")
        self.configure(**config)
        self.publish(program)

    def configure(self, **config: Any) -> None:
        """Write hub.json into home, which is the owner's."""
        os.makedirs(self.home, 0o700, exist_ok=True)
        following = {"releases": f"{self.place}/releases"}
        with open(os.path.join(self.home, "hub.json"), "w", encoding="utf-8") as file:
            json.dump({**QUICK, **following, **config}, file)
        self.machine.sh(f"chown -R {self.owner}: {shlex.quote(self.inside)}")

    def publish(self, program: str) -> None:
        """By the owner, whose the repository is."""
        offered = f"{self.place}/offered.pyz"
        shutil.copyfile(program, self.machine.on_disk(offered))
        self.command("release", "publish", f"{self.place}/releases", "--channel", "latest", offered)

    def command(self, *words: str) -> str:
        """Any command of the installed hub.pyz, by its owner; what it printed."""
        return self.machine.sh(shlex.join(["python3", self.program, *words]), self.owner)

    def drop_in(self, *lines: str, section: str = "Service") -> None:
        """What an operator adds to a unit; before it is installed, or it wants `reload`."""
        directory = self.machine.on_disk(f"/etc/systemd/{self.scope}/{self.name}.service.d")
        directory.mkdir(parents=True, exist_ok=True)
        text = "\n".join([f"[{section}]", *lines, ""])
        (directory / f"{section.lower()}.conf").write_text(text, encoding="utf-8")

    def unit(self, verb: str, *words: str) -> subprocess.CompletedProcess[str]:
        """`hub.pyz unit VERB`, by root or by USER."""
        line = ["python3", self.program, "unit", verb, "--name", self.name, *words]
        return self.machine.asked(shlex.join(line), self.scope)

    def installing(self, *words: str) -> list[str]:
        """The words of `hub.pyz unit install` for it."""
        found = ["--config-dir", self.inside, "--port", str(self.port), *words]
        return found + (["--user", OWNER] if self.scope == "system" else [])

    def install(self, *words: str, healthy: bool = True) -> str:
        """`hub.pyz unit install`, which must succeed; returns what it printed."""
        done = self.unit("install", *self.installing(*words))
        if done.returncode:
            raise AssertionError(f"unit install: {done.stdout}{done.stderr}\n{self.output()}")
        if healthy:
            self.wait_healthy()
        return done.stdout + done.stderr

    def systemctl(self, *words: str) -> str:
        """One command of systemctl for the unit, which must succeed."""
        done = self.machine.systemctl(*words, f"{self.name}.service", scope=self.scope)
        if done.returncode:
            raise AssertionError(f"systemctl {words}: {done.stderr}\n{self.output()[-3000:]}")
        return done.stdout

    def show(self, *names: str) -> dict[str, str]:
        return self.machine.show(f"{self.name}.service", *names, scope=self.scope)

    def output(self) -> str:
        return self.machine.told_by(f"{self.name}.service", self.scope)

    @property
    def launcher_pid(self) -> int:
        return self.machine.outside(int(self.show("MainPID")["MainPID"]))

    def processes(self) -> list[str]:
        """The command lines of all that live in the unit's control group, which is there as long
        as they do."""
        group = self.show("ControlGroup")["ControlGroup"]
        script = f"""
            test -n '{group}' || exit 0
            for top in /sys/fs/cgroup/systemd /sys/fs/cgroup; do  # version 1, and 2
                test ! -d $top'{group}' || break
            done
            test -d $top'{group}' || {{ echo 'no directory of {group}'; exit 1; }}
            for file in $(find $top'{group}' -name cgroup.procs); do
                for pid in $(cat $file); do tr '\\0' ' ' </proc/$pid/cmdline; echo; done
            done 2>/dev/null || :"""
        return self.machine.sh(script).splitlines()

    # --- asking ---

    def request(
        self, method: str, path: str, body: Any = None, token: str | None = None,
        timeout_s: float = WAIT_S,
    ) -> tuple[int, Any]:  # fmt: skip
        connection = Inside(self.machine.process, "127.0.0.1", self.port, "")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            connection.connect()
            connection.sock.settimeout(timeout_s)
            payload = None if body is None else json.dumps(body)
            connection.request(method, path, payload, headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read() or b"null")
        finally:
            connection.close()

    def token(self) -> str:
        if not self._token:
            words = ("token", "create", "--scope", "hub:admin", "--config-dir", self.inside)
            self._token = self.command(*words).strip()
        return self._token

    def version(self) -> str:
        """What answers; "" for nobody."""
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
            return str((self.health() or {}).get("version", ""))
        return ""


class InsideProber(Prober):
    """Opens connections all the time, in the machine's network."""

    def __init__(self, unit: OwnUnit) -> None:
        self._process = unit.machine.process
        super().__init__(unit.port)

    def _run(self) -> None:
        with network_of(self._process):
            super()._run()


class OwnCase(ManagersCase):
    """A machine with whom its units belong to."""

    def setUp(self) -> None:
        super().setUp()
        self.machine.sh("systemctl stop '*.timer'")  # one may change files, at midnight for example
        self.machine.sh(f"useradd --create-home --shell /bin/sh {OWNER}")
        self.machine.let_linger()

    def unit(
        self, name: str = "parachute-hub", port: int = 1939, place: str = "", scope: str = "system"
    ) -> OwnUnit:
        """Not installed yet, nor laid."""
        return OwnUnit(self.machine, scope, name, port, place or f"/srv/{name}-{scope}")

    def together(self, story: Callable[[OwnUnit], None]) -> None:
        """The same told of a unit of the system's and of one of USER's, at the same time: whatever
        it needs is built before."""
        with ThreadPoolExecutor(len(BOTH)) as pool:
            began = [
                pool.submit(story, self.unit(port=1939 + n, scope=scope))
                for n, scope in enumerate(BOTH)
            ]
            for scope, future in zip(BOTH, began):
                with self.subTest(scope):
                    future.result()

    @contextlib.contextmanager
    def steady(self, unit: OwnUnit) -> Iterator[None]:
        """While this lasts, `systemctl is-active` says so at every look, and nobody who asks the
        hub is refused; afterwards it is the same start of the same process."""
        before = unit.show(*STEADY)
        script = self.machine.systemctl_of(unit.scope, "is-active", unit.name)
        looker = subprocess.Popen(
            [*self.machine.inside(), "runuser", "-u", "root" if unit.scope == "system" else USER,
             "--", "sh", "-c", f"while :; do {script}; sleep 0.05; done"],
            stdout=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        prober = InsideProber(unit)
        try:
            yield
        finally:
            os.killpg(looker.pid, signal.SIGKILL)
            looks, _ = looker.communicate()
            report = prober.stop()
        self.assertEqual(set(looks.split()), {"active"})
        self.assertEqual(report.wrong, [])
        self.assertEqual(unit.show(*STEADY), before)


def upgraded(unit: OwnUnit, version: str, program: str = "") -> dict[str, Any]:
    """Publish a good release and upgrade to it; the record."""
    unit.publish(program or build(version))
    record = unit.finished(unit.upgrade())
    if (record["phase"], unit.version()) != ("succeeded", version):
        raise AssertionError(f"{record}\n{unit.output()[-3000:]}")
    return record


def became(unit: OwnUnit, state: str) -> None:
    """Wait until the manager says so: it hears of a change a moment after whoever asks the hub."""
    wait_for(lambda: unit.show("ActiveState")["ActiveState"] == state, f"{unit.name} {state}")
