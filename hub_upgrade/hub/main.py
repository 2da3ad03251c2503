"""The hub's life: adopt what the image before left, settle, serve, hand over or stop."""

from __future__ import annotations

import os
import signal

from hub_upgrade.domain.boot_record import BootRecord
from hub_upgrade.host import boot_store, log, notify, processes
from hub_upgrade.host.files import Unreadable
from hub_upgrade.host.loop import READ, Loop
from hub_upgrade.hub import handoff
from hub_upgrade.hub.handover import Handover
from hub_upgrade.hub.inherited import Inherited
from hub_upgrade.settings import Settings
from hub_upgrade.shapes import Protocol
from hub_upgrade.upgrade.recovery import HUB_STOPPED
from hub_upgrade.web.connections import Connections

WATCHDOG_EVERY_S = 2.0
READY_AGAIN_S = 0.1
SETTLE_EVERY_S = 1.0
HELPER_STOP_S = 1.0
"""How long a helper may take to record that it was stopped."""


class Operations(Protocol):
    """What the hub's loop does about operations; `wiring.hub` puts the real parts behind it."""

    def settle(self, reason: str | None = None) -> None:
        """Bring the record up to what is true now; `reason` is why a helper was ended."""

    def helper(self) -> tuple[int, str | None]:
        """The PID and start time of the helper that prepares an operation; 0 for none."""

    def end_helper(self, number: int) -> bool:
        """Signal the helper with its group; whether there was one."""


class Hub:
    """One image of the hub's process."""

    def __init__(
        self,
        loop: Loop,
        settings: Settings,
        inherited: Inherited,
        connections: Connections,
        operations: Operations,
        digest: str,
    ) -> None:
        self._loop = loop
        self._settings = settings
        self._inherited = inherited
        self._connections = connections
        self._operations = operations
        self._digest = digest
        self._handover: Handover | None = None
        self._stopping = False

    def run(self) -> int:
        """Serve until a stop; returns the exit code."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            self._loop.on_signal(number, self.stop)
        self._loop.on_signal(signal.SIGUSR1, self._told)
        self._loop.watch(0, READ, lambda _events: self._launcher_gone())
        self._adopt()
        self._operations.settle()
        self._connections.start()
        self._ready()
        self._watchdog()
        self._keep_settling()
        self._loop.run()
        signal.pthread_sigmask(signal.SIG_BLOCK, processes.HELD_SIGNALS)  # see launcher.main
        return 0

    def watch_helper(self, pid: int) -> None:
        """Notice the end of a helper at once, and reap it: it stays our child across `execve`."""

        def ended(_status: int) -> None:
            self._operations.settle(HUB_STOPPED if self._stopping else None)

        self._loop.on_exit(pid, ended)

    def _say(self, text: str) -> bool:
        return notify.send(self._inherited.notify_address, text)

    def _ready(self) -> None:
        """Sent once, and again only where a launcher that was busy had no room for it."""
        if not self._say("READY=1") and not self._stopping:
            self._loop.call_later(READY_AGAIN_S, self._ready)

    def _adopt(self) -> None:
        if self._inherited.handoff_fd < 0:
            return
        try:
            record = handoff.get(self._inherited.handoff_fd)
        except (OSError, ValueError) as error:
            log.say("hub", f"the handoff record cannot be read: {error}", log.WARNING)
            return
        for pid in record.children:
            self.watch_helper(pid)
        self._connections.thaw(record.connections)

    def _watchdog(self) -> None:
        self._say("WATCHDOG=1")
        self._loop.call_later(WATCHDOG_EVERY_S, self._watchdog)

    def _keep_settling(self) -> None:
        if not self._stopping:
            self._operations.settle()
            self._loop.call_later(SETTLE_EVERY_S, self._keep_settling)

    # --- the launcher's word --------------------------------------------------------------------

    def _told(self) -> None:
        """SIGUSR1: become what `boot.json` names, or take in a verdict that is there."""
        boot = self._read_boot()
        trial = boot.trial if boot is not None else None
        if trial is None or trial.digest == self._digest:
            self._operations.settle()
        elif self._handover is None and not self._stopping:
            self._handover = Handover(
                self._loop,
                self._settings,
                self._inherited,
                self._connections,
                trial,
                self._serve_on,
            )
            self._handover.begin()

    def _serve_on(self) -> None:
        self._handover = None

    def _read_boot(self) -> BootRecord | None:
        try:
            return boot_store.read_boot(self._settings.home)
        except Unreadable:
            return None  # the launcher writes it again, and starts the trial afresh after its time

    def _launcher_gone(self) -> None:
        try:
            if os.read(0, 4096):
                return
        except OSError:
            pass
        self._loop.unwatch(0)
        log.say("hub", "the launcher is gone; stopping", log.WARNING)
        self.stop()

    # --- stopping -------------------------------------------------------------------------------

    def stop(self) -> None:
        """Finish what is being answered, end the helper, leave; a second call changes nothing."""
        if self._stopping:
            return
        self._stopping = True
        self._say("STOPPING=1")
        if self._handover is not None:
            self._handover.cancel()
        self._connections.stop_accepting()
        self._connections.close_after_answers(self._answered, self._settings.drain_s)

    def _answered(self) -> None:
        if not self._operations.end_helper(signal.SIGTERM):
            self._leave()
            return
        self._wait_for_helper(self._loop.now() + HELPER_STOP_S)

    def _wait_for_helper(self, deadline: float) -> None:
        if self._operations.helper()[0] == 0:
            self._leave()
        elif self._loop.now() > deadline:
            self._operations.end_helper(signal.SIGKILL)
            self._loop.call_later(0.1, self._leave)
        else:
            self._loop.call_later(0.02, lambda: self._wait_for_helper(deadline))

    def _leave(self) -> None:
        self._operations.settle(HUB_STOPPED)
        self._loop.stop()
