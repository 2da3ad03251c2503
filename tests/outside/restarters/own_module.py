"""A module of a hub's: tries what it can do, and writes what came of it. Runs with any Python.

Usage: python3 own_module.py REPORT
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import platform
import socket
import subprocess
import sys
import time
from typing import Callable

CLONE_NEWUSER = 0x10000000
LOOP = "let x = 0; for (let i = 0; i < 3e6; i++) x = (x * 31 + i) % 65521; console.log(x)"
"""Long enough to be compiled by whatever runs it."""
RETURN_42 = {
    "x86_64": b"\xb8\x2a\x00\x00\x00\xc3",
    "aarch64": b"\x40\x05\x80\x52\xc0\x03\x5f\xd6",
}
libc = ctypes.CDLL(None, use_errno=True)


def machine_code() -> bool:
    """Written into memory, and executed there."""
    memory = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    memory.write(RETURN_42[platform.machine()])
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    return bool(ctypes.CFUNCTYPE(ctypes.c_int)(address)() == 42)


def engine(name: str) -> Callable[[], bool]:
    """A run of a program that compiles what it runs."""

    def run() -> bool:
        there = {**os.environ, "LD_LIBRARY_PATH": "/opt/engines"}
        argv = ["/opt/engines/" + name, "-e", LOOP]
        done = subprocess.run(argv, capture_output=True, env=there, check=False)
        if done.returncode:
            raise OSError(done.returncode, done.stderr.decode("utf-8", "replace")[-300:])
        return done.stdout.strip().isdigit()

    return run


def write(directory: str) -> Callable[[], bool]:
    def act() -> bool:
        path = os.path.join(directory, "module-was-here")
        with open(path, "w"):
            pass
        os.unlink(path)
        return True

    return act


def namespace() -> bool:
    if libc.unshare(CLONE_NEWUSER):
        raise OSError(ctypes.get_errno(), "unshare")
    return True


def set_the_clock() -> bool:
    time.clock_settime(time.CLOCK_REALTIME, time.time())
    return True


def device() -> bool:
    with open("/dev/mem", "rb"):
        return True


def child() -> bool:
    return subprocess.run(["sh", "-c", "exit 7"], check=False).returncode == 7


def loopback() -> bool:
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        one.listen()
        two.connect(one.getsockname())
    return True


ACTS: dict[str, Callable[[], bool]] = {
    "machine code": machine_code,
    "bun": engine("bun"),
    "node": engine("node"),
    "write home": write(os.path.dirname(sys.argv[1])),
    "write /tmp": write("/tmp"),
    "write /etc": write("/etc"),
    "write /usr": write("/usr/local"),
    "write elsewhere": write("/srv/elsewhere"),
    "write /home": write(os.path.expanduser("~")),
    "a child": child,
    "loopback": loopback,
    "a user namespace": namespace,
    "set the clock": set_the_clock,
    "a device": device,
}


def main() -> None:
    found: dict[str, object] = {}
    for name, act in ACTS.items():
        try:
            found[name] = act()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told
            found[name] = repr(error)
    with open(sys.argv[1] + ".new", "w") as file:
        json.dump(found, file)
    os.rename(sys.argv[1] + ".new", sys.argv[1])


main()
