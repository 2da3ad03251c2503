"""Becoming another release in the same process: drain, write the record, `execve`.

The hub has one thread: between two turns of its loop nothing is half done, so a handoff needs no
bringing to rest. Only an answer that waits for a child process is finished first.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable

from hub_upgrade.domain.boot_record import Trial
from hub_upgrade.host import interpreter, notify, processes, releases
from hub_upgrade.host.children import ChildResult, OneShot
from hub_upgrade.host.loop import Loop
from hub_upgrade.hub import handoff
from hub_upgrade.hub.inherited import Inherited
from hub_upgrade.settings import Settings
from hub_upgrade.version import HANDOFF_FORMAT
from hub_upgrade.web.connections import Connections

ASK_TIMEOUT_S = 4.5
"""How long the next release may take to say which handoff records it takes."""
DRAIN_POLL_S = 0.01


class Handover:
    """One attempt; it ends in an `execve`, or in the hub serving on as before."""

    def __init__(
        self,
        loop: Loop,
        settings: Settings,
        inherited: Inherited,
        connections: Connections,
        trial: Trial,
        serves_on: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._inherited = inherited
        self._connections = connections
        self._serves_on = serves_on
        self._path = releases.path_of(settings.home, trial.release)
        self._home = settings.home.root
        self._takes_record = False
        self._deadline = loop.now() + settings.drain_s
        self._cancelled = False

    def begin(self) -> None:
        """Ask the next release which records it takes, while everything is served."""
        argv = interpreter.command(self._path, "version", "--json")
        try:
            OneShot(self._loop, argv, None, ASK_TIMEOUT_S, self._asked)
        except OSError:
            self._loop.call_later(0, self._drain)

    def cancel(self) -> None:
        """A stop came first: this process stays what it is."""
        self._cancelled = True

    def _asked(self, result: ChildResult) -> None:
        try:
            said = json.loads(result.stdout.decode("utf-8"))
            self._takes_record = HANDOFF_FORMAT in said["handoff_formats"]
        except (ValueError, KeyError, TypeError):
            self._takes_record = False
        self._loop.call_later(0, self._drain)

    def _drain(self) -> None:
        """Called by a timer, as `_execute` is: by then all signals of this turn were heard."""
        if self._cancelled:
            return
        if self._connections.waiting() and self._loop.now() < self._deadline:
            self._loop.call_later(DRAIN_POLL_S, self._drain)
        elif self._takes_record:
            self._execute(self._connections.freeze)
        else:  # a connection given to a program that does not know it leaves its client hanging
            self._connections.stop_accepting()
            left = max(0.0, self._deadline - self._loop.now())
            self._connections.close_after_answers(self._closed, left)

    def _closed(self) -> None:
        self._loop.call_later(0, lambda: self._execute(list))

    def _execute(self, freeze: Callable[[], list[dict[str, object]]]) -> None:
        if self._cancelled:
            return
        signal.pthread_sigmask(signal.SIG_BLOCK, processes.HELD_SIGNALS)
        if self._loop.signalled():  # a stop, perhaps, that the next image would not know of
            signal.pthread_sigmask(signal.SIG_UNBLOCK, processes.HELD_SIGNALS)
            self._loop.call_later(0, self._drain)  # in that turn there may be more to wait for
            return
        frozen = freeze()
        descriptor = -1
        try:
            if self._takes_record:
                descriptor = handoff.put(handoff.Record(frozen, self._loop.children()))
            self._inherited.set_inheritable(True)
            environment = {**os.environ, "PARACHUTE_HOME": self._home}
            environment.update(self._inherited.variables(descriptor))
            argv = interpreter.command(self._path, "run")
            notify.send(self._inherited.notify_address, "RELOADING=1")
            os.execve(argv[0], argv, environment)
        except OSError as error:
            self._failed(descriptor, error)

    def _failed(self, descriptor: int, error: OSError) -> None:
        """As if nothing had been; the launcher rejects the trial."""
        if descriptor >= 0:
            os.close(descriptor)
        self._inherited.set_inheritable(False)
        self._connections.unfreeze()
        self._connections.resume()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, processes.HELD_SIGNALS)
        text = f"ERRNO={error.errno or 1}\nSTATUS={error.strerror or error}"
        notify.send(self._inherited.notify_address, text)
        self._serves_on()
