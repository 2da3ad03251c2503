"""launchd restarts a managed hub: launchctl(1) is asked, by the label, and no process is signalled.

`launchctl print` promises no format to anybody. Of what it prints, as seen from OS X 10.10 to
macOS 26, are read the lines `name = value` of the job itself, one level deep. `kickstart -k` ends
the running process with SIGKILL.
"""

from __future__ import annotations

import os
import time

from hub_upgrade.domain.restart import NOT_STARTED
from hub_upgrade.errors import HostError, RefusedError
from hub_upgrade.host import commands, hub_process
from hub_upgrade.shapes import NamedTuple

SYSTEM = "system"
PRINT_S = 10.0
KICKSTART_S = 60.0
"""launchctl has been seen to answer only after a quarter of a minute, or never."""
GONE_S = 5.0
"""How long the old process may be seen after launchctl has answered."""
AGAIN_S = 30.0
"""How long a start may take that launchctl said nothing good of: launchd waits 10 s between two."""
POLL_S = 0.1
STATE = ("state", "pid", "runs", "last exit code", "last terminating signal")
TAIL_BYTES, TAIL_LINES = 8192, 20


class Job(NamedTuple):
    """A label that launchd has loaded: its process (0 for none), and all that it says of it."""

    pid: int
    fields: dict[str, str]


def domain_with(label: str, pid: int = 0) -> str:
    """The domain that has loaded a label, for a process that is its job's or descends from that (0
    for whichever): `gui/UID`, `user/UID` or `system`, "" for none. Never raises."""
    uid = os.getuid()
    for domain in (f"gui/{uid}", f"user/{uid}", SYSTEM) if uid else (SYSTEM,):
        job, _why = look(f"{domain}/{label}")
        if job is not None and (not pid or _is_of(pid, job)):
            return domain
    return ""


class LaunchdRestarter:
    """Section 7 of the contract, launchd's row; `pid` is the hub's process, 0 where it is not
    known."""

    by_manager = True
    limit_s = int(2 * PRINT_S + KICKSTART_S + GONE_S + AGAIN_S)

    def __init__(self, label: str, domain: str, pid: int = 0) -> None:
        self._target = f"{domain}/{label}"
        self._domain, self._label, self._pid = domain, label, pid
        self._runs = ""  # how often it was started, as launchd counts, once `check` was called
        self._command = f"launchctl kickstart -k {self._target}"

    def check(self) -> str:
        """See upgrade.ports.Restarter."""
        job, words = look(self._target)
        if job is None:
            raise self._refused(
                f"launchd has not loaded {self._target}: {words}; load it (launchctl bootstrap "
                f"{self._domain} {self._plist()}), or set hub.label to the label of the hub"
            )
        if self._domain == SYSTEM and os.getuid():
            raise self._refused(
                f"only root may restart {self._target} (sudo {self._command}): run this as root"
            )
        if self._pid and not _is_of(self._pid, job):
            its = f"is process {job.pid}" if job.pid else "does not run"
            raise self._refused(
                f"{self._target} {its}, and the hub is process {self._pid}: set hub.label to the "
                "label that starts the hub"
            )
        self._runs = job.fields.get("runs", "")
        return f"launchd has loaded {self._target} ({job.fields.get('state', 'no state told')})"

    def restart(self, process: str, again: bool, back: bool = False) -> str:  # noqa: ARG002
        """See upgrade.ports.Restarter; launchd has no start limit that would have to be lifted."""
        old = int(process.partition(":")[0]) if process else 0
        gone = f"process {old} is gone" if old else "no process of it was known"
        lives = hub_process.lives(process)
        _leave_group_of(old or self._pid)
        if again and not lives:
            job, _why = look(self._target)
            if job is not None and job.pid not in (0, old):
                return f"{gone}, and launchd runs {self._target} as process {job.pid} already"
            done = self._ask("kickstart", self._target)  # without -k: it ends nothing
        else:
            done = self._ask("kickstart", "-k", self._target)
        said = _words(done)
        if lives and not hub_process.ends(process, GONE_S):
            why = said or "launchctl reported no trouble, and the process does not end"
            raise HostError(f"NOT restarted: {why}; process {old} runs on; run: {self._command}")
        if done.status == 0:
            return f"{self._command}: {gone}, and launchd starts it again"
        # launchctl answers with an error, or not in time, and launchd does it all the same.
        runs, begun = self._runs_anew(old)
        if runs:
            return f"{self._command}: {said}; yet {gone}, and launchd has started it again"
        words = f"{gone}, and launchd does not start it: {said}; run: {self._command}"
        raise HostError(words if begun else f"{NOT_STARTED}: {words}")

    def mark(self) -> None:
        """Nothing: launchd tells nobody whose order it carried out."""

    def ordered(self) -> str:
        """Not to be known."""
        return ""

    def tell(self) -> list[str]:
        """See upgrade.ports.Restarter."""
        job, words = look(self._target)
        if job is None:
            return [f"{self._target}: {words}"]
        told = [f"{name} = {job.fields[name]}" for name in STATE if name in job.fields]
        return [f"{self._target}: {', '.join(told)}", *_tail(job.fields.get("stderr path", ""))]

    def _ask(self, *argv: str) -> commands.Result:
        return commands.run(["launchctl", *argv], KICKSTART_S)

    def _refused(self, sentence: str) -> RefusedError:
        advice = 'or hub.restart to "exit" where something else starts it again'
        return RefusedError("cannot_restart", f"{sentence}, {advice}; nothing was changed")

    def _plist(self) -> str:
        where = "/Library/LaunchDaemons" if self._domain == SYSTEM else "~/Library/LaunchAgents"
        return f"{where}/{self._label}.plist"

    def _runs_anew(self, old: int) -> tuple[bool, bool]:
        """Whether there is another process by now, and whether there may have been one."""
        deadline = time.monotonic() + AGAIN_S
        while True:
            job, _why = look(self._target)
            if job is not None and job.pid not in (0, old):
                return True, True
            if time.monotonic() > deadline:
                runs = job.fields.get("runs", "") if job is not None else ""
                return False, not runs or runs != self._runs
            time.sleep(POLL_S)


