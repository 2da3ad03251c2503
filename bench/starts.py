"""How large the file is, how fast it starts, how much memory it takes when idle."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import build_pyz
from bench.scene import Scene, scene
from bench.table import Row, pairs
from tests.e2e.harness import environment

ROUNDS = 15
HELPER_GOAL = 1.3
SERVE_GOAL = 1.8
LAUNCHER_MB = 13.0
TOGETHER_MB = 38.0
HELPER_YARDSTICK = [sys.executable, "-I", "-c", "import argparse, json, subprocess"]
SERVE_YARDSTICK = [sys.executable, "-c", "import http.server"]


def timed(argv: list[str], code: int) -> float:
    """Seconds of a whole process that must end with this code."""
    began = time.perf_counter()
    done = subprocess.run(argv, env=environment(), capture_output=True, check=False)
    took = time.perf_counter() - began
    if done.returncode != code:
        raise SystemExit(f"{argv} ended with {done.returncode}: {done.stderr.decode()}")
    return took


def size() -> list[Row]:
    """The bytes of both kinds of build."""
    rows = []
    with tempfile.TemporaryDirectory() as directory:
        for lean, limit in ((False, build_pyz.MOST_BYTES), (True, build_pyz.MOST_SOURCE_BYTES)):
            path = os.path.join(directory, "hub.pyz")
            build_pyz.build(path, source_only=lean)
            found = os.path.getsize(path)
            name = "hub.pyz, source only" if lean else "hub.pyz"
            goal = f"<= {limit // 1000} kB"
            rows.append(Row(name, f"{found / 1000:.0f} kB", "", "", goal, found <= limit))
    return rows


def helper(program: str) -> Row:
    """`hub.pyz helper` to its usage error, against an interpreter with three imports."""
    ours, other, ratio = pairs(
        lambda: timed([sys.executable, program, "helper"], 2),
        lambda: timed(HELPER_YARDSTICK, 0),
        ROUNDS,
    )
    what = "`helper` to its usage error, against `-I -c 'import argparse, json, subprocess'`"
    return Row(
        what, f"{ours:.1f} ms", f"{other:.1f} ms", f"{ratio:.2f} times", f"<= {HELPER_GOAL}",
        ratio <= HELPER_GOAL,
    )  # fmt: skip


def serve(made: Scene) -> Row:
    """`serve` to its first 200, against one interpreter that imports `http.server`."""

    def start() -> float:
        began = time.perf_counter()
        made.hub.start(ready=False)
        status, _ = made.hub.request("GET", "/health")
        took = time.perf_counter() - began
        if status != 200:
            raise SystemExit(f"/health answered {status}")
        made.hub.stop()
        return took

    ours, other, ratio = pairs(start, lambda: timed(SERVE_YARDSTICK, 0), ROUNDS)
    what = "`serve` to the first 200, against one interpreter importing `http.server`"
    return Row(
        what, f"{ours:.1f} ms", f"{other:.1f} ms", f"{ratio:.2f} times", f"<= {SERVE_GOAL}",
        ratio <= SERVE_GOAL,
    )  # fmt: skip


def resident_mb(pid: int) -> float:
    """Resident memory of a process, in megabytes of a million bytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def memory(made: Scene) -> list[Row]:
    """Launcher and hub, idle after a few requests."""
    made.hub.start()
    for _ in range(50):
        made.hub.request("GET", "/health")
    made.hub.request("GET", "/api/hub", token=made.hub.token())
    time.sleep(2.5)
    launcher, hub = resident_mb(made.hub.launcher_pid), resident_mb(made.hub.hub_pid())
    made.hub.stop()
    both = launcher + hub
    return [
        Row("launcher, resident when idle", f"{launcher:.1f} MB", "", "", f"<= {LAUNCHER_MB:g} MB",
            launcher <= LAUNCHER_MB),
        Row("launcher and hub together", f"{both:.1f} MB", "", "", f"<= {TOGETHER_MB:g} MB",
            both <= TOGETHER_MB),
    ]  # fmt: skip


def measure() -> list[Row]:
    """All of these rows."""
    with scene() as made:
        return [*size(), helper(made.hub.program), serve(made), *memory(made)]
