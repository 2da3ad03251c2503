"""Runs the operator's hooks from the hub's loop: each in a one-shot child of this very file."""

from __future__ import annotations

from collections.abc import Callable

from hub_upgrade.domain.operation import Operation
from hub_upgrade.host import interpreter, log
from hub_upgrade.host.children import ChildResult, OneShot
from hub_upgrade.host.loop import Loop
from hub_upgrade.settings import Settings

MARGIN_S = 60.0


class HookRunner:
    """`after_rollback` before a record says that an older release runs again, `on_finish` after
    each record's end."""

    def __init__(self, loop: Loop, settings: Settings, program: str) -> None:
        self._loop = loop
        self._settings = settings
        self._program = program
        self._restoring = ""  # the operation whose `after_rollback` runs, or has run
        self._done = True

    def restored(self, record: Operation) -> bool:
        """Whether `after_rollback` is done with, for this operation; else it is started."""
        if self._settings.after_rollback is None:
            return True
        if self._restoring != record.operation_id:
            self._restoring, self._done = record.operation_id, False
            self._start("after_rollback", record, self._is_restored)
        return self._done

    def _is_restored(self, _result: ChildResult | None) -> None:
        self._done = True

    def ended(self, record: Operation) -> None:
        """An operation has ended: `on_finish`, if there is one."""
        if self._settings.on_finish is not None:
            self._start("on_finish", record, lambda _result: None)

    def _start(
        self, name: str, record: Operation, done: Callable[[ChildResult | None], None]
    ) -> None:
        argv = interpreter.command(
            self._program, "hook", name, "--op", record.operation_id,
            "--config-dir", self._settings.home.root,
        )  # fmt: skip
        try:
            # Twice: one that an earlier hub started may have to be waited for.
            OneShot(self._loop, argv, None, 2 * self._settings.hook_timeout_s + MARGIN_S, done)
        except OSError as error:
            log.say("hub", f"{name} cannot be started: {error.strerror}", log.WARNING)
            done(None)
