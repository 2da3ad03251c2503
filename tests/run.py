"""The test runner: `python3 -m tests.run [--only PATTERN] [--jobs N]`, needing nothing but Python.

Every module runs as a process of its own, with a temporary directory and a home of its own, and
what it leaves running is a failure. Closes with one line: `N passed, N failed`.
"""

from __future__ import annotations

import argparse
import fnmatch
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from tests.e2e.harness import SHARED

ROOT = Path(__file__).resolve().parent.parent
MODULE_LIMIT_S = 300.0
LEFTOVER_GRACE_S = 5.0
POLL_S = 0.02
MOST_ROUNDS = 100
MOST_OUTPUT_BYTES = 200_000
UNWANTED = ("PARACHUTE_", "LISTEN_", "RENDER", "KUBERNETES_", "FLY_")
UNWANTED_NAMES = frozenset({"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "PORT", "container"})
RAN = re.compile(r"^Ran (\d+) tests? in ", re.MULTILINE)
ENDED = re.compile(r"^(?:OK|FAILED|NO TESTS RAN)(?: \((.*)\))?$", re.MULTILINE)


class Outcome(NamedTuple):
    """What one module came to; `why` is a failure beside those of its tests."""

    passed: int
    failed: int
    skipped: int
    why: str = ""


def is_crash(name: str) -> bool:
    """Whether a module belongs to the crash tests, which can be sampled or run whole."""
    return name.startswith("tests.crash.") or ".test_crash_" in name


def is_outside(name: str) -> bool:
    """Whether a module needs programs from outside: a browser, containers, proxies."""
    return name.startswith("tests.outside.")


def is_long(name: str) -> bool:
    """Whether a module comes before the others: the last ones must be short."""
    slow = (".test_build", ".test_packed", ".test_model", ".test_systemd", ".test_helper")
    return ".e2e." in name or name.endswith(slow)


def find(only: list[str], skip: list[str], crash: bool, outside: bool = False) -> list[str]:
    """The names of the wanted modules; the slow ones first, so that they do not come last."""
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in (ROOT / "tests").rglob("test_*.py")
    ]
    wanted = [
        name
        for name in names
        if (is_crash(name) or not crash)
        and is_outside(name) == outside
        and (not only or any(_matches(name, pattern) for pattern in only))
        and not any(_matches(name, pattern) for pattern in skip)
    ]
    return sorted(wanted, key=lambda name: (not is_crash(name), not is_long(name), name))


def _matches(name: str, pattern: str) -> bool:
    dotted = pattern.removesuffix(".py").replace("/", ".")
    return fnmatch.fnmatchcase(name, f"*{dotted}*")


def environment(directory: Path) -> dict[str, str]:
    """The caller's environment, with nothing in it that a hub would heed."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(UNWANTED) and name not in UNWANTED_NAMES
    }
    # `python3` is the interpreter under test there too, and never a version manager's shim.
    path = os.path.dirname(sys.executable) + os.pathsep + kept.get("PATH", os.defpath)
    kept.setdefault("CRASH_TESTS", "sample")
    mine = {"TMPDIR": str(directory), "HOME": str(directory / "home"), "PATH": path}
    return {**kept, **mine, SHARED: str(directory.parent / "built")}


def outcome_of(status: int | None, output: str) -> Outcome:
    """Read unittest's closing lines; `status` is None for a module that was killed for hanging."""
    ran, ended = RAN.findall(output), ENDED.findall(output)
    if status is None or not ran or not ended:
        why = "hung and was killed" if status is None else f"ended with {status} and no result"
        return Outcome(0, 1, 0, why)
    counts = {"failures": 0, "errors": 0, "skipped": 0, "unexpected successes": 0}
    for part in filter(None, ended[-1].split(", ")):
        name, _, number = part.partition("=")
        counts[name] = int(number)
    failed = counts["failures"] + counts["errors"] + counts["unexpected successes"]
    passed = max(0, int(ran[-1]) - failed - counts["skipped"])
    if not (passed or failed or counts["skipped"]):
        return Outcome(0, 1, 0, "no tests ran")
    why = f"ended with {status}" if bool(status) != bool(failed) else ""
    return Outcome(passed, failed + bool(why), counts["skipped"], why)


def processes_of(directory: Path) -> list[int]:
    """The processes whose temporary directory this is, or one in it (Linux; elsewhere none)."""
    mark = b"\0TMPDIR=" + os.fsencode(directory)
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            content = b"\0" + (entry / "environ").read_bytes()
        except OSError:
            continue
        if mark + b"\0" in content or mark + b"/" in content:
            found.append(int(entry.name))
    return found


def describe(pid: int) -> str:
    """A process in a few words."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        words = []
    return f"{pid} ({' '.join(os.fsdecode(word) for word in words)[:200].strip()})"


class Job:
    """One module in one process, and what must be cleared away after it."""

    def __init__(self, name: str, directory: Path, limit_s: float) -> None:
        self.name = name
        self.directory = directory
        self.started = time.monotonic()
        self.deadline = self.started + limit_s
        (directory / "home").mkdir(parents=True)
        self.log = directory.with_suffix(".log")
        # A file, not a pipe: a process that was left behind would hold a pipe open for ever.
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "unittest", name],
                cwd=ROOT,
                env=environment(directory),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def poll(self) -> Outcome | None:
        """The outcome once the module has ended or was killed for hanging; else None."""
        status = self.process.poll()
        if status is None and time.monotonic() < self.deadline:
            return None
        if status is None:
            self.kill()
        outcome = outcome_of(status, self.output())
        left = self._leftovers()
        if left and status is not None:
            why = "; ".join(filter(None, (outcome.why, "left running: " + ", ".join(left))))
            outcome = outcome._replace(failed=outcome.failed + 1, why=why)
        return outcome

    def output(self) -> str:
        """What the module printed; of very much, the end."""
        return self.log.read_bytes()[-MOST_OUTPUT_BYTES:].decode("utf-8", "replace")

    def kill(self) -> None:
        """End the module, its process group, and whatever else carries its mark."""
        self._kill_group()
        self.process.wait()
        for _ in range(MOST_ROUNDS):  # what was between fork and exec, and what that started
            time.sleep(POLL_S)
            if not self._leftovers(grace_s=0):
                break

    def _kill_group(self) -> None:
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass

    def _leftovers(self, grace_s: float | None = None) -> list[str]:
        until = time.monotonic() + (LEFTOVER_GRACE_S if grace_s is None else grace_s)
        while processes_of(self.directory) and time.monotonic() < until:
            time.sleep(POLL_S)
        left = processes_of(self.directory)
        told = [describe(pid) for pid in left]
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        return told


def report(job: Job, outcome: Outcome) -> None:
    """A line for the module, after its output if it failed."""
    seconds = time.monotonic() - job.started
    if outcome.failed:
        print(f"----- {job.name}", job.output().rstrip(), f"----- {job.name}", sep="\n")
    words = "FAILED" if outcome.failed else "ok"
    extra = f", {outcome.skipped} skipped" if outcome.skipped else ""
    why = f": {outcome.why}" if outcome.why else ""
    counts = f"({outcome.passed} passed{extra})"
    print(f"{words:<6} {seconds:6.1f} s  {job.name} {counts}{why}", flush=True)


def run(names: list[str], jobs: int, limit_s: float, root: Path) -> list[Outcome]:
    """Run the modules, so many at a time, and report each as it ends."""
    waiting = list(enumerate(names))
    running: list[Job] = []
    outcomes = []
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                number, name = waiting.pop(0)
                running.append(Job(name, root / str(number), limit_s))
            for job in list(running):
                outcome = job.poll()
                if outcome is not None:
                    running.remove(job)
                    report(job, outcome)
                    outcomes.append(outcome)
            time.sleep(POLL_S)
    finally:
        for job in running:
            job.kill()
    return outcomes


def summary(outcomes: list[Outcome]) -> str:
    """The closing line."""
    passed = sum(outcome.passed for outcome in outcomes)
    failed = sum(outcome.failed for outcome in outcomes)
    skipped = sum(outcome.skipped for outcome in outcomes)
    return f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else "")


def arguments(argv: list[str]) -> argparse.Namespace:
    """The parsed command line."""
    parser = argparse.ArgumentParser(prog="tests.run", description=__doc__)
    parser.add_argument("--only", action="append", default=[], help="part of a module's name")
    parser.add_argument("--skip", action="append", default=[], help="part of a module's name")
    parser.add_argument("--crash", action="store_true", help="only the crash tests")
    parser.add_argument(
        "--outside", action="store_true", help="only what needs programs from outside (make e2e)"
    )
    parser.add_argument("--jobs", type=int, help="modules at once (by the number of cores)")
    parser.add_argument("--limit", type=float, default=MODULE_LIMIT_S, help="seconds for a module")
    return parser.parse_args(argv)


def jobs_for(asked: argparse.Namespace) -> int:
    """Most end-to-end tests wait: five on two cores; crash tests and what is outside wait less."""
    cores = os.cpu_count() or 2
    halves = 2 if asked.outside else 3 if asked.crash else 5
    return max(1, asked.jobs or max(2, halves * cores // 2))


def main(argv: list[str]) -> int:
    """Run what is asked for; 0 if all of it passed."""
    asked = arguments(argv)
    names = find(asked.only, asked.skip, asked.crash, asked.outside)
    if not names:
        print("no test module matches")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    root = Path(tempfile.mkdtemp(prefix="hub-tests-"))
    try:
        outcomes = run(names, jobs_for(asked), asked.limit, root)
    except KeyboardInterrupt:
        print("interrupted")
        return 128 + signal.SIGINT
    finally:
        shutil.rmtree(root, ignore_errors=True)
    outcomes = outcomes or [Outcome(0, 1, 0)]
    print(summary(outcomes))
    return 1 if any(outcome.failed for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
