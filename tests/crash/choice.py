"""Which of many cases are run when it is not all of them."""

from __future__ import annotations

import os
import random
import sys


def seed() -> random.Random:
    """Another choice at every run, its number printed; SEED=N repeats one."""
    number = int(os.environ.get("SEED", "0")) or random.SystemRandom().randrange(1, 1 << 30)
    print(f"SEED={number}", file=sys.stderr)
    return random.Random(number)
