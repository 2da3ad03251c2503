"""A hub that is a unit of systemd's: its manager restarts it, and no process is ever signalled."""

from __future__ import annotations

import os
import time

from hub_upgrade.domain.container import shown
from hub_upgrade.domain.restart import (
    NOT_STARTED,
    RESTARTED,
    STOPPED,
    SYSTEM,
    USER,
    Choice,
    evidence_of,
)
from hub_upgrade.errors import HostError, RefusedError
from hub_upgrade.host import children, commands, hub_process
from hub_upgrade.host.commands import Result

SHOW_S = 15.0
"""How long a manager may take to answer a question."""
MARGIN_S = 30
MOST_S = 1200
"""How long a restart may take at most, whatever the unit says."""
POLL_S = 0.1
TAIL_LINES = 20
MOST_OF_LINE = 500
UP = ("active", "activating", "reloading", "deactivating")
KNOWN = (
    "Id", "LoadState", "LoadError", "ActiveState", "SubState", "Result", "MainPID", "NRestarts",
    "Job", "ExecStart", "ExecMainPID", "RefuseManualStart", "RefuseManualStop", "TimeoutStartUSec",
    "TimeoutStopUSec", "InvocationID",
)  # fmt: skip
LIMIT_HIT = "start-limit-hit"
CANCELED = "canceled"
"""What systemctl says of a job in whose place somebody else's order was put."""
JOB_STARTED = "MESSAGE_ID=39f53479d3a045ac8e11786248231fbf"
JOB_STOPPED = "MESSAGE_ID=9d1aaa27d60140bd96365438aad20286"
JOB_FAILED = "MESSAGE_ID=be02cf6855d2428ba40df7e9d022f03d"
"""What managers note of a unit that a job has started, or stopped, or has not: sd-messages.h."""
SYNC_S = 4.0
"""How long a journal may take to catch up; on a slow disk it may never do so."""
LOOKS_S = 3.0
"""For so long it is looked again where it did not: what a manager notes is read a moment later."""
JOURNAL_S = 0.5
"""How long the last words of what has just ended may take into the journal, then."""
SIGN_IN = "#code="
"""In a link that is a secret: no record is to bear one."""
HINTS = ("See ", "To force ", "followed by ", "Hint: ")
"""How systemctl's lines of advice begin: they are of no use where it runs again by then."""
UNITS_S = {
    "us": 1e-6, "ms": 1e-3, "s": 1, "min": 60, "h": 3600, "d": 86400, "w": 604800,
    "month": 2629800, "y": 31557600,
}  # fmt: skip


def way_to_manager() -> dict[str, str]:
    """Our environment, with the directory that a user's manager is found in, which nobody is told
    who did not log in, and without what a manager told the hub alone."""
    usual = f"/run/user/{os.getuid()}"
    found = {"XDG_RUNTIME_DIR": usual} if os.path.isdir(usual) else {}
    return {**found, **children.environment(os.environ)}


def environment() -> dict[str, str]:
    """The same, for a tool that is to answer in English."""
    return {**way_to_manager(), "LC_ALL": "C"}


def scoped(tool: str, scope: str, *arguments: str) -> list[str]:
    """The argument list that asks the manager of that scope."""
    return [tool, *(["--user"] if scope == USER else []), *arguments]


def show(unit: str, scope: str, limit_s: float) -> dict[str, str]:
    """What a manager knows of a unit, KNOWN alone; raises HostError with its words."""
    argv = scoped("systemctl", scope, "--no-pager", "show", f"--property={','.join(KNOWN)}")
    done = commands.run([*argv, "--", unit], limit_s, environment())
    if done.status != 0:
        raise _failed(argv, done, limit_s)
    lines = done.stdout.decode("utf-8", "replace").splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def seconds(span: str) -> float:
    """A time span as systemctl shows it (1min 30s), "infinity" and what is none as MOST_S."""
    total = 0.0
    for word in span.split():
        number = word.rstrip("abcdefghijklmnopqrstuvwxyz")
        try:
            total += float(number) * UNITS_S[word[len(number) :]]
        except (KeyError, ValueError):
            return MOST_S
    return min(total, MOST_S)


def sync_journal() -> bool:
    """Whether all that was said until now can be read: root may ask for that (journalctl(1))."""
    return commands.run(["journalctl", "--sync"], SYNC_S, environment()).status == 0


def wait_for_journal() -> None:
    """Before the words of what ended a moment ago are read."""
    if not sync_journal():
        time.sleep(JOURNAL_S)


