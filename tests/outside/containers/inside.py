"""Become process 1 of a container: mount what the plan says, pivot into it, and run its command.

Run as root below `unshare --fork --pid --mount`, with the plan as JSON: {root: {kind, tree, ...},
mounts: [{kind, source, target, read_only}], read_only, user, environment, argv}. A kind is overlay
(lower, upper, work), bind (a directory), ext4 (an image) or tmpfs (filled from `tree`).
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from typing import Any

PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
MNT_DETACH = 2
OLD = ".old"

libc = ctypes.CDLL(None, use_errno=True)


def run(*argv: str) -> None:
    """A program of the machine, which must succeed."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(argv)}: {done.stderr}")


def must(code: int, what: str) -> None:
    if code != 0:
        raise SystemExit(f"{what}: {os.strerror(ctypes.get_errno())}")


def mount(one: dict[str, Any], target: str) -> None:
    """One file system at its place."""
    kind, source = one["kind"], one.get("source", "")
    if kind == "overlay":
        layers = f"lowerdir={one['lower']},upperdir={one['upper']},workdir={one['work']}"
        run("mount", "-t", "overlay", "overlay", "-o", layers, target)
    elif kind == "bind":
        run("mount", "--bind", source, target)
    elif kind == "ext4":
        run("mount", "-o", "loop", source, target)
    else:
        run("mount", "-t", kind, kind, target)
        if "tree" in one:
            run("cp", "-a", one["tree"] + "/.", target)
    if one.get("read_only"):
        run("mount", "-o", "remount,ro,bind", target)


def main(plan: dict[str, Any]) -> None:
    """Build the tree of mounts at `plan["at"]`, and go into it for ever."""
    at = plan["at"]
    run("mount", "--make-rprivate", "/")
    mount(plan["root"], at)
    os.makedirs(os.path.join(at, OLD), exist_ok=True)
    for one in plan["mounts"]:
        target = at + one["target"]
        os.makedirs(target, exist_ok=True)
        mount(one, target)
    os.makedirs(at + "/proc", exist_ok=True)
    run("mount", "-t", "proc", "proc", at + "/proc")
    if plan["read_only"]:
        run("mount", "-o", "remount,ro,bind", at)
    os.chdir(at)
    must(libc.syscall(PIVOT_ROOT[os.uname().machine], b".", OLD.encode()), "pivot_root")
    os.chdir("/")
    must(libc.umount2(f"/{OLD}".encode(), MNT_DETACH), "umount2")
    if plan["user"]:
        os.setgroups([])
        os.setgid(plan["user"])
        os.setuid(plan["user"])
    os.execve(plan["argv"][0], plan["argv"], plan["environment"])


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
