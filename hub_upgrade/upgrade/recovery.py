"""Applies `domain.settle`: at boot, while a record is open, before a new claim."""

from __future__ import annotations

import signal

from hub_upgrade.domain.boot_record import BootRecord, Next
from hub_upgrade.domain.operation import RESTARTING, UPGRADE, Operation
from hub_upgrade.domain.settle import UNKNOWN, Running, Unknown, settle
from hub_upgrade.domain.transitions import LIMITS_S
from hub_upgrade.errors import HostError
from hub_upgrade.host import boot_store, files, processes, releases
from hub_upgrade.host.files import Home, Lock, Unreadable
from hub_upgrade.upgrade.ports import Store

COMMITTED, REJECTED = "committed", "rejected"
HELPER_DIED = "its helper ended before it was done"
HUB_STOPPED = "the hub was stopped"


def read_next(home: Home) -> Next | Unknown | None:
    """`next.json`, where one that cannot be read is no answer."""
    try:
        return boot_store.read_next(home)
    except Unreadable:
        return UNKNOWN


def read_boot(home: Home) -> BootRecord | Unknown | None:
    """`boot.json`, where one that cannot be read is no answer."""
    try:
        return boot_store.read_boot(home)
    except Unreadable:
        return UNKNOWN


def settle_now(
    home: Home,
    store: Store,
    running: Running | None,
    launcher_alive: bool,
    ended: str = HELPER_DIED,
) -> Operation | None:
    """Bring the record up to what is true, if nobody holds the operation; the record then.

    Costs one `stat` when nothing is open. Never waits for `operation.lock`, and never raises: a
    record that cannot be written now is settled the next time, and bears the reason as its error
    here, though not on the disk.
    """
    record = store.read()
    if record is None or record.finished:
        return record
    try:
        lock = Lock.try_take(home.operation_lock)
    except OSError:
        return record
    if lock is None:
        return record
    try:
        return settle_locked(home, store, running, launcher_alive, ended)
    except HostError as error:
        return record._replace(error=error.sentence)
    finally:
        lock.release()


def settle_locked(
    home: Home,
    store: Store,
    running: Running | None,
    launcher_alive: bool,
    ended: str = HELPER_DIED,
) -> Operation | None:
    """The same for a caller that holds `operation.lock`; raises HostError when it cannot be
    written. The record is read after the lock was taken: before, it was another's."""
    record = store.read()
    if record is None or record.finished:
        return record
    nxt = read_next(home)
    boot = read_boot(home)
    now = files.now_rfc3339()
    settled = settle(record, boot, nxt, running, launcher_alive, now, ended).record
    if settled is None or settled == record:
        return record

    def change(current: Operation) -> Operation:
        return settle(current, boot, nxt, running, launcher_alive, now, ended).record or current

    written = store.update(record.operation_id, change)
    if written is not None and record.phase != RESTARTING:
        releases.sweep(home)
    return written if written is not None else store.read()


def wants_restoring(home: Home, record: Operation) -> bool:
    """Whether an older release of `hub.pyz` runs again, and the record does not say so yet."""
    if record.finished or record.is_managed or record.phase != RESTARTING:
        return False
    boot = read_boot(home)
    if boot is None or isinstance(boot, Unknown):
        return False
    verdict = boot.verdict_on(record.operation_id)
    back = REJECTED if record.kind == UPGRADE else COMMITTED
    return verdict is not None and verdict.verdict == back


def busy(home: Home) -> bool:
    """Whether an operation is under way: a live owner of the lock, or something pending."""
    nxt, boot = read_next(home), read_boot(home)
    if nxt is not None or isinstance(boot, Unknown):
        return True
    if boot is not None and boot.trial is not None:
        return True
    try:
        lock = Lock.try_take(home.operation_lock)
    except OSError:
        return False
    if lock is None:
        return True
    lock.release()
    return False


class Watch:
    """How long a helper has been at its step, by the clock of whoever looks (monotonic seconds)."""

    def __init__(self) -> None:
        self._seen: tuple[str, str] = ("", "")
        self._since = 0.0

    def overdue(self, record: Operation | None, now: float) -> bool:
        """Whether the helper of an open record is at one step for longer than its limit."""
        if record is None or record.finished:
            self._seen = ("", "")
            return False
        seen = (record.operation_id, record.step)
        if seen != self._seen:
            self._seen, self._since = seen, now
        return now - self._since > (record.step_limit_s or LIMITS_S[record.step])

    def slept(self, gap_s: float) -> None:
        """Give back the time in which the looker itself did not run."""
        self._since += gap_s


def end_helper(record: Operation | None, number: int = signal.SIGKILL) -> bool:
    """Signal the helper of an open record with its group, if it is still the one that is meant."""
    if record is None or record.finished or record.helper_pid is None:
        return False
    return processes.kill_group(record.helper_pid, record.helper_start_time, number)
