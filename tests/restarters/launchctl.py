"""A stand-in for launchctl and launchd, for there is neither here: an executable of that name that
notes what it is asked, and starts and kills real processes.

What it prints, and with which status it ends, is what the real one was seen to print and end with:
- `print` of a job: https://github.com/boxen/puppet-boxen/issues/104 (OS X 10.10), and the shape of
  newer ones in https://github.com/openbase-community/openbase/pull/15 (macOS 26.5); that its form
  is no API says launchctl(1), https://keith.github.io/xcode-man-pages/launchctl.1.html
- 113 `Could not find service "L" in domain for user gui: 501` (and `for system`):
  https://github.com/NousResearch/hermes-agent/pull/5536,
  https://github.com/DeterminateSystems/nix-installer/issues/960
- 1 and 150 `Could not kickstart service "L": 1: Operation not permitted`, 37 (EALREADY), 5 (EIO):
  https://github.com/openclaw/openclaw/issues/112731,
  https://github.com/NousResearch/hermes-agent/pull/42588
- a kickstart that does not answer in 15 s, and was done all the same:
  https://github.com/electricsheephq/evaos-code-review-bot-neondiff/issues/591
- `kickstart -k` is a SIGKILL: https://github.com/kirodotdev/KiroCrew/issues/1562
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

PROGRAM = r'''#!@PYTHON@ -IS
import json, os, signal, subprocess, sys, time

place = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(place, "asked"), "a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\n")
with open(os.path.join(place, "jobs.json")) as file:
    jobs = json.load(file)
verb, target = sys.argv[1], sys.argv[-1]
domain, _, label = target.rpartition("/")
job = jobs.get(target)


def fail(status, words):
    sys.stderr.write(words + "\n")
    sys.exit(status)


def lives(pid):
    try:
        with open("/proc/%d/stat" % pid) as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


if job is None:
    where = "system" if domain == "system" else "user %s: %s" % tuple(domain.split("/"))
    fail(113, 'Could not find service "%s" in domain for %s' % (label, where))
pid = job["pid"] if lives(job["pid"]) else 0
if verb == "print":
    print("""%s = {
\tactive count = 1
\tpath = /Users/op/Library/LaunchAgents/%s.plist
\ttype = LaunchAgent
\tstate = %s

\tprogram = /opt/hub/bin/hub
\targuments = {
\t\t/opt/hub/bin/hub
\t\tpid = 7
\t}

\tstdout path = /dev/null
\tstderr path = %s
\tdefault environment = {
\t\tPATH => /usr/bin:/bin:/usr/sbin:/sbin
\t}

\tdomain = %s [100005]
\tminimum runtime = 10
\texit timeout = 5
\truns = %d""" % (target, label, "running" if pid else "not running", job["stderr"], domain,
                 job["runs"]))
    if pid:
        print("\tpid = %d\n\timmediate reason = inefficient" % pid)
    print("""\tforks = 0
\texecs = 1
\tlast exit code = %s

\tendpoints = {
\t\t"%s.socket" = {
\t\t\tstate = active
\t\t\tpid = 1
\t\t}
\t}

\tspawn type = daemon (3)
\tproperties = keepalive | runatload
}""" % (job["exit"], label))
    sys.exit(0)
if verb != "kickstart" or sys.argv[2:-1] not in ([], ["-k"]):
    fail(64, "Unrecognized subcommand or option")
trouble = job["trouble"]
if trouble and not trouble["done"]:
    time.sleep(trouble["sleep_s"])
    fail(trouble["status"], trouble["words"])
if pid and "-k" in sys.argv:
    os.kill(pid, signal.SIGKILL)
    while lives(pid):
        time.sleep(0.005)
    try:
        os.killpg(pid, signal.SIGKILL)  # launchd.plist(5), AbandonProcessGroup
    except ProcessLookupError:
        pass
    pid = 0
if not pid and job["argv"]:
    null = subprocess.DEVNULL
    started = subprocess.Popen(job["argv"], stdin=null, stdout=null, stderr=null,
                               start_new_session=True)
    if job["argv"] == ["/bin/true"]:
        started.wait()  # or it might be seen to live
    job["pid"] = started.pid
    job["runs"] += 1
    with open(os.path.join(place, "jobs.new"), "w") as file:
        json.dump(jobs, file)
    os.replace(os.path.join(place, "jobs.new"), os.path.join(place, "jobs.json"))
if trouble:
    time.sleep(trouble["sleep_s"])
    fail(trouble["status"], trouble["words"])
'''
SLEEPER = [sys.executable, "-IS", "-c", "import time; time.sleep(600)"]


class Launchd:
    """A directory with the program in it: to be the whole of PATH."""

    def __init__(self) -> None:
        self.path = tempfile.mkdtemp(prefix="launchd-")
        program = Path(self.path, "launchctl")
        program.write_text(PROGRAM.replace("@PYTHON@", sys.executable))
        program.chmod(0o755)
        self._jobs: dict[str, Any] = {}
        self._save()

    def load(self, target: str, argv: list[str] | None = None, stderr: str = "/dev/null") -> int:
        """A job that runs, instead of one of that name; its process."""
        if target in self._jobs:
            self._end(target)
        self._jobs[target] = {
            "argv": SLEEPER if argv is None else argv, "pid": 0, "runs": 0, "stderr": stderr,
            "exit": "(never exited)", "trouble": None,
        }  # fmt: skip
        self._save()
        if argv != []:
            os.spawnv(os.P_WAIT, os.path.join(self.path, "launchctl"),
                      ["launchctl", "kickstart", target])  # fmt: skip
        Path(self.path, "asked").unlink(missing_ok=True)
        return self.pid(target)

    def trouble(
        self, target: str, status: int, words: str, *, done: bool = False, sleep_s: float = 0
    ) -> None:
        """What a kickstart ends with from now on, whether it was done or not."""
        told = {"status": status, "words": words, "done": done, "sleep_s": sleep_s}
        self._change(target, trouble=told)

    def will_start(self, target: str, argv: list[str]) -> None:
        """Its program from now on; none is one that cannot be executed."""
        self._change(target, argv=argv)

    def pid(self, target: str) -> int:
        """The process that was started last; 0 for none."""
        self._jobs = json.loads(Path(self.path, "jobs.json").read_text())
        return int(self._jobs[target]["pid"])

    def runs(self, target: str) -> int:
        """How often it was started."""
        self.pid(target)
        return int(self._jobs[target]["runs"])

    def asked(self) -> list[str]:
        """Everything that launchctl was asked since it was loaded, in order."""
        with contextlib.suppress(FileNotFoundError):
            lines = Path(self.path, "asked").read_text().splitlines()
            return [" ".join(json.loads(line)) for line in lines]
        return []

    def close(self) -> None:
        """Every job ends."""
        for target in list(self._jobs):
            self._end(target)
        shutil.rmtree(self.path)

    def _change(self, target: str, **changes: Any) -> None:
        self.pid(target)  # which reads what launchctl wrote meanwhile
        self._jobs[target].update(changes)
        self._save()

    def _end(self, target: str) -> None:
        pid = self.pid(target)
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _save(self) -> None:
        Path(self.path, "jobs.json").write_text(json.dumps(self._jobs))
