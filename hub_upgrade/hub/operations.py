"""The operation that is open, if any, as the loop sees it: settled, told, and gone on with."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

from hub_upgrade.domain.operation import PENDING, RUNNING, SUCCEEDED, Operation
from hub_upgrade.domain.settle import Running
from hub_upgrade.host import log, processes
from hub_upgrade.host.files import Home, Lock
from hub_upgrade.host.loop import Loop
from hub_upgrade.hub.hook_runner import HookRunner
from hub_upgrade.upgrade import recovery
from hub_upgrade.upgrade.accept import StartHelper
from hub_upgrade.upgrade.ports import Store

GUARD_S = 1.0
GUARD_POLL_S = 0.02
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
"""Between two helpers that go on with what a dead one left: one that dies at once must not spin."""


class OpenOperation:
    """The operation that is open, if any, as the hub's loop sees it (`hub.main.Operations`)."""

    def __init__(
        self,
        home: Home,
        store: Store,
        running: Running,
        loop: Loop,
        launcher_alive: Callable[[], bool],
        start_helper: StartHelper,
        hooks: HookRunner,
    ) -> None:
        self.changed: Callable[[], None] | None = None
        self._launcher_alive = launcher_alive
        self._start_helper = start_helper
        self._hooks = hooks
        self._pause_s = FIRST_PAUSE_S
        self._again_at = 0.0
        self._home = home
        self._store = store
        self._running = running
        self._loop = loop
        self._watch = recovery.Watch()
        self._started = ("", 0, "")
        self._unwritten = ""  # why the end of an operation could not be recorded: told with it
        record = store.read()
        self._told = record.operation_id if record is not None and record.finished else ""
        loop.on_late(self._watch.slept)

    def started(self, operation: Operation, pid: int) -> None:
        """Remember the helper that we started: it records itself only with its first step, and
        until then a dead one may stand there."""
        self._started = (operation.operation_id, pid, processes.start_time(pid) or "")
        what = f"{operation.kind} {operation.operation_id}"
        if operation.is_managed:
            log.say("hub", f"another helper goes on with {what}")
        else:
            log.say("hub", f"{what} was asked for by {operation.requested_by}")

    def _tell(self, record: Operation | None) -> None:
        """A line in the log for each operation that has ended."""
        if record is None or not record.finished or record.operation_id == self._told:
            return
        self._told = record.operation_id
        good = record.phase == SUCCEEDED
        version = record.target_version or record.current_version
        end = version if good else record.error or record.reason
        text = f"{record.kind} {record.operation_id} ended as {record.phase}: {end}"
        log.say("hub", text, log.INFO if good else log.WARNING, operation_id=record.operation_id)
        self._hooks.ended(record)
        if self.changed is not None:
            self.changed()

    def _record(self) -> Operation | None:
        record = self._store.read()
        operation_id, pid, start_time = self._started
        if record is None or record.operation_id != operation_id:
            return record
        if processes.alive(record.helper_pid or 0, record.helper_start_time):
            return record
        return record._replace(helper_pid=pid, helper_start_time=start_time)

    def settle(self, reason: str | None = None) -> None:
        """Bring the record up to what is true, and end a helper that is over its time."""
        record = self._record()
        if self._watch.overdue(record, self._loop.now()):
            recovery.end_helper(record, signal.SIGKILL)
        ended = (reason or recovery.HELPER_DIED) + self._unwritten
        if not self._is_restored(record):
            return
        settled = self._settled(ended)
        if reason is not None:
            settled = self._last_word(settled, ended)
        self._tell(settled)
        if reason is None:
            self._go_on(settled)
        waits = settled is not None and not settled.finished and settled.error
        self._unwritten = f" ({waits})" if waits else ""

    def _settled(self, ended: str) -> Operation | None:
        return recovery.settle_now(
            self._home, self._store, self._running, self._launcher_alive(), ended
        )

    def _last_word(self, record: Operation | None, ended: str) -> Operation | None:
        """The hub stops: the guard of a killed helper's tool holds the lock for a moment more."""
        deadline = time.monotonic() + GUARD_S
        while record is not None and record.phase in (PENDING, RUNNING) and not record.is_managed:
            if time.monotonic() > deadline:
                break
            time.sleep(GUARD_POLL_S)
            record = self._settled(ended)
        return record

    def _is_restored(self, record: Operation | None) -> bool:
        """Whether `after_rollback` has no part in it, or is done."""
        if record is None or not recovery.wants_restoring(self._home, record):
            return True
        return self._hooks.restored(record)

    def _go_on(self, record: Operation | None) -> None:
        """Start another helper where a dead one had begun to rewrite a managed hub."""
        if record is None or record.finished or not record.is_managed:
            self._pause_s = FIRST_PAUSE_S
            return
        if self._loop.now() < self._again_at or self.helper()[0]:
            return
        try:
            lock = Lock.try_take(self._home.operation_lock)
            if lock is None:
                return
            try:
                self._start_helper(record, lock)
            finally:
                lock.release()
        except OSError as error:
            log.say("hub", f"no helper can be started: {error.strerror}", log.WARNING)
        self._again_at = self._loop.now() + self._pause_s
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)

    def helper(self) -> tuple[int, str | None]:
        """The helper that lives, with its start time; 0 for none."""
        record = self._record()
        if record is None or record.finished or record.helper_pid is None:
            return 0, None
        if not processes.alive(record.helper_pid, record.helper_start_time):
            return 0, None
        return record.helper_pid, record.helper_start_time

    def end_helper(self, number: int) -> bool:
        """Signal the helper with its group; whether there was one."""
        return recovery.end_helper(self._record(), number)
