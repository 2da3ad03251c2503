"""`hub.pyz version`: which version this file is, and which protocols it speaks."""

from __future__ import annotations

import json
import sys

from hub_upgrade import version

HELP = """usage: hub.pyz version [--json]

Prints the version of this file; with --json also which launcher protocol it speaks and needs,
which handoff records it takes up, and the Python that runs it. Touches no files.

example: hub.pyz version --json
exit codes: 0 done, 2 wrong usage"""


def about() -> dict[str, object]:
    """What an older release asks a newer one before it hands over to it."""
    return {
        "version": version.VERSION,
        "launcher_protocol": version.LAUNCHER_PROTOCOL,
        "needs_launcher_protocol": version.NEEDS_LAUNCHER_PROTOCOL,
        "handoff_formats": list(version.HANDOFF_FORMATS),
        "python": ".".join(str(number) for number in sys.version_info[:3]),
    }


def main(argv: list[str]) -> int:
    """Print the version; 0, or 2 for a wrong command line."""
    if argv in (["-h"], ["--help"]):
        print(HELP)
    elif argv == ["--json"]:
        print(json.dumps(about()))
    elif not argv:
        print(version.VERSION)
    else:
        wrong = next((word for word in argv if word != "--json"), "--json")
        sentence = f"unknown argument {wrong[:100]!r}; see: hub.pyz version --help"
        print(f"hub.pyz version: {sentence}", file=sys.stderr)
        return 2
    return 0