def _leave_group_of(pid: int) -> None:
    """launchd ends what is left in a job's process group (launchd.plist(5), AbandonProcessGroup): a
    helper that the hub started, and that leads no group of its own, must not be in it."""
    try:
        if pid and os.getpgid(pid) == os.getpgrp() != os.getpid():
            os.setsid()
    except OSError:
        pass


def look(target: str) -> tuple[Job | None, str]:
    """The job, or None and launchctl's words."""
    done = commands.run(["launchctl", "print", target], PRINT_S)
    if done.status != 0:
        return None, _words(done)
    fields = _fields(done.stdout.decode("utf-8", "replace"))
    pid = fields.get("pid", "")
    return Job(int(pid) if pid.isascii() and pid.isdigit() else 0, fields), ""


def _fields(text: str) -> dict[str, str]:
    """What is said of the job itself: its endpoints have a state and a pid of their own."""
    found: dict[str, str] = {}
    depth = 0
    for line in map(str.strip, text.splitlines()):
        name, equals, value = line.partition(" = ")
        if line == "}":
            depth -= 1
        elif line.endswith("{"):
            depth += 1
        elif equals and depth == 1:
            found.setdefault(name, value)
    return found


def _words(done: commands.Result) -> str:
    if done.status is None:
        return "launchctl did not answer in time"
    said = done.last_line()
    return (said or f"launchctl ended with status {done.status}") if done.status else ""


def _is_of(pid: int, job: Job) -> bool:
    return pid == job.pid or (job.pid > 1 and hub_process.is_ancestor(job.pid, pid))


def _tail(path: str) -> list[str]:
    """The last lines of what the job printed, where launchd puts that into a file."""
    if not os.path.isfile(path):  # a terminal, a pipe
        return []
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL_BYTES))
            text = file.read(TAIL_BYTES).decode("utf-8", "replace")
    except (OSError, ValueError):
        return []
    return text.splitlines()[-TAIL_LINES:]
