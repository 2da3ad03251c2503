"""An upgrade as those who use the hub see it: the 202, requests meanwhile, and its steps."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from typing import Any

from bench.scene import PROBATION_S, Scene, scene
from bench.table import Row
from tests.e2e import load
from tests.e2e.harness import build, children_of, command_of, environment, wait_for

UPGRADES = 5
ACCEPTS = 15
CLIENTS = 8
LONGEST_MS = 150
ACCEPT_MS = 20


def accepted_ms(made: Scene, hang: bool) -> float:
    """POST to 202, in milliseconds; with `hang` the helper stands still in front of its source."""
    token = made.hub.token()
    began = time.perf_counter()
    status, answer = made.hub.request("POST", "/api/hub/upgrade", None, token)
    took = 1000 * (time.perf_counter() - began)
    if status != 202:
        raise SystemExit(f"{status} {answer}")
    if hang:
        pid = wait_for(lambda: helper_of(made), "a helper")
        os.kill(pid, signal.SIGSTOP)
        time.sleep(0.05)
        os.kill(pid, signal.SIGKILL)
    made.hub.finished(answer["operation_id"])
    return took


def helper_of(made: Scene) -> int:
    """The helper's PID; 0 for none."""
    for pid in children_of(made.hub.hub_pid()):
        if "helper" in command_of(pid):
            return pid
    return 0


def accepting(made: Scene) -> list[Row]:
    """POST to 202 where the target is what runs already, and where the helper gets nowhere."""
    rows = []
    whats = ("POST to 202", "POST to 202, its helper stopped in front of the source")
    for hang, what in zip((False, True), whats):
        median = statistics.median(accepted_ms(made, hang) for _ in range(ACCEPTS))
        goal = f"<= {ACCEPT_MS} ms"
        rows.append(Row(what, f"{median:.1f} ms", "", "", goal, median <= ACCEPT_MS))
    return rows


def steps_of(made: Scene, identity: str, began: float) -> dict[str, float]:
    """Milliseconds after the POST: each step, the new version's first answer, the proof."""
    seen: dict[str, float] = {}
    old = made.hub.wait_healthy()["instance"]
    while True:
        now = 1000 * (time.perf_counter() - began)
        record = made.hub.record()
        if record.get("operation_id") == identity:
            seen.setdefault(str(record.get("step")), now)
        health = made.hub.health()
        if health is not None and health["instance"] != old:
            seen.setdefault("serving", now)
        if "finished_at" in record and record.get("operation_id") == identity:
            if record["phase"] != "succeeded":
                raise SystemExit(f"{record}")
            return {**seen, "proven": now}
        time.sleep(0.002)


def one_under_load(made: Scene, version: str) -> tuple[dict[str, Any], dict[str, float]]:
    """One upgrade while eight clients ask without a pause."""
    made.publish(build(version))
    argv = [sys.executable, load.__file__, str(made.hub.port), str(CLIENTS)]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment()
    ) as clients:
        assert clients.stdin is not None and clients.stdout is not None
        clients.stdout.readline()
        began = time.perf_counter()
        steps = steps_of(made, made.hub.upgrade(), began)
        clients.stdin.close()
        return json.loads(clients.stdout.read()), steps


def under_load(made: Scene) -> list[Row]:
    """Requests lost, the longest wait of any, and where the time goes."""
    told, steps = zip(*(one_under_load(made, f"1.{n}.0") for n in range(1, UPGRADES + 1)))
    lost = sum(len(t["failures"]) + t["hanging"] for t in told)
    total = sum(t["requests"] for t in told)
    longest = max(t["longest_ms"] for t in told)
    alone = [steps_alone(made, f"2.{n}.0") for n in range(UPGRADES)]
    return [
        Row(f"{UPGRADES} upgrades under {CLIENTS} clients: requests lost of {total:,}",
            str(lost), "", "", "0", lost == 0),
        Row("the longest wait of any request meanwhile", f"{longest} ms", "", "",
            f"<= {LONGEST_MS} ms", longest <= LONGEST_MS),
        Row("POST to proven, less the probation, under load: " + split(list(steps)),
            f"{whole(list(steps)):.0f} ms", "", "", "", True),
        Row("the same without load: " + split(alone), f"{whole(alone):.0f} ms", "", "", "", True),
    ]  # fmt: skip


def steps_alone(made: Scene, version: str) -> dict[str, float]:
    made.publish(build(version))
    began = time.perf_counter()
    return steps_of(made, made.hub.upgrade(), began)


def whole(steps: list[dict[str, float]]) -> float:
    """The median, less the probation."""
    return statistics.median(s["proven"] for s in steps) - 1000 * PROBATION_S


ORDER = (
    "resolving", "staging", "verifying", "preflight", "handing-over", "proving", "serving",
    "proven",
)  # fmt: skip


def split(steps: list[dict[str, float]]) -> str:
    """When each step began, in milliseconds after the POST, as far as it was seen."""
    known = [(name, [s[name] for s in steps if name in s]) for name in ORDER]
    return ", ".join(f"{name} {statistics.median(at):.0f}" for name, at in known if at)


def measure() -> list[Row]:
    """All of these rows."""
    with scene() as made:
        made.hub.start()
        return [*accepting(made), *under_load(made)]
