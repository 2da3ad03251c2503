"""`hub.pyz hook`: runs one of the operator's hooks for an operation; the hub starts it."""

from __future__ import annotations

from hub_upgrade.cli import entry
from hub_upgrade.cli.arguments import Arguments, Command, Option
from hub_upgrade.domain.operation import Operation, from_wire
from hub_upgrade.errors import HostError, UsageError
from hub_upgrade.host import operation_log
from hub_upgrade.host.operation_log import OperationLog
from hub_upgrade.host.status_store import StatusStore
from hub_upgrade.upgrade import hooks
from hub_upgrade.wiring import command

NAMES = (hooks.AFTER_ROLLBACK, hooks.ON_FINISH)
COMMAND = Command(
    "hook",
    "Run after_rollback or on_finish of hub.json for one operation, as its hub would: to try it\n"
    "out, or again after it failed.",
    "hub.pyz hook after_rollback --again --op 2f1c9b1e-6d0a-4c39-8d8e-3c1f0a9b7e55",
    "0 done, or there is nothing to do; 1 it failed; 2 wrong usage",
    "what it prints goes to logs/upgrade-ID.log in home; operation.lock is held by after_rollback",
    (
        Option("--op", "the operation", "ID", needed=True),
        Option("--again", "after_rollback also for an operation that has ended, or had it"),
    ),
    (Option("hook", choices=NAMES, needed=True),),
)


def main(argv: list[str]) -> int:
    """Run it; returns the exit code."""
    return entry.run(COMMAND, argv, hook)


def hook(given: Arguments) -> int:
    """Run the hook for the operation that is named."""
    home = entry.home_in(given)
    store = StatusStore(home)
    operation = _operation(store, given.op)
    settings = command.settings(home, None)
    log = OperationLog(operation_log.open_log(home, operation.operation_id))
    if given.hook == hooks.ON_FINISH:
        why = hooks.on_finish(settings, operation, log.write)
        if why:
            raise HostError(why)
        return 0
    line = command.restore(settings, store, operation, log, given.again)
    if line:
        print(line)
    return 0 if line in ("", hooks.RESTORED) else 1


def _operation(store: StatusStore, operation_id: str) -> Operation:
    record = store.read()
    past = [record, *(from_wire(item) for item in store.history())]
    for operation in past:
        if operation is not None and operation.operation_id == operation_id:
            return operation
    raise UsageError(f"there is no operation {operation_id[:100]!r}")
