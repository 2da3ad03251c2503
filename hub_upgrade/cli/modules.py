"""`hub.pyz modules`: what the hub supervises. There is nothing yet that could be."""

from __future__ import annotations

from hub_upgrade.cli import entry
from hub_upgrade.cli.arguments import JSON, Arguments, Command, Option
from hub_upgrade.errors import RefusedError, UsageError

NONE = "this release supervises none yet, and does not read services.json"
COMMAND = Command(
    "modules",
    "List the modules, or act on one. This release supervises none yet.",
    "hub.pyz modules",
    "0 done, 1 there is no such module, 2 wrong usage",
    "none yet",
    (JSON,),
    (
        Option("action", choices=("list", "start", "stop", "restart", "logs")),
        Option("name", "the module, for all but list"),
    ),
)


def main(argv: list[str]) -> int:
    """List or act; returns the exit code."""
    return entry.run(COMMAND, argv, modules)


def modules(given: Arguments) -> int:
    """There is none: say so."""
    action = given.action or "list"
    if action != "list":
        if given.name is None:
            raise UsageError(f"{action} needs the name of a module")
        shown = given.name[:100]
        raise RefusedError("not_found", f"there is no module {shown!r}: {NONE}")
    if given.name is not None:
        raise UsageError(f"list takes no argument {given.name[:100]!r}")
    if given.json:
        entry.print_json({"modules": []})
    else:
        print(f"no modules: {NONE}")
    return 0
