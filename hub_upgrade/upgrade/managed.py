"""An upgrade or rollback of a managed hub; runs in the helper, which owns `operation.lock`.

Each step is recorded before its act, and `undo` before anything is rewritten. A helper that takes
up what a dead one left goes on from the record: rewritten and not restarted is put back, restarted
is proven or put back by what runs then.
"""

from __future__ import annotations

import os
import traceback

from hub_upgrade.domain import operation as op
from hub_upgrade.domain.install import Decision, Place
from hub_upgrade.domain.managed import GIT
from hub_upgrade.domain.operation import Operation, Undo
from hub_upgrade.domain.restart import word_of
from hub_upgrade.domain.versions import told
from hub_upgrade.errors import HubError, RefusedError
from hub_upgrade.host import hub_process, managed_store
from hub_upgrade.host.files import Lock
from hub_upgrade.host.managed_store import Previous
from hub_upgrade.host.status_store import NotRecordedError
from hub_upgrade.shapes import Any, NamedTuple
from hub_upgrade.upgrade import hooks
from hub_upgrade.upgrade.hub_watch import Seen, is_new, prove
from hub_upgrade.upgrade.journal import Journal, LostError
from hub_upgrade.upgrade.managed_back import NOBODY, NONE, Parts, TakingBack
from hub_upgrade.upgrade.managed_words import (
    RESOLVING_S,
    STEP_MARGIN_S,
    is_there,
    not_to_be_proven,
    proof_limit_s,
    refuse_moved,
)
from hub_upgrade.upgrade.transaction import refuse_target


class Kept(NamedTuple):
    """A version that was kept, as a source resolves one."""

    version: str
    digest: str
    note: str = ""


class TakenBackError(Exception):
    """The new version is no good: why, for the record. Everything is to be put back."""


