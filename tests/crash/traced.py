"""Lives of the real, unmodified file: its processes die at the N-th call of one kind, by strace.

strace counts for each process by itself. Whoever dies alone is killed as it enters the call;
where others die, the one that makes the call is stopped right after it, until they are dead.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import threading
from pathlib import Path
from typing import NamedTuple

from tests.crash.acts import ALL, ROLES, is_dead
from tests.crash.lives import LATE_S, MISSED_S, Kit, Life
from tests.crash.watched import WAIT_S
from tests.e2e.harness import children_of, command_of, running_on, wait_for

ACTORS = ("launcher", "hub", "helper")
ACTS = (
    "?rename", "?renameat", "?renameat2", "fsync", "?unlink", "?unlinkat", "?mkdir", "?mkdirat",
    "?rmdir", "execve", "?fork", "?clone",
)  # fmt: skip
"""What comes in the same number each time; signals and messages are among `tests.crash.acts`."""
STOPPED = "SIGSTOP {si_signo=SIGSTOP, si_code=SI_KERNEL} ---\n--- stopped by SIGSTOP"
KILLED = "+++ killed by SIGKILL"
WAITING = ("sh", "-c", 'kill -STOP $$ && exec "$@"', "sh")
POLL_S = 0.003


class Call(NamedTuple):
    """The n-th call (from 1) of one name that the launcher, the hub or the helper makes."""

    actor: str
    name: str
    number: int

    def __str__(self) -> str:
        return f"{self.actor}: {self.name} #{self.number}"


def there_is_strace() -> bool:
    """Whether strace can be used here."""
    if shutil.which("strace") is None:
        return False
    words = ["strace", "-qq", "-o", os.devnull, "-e", "inject=fsync:signal=KILL", "true"]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


class TracedLife(Life):
    """A life whose launcher, hub and helper are traced, or one of them, which is struck."""

    def __init__(self, kit: Kit, call: Call | None = None, victim: str = "") -> None:
        super().__init__(kit)
        self.call, self.victim = call, victim
        self.prefix = WAITING
        self.late_s = LATE_S if call is None else MISSED_S
        self.calls: list[Call] = []
        self.struck_pids: list[int] | None = None
        self.over = threading.Event()
        self.tracers: list[subprocess.Popen[bytes]] = []
        self.threads: list[threading.Thread] = []
        self.failures: list[BaseException] = []

    def close(self) -> None:
        self.ended()
        super().close()

    # --- what a life tells ----------------------------------------------------------------------

    def started(self) -> None:
        """The first launcher waits at its very beginning, until it is traced if it must be."""
        if not self.prefix:
            return
        self.prefix = ()
        launcher = self._launcher()
        wait_for(lambda: _state(launcher) == "T", "the launcher at its beginning")
        actors = ACTORS if self.call is None else (self.call.actor,)
        if "launcher" not in actors:
            os.kill(launcher, signal.SIGCONT)
        for actor in actors:
            self.threads.append(threading.Thread(target=self._trace, args=(actor,)))
            self.threads[-1].start()

    def struck(self) -> list[int] | None:
        if self.launcher_died():
            self.threads[0].join(WAIT_S)  # it was the blow, whether we have read of it or not
        if self.failures:
            raise self.failures[0]
        return self.struck_pids

    def ended(self) -> None:
        self.calls = self.calls or self._calls()
        self.over.set()
        for thread in self.threads:
            thread.join(WAIT_S)
        for tracer in self.tracers:
            tracer.terminate()
            tracer.wait(WAIT_S)

    # --- the tracing ----------------------------------------------------------------------------

    def _trace(self, actor: str) -> None:
        try:
            pid = self._caught(actor)
            if pid:
                self._attach(actor, pid)
                self._follow(actor, pid)
        except BaseException as error:  # noqa: BLE001 - it is the life's that waits for us
            self.failures.append(error)

    def _caught(self, actor: str) -> int:
        """The process; a helper is stopped at once, before it has done anything."""
        launcher = self._launcher()
        if actor == "launcher":
            return launcher
        while not self.over.wait(POLL_S):
            for hub in children_of(launcher):
                if actor == "hub" and command_of(hub)[-1:] == ["run"]:
                    return hub
                for pid in children_of(hub) if actor == "helper" else ():
                    if "helper" in command_of(pid):
                        os.kill(pid, signal.SIGSTOP)
                        return pid
        return 0

    def _attach(self, actor: str, pid: int) -> None:
        words = ["strace", "-q", "-o", self._log(actor), "-e", f"trace={','.join(ACTS)}"]
        if self.call is not None:
            how = "KILL" if self.victim == actor else "STOP"
            words += ["-e", f"inject={self.call.name}:signal={how}:when={self.call.number}"]
        said = os.path.join(self.directory, f"{actor}.strace")
        with open(said, "wb") as output:
            words += ["-p", str(pid)]
            tracer = subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=output)
        self.tracers.append(tracer)
        wait_for(lambda: _is_traced(pid) or tracer.poll() is not None, "strace")
        os.kill(pid, signal.SIGCONT)

    def _follow(self, actor: str, pid: int) -> None:
        """Until the end of the life, or the blow."""
        while self.call is not None and not self.over.wait(POLL_S):
            log = self._said(actor)
            if KILLED in log:
                self.struck_pids = [pid]
                return
            if STOPPED in log:
                self._strike(pid)
                return

    def _strike(self, actor: int) -> None:
        """The actor is stopped: kill the victim, or the actor where there is none; then go on."""
        wanted = {word.decode() for word, role in ROLES.items() if self.victim in (role, ALL)}
        struck = [pid for pid in running_on(self.home) if wanted & set(command_of(pid))] or [actor]
        for pid in struck:
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: all(is_dead(pid) for pid in struck), "the dead")
        self.tracers[0].terminate()
        self.tracers[0].wait(WAIT_S)
        with contextlib.suppress(ProcessLookupError):
            os.kill(actor, signal.SIGCONT)  # before strace let it go, it might be stopped anew
        self.struck_pids = struck

    def _log(self, actor: str) -> str:
        return os.path.join(self.directory, f"{actor}.calls")

    def _said(self, actor: str) -> str:
        with contextlib.suppress(FileNotFoundError):
            return Path(self._log(actor)).read_text(encoding="utf-8", errors="replace")
        return ""

    def _launcher(self) -> int:
        return self.process.pid if self.process is not None else 0

    def _calls(self) -> list[Call]:
        """All that was traced so far, actor by actor."""
        found = []
        for actor in ACTORS:
            counts: dict[str, int] = {}
            for line in self._said(actor).splitlines():
                match = re.match(r"(\w+)\(", line)
                if match:
                    name = match.group(1)
                    counts[name] = counts.get(name, 0) + 1
                    found.append(Call(actor, name, counts[name]))
        return found


def _is_traced(pid: int) -> bool:
    return "TracerPid:\t0\n" not in Path(f"/proc/{pid}/status").read_text(encoding="utf-8")


def _state(pid: int) -> str:
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    return stat.rsplit(")", 1)[1].split()[0]
