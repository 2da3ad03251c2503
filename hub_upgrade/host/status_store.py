"""The single slot of the operation's record, and the history of those that ended."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import time
from collections.abc import Callable, Iterator

from hub_upgrade.domain.operation import Operation, from_wire, to_wire
from hub_upgrade.errors import HostError
from hub_upgrade.host import files
from hub_upgrade.host.files import Home, Lock, Unreadable
from hub_upgrade.shapes import Any

LOCK_WAIT_S = 2.0
"""How long `state.lock` is waited for: whoever holds it does one read-compare-replace."""
LOCK_POLL_S = 0.005
HISTORY_LIMIT = 100
HISTORY_LOG_LINES = 50
"""The history keeps the end of each log: a hundred whole ones would be a hundred megabytes."""
HISTORY_BYTES = 32 * 1024 * 1024
RACY_S = 0.1
"""Two replacements within one tick of the file system's clock can look alike: what was written so
short a time ago is read again."""

Write = Callable[[str, bytes], None]
Change = Callable[[Operation], Operation]


class NotRecordedError(HostError):
    """The record could not be written; `full` says that the disk or a quota is."""

    def __init__(self, sentence: str, full: bool = False) -> None:
        super().__init__(sentence)
        self.full = full


def _not_recorded(path: str, error: OSError) -> NotRecordedError:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return NotRecordedError(f"{path} cannot be written: {error.strerror or error}", full)


def encode(value: dict[str, Any]) -> bytes:
    """One compact JSON object for anybody: not every reader takes a lone surrogate's escape."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def encode_text(text: str) -> bytes:
    """One JSON string."""
    return json.dumps(text, ensure_ascii=False).encode("utf-8", "replace")


def _shortened(operation: Operation) -> Operation:
    return operation._replace(log=operation.log[-HISTORY_LOG_LINES:])


class StatusStore:
    """`hub-upgrade-status.json` and `history.jsonl`, written only under `state.lock`.

    `write(path, data)` replaces a file durably; tests count or end it. `wire` looks at the file
    no more often than every `recheck_s` seconds: under load that is most of what it costs.
    """

    def __init__(
        self, home: Home, write: Write = files.write_durably, recheck_s: float = 0.0
    ) -> None:
        self._recheck_s = recheck_s
        self._fresh_until = 0.0
        self._home = home
        self._path = home.status  # put together once: it is looked at for every request
        self._write = write
        self._signature: tuple[int, int, int] | None = None
        self._operation: Operation | None = None
        self._wire: bytes | None = None

    def read(self) -> Operation | None:
        """The record as it lies there; None for none, or for what is none. Never raises."""
        self._refresh()
        return self._operation

    def wire(self) -> bytes | None:
        """The record as JSON; the file is read only when it has changed. Never raises."""
        now = time.monotonic()
        if now >= self._fresh_until:
            self._refresh()
            self._fresh_until = now + self._recheck_s
        return self._wire

    def claim(self, operation: Operation) -> Operation:
        """Put a new record into the slot; the caller holds `operation.lock`.

        Raises NotRecordedError with the slot as it was.
        """
        operation = operation._replace(updated_at=files.now_rfc3339())
        with self._locked():
            self._sweep()
            self._remember(self._load())
            self._clear()
            self._replace(operation)
        return operation

    def update(self, operation_id: str, change: Change) -> Operation | None:
        """Read, compare and replace; returns what is recorded now.

        None, with nothing changed, when the slot bears another operation or a finished one.
        `change` must be quick and may be given a record that others wrote meanwhile. Raises
        NotRecordedError with the slot as it was.
        """
        with self._locked():
            before = self._load()
            if before is None or before.operation_id != operation_id or before.finished:
                return None
            after = change(before)
            if after == before:
                return before
            after = after._replace(operation_id=operation_id, updated_at=files.now_rfc3339())
            self._replace(after)
            return after

    def history(self) -> list[dict[str, Any]]:
        """The operations that ended, newest first; never raises."""
        past = self._past()
        latest = self._load()
        known = {entry["operation_id"] for entry in past}
        if latest is not None and latest.finished and latest.operation_id not in known:
            past.append(to_wire(_shortened(latest)))
        return past[::-1][:HISTORY_LIMIT]

    def _refresh(self) -> None:
        try:
            found = os.stat(self._path)
        except OSError:
            self._signature = self._operation = self._wire = None
            return
        signature = (found.st_mtime_ns, found.st_size, found.st_ino)
        if signature == self._signature:
            return
        operation = self._load()
        self._operation = operation
        self._wire = None if operation is None else encode(to_wire(operation))
        self._signature = signature if time.time() - found.st_mtime > RACY_S else None

    def _load(self) -> Operation | None:
        try:
            return from_wire(files.read_json(self._home.status))
        except Unreadable:
            return None

    def _replace(self, operation: Operation) -> None:
        self._signature = None
        self._fresh_until = 0.0
        try:
            self._write(self._home.status, files.to_json(to_wire(operation)) + b"\n")
        except OSError as error:
            raise _not_recorded(self._home.status, error) from error
        self._remember(operation)

    def _clear(self) -> None:
        """Move aside what is no record: for the holder of `operation.lock` alone."""
        if self._load() is None and os.path.lexists(self._home.status):
            try:
                files.move_aside(self._home.status)
            except OSError as error:
                raise _not_recorded(self._home.status, error) from error

    def _remember(self, operation: Operation | None) -> None:
        """Add a finished record to the history, once. A history that cannot be written waits:
        the slot still bears the record, and the next claim tries again."""
        if operation is None or not operation.finished:
            return
        lines = self._past_lines()
        mark = encode_text(operation.operation_id)
        if any(mark in line for line in lines):
            return
        lines.append(encode(to_wire(_shortened(operation))))
        try:
            if unreadable_history(self._home):
                files.move_aside(self._home.history)
            self._write(self._home.history, b"\n".join(lines[-HISTORY_LIMIT:]) + b"\n")
        except OSError:
            pass

    def _past_lines(self) -> list[bytes]:
        """The history's lines, oldest first; never raises."""
        try:
            return files.read_regular(self._home.history, HISTORY_BYTES).splitlines()
        except (OSError, Unreadable):
            return []

    def _past(self) -> list[dict[str, Any]]:
        """The history's readable lines, oldest first; never raises."""
        past = []
        for line in self._past_lines()[-HISTORY_LIMIT:]:
            try:
                operation = from_wire(json.loads(line.decode("utf-8")))
            except (ValueError, RecursionError):
                continue
            if operation is not None:
                past.append(to_wire(operation))
        return past

    def _sweep(self) -> None:
        """Remove the temporary files of writers that died: nobody else writes under the lock."""
        names = (self._home.status, self._home.history, self._home.tokens)
        starts = tuple(f".{os.path.basename(name)}." for name in names)
        try:
            for entry in os.listdir(self._home.root):
                if entry.startswith(starts) and entry.endswith(".tmp"):
                    os.unlink(os.path.join(self._home.root, entry))
        except OSError:
            pass

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        lock = take_state_lock(self._home)
        try:
            yield
        finally:
            lock.release()


