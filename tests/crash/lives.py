"""One life of a hub with a `kill -9` in it, and what must be true after it.

A life is: serve, one operation, `serve` again where the launcher died, the record's end, one more
upgrade, a stop. Whatever was killed, and wherever: a hub works, the record is true, the next
upgrade succeeds, and nothing is left but what pruning will take.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from hub_upgrade.domain.operation import ROLLBACK, UPGRADE
from tests.crash import mortal
from tests.crash.acts import is_dead
from tests.crash.mortal import Point
from tests.crash.watched import WAIT_S, Watched
from tests.e2e.harness import FINISHED, Hub, build, cli, environment, running_on
from tests.e2e.ports import held_port

CONFIG = {
    "ready_timeout_s": 15,
    "probation_s": 0.3,
    "probation_max_s": 30,
    "drain_s": 1,
    "stop_s": 4,
    "home_persists": True,
}
OLD, NEW, NEXT = "1.0.0", "1.1.0", "1.2.0"
SICK = "sick"
STORIES = (UPGRADE, ROLLBACK, SICK)
"""A good release, the way back from one, and a release that is rejected in the real home."""
LATE_S = 0.5
"""After its terminal record an operation has some last acts."""
MISSED_S = 5.0
"""After this time without a death it will not come: the order of things was another one."""


class Kit:
    """The files that the lives of one story share: built, published and lived up to once."""

    def __init__(self, story: str, *, real: bool = False) -> None:
        self.directory = tempfile.mkdtemp(prefix="kit-")
        self.story = story
        self.repository = os.path.join(self.directory, "repository")
        self.home = os.path.join(self.directory, "home")
        make: Callable[[str], str] = build if real else mortal.build
        sick = story == SICK
        self.old = make(OLD)
        new = mortal.build(NEW, sick=True) if sick else make(NEW)
        for channel, path in (("latest", self.old), ("latest", new), ("rc", make(NEXT))):
            words = ("release", "publish", self.repository, "--channel", channel, path)
            _must(cli(self.old, *words))
        os.mkdir(self.home, 0o700)
        Path(self.home, "hub.json").write_text(json.dumps(CONFIG))
        words = ("token", "create", "--scope", "hub:admin", "--config-dir", self.home)
        self.token = _must(cli(self.old, *words)).strip()
        if story == ROLLBACK:
            self._grow_up()

    def _grow_up(self) -> None:
        """The life before: what is rolled back to, and from."""
        hub = Hub(self.old, self.home, self.repository)
        hub._token = self.token
        try:
            hub.start()
            record = hub.finished(hub.upgrade())
            assert record["phase"] == "succeeded", record
        finally:
            hub.stop()

    def close(self) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)


def _must(done: subprocess.CompletedProcess[str]) -> str:
    if done.returncode:
        raise AssertionError(done.stderr)
    return done.stdout


class Life(Watched):
    """See above: with this death in it, if any. `live` says what is not true."""

    def __init__(self, kit: Kit, point: Point | None = None, victim: str = "") -> None:
        self.directory = tempfile.mkdtemp(prefix="life-")
        inside = partial(os.path.join, self.directory)
        super().__init__(inside("home"), kit.token, inside("serve.log"))
        self.kit = kit
        self.tmp, self.acts, self.plan = inside("tmp"), inside("acts"), inside("plan")
        os.mkdir(self.tmp)
        shutil.copytree(kit.home, self.home, symlinks=True)
        self.program = inside("hub.pyz")
        shutil.copyfile(kit.old, self.program)
        mortal.write_plan(self.plan, self.home, self.acts, point, victim)
        self.late_s = LATE_S if point is None else MISSED_S
        self.prefix: tuple[str, ...] = ()

    def close(self) -> None:
        """Nothing of it is left."""
        super().close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def live(self, *, at_once: bool = False) -> bool:
        """Live it; whether the death came. Raises AssertionError for whatever is not true.

        Where the launcher dies too, `serve` is started again when the others have ended, or
        `at_once`, while they may still be there.
        """
        accepted = ""
        if self.serve():
            accepted = self.ask()
            self.wait_for_end()
        came = self.death()
        if self.launcher_died():
            if not at_once:
                self.wait_for_orphans()
            self.reap()
            assert self.serve(), self.output()
        record = self.wait_for_record(accepted)
        self.ended()
        self.check_truth(record)
        self.next_upgrade()
        self.stop()
        self.check_leftovers()
        return came

    def started(self) -> None:
        """A `serve` was just started, and nothing is known of it yet."""

    def struck(self) -> list[int] | None:
        """Whom the death has come to; None while it has not come."""
        return mortal.struck(self.acts)

    def ended(self) -> None:
        """The story is over: from now on nobody dies."""
        mortal.ended(self.acts)

    def serve(self) -> bool:
        """Start `serve`; False when it died before it listened."""
        words = [*self.prefix, sys.executable, self.program, "serve", "--config-dir", self.home]
        self.port = self.port or held_port(self)
        words += ["--port", str(self.port), "--releases", self.kit.repository]
        env = environment(TMPDIR=self.tmp, **mortal.environment(self.plan))
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                words, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        self.started()
        assert self.process.stdout is not None
        line = self.process.stdout.readline().decode()
        if not line:
            code = self.process.wait(WAIT_S)
            assert code == -signal.SIGKILL, f"serve ended with {code}: {self.output()}"
            return False
        self.port = int(line.split()[2].rpartition(":")[2])
        return True

    def ask(self) -> str:
        """Ask for the story's operation; its id, or "" when the answer was lost with the hub."""
        path = "rollback" if self.kit.story == ROLLBACK else "upgrade"
        for _ in range(100):
            if self.launcher_died():
                return ""
            try:
                status, answer = self.request("POST", f"/api/hub/{path}")
            except (OSError, http.client.HTTPException, ValueError):
                if self.record():
                    return ""
                time.sleep(0.05)  # the hub died before it took the request: it is started again
                continue
            if status == 409 and self.record():
                return ""  # the one before was accepted, and its answer lost
            assert status == 202, f"{status} {answer}"
            return str(answer["operation_id"])
        raise AssertionError("nobody took the request")

    def wait_for_end(self) -> None:
        """Until the launcher is dead, or the operation over with what comes after its record."""
        deadline = time.monotonic() + WAIT_S
        while not self.launcher_died() and not self._quiet():
            self.tick(deadline, "the end of the operation")
        late = time.monotonic() + self.late_s
        while time.monotonic() < late and self.struck() is None:
            self.tick(deadline, "what comes late")

    def death(self) -> bool:
        """Whether somebody was struck; then that they are dead."""
        struck = self.struck() or []
        deadline = time.monotonic() + WAIT_S
        while not all(is_dead(pid) for pid in struck):
            self.tick(deadline, "a death")
        return bool(struck)

    def _quiet(self) -> bool:
        record = self.record()
        return record.get("phase") in FINISHED or not record

    def wait_for_orphans(self) -> None:
        """Hub and helper end by themselves without their launcher, and leave the port free."""
        deadline = time.monotonic() + WAIT_S
        while running_on(self.home) or not self._port_is_free():
            self.tick(deadline, "the end of hub and helper without their launcher")

    def _port_is_free(self) -> bool:
        with socket.socket() as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                one.bind(("127.0.0.1", self.port))
            except OSError:
                return False
        return True

    def wait_for_record(self, accepted: str) -> dict[str, Any]:
        """The terminal record, of the accepted operation if one was; {} for none at all."""
        deadline = time.monotonic() + WAIT_S
        while not self.health() or not self._quiet():
            assert not self.launcher_died(), self.output()
            self.tick(deadline, "a hub, and a terminal record")
        record = self.record()
        if accepted:
            assert record.get("operation_id") == accepted, f"{accepted} was accepted: {record}"
        return record

    def check_truth(self, record: dict[str, Any]) -> None:
        """`succeeded` if and only if its target runs and is current; the history agrees."""
        with open(os.path.join(self.home, "releases", "boot.json"), encoding="utf-8") as file:
            boot = json.load(file)
        running = self.settled_health()
        assert boot["trial"] is None, boot
        assert boot["current"].endswith(running["release"][:16]), (boot["current"], running)
        if not record:
            return
        target = {UPGRADE: NEW, ROLLBACK: OLD, SICK: NEW}[self.kit.story]
        runs = running["version"] == target
        assert (record["phase"] == "succeeded") == runs, f"{running} runs: {record}"
        assert runs or "error" in record, record
        status, body = self.request("GET", "/api/hub/upgrade/status")
        assert status == 200 and body["phase"] == record["phase"], body
        status, body = self.request("GET", "/api/hub/upgrade/history")
        mine = [one for one in body["operations"] if one["operation_id"] == record["operation_id"]]
        assert [one["phase"] for one in mine] == [record["phase"]], body

    def next_upgrade(self) -> None:
        """A new request is accepted, and succeeds."""
        deadline = time.monotonic() + WAIT_S
        while True:
            status, answer = self.request("POST", "/api/hub/upgrade", {"channel": "rc"})
            if status == 202:
                break
            assert status == 409, f"{status} {answer}"
            self.tick(deadline, f"a new request being accepted: {answer}")
        identity = answer["operation_id"]
        deadline = time.monotonic() + WAIT_S
        while self.record().get("phase") not in FINISHED:
            self.tick(deadline, "the end of the next upgrade")
        record = self.record()
        assert record["operation_id"] == identity, record
        assert record["phase"] == "succeeded", record
        assert self.settled_health()["version"] == NEXT

    def stop(self) -> None:
        """An asked-for stop leaves no process."""
        assert self.process is not None
        self.process.terminate()
        code = self.process.wait(WAIT_S)
        self.reap()
        assert code == 0, f"serve ended with {code}: {self.output()}"
        deadline = time.monotonic() + WAIT_S
        while running_on(self.home):
            self.tick(deadline, "no process left")

    def check_leftovers(self) -> None:
        """No temporary file, nothing half staged, no scratch home, no release too many."""
        left = [str(path) for path in Path(self.home).rglob("*") if _is_leftover(path.name)]
        left += os.listdir(self.tmp)
        assert not left, f"left over: {left}"
        names = os.listdir(os.path.join(self.home, "releases"))
        whole = [name for name in names if name[:1].isdigit() and not name.endswith(".bad")]
        assert len(whole) <= 3, whole

    def about(self) -> str:
        return f"{self.record()}; {super().about()}"

    def record(self) -> dict[str, Any]:
        """The record of the operation that runs now; {} for none since the story began."""
        try:
            with open(os.path.join(self.home, "hub-upgrade-status.json"), encoding="utf-8") as file:
                value: dict[str, Any] = json.load(file)
        except FileNotFoundError:
            return {}
        return value if not self._is_old(value) else {}

    def _is_old(self, record: dict[str, Any]) -> bool:
        """Whether it is of the life before."""
        grown_up = record["kind"] == UPGRADE and record["channel"] == "latest"
        return self.kit.story == ROLLBACK and grown_up


def _is_leftover(name: str) -> bool:
    return name.endswith(".tmp") or name.startswith(".staging-") or ".corrupt" in name
