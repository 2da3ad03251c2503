"""The launcher's looks at `/health`, through its own listener: one at a time, now or later."""

from __future__ import annotations

import socket
from collections.abc import Callable

from hub_upgrade.domain.probation import LOOK_EVERY_S
from hub_upgrade.host.look import Look, Seen, reachable
from hub_upgrade.host.loop import Loop
from hub_upgrade.launcher.deadlines import Deadlines


class Eye:
    """Each look ends the one before, whether that is under way or yet to come."""

    def __init__(self, loop: Loop, listener: socket.socket, deadlines: Deadlines) -> None:
        self._loop = loop
        self._listener = listener
        self._deadlines = deadlines
        self._look: Look | None = None

    def look(self, done: Callable[[Seen], None]) -> None:
        """Look now; `done` is told once, unless another look or `close` comes first."""
        self.close()

        def ended(seen: Seen) -> None:
            self._look = None
            done(seen)

        address = reachable(self._listener.getsockname())
        try:
            self._look = Look(self._loop, self._listener.family, address, ended)
        except OSError as error:  # no descriptor to be had: the machine's trouble, not the hub's
            seen = Seen(0, {}, error.strerror or str(error))
            self._deadlines.start("look", LOOK_EVERY_S, lambda: done(seen))

    def look_in(self, seconds: float, done: Callable[[Seen], None]) -> None:
        """Look after that time, counted from now."""
        self.close()
        self._deadlines.start("look", seconds, lambda: self.look(done))

    def slept(self, gap: float) -> None:
        """The machine slept for that many seconds: the look under way gets them back."""
        if self._look is not None:
            self._look.extend(gap)

    def close(self) -> None:
        """Look no more, until the next call."""
        self._deadlines.clear("look")
        if self._look is not None:
            self._look.cancel()
            self._look = None
