"""A stand-in for systemctl, journalctl and systemd-run: executables of these names that note what
they are asked, and start and kill real processes. The real ones are asked elsewhere
(tests/outside/restarters); what is said here, they were seen to say there (systemd 252)."""

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

PROGRAM = r"""#!@PYTHON@ -IS
import json, os, signal, subprocess, sys, time

place, tool = os.path.split(os.path.abspath(__file__))
asked = {"argv": [tool, *sys.argv[1:]], "runtime": os.environ.get("XDG_RUNTIME_DIR", ""),
         "language": os.environ.get("LC_ALL", ""), "notify": os.environ.get("NOTIFY_SOCKET")}
with open(os.path.join(place, "asked"), "a") as file:
    file.write(json.dumps(asked) + "\n")
with open(os.path.join(place, "state.json")) as file:
    state = json.load(file)


def fail(status, words):
    sys.stderr.write(words + "\n")
    sys.exit(status)


def save():
    with open(os.path.join(place, "state.new"), "w") as file:
        json.dump(state, file)
    os.replace(os.path.join(place, "state.new"), os.path.join(place, "state.json"))


def lives(pid):
    try:
        with open("/proc/%d/stat" % pid) as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


time.sleep(state["sleep_s"].get(tool, 0))
scope = "user" if "--user" in sys.argv else "system"
if state["no_manager"] == scope:
    fail(1, "Failed to connect to bus: No medium found")
if sys.argv[1:] == ["--sync"]:
    sys.exit(0 if state["may_sync"] else 1)
if tool == "journalctl" and any(word.startswith("MESSAGE_ID=") for word in sys.argv):
    for job in state["jobs_noted"][-1:]:
        print('{"JOB_TYPE":"%s"}' % job)  # as journalctl writes it, without a blank
    sys.exit(0)
if tool == "journalctl":
    lines = state["journal"][::-1] if "--reverse" in sys.argv else state["journal"]
    number = [int(word[8:]) for word in sys.argv if word.startswith("--lines=")][0]
    since = [word for word in sys.argv if word.startswith("--since=")]
    first = since or "--reverse" in sys.argv  # seen so: with --since it is the first that count
    print("\n".join(lines[:number] if first else lines[-number:]))
    sys.exit(0)
if tool == "systemd-run":
    words = sys.argv[1:]
    if state["run_refuses"]:
        fail(1, state["run_refuses"])
    while words[0].startswith("--") and words[0] != "--":
        words = words[1:]
    words = words[1:] if words[0] == "--" else words
    if words == ["true"]:
        sys.exit(0)
    os.execv(words[0], words)
unit = sys.argv[-1]
verb = [word for word in sys.argv[1:] if not word.startswith("-")][0]
known = state["units"].get(scope + " " + unit)
if verb == "show":
    shown = {"Id": unit, "LoadState": "not-found", "ActiveState": "inactive", "SubState": "dead",
             "LoadError": 'org.freedesktop.systemd1.NoSuchUnit "Unit %s not found."' % unit,
             "MainPID": 0, "Result": "success", "NRestarts": 0,
             "InvocationID": (known or {}).get("pid", 0)}
    if known is not None:
        shown.update(known["shown"], MainPID=known["pid"] if lives(known["pid"]) else 0,
                     ExecMainPID=known["last"])
        if known["jobs"]:
            shown["Job"] = known["jobs"]
            known["jobs"] -= 1
            save()
    wanted = [word for word in sys.argv if word.startswith("--property=")][0].partition("=")[2]
    for name in wanted.split(","):
        if name in shown:
            print("%s=%s" % (name, shown[name]))
    sys.exit(0)
if verb == "reset-failed":
    known["shown"]["ActiveState"] = "inactive"
    save()
    sys.exit(0)
if verb != "restart" or known is None:
    fail(5, "Failed to %s %s: Unit %s not found." % (verb, unit, unit))
if known["shown"]["ActiveState"] == "failed":
    fail(1, "Job for %s failed because start of the service was attempted too often.\n"
            'See "systemctl status %s" and "journalctl -xeu %s" for details.' % (unit, unit, unit))
if known["refuses"]:
    fail(4, known["refuses"])
pid = known["pid"]
if lives(pid):
    os.kill(pid, signal.SIGTERM)
    while lives(pid):
        time.sleep(0.005)
if known["canceled"]:
    known["shown"].update(ActiveState=known["canceled"])
    save()
    fail(1, "Job for %s canceled." % unit)
known["pid"], known["restarts"] = 0, known["restarts"] + 1
if known["dies"]:
    known["shown"].update(ActiveState="failed", SubState="failed", Result=known["why"])
    known["last"] += known["begins"]
    save()
    fail(1, known["dies"])
null = subprocess.DEVNULL
known["pid"] = subprocess.Popen(@SLEEPER@, stdin=null, stdout=null, stderr=null,
                                start_new_session=True).pid
known["last"] = known["pid"]
known["shown"].update(ActiveState="active", SubState="running", Result="success")
save()
"""
SLEEPER = [sys.executable, "-IS", "-c", "import time; time.sleep(600)"]
TOOLS = ("systemctl", "journalctl", "systemd-run")


