"""Follows an operation to its end, and says in plain words how it went."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from datetime import datetime, timezone

from hub_upgrade.cli import entry
from hub_upgrade.cli.arguments import Arguments
from hub_upgrade.cli.client import Client, LauncherGoneError
from hub_upgrade.cli.live import Screen
from hub_upgrade.domain.managed import GIT, PACKAGE
from hub_upgrade.domain.operation import (
    ACCEPTED,
    BACKING_UP,
    FAILED,
    HANDING_OVER,
    MANAGED_PATH,
    PATH,
    PREFLIGHT,
    PROVING,
    REDEPLOY_REQUIRED,
    RESOLVING,
    REVERTING,
    REWRITING,
    ROLLBACK,
    STAGING,
    STEPS,
    SUCCEEDED,
    VERIFYING,
    Operation,
    Progress,
    from_wire,
    to_wire,
)
from hub_upgrade.domain.settle import NEXT_START
from hub_upgrade.domain.versions import is_version, naming
from hub_upgrade.errors import HostError, RefusedError
from hub_upgrade.host import managed_store, operation_log
from hub_upgrade.host.files import Home
from hub_upgrade.host.status_store import StatusStore
from hub_upgrade.shapes import Any
from hub_upgrade.upgrade.accept import LEAVING_S
from hub_upgrade.upgrade.managed_words import name_of

POLL_S = 0.2
FOLLOW_LIMIT_S = 2 * 3600.0
"""Longer than every limit of a helper and of a probation together."""
WORDS = {
    RESOLVING: "which release is it?",
    STAGING: "putting it beside what runs",
    VERIFYING: "is it whole?",
    PREFLIGHT: "trying it on a spare socket",
    HANDING_OVER: "handing it to the launcher",
    BACKING_UP: "running before_upgrade",
    PROVING: "it serves, on probation",
    REVERTING: "putting back what was there",
}
MANAGED_WORDS = {
    **WORDS,
    STAGING: "keeping aside what is installed",
    REWRITING: "installing it",
    HANDING_OVER: "having the hub restarted",
}
BAR = 20
UNITS = {"bytes": ("kB", 1000)}


class Teller:
    """Tells what is new in a record: the steps and the lines, each once."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._lines: tuple[str, ...] = ()
        self._step = ACCEPTED

    def tell(self, operation: Operation) -> None:
        """Say the steps and lines that were not there the last time, and where it is now.

        A step that nobody looked at was gone through all the same, and is told of. Lines were
        recorded with the step after the one they are about; the last ones with the end.
        """
        if self._step == ACCEPTED != operation.step:
            self._tell_steps(operation, RESOLVING)
        if operation.finished:
            self._tell_steps(operation, operation.step)
        for line in self._fresh(operation.log):
            self._screen.say(f"  {line}")
        self._lines = operation.log
        self._tell_steps(operation, operation.step)
        if not operation.finished:
            self._screen.show(now(operation))

    def close(self) -> None:
        """Nothing is shown any more but what stays."""
        self._screen.clear()

    def _tell_steps(self, operation: Operation, last: str) -> None:
        told, there = STEPS.index(self._step), STEPS.index(last)
        if there < told and not operation.finished:
            told = there - 1  # another helper began anew
        words, path = (WORDS, PATH) if operation.is_of_pyz else (MANAGED_WORDS, MANAGED_PATH)
        for step in STEPS[told + 1 : there + 1]:
            gone_through = step in path or step == operation.step
            if gone_through and (step != STAGING or operation.kind != ROLLBACK):
                self._screen.say(f"{step}: {words[step]}")
            self._step = step

    def _fresh(self, lines: tuple[str, ...]) -> tuple[str, ...]:
        seen = len(self._lines)
        if lines[:seen] == self._lines:
            return lines[seen:]
        last = self._lines[-1]  # the middle has gone: go on after what was printed last
        places = [number for number, line in enumerate(lines) if line == last]
        return lines[places[-1] + 1 :] if places else lines


def now(operation: Operation) -> list[str]:
    """Where an operation is, the longest form first; what the step means stands above."""
    step, since = operation.step, elapsed(operation.started_at)
    bar, amount = _progress(operation.progress)
    forms = ((step, bar, amount, since), (step, amount, since), (step, since), (step,))
    return [" ".join(part for part in form if part) for form in forms]


def _progress(progress: Progress | None) -> tuple[str, str]:
    if progress is None:
        return "", ""
    unit, size = UNITS.get(progress.unit, (progress.unit, 1))
    if not progress.total:
        return "", f"{progress.done // size} {unit}"
    part = min(1.0, progress.done / progress.total)
    bar = "#" * int(part * BAR)
    return f"[{bar:-<{BAR}}]", f"{part:.0%} of {progress.total // size} {unit}"