class SystemdRestarter:
    """`systemctl [--user] restart UNIT`."""

    by_manager = True

    def __init__(self, choice: Choice) -> None:
        self._choice = choice
        self._unit, self._scope = choice.name, choice.scope
        self._since = 0.0
        self._marked = ""
        self._field = "USER_" if choice.scope == USER else ""
        self.limit_s = MOST_S

    def check(self) -> str:
        """The manager knows the unit, and would take the order from somebody who may give it."""
        if self._choice.refused:
            raise RefusedError("cannot_restart", f"{self._choice.refused}; nothing was changed")
        try:
            seen = self._show()
        except HostError as error:
            words = f"{self._unit} cannot be restarted: {error.sentence}; nothing was changed"
            raise HostError(words, error.exit_code) from error
        why = _refusal(seen)
        if why:
            raise RefusedError(
                "cannot_restart",
                f"{self._unit} cannot be restarted: {why}; nothing was changed (hub.unit in "
                "hub.json names the unit, hub.restart another way)",
            )
        return evidence_of(self._choice)

    def restart(self, process: str, again: bool, back: bool = False) -> str:
        """By the manager, which waits until the unit is up, as its type tells that."""
        self._since = time.time()
        gone = again and not hub_process.lives(process)
        try:
            seen = self._after_its_job() if again else self._show()
        except HostError as error:
            if gone:
                return f"{self._unit} was restarted already, as it seems ({error.sentence})"
            words = f"NOT restarted: {error.sentence}{self._by_hand()}"
            raise HostError(words, error.exit_code) from error
        if self._was_stopped(seen):
            raise self._stopped()
        gone = again and (not hub_process.lives(process) or _is_left_over(process, seen))
        if gone and seen.get("ActiveState") in UP:
            return f"{self._unit} was restarted already"
        if gone and not back and _main(seen) != process.partition(":")[0]:
            self._since = 0.0
            raise HostError(f"{self._unit} did not come up: {seen.get('Result')}")
        if back or seen.get("ActiveState") == "failed":
            commands.run(self._ask("reset-failed"), SHOW_S, environment())
        done = commands.run(self._ask("restart"), self.limit_s, environment())
        if done.status == 0:
            after = self._seen()
            return f"{self._unit} was restarted by its manager: process {after.get('MainPID')}"
        failure = _failed(self._ask("restart"), done, self.limit_s)
        canceled = CANCELED in failure.sentence
        after = self._seen(after_its_job=canceled)
        if self._was_stopped(after):
            raise self._stopped()
        if canceled and after.get("ActiveState") == "active" and not hub_process.lives(process):
            return f"{self._unit} was restarted by somebody else: process {after.get('MainPID')}"
        never = after.get("Result") == LIMIT_HIT and _main(after) == _main(seen)
        raise self._trouble(done, failure, hub_process.lives(process), never, back)

    def mark(self) -> None:
        """See upgrade.ports.Restarter."""
        self._marked = self._seen().get("InvocationID", "")

    def ordered(self) -> str:
        """See upgrade.ports.Restarter. Its journal tells: what ended by itself, or was started
        again by its manager, its socket or another unit, was not ended by a job."""
        seen = self._seen(after_its_job=True)
        if self._was_stopped(seen):
            return self._stopped().sentence
        invocation = f"{self._field}INVOCATION_ID={self._marked}"
        anew = bool(self._marked) and seen.get("InvocationID") != self._marked
        if anew and self._noted(("stop", "restart"), LOOKS_S, JOB_STOPPED, invocation):
            return RESTARTED
        return ""

    def _was_stopped(self, seen: dict[str, str]) -> bool:
        """Whether it is down by a job of its manager's: also where it ended with a status of its
        own then, such as 143, and so counts as failed."""
        state = seen.get("ActiveState")
        if state not in ("inactive", "failed"):
            return False
        looks_s = LOOKS_S if state == "inactive" else 0.0  # what failed is to be back soon
        jobs = (JOB_STARTED, JOB_STOPPED, JOB_FAILED)
        last = seen.get("InvocationID", "")  # of a start before that nobody may read any more
        of_it = (f"{self._field}INVOCATION_ID={last}",) if last else ()
        return self._noted(("stop",), looks_s, *jobs, *of_it)

    def _noted(self, jobs: tuple[str, ...], looks_s: float, *matches: str) -> bool:
        """Whether the newest job among those of the unit that match was one of these."""
        argv = scoped("journalctl", self._scope, "--no-pager", "--quiet", "--output=json")
        argv += ["--reverse", "--lines=1", f"{self._field}UNIT={self._unit}", *matches]
        deadline = time.monotonic() + (0.0 if sync_journal() else looks_s)
        while True:
            done = commands.run(argv, SHOW_S, environment())
            if any(f'"JOB_TYPE":"{job}"'.encode() in done.stdout for job in jobs):
                return True
            if time.monotonic() >= deadline:
                return False
            time.sleep(POLL_S)

    def _stopped(self) -> HostError:
        return HostError(f"{STOPPED} with its unit, {self._unit}")

    def _trouble(
        self, done: Result, failure: HostError, lives: bool, never: bool, back: bool
    ) -> HostError:  # fmt: skip
        """What has become of the hub whose restart failed, and `never` was begun."""
        words = failure.sentence + (", and may be done yet" if done.status is None else "")
        if lives:
            return HostError(f"NOT restarted: {words}{self._by_hand()}", failure.exit_code)
        words = f"{self._unit} did not come up: {words}" + (self._by_hand() if back else "")
        return HostError(f"{NOT_STARTED}: {words}" if never else words, failure.exit_code)

    def tell(self) -> list[str]:
        """The unit's state, and the last lines of its journal."""
        seen = self._seen()
        names = ("ActiveState", "SubState", "Result", "NRestarts")
        state = ", ".join(f"{name}={seen[name]}" for name in names if seen.get(name))
        return [f"{self._unit}: {state or 'its manager does not answer'}", *self._tail()]

    def _tail(self) -> list[str]:
        """The newest lines, asked for from their end: with --since, --lines counts the first."""
        wait_for_journal()
        since = [f"--since=@{int(self._since)}"] if self._since else []
        argv = scoped("journalctl", self._scope, "--no-pager", "--quiet", "--output=cat")
        argv += ["--reverse", f"--lines={TAIL_LINES}", *since, f"--unit={self._unit}"]
        done = commands.run(argv, SHOW_S, environment())
        if done.status != 0:
            return []
        lines = done.stdout.decode("utf-8", "replace").splitlines()[:TAIL_LINES]
        told = [line[:MOST_OF_LINE] for line in reversed(lines) if SIGN_IN not in line]
        return [f"| {line}" for line in told if line.strip()]

    def _show(self) -> dict[str, str]:
        seen = show(self._unit, self._scope, SHOW_S)
        stop, start = (seconds(seen.get(f"Timeout{one}USec", "?")) for one in ("Stop", "Start"))
        self.limit_s = min(int(2 * stop + start) + MARGIN_S, MOST_S)
        return seen

    def _seen(self, after_its_job: bool = False) -> dict[str, str]:
        """The same after the act, which no silence can undo: nothing then."""
        try:
            return self._after_its_job() if after_its_job else self._show()
        except HostError:
            return {}

    def _after_its_job(self) -> dict[str, str]:
        """Somebody's order is being carried out: ours, of a helper that was killed, most likely."""
        seen = self._show()
        deadline = time.monotonic() + self.limit_s
        while seen.get("Job", "0") not in ("", "0") and time.monotonic() < deadline:
            time.sleep(POLL_S)
            seen = self._show()
        return seen

    def _ask(self, verb: str) -> list[str]:
        return scoped("systemctl", self._scope, "--no-ask-password", verb, "--", self._unit)

    def _by_hand(self) -> str:
        sudo = ["sudo"] if self._scope == SYSTEM and os.getuid() != 0 else []
        words = [*sudo, *scoped("systemctl", self._scope, "restart", self._unit)]
        return f"; run: {' '.join(words)}"