class ManagedTransaction:
    """One operation, from where its record says that it is, to its end."""

    def __init__(self, operation: Operation, parts: Parts) -> None:
        self._parts = parts
        self._settings = parts.settings
        self._source: Any = parts.source
        self._restarter = parts.restarter
        self._journal = Journal(operation, parts.store, parts.log)
        self._back = TakingBack(parts, self._journal)
        self._late = operation.phase == op.RESTARTING
        self._kept: Undo | None = None
        place = parts.decision.place or Place()
        self._where = place.prefix or place.directory
        if parts.note:
            self._journal.line(parts.note)

    @property
    def _operation(self) -> Operation:
        return self._journal.operation

    def run(self) -> int:
        """Go on to the end; returns the helper's exit code. Never raises.

        What cannot be recorded ends it where it is: whoever starts next goes on.
        """
        if self._source is None and self._operation.undo is not None:
            self._parts.log.line("where the hub was installed is not in the record: stopped")
            return 1
        held = Lock.on_directory(self._where)
        try:
            return self._run(held is not None)
        except LostError:
            self._parts.log.line("the record is not this operation's any more: stopped")
            return 1
        except (HubError, OSError) as error:
            self._parts.log.line(f"stopped: {error}")
            return 1
        finally:
            if held is not None:
                held.release()

    def _run(self, alone: bool) -> int:
        try:
            if self._operation.is_managed:
                self._go_on()
            elif alone or self._parts.decision.mode != op.IN_PLACE:
                self._begin()
            else:
                raise RefusedError(
                    "upgrade_in_flight",
                    f"another home's upgrade is at work in {self._where}: wait until it has "
                    "ended; nothing was changed",
                )
        except TakenBackError as error:
            self._back.take_back(str(error))
        except LostError:
            raise
        except NotRecordedError as error:
            if self._operation.phase == op.RESTARTING or self._operation.step == op.REVERTING:
                raise  # no fault of what runs by now: whoever starts next proves it
            self._fail(error.sentence)
        except HubError as error:
            if self._operation.step == op.REVERTING:
                raise  # whoever starts next takes it back for the reason that it has
            self._fail(error.sentence)
        except OSError as error:
            if self._operation.step == op.REVERTING:
                raise
            what = f"{error.filename}: " if error.filename else ""
            self._fail(f"{what}{error.strerror or error}")
        except Exception as error:  # noqa: BLE001 - the record must say that it ended
            self._parts.log.write(traceback.format_exc().encode("utf-8", "replace"))
            self._fail(f"an error of the hub's own ({type(error).__name__}); see the log")
        return self._operation.exit_code or 0

    # --- from the beginning ---------------------------------------------------------------------

    def _begin(self) -> None:
        decision = self._parts.decision
        if decision.mode != op.IN_PLACE:
            self._redeploy(decision)
            return
        seen = self._parts.watch.look()
        process = seen.process or self._parts.watch.told
        if not process:
            raise not_to_be_proven(self._parts.managed, seen.answered)
        command = hub_process.command_of(int(process.partition(":")[0]))
        self._parts.watch.command = command
        self._journal.step(
            op.RESOLVING, op.RUNNING, step_limit_s=RESOLVING_S,
            current_version=seen.version or self._operation.current_version, mode=decision.mode,
            source=decision.source, reason=decision.reason, evidence=decision.evidence,
            install=decision.place.source if decision.place else None,
            place=tuple(decision.place or ()), process=process, command=command or None,
            told=None if self._restarter.by_manager else self._parts.watch.told or None,
            restarter=word_of(self._parts.choice),
        )  # fmt: skip
        if self._operation.kind == op.ROLLBACK:
            self._to_previous()
        else:
            self._to_target(seen.version)

    def _redeploy(self, decision: Decision) -> None:
        self._journal.finish(
            op.REDEPLOY_REQUIRED, mode=decision.mode, source=decision.source,
            reason=decision.reason, evidence=decision.evidence,
        )  # fmt: skip

    def _to_target(self, running: str) -> None:
        operation = self._operation
        named = operation.request.version
        resolved = self._source.resolve(operation.channel, named)
        if resolved.note:
            self._journal.line(resolved.note)
        what = f"version {named}" if named else f"channel {operation.channel}"
        self._journal.line(f"{what} is {resolved.version} ({resolved.digest or 'no digest'})")
        there = self._source.installed()
        lies_there = is_there(resolved, there)
        if lies_there and running == resolved.version:
            self._journal.line(f"{running} is what runs already: nothing was restarted")
            self._journal.finish(op.SUCCEEDED, target_version=running)
            return
        rejected = managed_store.read(self._parts.home).rejected
        name = self._back.name_of(resolved.version, resolved.digest)
        refuse_target(
            running or there.version, operation.request, resolved.version, name in rejected,
            operation.install == GIT,
        )  # fmt: skip
        target: dict[str, Any] = {
            "target_version": resolved.version,
            "integrity": resolved.digest or None,
        }
        if lies_there:
            text = f"{resolved.version} lies there already, and {running or 'nothing'} runs"
            self._journal.line(f"{text}: it is only restarted")
            self._journal.line(self._restarter.check())
            self._restart(undo=NONE, **target)
            return
        refuse_moved(running, there)
        self._journal.line(self._restarter.check())
        self._keep(**target)
        self._back_up()
        self._journal.step(op.REWRITING, undo=self._kept, **target)
        self._source.swap(resolved, self._journal.output)
        there = self._source.installed()
        if not is_there(resolved, there):
            found = f"{there.version or 'nothing'} lies there"
            raise TakenBackError(f"{found} afterwards, and not {resolved.version}")
        os.sync()
        self._restart()

    def _to_previous(self) -> None:
        previous = managed_store.read(self._parts.home).previous
        if previous is None or not self._source.has(previous.undo):
            raise RefusedError("nothing_to_roll_back", "there is no version kept to go back to")
        self._journal.line(f"the version before is {previous.version}")
        self._journal.line(self._restarter.check())
        commit = previous.undo.value if previous.undo.kind == op.COMMIT else None
        self._keep(target_version=previous.version, integrity=commit)
        self._journal.step(op.REWRITING, undo=self._kept)
        if commit:  # a version like any other
            self._source.swap(Kept(previous.version, commit), self._journal.output)
        else:
            self._source.revert(previous.undo, self._journal.output)
        there = self._source.installed()
        if there.version != previous.version:
            raise TakenBackError(f"{there.version or 'nothing'} lies there afterwards")
        os.sync()
        self._back.run_after_rollback()
        self._restart()

    def _keep(self, **fields: Any) -> None:
        self._journal.step(op.STAGING, **fields)
        previous = managed_store.read(self._parts.home).previous
        wanted = previous.undo if previous is not None else None
        self._kept = self._source.keep(self._operation.operation_id, wanted)

    def _back_up(self) -> None:
        if self._settings.before_upgrade is None:
            return
        self._journal.step(op.BACKING_UP, step_limit_s=hooks.limit_s(self._settings))
        hooks.before_upgrade(self._settings, self._operation, self._journal.output)
        self._journal.line(f"{hooks.BEFORE_UPGRADE} is done")

    # --- restarted, and proven ------------------------------------------------------------------

    def _restart(self, again: bool = False, **fields: Any) -> None:
        operation, seen = self._operation, self._parts.watch.look()
        target = told(fields.get("target_version") or operation.target_version)
        # One that was started while it was rewritten may run half of it: who can, starts it anew.
        rewritten = fields.get("undo") != NONE and self._restarter.by_manager
        may_run = again or (seen.version == target and not rewritten)
        done = may_run and is_new(operation.process or "", seen)
        if self._restarter.by_manager:
            fields["step_limit_s"] = STEP_MARGIN_S + 2 * self._restarter.limit_s
            if not (again or done):  # the manager may have had to start it since
                fields["process"] = seen.process or operation.process
        self._journal.step(op.HANDING_OVER, op.RESTARTING, **fields)
        if done:
            self._prove()
        elif self._restarter.by_manager:
            process = self._operation.process or ""
            self._journal.line(self._restarter.restart(process, again))
            self._prove()
        else:
            self._prove(**self._signal(seen, again))

    def _signal(self, seen: Seen, again: bool) -> dict[str, Any]:
        """Have the process end that we were told of, if it is the hub's; what is to be recorded
        where nobody was asked to, and so whatever runs the hub must restart it."""
        watch = self._parts.watch
        told, nobody = watch.told, not watch.told
        if told and not hub_process.lives(told):
            nobody = seen.answered and not again
        elif told and not watch.is_the_hub(told, self._parts.decision.place):
            pid = told.partition(":")[0]
            self._journal.line(f"process {pid} does not run the hub: it was not signalled")
            told, nobody = "", True
        self._journal.line(self._restarter.restart(told, again))
        if not nobody:
            return {}
        watch.told = ""
        return {"told": None, "process": seen.process or self._operation.process}

    def _prove(self, **fields: Any) -> None:
        watch = self._parts.watch
        limit_s = proof_limit_s(self._settings) + self._restarter.limit_s
        self._journal.step(op.PROVING, step_limit_s=limit_s, **fields)
        operation = self._operation
        before, target = operation.process or "", told(operation.target_version)
        settings = self._settings
        if not self._back.is_asked and not is_new(before, watch.look()):
            if hub_process.lives(before):
                return  # nobody knows when it is restarted: whoever looks then, goes on
            settings = settings._replace(ready_timeout_s=settings.probation_max_s)
        why = prove(watch, settings, self._restarter, target, before, self._late)
        if not why:
            there = self._source.installed()
            moved = operation.integrity if there.digest else None
            if there.version != target or (moved and there.digest != moved):
                why = f"{there.version or 'nothing'} lies on the disk by now"
        if why:
            raise TakenBackError(why)
        self._proven()

    def _proven(self) -> None:
        operation = self._operation
        memory = managed_store.read(self._parts.home)
        previous, undo = memory.previous, operation.undo or NONE
        old, target = operation.current_version, operation.target_version or ""
        name = self._back.name_of(target, operation.integrity)
        if operation.kind == op.ROLLBACK:
            left = self._back.name_of(old, undo.value)
            memory = memory.rejecting(left).proving(name, None)
        elif undo.kind != op.NOTHING:
            memory = memory.proving(name, Previous(old, undo))
        self._back.remember(memory)
        self._journal.line(f"{target} is proven: healthy in a new process")
        self._journal.finish(op.SUCCEEDED)
        if operation.kind == op.ROLLBACK or undo.kind == op.COMMIT:
            self._source.discard(undo)  # a commit is there without it
        if previous is not None and previous != memory.previous:
            self._source.discard(previous.undo)

    # --- what a dead helper left ----------------------------------------------------------------

    def _go_on(self) -> None:
        operation = self._operation
        watch = self._parts.watch
        watch.command, watch.told = operation.command or "", operation.told or ""
        if operation.is_of_another:
            self._tell_what_runs()
        elif operation.step == op.REVERTING:
            self._back.take_back(operation.failure or "its helper ended while it was taken back")
        elif operation.phase != op.RESTARTING:
            raise TakenBackError("its helper ended before it was done")
        elif operation.step == op.HANDING_OVER:
            self._restart(again=True)
        else:
            self._prove()

    def _tell_what_runs(self) -> None:
        """Another program's helper had it restarted: which process is new cannot be known, but
        which version is."""
        target, old = told(self._operation.target_version), told(self._operation.current_version)
        parts = self._parts
        why = prove(parts.watch, self._settings, parts.restarter, target, NOBODY, self._late)
        if why or target == old:
            why = f"its helper ended before it was done: {why or f'{old} runs as before'}"
            self._journal.finish(op.FAILED, why, step=op.PROVING)
            return
        self._journal.line(f"{target} runs, and is healthy")
        self._journal.finish(op.SUCCEEDED, step=op.PROVING)

    # --- taken back -----------------------------------------------------------------------------

    def _fail(self, sentence: str) -> None:
        """Nothing was rewritten yet, or it has to be taken back."""
        if self._operation.is_managed:
            self._back.take_back(sentence)
            return
        if self._kept is not None:
            self._source.discard(self._kept)
        self._journal.finish(op.FAILED, sentence)