def elapsed(started_at: str) -> str:
    """How long ago that was by this machine's clock, as minutes and seconds."""
    try:
        began = datetime.fromisoformat(started_at.replace("Z", "+00:00"))
        seconds = max(0, int((datetime.now(timezone.utc) - began).total_seconds()))
    except (ValueError, TypeError):
        return ""
    return f"{seconds // 60}:{seconds % 60:02}"


def to_the_end(
    read: Callable[[], Operation | None], operation_id: str, teller: Teller
) -> Operation:
    """Read the record until it is terminal; raises HostError when it is lost, or never ends."""
    deadline = time.monotonic() + FOLLOW_LIMIT_S
    try:
        while time.monotonic() < deadline:
            operation = read()
            if operation is None or operation.operation_id != operation_id:
                raise HostError(f"the record of {operation_id} is gone; see: hub.pyz history")
            teller.tell(operation)
            if operation.finished:
                return operation
            time.sleep(POLL_S)
    finally:
        teller.close()
    raise HostError(f"{operation_id} has not ended in {FOLLOW_LIMIT_S / 3600:g} hours")


def through_hub(
    home: Home, hub: Client, path: str, body: dict[str, Any], arguments: Arguments
) -> int:
    """Ask the hub that runs, follow to the end, and say how it went; returns the exit code."""
    accepted = _posted(home, hub, path, body)
    operation_id = str(accepted.get("operation_id"))
    if arguments.no_wait:
        return told_accepted(accepted, arguments)
    try:
        end = to_the_end(_reader(home, hub, operation_id), operation_id, teller_for(arguments))
    except KeyboardInterrupt:
        return interrupted(arguments.prog, "goes on")
    return conclude(home, end, arguments)


def _posted(home: Home, hub: Client, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Ask, and again where an operation that has ended is in the way: its helper tidies up."""
    deadline = time.monotonic() + LEAVING_S
    while True:
        try:
            return hub.post(path, body)
        except RefusedError as error:
            record = StatusStore(home).read()
            leaving = record is not None and record.finished and time.monotonic() < deadline
            if error.code != "upgrade_in_flight" or not leaving:
                raise
        time.sleep(POLL_S)


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


def teller_for(arguments: Arguments) -> Teller:
    """Tells at once, or, where a program reads, nothing."""
    return Teller(Screen(quiet=arguments.json))


def interrupted(prog: str, what: str) -> int:
    """Ctrl-C ends the following and nothing else."""
    if sys.stderr.isatty():
        print(file=sys.stderr)  # the terminal has shown ^C
    print(f"{prog}: the operation {what}; see: hub.pyz status", file=sys.stderr)
    return entry.INTERRUPTED


def told_accepted(accepted: dict[str, Any], arguments: Arguments) -> int:
    """Say that it was accepted; returns the exit code."""
    redeploy = accepted.get("mode") == REDEPLOY_REQUIRED
    if arguments.json:
        entry.print_json(accepted)
    elif redeploy:
        print(f"A redeploy is required: {accepted.get('reason')}")
    else:
        print(f"accepted as {accepted.get('operation_id')}; to follow it: hub.pyz status --watch")
    return entry.EXIT_REDEPLOY if redeploy else 0


def conclude(home: Home, operation: Operation, arguments: Arguments, hub_runs: bool = True) -> int:
    """Say how it ended, and what to do next; returns the exit code."""
    if arguments.json:
        entry.print_json(to_wire(operation))
    else:
        for line in (conclusion(operation), *advice(home, operation)):
            print(entry.printable(line))
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
        error = operation.error or "no reason was recorded"
        if operation.rolled_back_to:
            return error[:1].upper() + error[1:]
        return f"The {operation.kind} failed: {error}"
    return f"The {operation.kind} {operation.operation_id} is {operation.phase} ({operation.step})"


def _is_rejected(home: Home, operation: Operation) -> bool:
    """Whether what was taken back is held against it: a start limit, say, is no fault of its."""
    if not operation.rolled_back_to or operation.install not in (GIT, PACKAGE):
        return operation.rolled_back_to is not None
    name = name_of(operation.install, operation.target_version or "", operation.integrity)
    return name in managed_store.read(home).rejected


def advice(home: Home, operation: Operation) -> list[str]:
    """What to do after an operation that ended."""
    if operation.phase != FAILED:
        return []
    told = []
    early = STEPS.index(operation.step)
    if _is_rejected(home, operation) and is_version(operation.target_version or ""):
        tagged = operation.install == GIT
        command = naming(str(operation.target_version), tagged, operation.request.itself)
        told.append(f"It is not tried again until you name it: {command}")
    elif early < STEPS.index(REWRITING) and "nothing was changed" not in str(operation.error):
        told.append(f"Nothing was changed: {operation.current_version} stays.")
    log = operation_log.path_of(home, "upgrade", operation.operation_id)
    if early > STEPS.index(RESOLVING) and os.path.exists(log):
        told.append(f"What its tools printed: {log}")
    return told
