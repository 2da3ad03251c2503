"""One selector: descriptors, timers, signals by a wakeup descriptor, exits of children."""

from __future__ import annotations

import heapq
import os
import select
import signal
import time
from collections.abc import Callable

from hub_upgrade.shapes import Any

READ = select.POLLIN
WRITE = select.POLLOUT
HANGUP = select.POLLHUP | select.POLLERR

LONGEST_SLEEP_S = 1.0
"""The loop wakes at least this often, so that it can tell a late wake from having no work."""
LATE_S = 1.5
"""Waking this much later than asked means: stopped, suspended or starved, machine or process."""


class Timer:
    """A call that is due once; `cancel` is safe at any time."""

    __slots__ = ("callback", "when")

    def __init__(self, when: float, callback: Callable[[], None] | None) -> None:
        self.when = when
        self.callback = callback

    def cancel(self) -> None:
        self.callback = None

    def __lt__(self, other: Timer) -> bool:
        return self.when < other.when


class Loop:
    """The only place that waits. One thread; callbacks run one at a time and never wait themselves.

    Within one turn descriptors come first, then signals and exits, then timers: what has already
    arrived is heard before anything is declared late.
    """

    def __init__(self) -> None:
        self._epoll = hasattr(select, "epoll")
        self._poll: Any = select.epoll() if hasattr(select, "epoll") else select.poll()
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._timers: list[Timer] = []
        self._signals: dict[int, Callable[[], None]] = {}
        self._children: dict[int, Callable[[int], None]] = {}
        self._late: list[Callable[[float], None]] = []
        self._awake = time.monotonic()
        self._running = False
        self.reap_orphans = False
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self.watch(self._wake_read, READ, self._woken)

    @staticmethod
    def now() -> float:
        """Monotonic seconds: the only time that decides."""
        return time.monotonic()

    def watch(self, descriptor: int, events: int, callback: Callable[[int], None]) -> None:
        """Call `callback(events)` whenever the descriptor is ready; one watch a descriptor."""
        self._handlers[descriptor] = callback
        self._poll.register(descriptor, events)

    def modify(self, descriptor: int, events: int) -> None:
        """Change what is waited for; hang-ups are always reported."""
        self._poll.modify(descriptor, events)

    def unwatch(self, descriptor: int) -> None:
        """Forget a descriptor; to be called before it is closed."""
        if self._handlers.pop(descriptor, None) is not None:
            try:
                self._poll.unregister(descriptor)
            except (OSError, KeyError, ValueError):
                pass

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        """Call once after `delay_s` seconds of monotonic time."""
        timer = Timer(self.now() + delay_s, callback)
        heapq.heappush(self._timers, timer)
        return timer

    def on_late(self, callback: Callable[[float], None]) -> None:
        """Call with the seconds that were slept away, before any timer of that turn runs."""
        self._late.append(callback)

    def on_signal(self, number: int, callback: Callable[[], None]) -> None:
        """Call in a turn of the loop after a signal came; the handler itself only enqueues."""
        if not self._signals:
            signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        self._signals[number] = callback
        signal.signal(number, _noted)

    def signalled(self) -> bool:
        """Whether a signal has come that no turn has handled yet."""
        waiting = select.poll()
        waiting.register(self._wake_read, select.POLLIN)
        return bool(waiting.poll(0))

    def children(self) -> list[int]:
        """The children whose end nobody was told yet."""
        return sorted(self._children)

    def on_exit(self, pid: int, callback: Callable[[int], None]) -> None:
        """Call with the wait status once a child has ended; it is reaped here and nowhere else."""
        if signal.SIGCHLD not in self._signals:
            self.on_signal(signal.SIGCHLD, self._reap)
        self._children[pid] = callback
        self.call_later(0, self._reap)  # it may have ended before anyone listened

    def unblock(self) -> None:
        """Let in the signals that whoever started us held back until the handlers stood."""
        signal.pthread_sigmask(signal.SIG_UNBLOCK, set(self._signals))

    def run(self) -> None:
        """Turn until `stop`."""
        self._running = True
        self.unblock()
        while self._running:
            self.turn()

    def stop(self) -> None:
        self._running = False

    def turn(self) -> None:
        """Wait for whatever comes first, and handle all that came."""
        asked = LONGEST_SLEEP_S
        timers = self._timers
        while timers and timers[0].callback is None:
            heapq.heappop(timers)
        before = time.monotonic()
        if timers:
            asked = min(asked, max(0.0, timers[0].when - before))
        try:
            ready = self._poll.poll(asked if self._epoll else asked * 1000)
        except InterruptedError:
            ready = []
        now = time.monotonic()
        gap = now - self._awake - asked  # since the last wait ended: a stop may hit us anywhere
        self._awake = now
        handlers = self._handlers
        for descriptor, events in ready:
            handler = handlers.get(descriptor)
            if handler is not None:
                handler(events)
        if gap > LATE_S:
            self._slept(gap)
        if timers and timers[0].when <= now:
            self._run_timers(now)

    def _slept(self, gap: float) -> None:
        for callback in self._late:
            callback(gap)

    def _run_timers(self, now: float) -> None:
        due = []
        while self._timers and self._timers[0].when <= now:
            due.append(heapq.heappop(self._timers))
        for timer in due:
            callback, timer.callback = timer.callback, None
            if callback is not None:
                callback()

    def _woken(self, _events: int) -> None:
        try:
            numbers = set(os.read(self._wake_read, 4096))
        except BlockingIOError:
            return
        for number in numbers:
            callback = self._signals.get(number)
            if callback is not None:
                callback()

    def _reap(self) -> None:
        if self.reap_orphans:
            self._reap_all()
            return
        for pid in list(self._children):
            try:
                found, status = os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                found, status = pid, 0
            if found:
                self._ended(pid, status)

    def _reap_all(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            self._ended(pid, status)

    def _ended(self, pid: int, status: int) -> None:
        callback = self._children.pop(pid, None)
        if callback is not None:
            callback(status)

    def close(self) -> None:
        """Give back the loop's own descriptors and the wakeup descriptor."""
        if self._signals:
            signal.set_wakeup_fd(-1)
        os.close(self._wake_read)
        os.close(self._wake_write)
        if self._epoll:
            self._poll.close()


def _noted(_number: int, _frame: object) -> None:
    """Nothing: the number has gone down the wakeup pipe already."""
