"""An upgrade by each way in which a hub is brought to a new version, side by side: how long it
takes from the request until the new version serves, and who is refused meanwhile."""

from __future__ import annotations

import contextlib
import json
import statistics
import subprocess
import sys
import time
from typing import NamedTuple

from bench import asker
from bench.hubs import Way, container, handoff, missing, systemd
from tests.e2e.harness import environment, wait_for

ROUNDS = 5
INSTALLS = "make e2e-restarters"


class Measured(NamedTuple):
    """Of one upgrade: milliseconds from the request to the new version's first answer, requests
    that were refused or cut off, all requests from then to its end, and for how many milliseconds
    at most not one was answered."""

    serving_ms: float
    refused: int
    requests: int
    silent_ms: float


def measure_one(way: Way, version: str) -> Measured:
    """One upgrade, seen by somebody who asks all the time."""
    way.publish(version)
    argv = [*way.prefix, sys.executable, asker.__file__, str(way.port)]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment()
    ) as client:
        assert client.stdin is not None and client.stdout is not None
        client.stdout.readline()
        time.sleep(0.2)
        began = time.monotonic()
        ended = way.post()
        wait_for(ended, f"the end of {way.name} to {version}")
        client.stdin.close()
        asked = [one for one in json.loads(client.stdout.read()) if one[0] >= began]
    answers = sorted((at + took / 1000, answer) for at, took, answer in asked if answer)
    first = next(at for at, answer in answers if answer == version)
    silent = max(after[0] - before[0] for before, after in zip(answers, answers[1:]))
    lost = len(asked) - len(answers)
    return Measured(1000 * (first - began), lost, len(asked), 1000 * silent)


def measure() -> dict[str, list[Measured]]:
    """Every way in turn, so that whatever else the machine does falls on all of them."""
    ways = [handoff] if missing() else [handoff, systemd, container]
    found: dict[str, list[Measured]] = {}
    with contextlib.ExitStack() as stack:
        begun = [stack.enter_context(way()) for way in ways]
        for number in range(ROUNDS + 1):
            for way in begun:
                one = measure_one(way, f"1.{number + 1}.0")
                if number:  # the first only fills caches
                    found.setdefault(way.name, []).append(one)
    return found


HEADER = (
    "a hub is brought to its new version by", "request to new version serving", "against handoff",
    "requests refused", "nobody was answered for",
)  # fmt: skip


def render(found: dict[str, list[Measured]]) -> str:
    """The table in Markdown: medians."""
    lines = [HEADER, ("---", *("---:",) * (len(HEADER) - 1))]
    least = 0.0
    for name, all_of_it in found.items():
        serving, refused, requests, silent = map(statistics.median, zip(*all_of_it))
        least = least or serving
        lost = f"{refused:.0f} of {requests:.0f}"
        ratio = f"{serving / least:.2f}"
        lines.append((name, f"{serving:,.0f} ms", ratio, lost, f"{silent:.0f} ms"))
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def main() -> int:
    """Measure and print; 1 where the handoff refused somebody."""
    found = measure()
    print(render(found))
    without = missing()
    if without:
        print(f"\nManaged hubs were not measured: {without}; {INSTALLS} installs what they need.")
    print(flush=True)
    handed_over = next(iter(found.values()))
    return int(any(one.refused for one in handed_over))


if __name__ == "__main__":
    sys.exit(main())