def unreadable_record(home: Home) -> str:
    """Why what lies in the slot is no record, or nothing."""
    try:
        raw = files.read_json(home.status)
    except Unreadable as error:
        return str(error)
    none = raw is not None and from_wire(raw) is None
    return f"{home.status} is not the record of an operation" if none else ""


def unreadable_history(home: Home) -> str:
    """Why the history cannot be read, or nothing; single lines that cannot be are passed over."""
    try:
        files.read_regular(home.history, HISTORY_BYTES)
    except Unreadable as error:
        return str(error)
    except OSError as error:
        if os.path.lexists(home.history):
            return f"{home.history} cannot be read: {error.strerror}"
    return ""


def take_state_lock(home: Home) -> Lock:
    """`state.lock`, waited for at most LOCK_WAIT_S; raises NotRecordedError."""
    deadline = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            lock = Lock.try_take(home.state_lock)
        except OSError as error:
            raise _not_recorded(home.state_lock, error) from error
        if lock is not None:
            return lock
        if time.monotonic() > deadline:
            raise NotRecordedError(f"{home.state_lock} was not free for {LOCK_WAIT_S:g} s")
        time.sleep(LOCK_POLL_S)


class MemoryStatusStore:
    """The same for a home that cannot be written: what it knows ends with the process image."""

    def __init__(self) -> None:
        self._operation: Operation | None = None
        self._wire: bytes | None = None
        self._past: list[dict[str, Any]] = []

    def read(self) -> Operation | None:
        """The record, or None."""
        return self._operation

    def wire(self) -> bytes | None:
        """The record as JSON, or None."""
        return self._wire

    def claim(self, operation: Operation) -> Operation:
        """Put a new record into the slot."""
        return self._set(operation)

    def update(self, operation_id: str, change: Change) -> Operation | None:
        """As StatusStore.update."""
        before = self._operation
        if before is None or before.operation_id != operation_id or before.finished:
            return None
        return self._set(change(before))

    def history(self) -> list[dict[str, Any]]:
        """The operations that ended, newest first."""
        return self._past[::-1]

    def _set(self, operation: Operation) -> Operation:
        operation = operation._replace(updated_at=files.now_rfc3339())
        self._operation = operation
        self._wire = encode(to_wire(operation))
        if operation.finished:
            self._past = [*self._past, to_wire(_shortened(operation))][-HISTORY_LIMIT:]
        return operation
