"""Named deadlines on the loop, which all move when the launcher itself did not run."""

from __future__ import annotations

from collections.abc import Callable

from hub_upgrade.host.loop import Loop, Timer


class Deadlines:
    """At most one deadline a name; starting it again replaces it."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._timers: dict[str, tuple[Timer, Callable[[], None]]] = {}

    def start(self, name: str, delay_s: float, callback: Callable[[], None]) -> None:
        """Call `callback` in `delay_s` seconds, unless it is cleared or started again before."""
        self.clear(name)

        def due() -> None:
            self._timers.pop(name, None)
            callback()

        self._timers[name] = (self._loop.call_later(delay_s, due), callback)

    def clear(self, *names: str) -> None:
        """Forget these; a name that is not there is no mistake."""
        for name in names:
            found = self._timers.pop(name, None)
            if found is not None:
                found[0].cancel()

    def clear_all(self) -> None:
        self.clear(*list(self._timers))

    def shift(self, gap_s: float) -> None:
        """Give every deadline `gap_s` more seconds; what is over even so is due at once."""
        now = self._loop.now()
        for name, (timer, callback) in list(self._timers.items()):
            self.start(name, max(0.0, timer.when + gap_s - now), callback)
