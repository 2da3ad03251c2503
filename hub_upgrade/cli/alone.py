"""Upgrade and rollback with no hub running: prepared by a helper, proven under a launcher of ours.

That launcher holds `serve.lock`, serves on a spare loopback socket, and leaves once everything is
decided. A `serve` that is started meanwhile takes over from it.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Callable

from hub_upgrade.cli import client, entry, follow
from hub_upgrade.cli.arguments import Arguments
from hub_upgrade.cli.live import Screen
from hub_upgrade.domain.operation import PROVING, Operation, to_wire
from hub_upgrade.domain.settle import NEXT_START
from hub_upgrade.errors import HostError
from hub_upgrade.host import boot_store, files, interpreter
from hub_upgrade.host.children import environment
from hub_upgrade.host.files import Home, Unreadable
from hub_upgrade.host.status_store import StatusStore
from hub_upgrade.settings import Settings
from hub_upgrade.upgrade import recovery
from hub_upgrade.upgrade.accept import Desk
from hub_upgrade.wiring import command

STOP_MARGIN_S = 2.0
PROVE_MARGIN_S = 60.0
EXEC_GRACE_S = 10.0
LAST_BYTES = 1 << 16
EARLIER = "deciding what an earlier operation left"
TAKE_OVER_S = 3.0
"""How long after our launcher has left a `serve` that made it leave may take to be there."""


class Alone:
    """One operation on a home that no hub serves."""

    def __init__(self, home: Home, arguments: Arguments) -> None:
        self._home = home
        self._arguments = arguments
        self._program = command.program()
        where = getattr(arguments, "releases", None)
        self._settings: Settings = command.settings(home, where)
        self._store = StatusStore(home)
        self._watch = recovery.Watch()
        self._helper = 0
        self._handed = False
        self._screen = Screen(quiet=arguments.json)
        if not os.path.isdir(home.root):  # serve and token make it, nobody else
            raise HostError(
                f"{home.root} is no directory: start a hub there with serve, or name its "
                "--config-dir"
            )
        entry.warn(arguments, self._settings.config_error)
        files.make_directory(home.releases)

    def run(self, accept: Callable[[Desk], Operation]) -> int:
        """Decide what is pending, accept, prepare, prove; returns the exit code.

        Raises RefusedError as accepting does, HostError when the launcher cannot prove it.
        """
        try:
            return self._run(accept)
        except KeyboardInterrupt:
            return follow.interrupted(self._arguments.prog, f"is {NEXT_START}")

    def _run(self, accept: Callable[[Desk], Operation]) -> int:
        if self._pending():
            self._screen.say(EARLIER)
            self._prove(lambda: [EARLIER])
        self._settle()
        desk = command.desk(
            self._home, self._program, self._settings.releases, self._launcher, self._started
        )
        operation = accept(desk)
        if operation.finished:
            command.ended(self._home, operation)
        if self._arguments.no_wait and not operation.finished:
            return follow.told_accepted(_accepted(operation), self._arguments)
        teller = follow.Teller(self._screen)
        end = follow.to_the_end(self._step, operation.operation_id, teller)
        hub_runs = not end.is_of_pyz or self._launcher()
        return follow.conclude(self._home, end, self._arguments, hub_runs)

    def _launcher(self) -> bool:
        return client.launcher_holds(self._home)

    def _started(self, pid: int) -> None:
        self._helper = pid

    def _pending(self) -> bool:
        """Whether a launcher has something to decide; raises HostError when it cannot be told."""
        try:
            if boot_store.read_next(self._home) is not None:
                return True
            boot = boot_store.read_boot(self._home)
        except Unreadable:
            return True  # a launcher writes it anew, or moves it aside
        return boot is not None and boot.trial is not None

    def _settle(self) -> Operation | None:
        if self._launcher():
            return self._store.read()  # its hub settles
        return command.settle(self._home)

    def _step(self) -> Operation | None:
        """The record now; once the helper has handed over, the launcher's word on it."""
        helper_lives = self._reap()
        record = self._settle()
        if record is None or record.finished:
            return record
        if self._watch.overdue(record, time.monotonic()):
            recovery.end_helper(record)
        elif not helper_lives and self._pending() and not self._launcher():
            proving = record._replace(step=PROVING)
            if self._handed:  # before, what led to here is told: proving takes its time
                self._prove(lambda: follow.now(proving))
                record = self._settle()
                if record is not None and not record.finished and not self._taken_over():
                    raise HostError(f"{record.kind} {record.operation_id} is {NEXT_START}")
            self._handed = True
        if record is None or record.finished or not self._handed:
            return record
        return record._replace(step=PROVING)

    def _taken_over(self) -> bool:
        """Whether a `serve` that was started meanwhile goes on with it."""
        deadline = time.monotonic() + TAKE_OVER_S
        while not self._launcher():
            if time.monotonic() > deadline:
                return False
            time.sleep(follow.POLL_S)
        return True

    def _reap(self) -> bool:
        """Whether the helper still lives."""
        if self._helper:
            try:
                if os.waitpid(self._helper, os.WNOHANG)[0] == 0:
                    return True
            except ChildProcessError:
                pass
            self._helper = 0
        record = self._store.read()
        return record is not None and client.helper_lives(record)

    def _prove(self, shown: Callable[[], list[str]]) -> None:
        """Run a launcher of our own until nothing is pending; raises HostError.

        In a session of its own: Ctrl-C reaches it once, through us. What it says is told only
        when it fails: the record bears the rest.
        """
        argv = interpreter.command(self._program, "serve", "--prove")
        argv += ["--config-dir", self._home.root]
        if self._settings.releases:
            argv.append(f"--releases={self._settings.releases}")
        launcher = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment(os.environ),
            start_new_session=True,
        )
        said = b""
        deadline = time.monotonic() + self._prove_limit()
        try:
            while launcher.poll() is None:
                if time.monotonic() > deadline:
                    raise HostError("the launcher did not decide in time; see: hub.pyz status")
                self._screen.show(shown())
                said = _heard(launcher, said, follow.POLL_S)
        finally:
            self._screen.clear()
            self._end(launcher)
        if launcher.returncode != 0 and not self._launcher():
            last = _heard(launcher, said, 0).decode("utf-8", "replace").strip().rpartition("\n")[2]
            raise HostError(
                f"the launcher that was to prove it ended with {launcher.returncode}: {last}"
            )

    def _prove_limit(self) -> float:
        settings = self._settings
        once = settings.ready_timeout_s + settings.probation_max_s + settings.stop_s + EXEC_GRACE_S
        return settings.tries * once + PROVE_MARGIN_S

    def _end(self, launcher: subprocess.Popen[bytes]) -> None:
        """Stop it if it still runs: it gives the try back."""
        if launcher.poll() is not None:
            return
        launcher.send_signal(signal.SIGTERM)
        try:
            launcher.wait(self._settings.stop_s + STOP_MARGIN_S)
        except subprocess.TimeoutExpired:
            launcher.kill()
            launcher.wait()


def _heard(launcher: subprocess.Popen[bytes], said: bytes, limit_s: float) -> bytes:
    """The end of what it has said so far; waits for more at most so long."""
    pipe = launcher.stdout
    if pipe is None or not select.select([pipe], [], [], limit_s)[0]:
        return said
    piece = os.read(pipe.fileno(), LAST_BYTES)
    if not piece:  # its end, a moment before that of the process
        time.sleep(limit_s)
    return (said + piece)[-LAST_BYTES:]


def _accepted(operation: Operation) -> dict[str, object]:
    names = ("operation_id", "target_version", "channel", "mode", "source", "reason")
    wire = to_wire(operation)
    return {name: wire[name] for name in names}
