"""The service manager above the launcher, if any (sd_notify(3), sd_watchdog_enabled(3))."""

from __future__ import annotations

import os

from hub_upgrade.host import notify
from hub_upgrade.host.loop import Loop

LONGEST_START_S = 60
AGAIN_S = 1.0
"""When what found no room with a busy manager is said again."""


class Manager:
    """Tells the manager what matters to it, each thing once; without one, tells nobody.

    The launcher answers the manager's watchdog for itself: a hub that hangs is its own affair.
    """

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._address = os.environ.get("NOTIFY_SOCKET", "")
        self._said: set[str] = set()
        self._stopping = False
        microseconds = os.environ.get("WATCHDOG_USEC", "")[:18]
        ours = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        if self._address and ours and microseconds.isdecimal() and int(microseconds) > 0:
            self._every_s = int(microseconds) / 2e6
            self._watchdog()

    def _watchdog(self) -> None:
        sent = notify.send(self._address, "WATCHDOG=1")
        wait_s = self._every_s if sent else min(AGAIN_S, self._every_s)
        self._loop.call_later(wait_s, self._watchdog)

    def _once(self, text: str) -> bool:
        """Whether it is said; only what went out is."""
        if self._address and text not in self._said and notify.send(self._address, text):
            self._said.add(text)
        return text in self._said

    def ready(self) -> None:
        """Some hub serves: said again until it went, or a healthy start would be timed out."""
        if not self._address or self._stopping:
            return
        if not self._once("READY=1"):
            self._loop.call_later(AGAIN_S, self.ready)

    def more_time(self) -> None:
        """A rescue takes longer than a start should."""
        if "READY=1" not in self._said:
            self._extend(LONGEST_START_S)

    def stopping(self, limit_s: float = 0) -> None:
        """A stop has begun, and may take so long, whatever the manager would grant."""
        self._stopping = True
        self._once("STOPPING=1")
        self._extend(limit_s)

    def _extend(self, seconds: float) -> None:
        if self._address and seconds:
            notify.send(self._address, f"EXTEND_TIMEOUT_USEC={seconds * 1e6:.0f}")
