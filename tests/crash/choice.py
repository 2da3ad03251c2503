"""Which of many cases are run when it is not all of them."""

from __future__ import annotations

import os
import random
import sys
import unittest
from collections.abc import Callable
from typing import TypeVar

Row = TypeVar("Row")

HOW = os.environ.get("CRASH_TESTS", "sample")
"""`sample` (`make test`, whose sample is that of the end-to-end tests), `cover` or `full`."""

crash = unittest.skipIf(HOW == "sample", "make crash")


def wholly() -> bool:
    """Whether the whole product is asked for, and not only a covering set."""
    return HOW == "full"


def seed() -> random.Random:
    """Another choice at every run, its number printed; SEED=N repeats one."""
    number = int(os.environ.get("SEED", "0")) or random.SystemRandom().randrange(1, 1 << 30)
    print(f"SEED={number}", file=sys.stderr)
    return random.Random(number)


def covering(
    rows: list[Row], kind: Callable[[Row], object], number: int, choice: random.Random
) -> list[Row]:
    """Every kind once, and more of the (distinct) rows up to the number."""
    shuffled = choice.sample(rows, len(rows))
    kinds = {kind(row): row for row in shuffled}
    return list(dict.fromkeys([*kinds.values(), *shuffled]))[: max(number, len(kinds))]
