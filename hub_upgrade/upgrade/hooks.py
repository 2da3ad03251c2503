"""What the operator wants run before an upgrade, after a rollback, and at the end of each."""

from __future__ import annotations

import json
import os

from hub_upgrade.domain.operation import Operation, to_wire
from hub_upgrade.errors import RefusedError
from hub_upgrade.host import commands
from hub_upgrade.host.children import environment
from hub_upgrade.host.files import Home
from hub_upgrade.settings import Settings
from hub_upgrade.upgrade.ports import Sink

BEFORE_UPGRADE = "before_upgrade"
AFTER_ROLLBACK = "after_rollback"
ON_FINISH = "on_finish"
RESTORED = f"{AFTER_ROLLBACK} is done"
MARGIN_S = 30


def limit_s(settings: Settings) -> int:
    """How long a step may take that is one hook, in seconds."""
    return int(settings.hook_timeout_s) + MARGIN_S


def before_upgrade(settings: Settings, operation: Operation, sink: Sink) -> None:
    """Run it, if there is one; raises RefusedError when it fails: nothing is rewritten then."""
    why = _run(BEFORE_UPGRADE, settings, operation, sink)
    if why:
        raise RefusedError(BEFORE_UPGRADE, f"{why}; nothing was changed")


def after_rollback(settings: Settings, operation: Operation, sink: Sink) -> str:
    """Run it, if there is one; a line on how it went, "" where there is none. Never raises."""
    if settings.after_rollback is None:
        return ""
    return _run(AFTER_ROLLBACK, settings, operation, sink) or RESTORED


def has_run(operation: Operation) -> bool:
    """Whether its record says how `after_rollback` went."""
    return any(line.startswith(f"{AFTER_ROLLBACK} ") for line in operation.log)


def on_finish(settings: Settings, operation: Operation, sink: Sink) -> str:
    """Give the record of an operation that has ended to it; why it failed, or "". Never raises."""
    record = json.dumps(to_wire(operation)).encode() + b"\n"
    return _run(ON_FINISH, settings, operation, sink, record)


def _run(
    name: str, settings: Settings, operation: Operation, sink: Sink, stdin: bytes = b""
) -> str:
    argv = getattr(settings, name)
    if argv is None:
        return ""
    env = environment(os.environ)
    env.update(_told(settings.home, name, operation))
    result = commands.run(
        list(argv), settings.hook_timeout_s, env, settings.home.root, sink, stdin=stdin
    )
    if result.status == 0:
        return ""
    if result.status is None:
        return f"{name} was not done within {settings.hook_timeout_s:g} s"
    last = result.last_line()
    return f"{name} failed (exit {result.status})" + (f": {last}" if last else "")


def _told(home: Home, name: str, operation: Operation) -> dict[str, str]:
    """What a hook is told by its environment."""
    return {
        "PARACHUTE_HOME": home.root,
        "PARACHUTE_HOOK": name,
        "PARACHUTE_OPERATION_ID": operation.operation_id,
        "PARACHUTE_OPERATION_KIND": operation.kind,
        "PARACHUTE_CURRENT_VERSION": operation.current_version,
        "PARACHUTE_TARGET_VERSION": operation.target_version or "",
    }
