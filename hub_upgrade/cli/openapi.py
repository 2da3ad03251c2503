"""`hub.pyz openapi`: what the HTTP API is, for programs."""

from __future__ import annotations

import json
import sys

from hub_upgrade.version import VERSION
from hub_upgrade.web.api import ROUTES
from hub_upgrade.web.openapi import describe

HELP = """usage: hub.pyz openapi

Prints the HTTP API of this file as an OpenAPI 3.1 description (JSON). A hub serves the same at
/api/openapi.json. Touches no files.

example: hub.pyz openapi > openapi.json
exit codes: 0 done, 2 wrong usage"""


def main(argv: list[str]) -> int:
    """Print the description; 0, or 2 for a wrong command line."""
    if argv in (["-h"], ["--help"]):
        print(HELP)
    elif not argv:
        print(json.dumps(describe(ROUTES, VERSION)))
    else:
        sentence = f"unknown argument {argv[0][:100]!r}; see: hub.pyz openapi --help"
        print(f"hub.pyz openapi: {sentence}", file=sys.stderr)
        return 2
    return 0
