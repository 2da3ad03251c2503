"""The service manager above the launcher, if any (sd_notify(3), sd_watchdog_enabled(3))."""

from __future__ import annotations

import os

from hub_upgrade.host import notify
from hub_upgrade.host.loop import Loop

LONGEST_START_S = 60


class Manager:
    """Tells the manager what matters to it, each thing once; without one, tells nobody.

    The launcher answers the manager's watchdog for itself: a hub that hangs is its own affair.
    """

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._address = os.environ.get("NOTIFY_SOCKET", "")
        self._said: set[str] = set()
        microseconds = os.environ.get("WATCHDOG_USEC", "")
        ours = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        if self._address and ours and microseconds.isdecimal() and int(microseconds) > 0:
            self._every_s = int(microseconds) / 2e6
            self._watchdog()

    def _watchdog(self) -> None:
        notify.send(self._address, "WATCHDOG=1")
        self._loop.call_later(self._every_s, self._watchdog)

    def _once(self, text: str) -> None:
        if self._address and text not in self._said:
            self._said.add(text)
            notify.send(self._address, text)

    def ready(self) -> None:
        """Some hub serves."""
        self._once("READY=1")

    def more_time(self) -> None:
        """A rescue takes longer than a start should."""
        if "READY=1" not in self._said:
            self._extend(LONGEST_START_S)

    def stopping(self, limit_s: float = 0) -> None:
        """A stop has begun, and may take so long, whatever the manager would grant."""
        self._once("STOPPING=1")
        self._extend(limit_s)

    def _extend(self, seconds: float) -> None:
        if self._address and seconds:
            notify.send(self._address, f"EXTEND_TIMEOUT_USEC={seconds * 1e6:.0f}")
