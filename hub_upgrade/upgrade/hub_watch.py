"""What is to be seen of the managed hub, and the proof that another process of it is well."""

from __future__ import annotations

import os
import time

from hub_upgrade.domain.install import Place
from hub_upgrade.domain.managed import Managed
from hub_upgrade.domain.restart import RESTARTED, STOPPED
from hub_upgrade.domain.versions import told
from hub_upgrade.host import container, hub_process
from hub_upgrade.host.look import look_now
from hub_upgrade.settings import Settings
from hub_upgrade.shapes import NamedTuple
from hub_upgrade.upgrade.ports import Restarter

POLL_S = 0.25
OVERSLEPT_S = 5.0
"""A turn that took so long was none: the machine slept, or we were stopped."""


class Seen(NamedTuple):
    """One look: the version that answers ("" for none), whether it is healthy, and its process
    ("" where that is not to be known). `answered` is false where nobody was there."""

    version: str
    healthy: bool
    process: str
    answered: bool
    why: str


NOTHING = Seen("", False, "", False, "")


class HubWatch:
    """Looks at the managed hub; `hub_pid` is what somebody said its process is, and `told` that
    process's identity: "" for none, and one that nobody has where it is gone already."""

    def __init__(self, managed: Managed, hub_pid: int | None) -> None:
        self._managed = managed
        self.command = ""  # host.hub_process.command_of the hub, once that is known
        # Taken now: later the number may be another's.
        self.told = (hub_process.identity(hub_pid) or f"{hub_pid}:") if hub_pid else ""

    def pid(self) -> int:
        """The process that answers, or that we were told of, or one of the same command that may
        not answer at all; 0 for none."""
        found = hub_process.listener_of(*self._managed.address)
        if found:
            return found
        if hub_process.lives(self.told):
            return int(self.told.partition(":")[0])
        return hub_process.alike(self.command)

    def look(self) -> Seen:
        """What is to be seen now; may wait for the answer."""
        seen = look_now(self._managed.address, self._managed.health_path)
        process = hub_process.identity(self.pid())
        version = told(seen.body.get(self._managed.version_field))
        why = seen.why
        if seen.status not in (0, 200):
            why = why or f"it answers {seen.status}"
        elif seen.status == 200 and not version:
            why = f'its answer has no "{self._managed.version_field}"'
        healthy = seen.status == 200 and bool(version)
        return Seen(version, healthy, process, seen.status > 0, why)

    def is_the_hub(self, process: str, place: Place | None) -> bool:
        """Whether that is no stranger: it answers, or is what started the one that does, or is
        executed from where the hub is installed."""
        pid = int(process.partition(":")[0])
        found = hub_process.listener_of(*self._managed.address)
        if pid == found:
            return True
        # On a machine, everything descends from process 1.
        may_be_its_parent = found and (pid != 1 or container.look().signs)
        if may_be_its_parent and hub_process.is_ancestor(pid, found):
            return True
        seen = hub_process.look(pid)
        if seen is None or place is None or not place.directory:
            return False
        inside = os.path.join(place.directory, "")
        paths = (os.path.realpath(path) for path in hub_process.executed_from(seen))
        return any(path.startswith(inside) for path in paths)


def is_new(before: str, seen: Seen) -> bool:
    """Whether another process answers than that one; with nothing known of it, nobody can tell."""
    if not before:
        return False
    if seen.process:
        return seen.process != before
    return seen.answered and not hub_process.lives(before)


def prove(
    watch: HubWatch, settings: Settings, restarter: Restarter, version: str, before: str,
    late: bool = False,
) -> str:  # fmt: skip
    """Wait until a new process of this version has been healthy for the whole probation.

    Returns why that is not so, or "". `before` is the process that was there before the restart.
    `late`: nobody looked meanwhile, and the time that its process has lived counts. No answer in
    time is no verdict: it is waited for, for at most `ready_timeout_s` until it is healthy for the
    first time, and `probation_max_s` in all, beside the time that somebody's order takes. Such an
    order to its manager is no verdict either: a restart begins the probation anew, and a stop ends
    it with a sentence that says so.
    """
    begun = awaited = last = time.monotonic()
    since = 0.0
    first = NOTHING
    why = "nobody looked"
    restarter.mark()
    while True:
        seen = watch.look()
        now = time.monotonic()
        if now - last > OVERSLEPT_S:
            begun, awaited = begun + now - last, awaited + now - last
            since += now - last if since else 0.0
        last = now
        new = is_new(before, seen)
        well = seen.healthy and new and seen.version == version
        if well and not since:
            since, first = now - (_age(seen.process) if late else 0.0), seen
        elif well and not first.process:
            first = seen  # which it is could not be told before
        if well and seen.process == first.process and now - since >= settings.probation_s:
            return ""
        verdict = _verdict(seen, new, version, first) if since or (seen.healthy and new) else ""
        if not since and not verdict and now - awaited > settings.ready_timeout_s:
            waited = f"within {settings.ready_timeout_s:g} s"
            verdict = f"it was not healthy {waited}: {_waiting(seen, new, before)}"
        over = now - begun > settings.probation_max_s
        if over and not verdict:
            verdict = f"it could not be proven within {settings.probation_max_s:g} s: {why}"
        if verdict:
            order = restarter.ordered()
            if over or order != RESTARTED:
                return order if order.startswith(STOPPED) else verdict
            restarter.mark()
            since, first = 0.0, NOTHING
            awaited = last = time.monotonic()
            begun += last - now
        why = seen.why or why
        time.sleep(POLL_S)


def _age(process: str) -> float:
    """How long a process has lived, in seconds: nobody looked, but it did not end either."""
    return hub_process.age_s(process) if process else 0.0


def _verdict(seen: Seen, new: bool, version: str, first: Seen) -> str:
    """What is wrong with what was, or should be, on probation; "" for nothing, and for no answer of
    one that lives. `first` is NOTHING where it was never healthy."""
    if seen.healthy and new:
        if seen.version != version:
            return f"{seen.version} answers, and not {version}"
        again = seen.process != first.process
        if not (seen.process and first.process):  # which it is cannot be told
            again = bool(first.process) and not hub_process.lives(first.process)
        return "it was started again in its probation" if again else ""
    if first.process and not hub_process.lives(first.process):
        return "it ended in its probation"
    return f"it was healthy and is no more: {seen.why}" if seen.answered else ""


def _waiting(seen: Seen, new: bool, before: str) -> str:
    if seen.healthy and not new:
        if not before:
            return f"{seen.version} answers, and whether that is another process cannot be told"
        return "the old process answers still"
    return seen.why or "no answer"
