"""Goes into a mortal release (`tests.crash.mortal`): counts the acts of its processes, and strikes.

An *act* is whatever outlives its process or reaches another one: a file made, written, synced,
renamed or removed; a fork, an exec, a signal, a notification. `CRASH_PLAN` names a JSON file:
`home`; `acts`, the file that records them; and, for a death, the `act`, its `occurrence` from 0,
and the `victim` that is killed right before it. Without a death, who lives is recorded too.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

ROLES = {b"serve": "launcher", b"run": "hub", b"helper": "helper"}
ALL = "all"
DEATH_S = 2.0
END = "END"
STRUCK = "STRUCK"

_plan: dict[str, Any] = {}
_role = ""
_own_pid = os.getpid()
_kill = os.kill


def _start() -> None:
    global _plan, _role  # noqa: PLW0603 - once, when the process starts
    path = os.environ.get("CRASH_PLAN")
    if not path:
        return
    with open(path, encoding="utf-8") as file:
        _plan = json.load(file)
    _role = {pid: role for role, pid in _processes()}.get(_own_pid, "")
    if _role:
        _count_all()


def _processes() -> Iterator[tuple[str, int]]:
    """The processes of this home that can be struck."""
    home = os.fsencode(_plan["home"])
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/cmdline", "rb") as file:
                words = file.read().split(b"\0")[:-1]
            with open(f"/proc/{name}/environ", "rb") as file:
                values = file.read().split(b"\0")
        except OSError:
            continue
        if home in words or b"PARACHUTE_HOME=" + home in values:
            for word in ROLES.keys() & set(words):
                yield ROLES[word], int(name)


def _act(label: str) -> None:
    line = _role + ("" if os.getpid() == _own_pid else "'s child") + ": " + label
    alive = list(_processes()) if "act" not in _plan else []
    struck: list[int] = []
    with open(_plan["acts"], "a+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        lines = file.read().split("\n")
        if alive:
            line += "\t" + " ".join(sorted({role for role, _pid in alive}))
        elif line == _plan["act"] and lines.count(line) == _plan["occurrence"] and END not in lines:
            struck = [pid for role, pid in _processes() if _plan["victim"] in (role, ALL)]
            line += "\n" + " ".join([STRUCK, *map(str, struck)])
        file.write(line + "\n")
    _strike(struck)


def _strike(pids: list[int]) -> None:
    """Kill them, ourselves last, and see them dead before the act is done."""
    for pid in sorted(pids, key=lambda pid: pid == os.getpid()):
        try:
            _kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    deadline = time.monotonic() + DEATH_S
    while not all(is_dead(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.002)


def is_dead(pid: int) -> bool:
    """A process that is dying has no arguments any more, but still its sockets and locks."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rsplit(b")", 1)[1].split()[0] in (b"Z", b"X")
    except (OSError, IndexError):
        return True


# --- what an act is called ----------------------------------------------------------------------


def _stem(name: str) -> str:
    """A name without what is random in it, or new with every build."""
    if name.startswith(".staging-"):
        return ".staging"
    if name.startswith(".") and name.endswith(".tmp"):
        return _stem(".".join(name.split(".")[1:-2])) + ".tmp"
    _head, dash, digits = name.rpartition("-")
    if dash and len(digits.partition(".")[0]) == 16:
        return "release" + digits[16:]
    return name.partition("-")[0] if name.startswith(("upgrade-", "trial-")) else name


def _place(path: Any) -> str:
    if path == _plan["home"]:
        return "home"
    above, name = map(_stem, os.fsdecode(path).rsplit("/", 2)[-2:])
    return f"{above}/{name}" if above in ("release", ".staging") else name


def _says(path: str) -> str:
    """What a state file is about to say."""
    try:
        with open(path, encoding="utf-8") as file:
            value = json.load(file)
    except (OSError, ValueError):
        return ""
    if "phase" in value:
        return f" {value['phase']}/{value.get('step')}"
    if "verdicts" in value:
        last = value["verdicts"][-1]["verdict"] if value["verdicts"] else "no verdict"
        return " trial" if value["trial"] else f" {last}"
    if "hub_pid" in value:
        return " instance" if value["instance"] else " no instance"
    return ""


def _opened(path: Any, flags: int, *_rest: Any, **_more: Any) -> str:
    return f"create {_place(path)}" if flags & os.O_CREAT and not os.path.lexists(path) else ""


def _at(verb: str) -> Callable[..., str]:
    def label(descriptor: int, *_rest: Any) -> str:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        counts = path.startswith("/") and not path.startswith("/dev/") and not path.endswith(".log")
        return f"{verb} {_place(path)}" if counts else ""

    return label


def _signalled(_pid: int, number: int) -> str:
    return f"signal {signal.Signals(number).name}" if number else ""


def _executed(_path: Any, argv: list[str], _environment: Any) -> str:
    return " ".join(["exec", *(word for word in argv if word in ("run", "helper", "version"))])


def _sent(_socket: Any, data: bytes, *_rest: Any) -> str:
    word = bytes(data).partition(b"\n")[0].decode()
    return "" if word.startswith("WATCHDOG") else f"say {word}"


def _count(owner: Any, name: str, label: Callable[..., str]) -> None:
    act = getattr(owner, name)

    def counted(*args: Any, **named: Any) -> Any:
        text = label(*args, **named)
        if text:
            _act(text)
        return act(*args, **named)

    setattr(owner, name, counted)


def _count_all() -> None:
    _count(os, "kill", _signalled)
    _count(os, "killpg", lambda *to: _signalled(*to) and "signal group")
    _count(os, "open", _opened)
    _count(os, "write", _at("write"))
    _count(os, "fsync", _at("sync"))
    _count(os, "replace", lambda old, new: f"replace {_place(new)}{_says(old)}")
    for verb in ("rename", "unlink", "mkdir", "rmdir"):
        _count(os, verb, lambda *paths, verb=verb, **_more: f"{verb} {_last(paths)}")
    _count(os, "execve", _executed)
    _count(os, "fork", lambda: "fork")
    _count(socket.socket, "sendto", _sent)


def _last(paths: tuple[Any, ...]) -> str:
    """A path and perhaps a mode, or the old and the new path."""
    return _place([path for path in paths if not isinstance(path, int)][-1])


_start()
