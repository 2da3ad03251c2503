"""Everything that the README's table says, measured again: `make bench`."""

from __future__ import annotations

import platform
import subprocess
import sys

from bench import crowd, restarts, starts, throughput, upgrades
from bench.scene import scene
from bench.table import render


def requests_per_second() -> int:
    """The last table, of a hub that runs, with a record to tell and a token to check."""
    with scene() as made:
        made.hub.start()
        made.hub.finished(made.hub.upgrade())
        argv = [sys.executable, throughput.__file__, "--url", made.hub.url]
        return subprocess.run([*argv, "--token", made.hub.token()], check=False).returncode


def main() -> int:
    """Measure and print; 1 when a goal is missed."""
    rows = [*starts.measure(), *upgrades.measure(), *crowd.measure()]
    print(f"Python {platform.python_version()}, {platform.system()} {platform.machine()}\n")
    print(render(rows) + "\n", flush=True)
    missed = restarts.main() + requests_per_second()
    return int(missed != 0 or not all(row.met for row in rows))


if __name__ == "__main__":
    sys.exit(main())