class Systemd:
    """A directory with these programs in it: to be the whole of PATH."""

    def __init__(self) -> None:
        self.path = tempfile.mkdtemp(prefix="systemd-")
        text = PROGRAM.replace("@PYTHON@", sys.executable).replace("@SLEEPER@", repr(SLEEPER))
        for name in TOOLS:
            program = Path(self.path, name)
            program.write_text(text)
            program.chmod(0o755)
        self._write(
            {
                "units": {},
                "journal": [],
                "run_refuses": "",
                "no_manager": "",
                "sleep_s": {},
                "jobs_noted": (),
                "may_sync": True,
            }
        )

    def _read(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(Path(self.path, "state.json").read_text())
        return value

    def _write(self, state: dict[str, Any]) -> None:
        Path(self.path, "state.json").write_text(json.dumps(state))

    def install(self, unit: str, scope: str = "system", **shown: object) -> int:
        """The one unit that runs; its main process. `shown` is what `show` says otherwise."""
        self._end()
        state = self._read()
        state["units"][f"{scope} {unit}"] = {
            "pid": 0, "restarts": 0, "refuses": "", "dies": "", "jobs": 0, "canceled": "",
            "last": 0, "begins": True, "why": "exit-code",
            "shown": {"LoadState": "loaded", "LoadError": "", "ActiveState": "inactive",
                      "TimeoutStartUSec": "1min 30s", "TimeoutStopUSec": "2s", **shown},
        }  # fmt: skip
        self._write(state)
        flags = ["--user"] if scope == "user" else []
        argv = ["systemctl", *flags, "restart", unit]
        os.spawnv(os.P_WAIT, os.path.join(self.path, "systemctl"), argv)
        self.change(unit, scope, restarts=0)
        Path(self.path, "asked").unlink()
        return self.pid(unit, scope)

    def unit(self, unit: str, scope: str = "system") -> dict[str, Any]:
        """What is known of a unit."""
        found: dict[str, Any] = self._read()["units"][f"{scope} {unit}"]
        return found

    def change(self, unit: str, scope: str = "system", **fields: Any) -> None:
        """Have it behave otherwise: `refuses` and `dies` are words, `jobs` looks with a job,
        one that dies without that it `begins` was never executed, and `canceled` is the state that
        somebody else's order leaves it in once ours has ended its process."""
        state = self._read()
        known = state["units"][f"{scope} {unit}"]
        known["shown"].update(fields.pop("shown", {}))
        known.update(fields)
        self._write(state)

    def set(self, **fields: Any) -> None:
        """Have all of it behave otherwise."""
        self._write({**self._read(), **fields})

    def pid(self, unit: str, scope: str = "system") -> int:
        """The main process that was started last; 0 for none."""
        return int(self.unit(unit, scope)["pid"])

    def all_asked(self) -> list[dict[str, Any]]:
        """Everything that was asked since a unit was installed, in order, with its environment."""
        with contextlib.suppress(FileNotFoundError):
            lines = Path(self.path, "asked").read_text().splitlines()
            return [json.loads(line) for line in lines]
        return []

    def asked(self) -> list[str]:
        """The same, what only looks left out, as lines."""
        lines = [" ".join(one["argv"]) for one in self.all_asked()]
        return [line for line in lines if " show " not in line]

    def close(self) -> None:
        """Every unit ends."""
        self._end()
        shutil.rmtree(self.path)

    def _end(self) -> None:
        for known in self._read()["units"].values():
            if known["pid"]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(known["pid"], signal.SIGKILL)
