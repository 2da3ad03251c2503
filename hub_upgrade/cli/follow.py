"""Follows an operation to its end, and says in plain words how it went."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

from hub_upgrade.cli import entry
from hub_upgrade.cli.client import Client, LauncherGoneError
from hub_upgrade.domain.operation import (
    ACCEPTED,
    FAILED,
    HANDING_OVER,
    PREFLIGHT,
    PROVING,
    REDEPLOY_REQUIRED,
    RESOLVING,
    ROLLBACK,
    STAGING,
    SUCCEEDED,
    VERIFYING,
    Operation,
    from_wire,
    to_wire,
)
from hub_upgrade.domain.settle import NEXT_START
from hub_upgrade.errors import HostError
from hub_upgrade.host.files import Home
from hub_upgrade.host.status_store import StatusStore
from hub_upgrade.shapes import Any

POLL_S = 0.2
FOLLOW_LIMIT_S = 2 * 3600.0
"""Longer than every limit of a helper and of a probation together."""
EXIT_REDEPLOY = 3
WORDS = {
    RESOLVING: "which release is it?",
    STAGING: "putting it beside what runs",
    VERIFYING: "is it whole?",
    PREFLIGHT: "trying it on a spare socket",
    HANDING_OVER: "handing it to the launcher",
    PROVING: "it serves, on probation",
}


class Teller:
    """Prints what is new in a record: plain lines, each once."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._lines: tuple[str, ...] = ()
        self._step = ACCEPTED

    def tell(self, operation: Operation) -> None:
        """Print the lines and the step that were not there the last time.

        Lines come before the step that was recorded with them, but at the end they are its own.
        """
        if operation.finished:
            self._tell_step(operation.step)
        for line in self._fresh(operation.log):
            self._say(f"  {line}")
        self._lines = operation.log
        self._tell_step(operation.step)

    def _tell_step(self, step: str) -> None:
        if step != self._step:
            self._step = step
            self._say(f"{step}: {WORDS.get(step, '')}".rstrip(": "))

    def _fresh(self, lines: tuple[str, ...]) -> tuple[str, ...]:
        seen = len(self._lines)
        if lines[:seen] == self._lines:
            return lines[seen:]
        last = self._lines[-1]  # the middle has gone: go on after what was printed last
        places = [number for number, line in enumerate(lines) if line == last]
        return lines[places[-1] + 1 :] if places else lines


def to_the_end(
    read: Callable[[], Operation | None], operation_id: str, teller: Teller
) -> Operation:
    """Read the record until it is terminal; raises HostError when it is lost, or never ends."""
    deadline = time.monotonic() + FOLLOW_LIMIT_S
    while time.monotonic() < deadline:
        operation = read()
        if operation is None or operation.operation_id != operation_id:
            raise HostError(f"the record of {operation_id} is gone; see: hub.pyz history")
        teller.tell(operation)
        if operation.finished:
            return operation
        time.sleep(POLL_S)
    raise HostError(f"{operation_id} has not ended in {FOLLOW_LIMIT_S / 3600:g} hours")


def through_hub(
    home: Home, hub: Client, path: str, body: dict[str, Any], arguments: argparse.Namespace
) -> int:
    """Ask the hub that runs, follow to the end, and say how it went; returns the exit code."""
    accepted = hub.post(path, body)
    operation_id = str(accepted.get("operation_id"))
    if arguments.no_wait:
        return told_accepted(accepted, arguments)
    try:
        end = to_the_end(_reader(home, hub, operation_id), operation_id, teller_for(arguments))
    except KeyboardInterrupt:
        return interrupted(arguments.prog)
    return conclude(end, arguments)


def _reader(home: Home, hub: Client, operation_id: str) -> Callable[[], Operation | None]:
    def read() -> Operation | None:
        try:
            answer = hub.get("/api/hub/upgrade/status")
            found = from_wire(answer.value) if answer.status == 200 else None
            # A release on trial may answer anything: the record is what lies on the disk.
            found = found or StatusStore(home).read()
        except LauncherGoneError as error:
            found = StatusStore(home).read()
            if found is None or not found.finished:
                sentence = f"{error.sentence}; the operation is {NEXT_START}"
                raise HostError(sentence) from error
        if found is not None and found.operation_id == operation_id:
            return found
        return _from_history(hub, operation_id)

    return read


def _from_history(hub: Client, operation_id: str) -> Operation | None:
    """The operation that another one has followed already."""
    value = hub.get("/api/hub/upgrade/history").value
    past = value.get("operations", []) if isinstance(value, dict) else []
    operations = [from_wire(item) for item in past]
    return next((op for op in operations if op and op.operation_id == operation_id), None)


def teller_for(arguments: argparse.Namespace) -> Teller:
    """Prints at once, or, where a program reads, nothing."""
    return Teller(_silent if arguments.json else _print)


def _silent(_line: str) -> None:
    pass


def _print(line: str) -> None:
    print(line, flush=True)


def interrupted(prog: str) -> int:
    """Ctrl-C ends the following and nothing else."""
    print(f"\n{prog}: the operation goes on; see: hub.pyz status", file=sys.stderr)
    return entry.INTERRUPTED


def told_accepted(accepted: dict[str, Any], arguments: argparse.Namespace) -> int:
    """Say that it was accepted; returns the exit code."""
    redeploy = accepted.get("mode") == REDEPLOY_REQUIRED
    if arguments.json:
        entry.print_json(accepted)
    elif redeploy:
        print(f"A redeploy is required: {accepted.get('reason')}")
    else:
        print(f"accepted: {accepted.get('operation_id')}; see: hub.pyz status")
    return EXIT_REDEPLOY if redeploy else 0


def conclude(operation: Operation, arguments: argparse.Namespace, hub_runs: bool = True) -> int:
    """Say how it ended; returns the exit code."""
    if arguments.json:
        entry.print_json(to_wire(operation))
    else:
        print(conclusion(operation))
        if not hub_runs:
            print("No hub runs; start it with: hub.pyz serve")
    code = operation.exit_code
    return entry.EXIT_FAILED if code is None else code


def conclusion(operation: Operation) -> str:
    """How a finished operation ended, in a sentence."""
    old, new = operation.current_version, operation.target_version or "the target"
    back = operation.kind == ROLLBACK
    if operation.phase == SUCCEEDED:
        if operation.undo is None:
            return f"Nothing to do: {operation.target_version or old} is what runs already."
        return f"Rolled back: {old} -> {new}." if back else f"Upgraded: {old} -> {new}, and proven."
    if operation.phase == REDEPLOY_REQUIRED:
        return f"A redeploy is required: {operation.reason}"
    if operation.phase == FAILED:
        what = "The rollback" if back else "The upgrade"
        return f"{what} failed: {operation.error or 'no reason was recorded'}"
    return f"{operation.kind} {operation.operation_id} is {operation.phase}."

