"""Our own launcher: it is handed a release by `next.json`, and decides alone from there."""

from __future__ import annotations

import signal
import time

from hub_upgrade.domain.boot_record import Next
from hub_upgrade.host import boot_store, processes
from hub_upgrade.host.files import Home, Unreadable
from hub_upgrade.shapes import Any
from hub_upgrade.version import LAUNCHER_PROTOCOL

TAKE_UP_S = 60.0
"""How long the launcher may take to look: it does so every second, but may be starved or stopped,
or have a trial of its own under way."""
POLL_S = 0.02


class OwnLauncher:
    """The launcher that `serve.json` names, and that a PID on the command line may confirm."""

    def __init__(self, home: Home, hub_pid: int | None = None) -> None:
        self._home = home
        self._hub_pid = hub_pid

    def _who(self) -> dict[str, Any]:
        return boot_store.read_serve(self._home) or {}

    def _process(self) -> tuple[int, str | None]:
        """PID and start time, believed only together."""
        serving = self._who()
        pid, started = serving.get("pid"), serving.get("start_time")
        if not isinstance(pid, int) or isinstance(pid, bool) or not isinstance(started, str):
            return 0, None
        if self._hub_pid is not None and pid != self._hub_pid:
            return 0, None
        return pid, started

    def alive(self) -> bool:
        """Whether it runs, by PID and start time."""
        return processes.alive(*self._process())

    def protocol(self) -> int:
        """The protocol that it speaks."""
        told = self._who().get("protocol")
        if isinstance(told, int) and not isinstance(told, bool):
            return told
        return LAUNCHER_PROTOCOL

    def factory(self) -> str:
        """The file that it was started from."""
        told = self._who().get("factory")
        return told if isinstance(told, str) and told else "the hub.pyz that serve was started from"

    def hand_over(self, nxt: Next) -> bool:
        """Write `next.json` durably, hasten the launcher, and wait until it has taken it up.

        False when none is alive, or it has not looked in time: the release is tried when one next
        looks. Raises OSError, nothing handed over, when `next.json` cannot be written.
        """
        try:
            boot_store.write_next(self._home, nxt)
        except OSError:
            if not self._handed(nxt.operation_id):
                raise
            # It is there all the same (the directory's sync failed): the launcher may see it.
        processes.signal_process(*self._process(), signal.SIGUSR1)
        deadline = time.monotonic() + TAKE_UP_S
        while not self._taken(nxt.operation_id):
            if not self.alive() or time.monotonic() > deadline:
                return self._taken(nxt.operation_id)
            time.sleep(POLL_S)
        return True

    def _handed(self, operation_id: str) -> bool:
        try:
            nxt = boot_store.read_next(self._home)
            boot = boot_store.read_boot(self._home)
        except Unreadable:
            return True
        knows = boot is not None and boot.knows(operation_id)
        return knows or (nxt is not None and nxt.operation_id == operation_id)

    def _taken(self, operation_id: str) -> bool:
        """`next.json` is gone, or still there although `boot.json` knows its operation."""
        try:
            if boot_store.read_next(self._home) is None:
                return True
            boot = boot_store.read_boot(self._home)
        except Unreadable:
            return False
        return boot is not None and boot.knows(operation_id)
