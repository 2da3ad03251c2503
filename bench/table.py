"""The rows of the benchmark's table, and medians of interleaved pairs."""

from __future__ import annotations

import statistics
from typing import Callable, NamedTuple


class Row(NamedTuple):
    """One line: what was measured, ours, the other side (or nothing), the figure, its goal."""

    what: str
    ours: str
    other: str
    figure: str
    goal: str
    met: bool


HEADER = ("measured", "hub", "against", "figure", "goal", "met")


def pairs(
    ours: Callable[[], float], other: Callable[[], float], rounds: int
) -> tuple[float, float, float]:
    """Medians of both in milliseconds, measured in turn, and the median of the ratios of pairs."""
    ours(), other()  # the first of each only fills caches
    measured = [(ours(), other()) for _ in range(rounds)]
    return (
        1000 * statistics.median(a for a, _ in measured),
        1000 * statistics.median(b for _, b in measured),
        statistics.median(a / b for a, b in measured),
    )


def render(rows: list[Row]) -> str:
    """The table in Markdown."""
    lines = [HEADER, ("---",) * len(HEADER)]
    lines += [(*row[:5], "yes" if row.met else "NO") for row in rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
