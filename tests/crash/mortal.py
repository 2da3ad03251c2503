"""Releases whose processes die at a chosen act: the real file, and a count put around the acts.

An *act* is whatever outlives its process or reaches another one: a file made, written, synced,
renamed or removed; a fork, an exec, a signal, a notification. The overlay below is appended to
`host/files.py`, which every process imports first. It does nothing without `CRASH_PLAN` in the
environment: a JSON file that names where to record the acts, and at which one to strike whom.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import NamedTuple

import build_pyz
from tests.e2e import harness

VICTIMS = ("helper", "hub", "launcher", "all")
SHORT_WATCH = (b"WATCH_S = 1.5", b"WATCH_S = 0.2")
"""Of preflight: it is not what is tested here, and every case waits for it twice."""

COUNTING = '''

# --- appended by tests/crash/mortal.py ----------------------------------------------------------
import signal as _signal
import socket as _socket
import sys as _sys

_PLAN_FILE = os.environ.get("CRASH_PLAN", "")
_OWN_PID = os.getpid()


def _role():
    words = _sys.argv[1:2]
    if words == ["serve"]:
        return "launcher"
    if words == ["helper"]:
        return "helper"
    if words == ["run"]:
        return "hub" if os.environ.get("PARACHUTE_HOME") == _PLAN["home"] else ""
    return ""


def _stem(name):
    """A name without what is random in it."""
    parts = name.split(".")
    if name.startswith(".staging-"):
        return ".staging"
    if name.startswith(".") and name.endswith(".tmp"):
        return ".".join(parts[1:-2]) + ".tmp"
    head, dash, digits = name.rpartition("-")
    if dash and len(digits.partition(".")[0]) == 16:
        return "release" + digits[16:]
    if name.startswith(("upgrade-", "trial-", "hub-preflight-")):
        return name.split("-")[0]
    return name


def _place(path):
    path = os.fsdecode(path)
    name = _stem(os.path.basename(path))
    above = _stem(os.path.basename(os.path.dirname(path)))
    return above + "/" + name if above in ("release", ".staging") else name


def _says(path):
    """What a state file is about to say."""
    try:
        with open(path, encoding="utf-8") as file:
            value = json.load(file)
    except (OSError, ValueError):
        return ""
    if "phase" in value:
        return " " + value["phase"] + "/" + value.get("step", "")
    if "verdicts" in value:
        trial = value.get("trial")
        last = value["verdicts"][-1]["verdict"] if value["verdicts"] else "no verdict"
        return " trial" if trial else " " + last
    if "hub_pid" in value:
        return " instance" if value.get("instance") else " no instance"
    return ""


def _processes(victim):
    wanted = {"launcher": b"serve", "hub": b"run", "helper": b"helper"}
    home = os.fsencode(_PLAN["home"])
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open("/proc/" + name + "/cmdline", "rb") as file:
                words = file.read().split(b"\\0")[:-1]
            with open("/proc/" + name + "/environ", "rb") as file:
                values = file.read().split(b"\\0")
        except OSError:
            continue
        ours = home in words or b"PARACHUTE_HOME=" + home in values
        for role, word in wanted.items():
            if ours and word in words and victim in (role, "all"):
                yield int(name)


def _dead(pid):
    try:
        with open("/proc/%d/stat" % pid, "rb") as file:
            return file.read().rsplit(b")", 1)[1].split()[0] in (b"Z", b"X")
    except (OSError, IndexError):
        return True


def _strike():
    pids = [pid for pid in _processes(_PLAN["victim"])]
    for pid in sorted(pids, key=lambda pid: pid == os.getpid()):
        try:
            _real_kill(pid, 9)
        except OSError:
            pass
    for _ in range(500):
        if all(_dead(pid) for pid in pids):
            return
        time.sleep(0.002)


def _act(label):
    own = os.getpid() == _OWN_PID
    role = _ROLE if own else _ROLE + "'s child"
    line = role + ": " + label
    with open(_PLAN["acts"], "a+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        earlier = file.read().split("\\n").count(line)
        file.write(line + "\\n")
        file.flush()
        fired = line == _PLAN.get("act") and earlier == _PLAN["occurrence"]
        if fired:
            file.write("STRUCK\\n")
            file.flush()
    if fired:
        _strike()


def _wrap(owner, name, label):
    real = getattr(owner, name)

    def counted(*args, **kwargs):
        text = label(*args, **kwargs)
        if text:
            _act(text)
        return real(*args, **kwargs)

    setattr(owner, name, counted)
    return real


def _opened(path, flags, *_rest, **_more):
    new = flags & os.O_CREAT and not os.path.lexists(path)
    return "create " + _place(path) if new else ""


def _at(verb):
    def label(descriptor, *_rest):
        path = os.readlink("/proc/self/fd/%d" % descriptor)
        if path.startswith("/") and not path.startswith("/dev/") and not path.endswith(".log"):
            return verb + " " + ("home" if path == _PLAN["home"] else _place(path))
        return ""

    return label


def _renamed(verb):
    return lambda old, new, **_more: verb + " " + _place(new) + _says(old)


def _plain(verb):
    return lambda path, *_rest, **_more: verb + " " + _place(path)


def _signalled(verb):
    return lambda _pid, number: verb + " " + _signal.Signals(number).name if number else ""


def _sent(_socket, data, *_rest):
    word = bytes(data).split(b"\\n")[0].decode("utf-8", "replace")
    return "" if word.startswith("WATCHDOG") else "say " + word.partition("\\n")[0]


def _executed(path, argv, _environment):
    words = [word for word in argv if word in ("run", "helper", "serve", "version")]
    return "exec " + " ".join(words)


_PLAN = {}
_ROLE = ""
if _PLAN_FILE:
    with open(_PLAN_FILE, encoding="utf-8") as _file:
        _PLAN = json.load(_file)
    _ROLE = _role()
if _ROLE:
    _real_kill = _wrap(os, "kill", _signalled("signal"))
    _wrap(os, "killpg", _signalled("signal group"))
    _wrap(os, "open", _opened)
    _wrap(os, "write", _at("write"))
    _wrap(os, "fsync", _at("sync"))
    _wrap(os, "replace", _renamed("replace"))
    _wrap(os, "rename", _renamed("rename"))
    _wrap(os, "unlink", _plain("unlink"))
    _wrap(os, "mkdir", _plain("mkdir"))
    _wrap(os, "rmdir", _plain("rmdir"))
    _wrap(os, "execve", _executed)
    _wrap(os, "fork", lambda: "fork")
    _wrap(_socket.socket, "sendto", _sent)
'''


class Point(NamedTuple):
    """The n-th occurrence (from 0) of one act in the life that is tried."""

    act: str
    occurrence: int

    def __str__(self) -> str:
        return f"{self.act} #{self.occurrence + 1}"


def overlay() -> dict[str, bytes]:
    """The members that make a release mortal."""
    root = build_pyz.ROOT / "hub_upgrade"
    files = (root / "host" / "files.py").read_bytes()
    preflight = (root / "upgrade" / "preflight.py").read_bytes()
    if SHORT_WATCH[0] not in preflight:
        raise AssertionError("preflight's WATCH_S is written otherwise now")
    return {
        "hub_upgrade/host/files.py": files + COUNTING.encode(),
        "hub_upgrade/upgrade/preflight.py": preflight.replace(*SHORT_WATCH),
    }


def build(version: str, *, sick: bool = False) -> str:
    """A mortal release; a sick one is well in preflight, and dies in the real home when ready."""
    members = overlay()
    if sick:
        main = (build_pyz.ROOT / "hub_upgrade" / "hub" / "main.py").read_bytes()
        says = b'        self._say("READY=1")\n'
        dies = (
            b'        if "hub-preflight" not in os.environ["PARACHUTE_HOME"]:\n'
            b'            print("sick", flush=True)\n'
            b"            self._loop.call_later(0.1, lambda: os._exit(3))\n"
        )
        if main.count(says) != 1:
            raise AssertionError("the hub says READY=1 otherwise now")
        members["hub_upgrade/hub/main.py"] = main.replace(says, says + dies)
    return harness.build(version, members)


def write_plan(path: str, home: str, acts: str, point: Point | None, victim: str) -> None:
    """Where the processes started under this plan record their acts, and where they strike."""
    plan = {"home": home, "acts": acts, "victim": victim}
    if point is not None:
        plan = {**plan, "act": point.act, "occurrence": point.occurrence}  # type: ignore[dict-item]
    Path(path).write_text(json.dumps(plan))


def acts(path: str) -> list[str]:
    """What was recorded, in order."""
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []


def points(recorded: list[str]) -> list[Point]:
    """Every act of a life that nobody struck, as a place to strike."""
    seen: dict[str, int] = {}
    found = []
    for act in recorded:
        found.append(Point(act, seen.get(act, 0)))
        seen[act] = seen.get(act, 0) + 1
    return found


def struck(path: str) -> bool:
    """Whether the plan has come to its point."""
    return "STRUCK" in acts(path)


def environment(plan: str) -> dict[str, str]:
    """What makes a `serve` mortal."""
    return {"CRASH_PLAN": plan} if plan else {}


def exists(path: str) -> bool:
    return os.path.lexists(path)
