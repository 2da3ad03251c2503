"""A managed hub's upgrade is taken back: what was kept is put back, and restarted if need be."""

from __future__ import annotations

import os

from hub_upgrade.domain import operation as op
from hub_upgrade.domain.install import Decision
from hub_upgrade.domain.managed import Managed
from hub_upgrade.domain.operation import Operation, Undo
from hub_upgrade.domain.restart import NOT_STARTED, STOPPED, Choice
from hub_upgrade.domain.versions import told
from hub_upgrade.errors import HostError
from hub_upgrade.host import hub_process, managed_store
from hub_upgrade.host.files import Home
from hub_upgrade.host.managed_store import Memory
from hub_upgrade.host.operation_log import OperationLog
from hub_upgrade.host.status_store import NotRecordedError
from hub_upgrade.settings import Settings
from hub_upgrade.shapes import Any, NamedTuple
from hub_upgrade.upgrade import hooks
from hub_upgrade.upgrade.hub_watch import HubWatch, prove
from hub_upgrade.upgrade.journal import Journal
from hub_upgrade.upgrade.managed_words import REVERT_S, name_of, proof_limit_s, taken_back
from hub_upgrade.upgrade.ports import Restarter, Rewriter, Store

NONE = Undo(op.NOTHING, "-")
NOBODY = "0:"
"""The identity of no process."""


class Parts(NamedTuple):
    """What a managed hub's operation works with; `source` is None only where `decision` says that
    nothing is to be rewritten. `note` is a line for the log, "" for none."""

    home: Home
    store: Store
    settings: Settings
    managed: Managed
    decision: Decision
    source: Rewriter | None
    watch: HubWatch
    choice: Choice
    restarter: Restarter
    log: OperationLog
    note: str = ""


class TakingBack:
    """The way back of one operation, from where its record says that it is."""

    def __init__(self, parts: Parts, journal: Journal) -> None:
        self._parts = parts
        self._settings = parts.settings
        self._source: Any = parts.source
        self._restarter = parts.restarter
        self._journal = journal
        self._owed = ""  # what could not be installed with what is back

    @property
    def _operation(self) -> Operation:
        return self._journal.operation

    @property
    def is_asked(self) -> bool:
        """Whether somebody was, or would be, asked to restart it: else it is waited for."""
        return self._restarter.by_manager or bool(self._operation.told)

    def name_of(self, version: str, digest: str | None) -> str:
        """By what a version is known as rejected."""
        return name_of(self._operation.install, version, digest)

    def take_back(self, why: str) -> None:
        """Put back what was kept, restart if need be, and say so. Again is safe."""
        operation = self._operation
        restarted = operation.phase == op.RESTARTING
        if restarted and operation.step != op.REVERTING:
            self._tell()
        undo = operation.undo or NONE
        old = told(operation.current_version)
        is_back = undo.kind == op.NOTHING
        try:
            self._reverting(failure=why)
        except NotRecordedError as refused:
            if is_back or restarted or not refused.full:
                raise
            is_back = self._is_back(undo, old)  # which makes room; not recorded, it is done again
            self._reverting(failure=why)
        lost = not (is_back or self._is_back(undo, old))
        error, back = why, None
        if lost:
            there = self._source.installed().version or "nothing"
            error = f"{why}; what was kept of {old} is gone, and {there} lies there: reinstall it"
        elif restarted:
            error, back = self._old_again(why)
        elif self._is_down(old):
            error, back = self._old_again(why, blamed=False)
        elif not why.endswith("changed"):
            error = f"{why}; what was rewritten is put back, {old} runs on"
        self._source.discard(undo)
        if self._owed:
            error = f"{error}; {self._owed}"
        self._journal.finish(op.FAILED, error, rolled_back_to=back)

    def _is_down(self, old: str) -> bool:
        """Whether the hub ended while it was rewritten: it may have hit its start limit on what lay
        there half, or run that."""
        process = self._operation.process
        if self._operation.rolled_back_to:  # a helper that died was about to start it
            return True
        if not process or hub_process.lives(process):
            return False
        seen = self._parts.watch.look()
        return not (seen.healthy and seen.version == old)

    def _tell(self) -> None:
        for line in self._restarter.tell():
            self._journal.line(line)

    def _reverting(self, **fields: Any) -> None:
        limit_s = proof_limit_s(self._settings) + hooks.limit_s(self._settings)
        limit_s += REVERT_S + 3 * self._restarter.limit_s
        self._journal.step(op.REVERTING, step_limit_s=limit_s, **fields)

    def _is_back(self, undo: Undo, old: str) -> bool:
        """Bring it back; False where what was kept is gone. Raises HostError or OSError where it
        may work the next time."""
        try:
            self._owed = self._source.revert(undo, self._journal.output)
        except HostError:
            if self._source.has(undo):
                raise
            return bool(self._source.installed().version == old)  # it is back already
        if self._owed:
            self._journal.line(self._owed)
        os.sync()
        return True

    def _old_again(self, why: str, blamed: bool = True) -> tuple[str, str | None]:
        """Restart what was put back, unless the old process never left; the sentence for it.

        The restart is recorded first, with whom it is to end: it may be our end too.
        """
        operation = self._operation
        taken = taken_back(operation, why)
        old, watch = told(operation.current_version), self._parts.watch
        seen = watch.look()
        again = operation.rolled_back_to is not None
        if not again:
            if operation.process and seen.process == operation.process:
                return f"{taken}; {old} runs on", None  # and nobody has seen the new one
            if blamed and not why.startswith((NOT_STARTED, STOPPED)):
                self._reject()
            if operation.undo == NONE:
                unknown = "what lay there before is not known, and nothing was put back"
                return f"{taken}; {unknown}", None
            if blamed or seen.version not in ("", old):  # the new one may have changed its data
                self.run_after_rollback()
            if not self.is_asked:
                return f"{taken}; {old} is put back, and runs once the hub is restarted", old
            self._reverting(process=seen.process or None, rolled_back_to=old)
        before = self._operation.process or ""
        # Of one that was not seen nobody can tell that it is gone.
        again = again and (bool(before) or seen.version == old)
        try:
            self._journal.line(self._restarter.restart(before, again, back=True))
        except HostError as error:
            if error.sentence.startswith(STOPPED):
                return f"{taken}; {old} is put back, and runs once somebody starts it again", old
            self._tell()
            return f"{taken}; {old} is put back, but {error.sentence}", old
        trouble = prove(watch, self._settings, self._restarter, old, before or NOBODY)
        if trouble:
            return f"{taken}; {old} is put back, but does not serve yet: {trouble}", old
        return f"{taken}; {old} runs", old

    def _reject(self) -> None:
        operation = self._operation
        name = self.name_of(operation.target_version or "", operation.integrity)
        if name and operation.undo != NONE:
            memory = managed_store.read(self._parts.home)
            self.remember(memory.rejecting(name))

    def remember(self, memory: Memory) -> None:
        """Where that cannot be written, it is said: what runs is more than what is remembered."""
        try:
            managed_store.write(self._parts.home, memory)
        except HostError as error:
            self._journal.line(f"not remembered: {error.sentence}")

    def run_after_rollback(self) -> None:
        """The hook, once an operation; raises HostError."""
        line = hooks.after_rollback(self._settings, self._operation, self._journal.output)
        if line:
            self._journal.line(line)