def _is_left_over(process: str, seen: dict[str, str]) -> bool:
    """Whether it lives on beside the unit's main process of now: KillMode=process lets it."""
    pid = int(process.partition(":")[0])
    return int(seen.get("MainPID", "0")) not in (pid, *hub_process.ancestors(pid))


def _main(seen: dict[str, str]) -> str:
    """The last main process that the unit had, also one that ended."""
    return seen.get("ExecMainPID", "")


def _refusal(seen: dict[str, str]) -> str:
    """Why a manager would not restart it, in its own words as far as it has some, or ""."""
    state = seen.get("LoadState", "")
    if state != "loaded":
        words = seen.get("LoadError", "").partition('"')[2].rstrip('".')
        return words or f"its unit is {state or 'not known'}"
    for name in ("RefuseManualStart", "RefuseManualStop"):
        if seen.get(name) == "yes":
            return f"its unit has {name}=yes"
    return ""


def _failed(argv: list[str], done: Result, limit_s: float) -> HostError:
    if done.status is None:
        return HostError(f"{' '.join(argv[:4])} did not end within {limit_s:g} s")
    lines = (done.stderr or done.stdout).decode("utf-8", "replace").splitlines()
    said = [line.strip() for line in lines if line.strip() and not line.startswith(HINTS)]
    words = shown("; ".join(said), MOST_OF_LINE) or f"{argv[0]} ended with status {done.status}"
    words = words.rstrip(".")
    return commands.missing(words) if done.status == commands.MISSING else HostError(words)
