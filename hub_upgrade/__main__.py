"""The zipapp's door: the right command with the fewest imports."""

import gc
import importlib
import importlib.util
import os
import sys
import types

from hub_upgrade import packed

INTERRUPTED = 130  # 128 + SIGINT; the module signal would cost every command two milliseconds
COMMANDS = {
    "serve": ("hub_upgrade.launcher.serve", "run the hub and look after it"),
    "upgrade": ("hub_upgrade.cli.upgrade", "upgrade the hub, and follow it to its end"),
    "rollback": ("hub_upgrade.cli.rollback", "go back to the previous good release"),
    "status": ("hub_upgrade.cli.status", "what the last operation did or is doing"),
    "plan": ("hub_upgrade.cli.plan", "what an upgrade would do, without doing it"),
    "history": ("hub_upgrade.cli.history", "the last operations, newest first"),
    "config": ("hub_upgrade.cli.config", "every setting, where it is from and what it means"),
    "doctor": ("hub_upgrade.cli.doctor", "look for what is wrong, and say what to do about it"),
    "token": ("hub_upgrade.cli.token", "make, list and revoke tokens; links to sign in"),
    "unit": ("hub_upgrade.cli.unit", "let systemd or launchd keep the hub alive"),
    "modules": ("hub_upgrade.cli.modules", "what the hub supervises"),
    "release": ("hub_upgrade.cli.release", "publish a file into a release repository"),
    "openapi": ("hub_upgrade.cli.openapi", "the HTTP API, as an OpenAPI description"),
    "version": ("hub_upgrade.cli.version", "which version this file is"),
    "survey": ("hub_upgrade.cli.survey", "what is to be seen of the hub that hub.json names"),
    "hook": ("hub_upgrade.cli.hook", "run after_rollback or on_finish for an operation"),
    "helper": ("hub_upgrade.cli.helper", "prepare one accepted operation (started by the hub)"),
    "run": ("hub_upgrade.wiring.hub", "the hub itself (started by the launcher)"),
}
BELOW = """
home is --config-dir DIR, else PARACHUTE_HOME, else ~/.parachute.
exit codes: 0 done, 1 failed, 2 wrong usage, 3 redeploy required, 4 another operation is in
            flight, 5 tried and taken back, 130 interrupted"""


def usage() -> str:
    """What `hub.pyz` can do, a line each."""
    lines = ["usage: hub.pyz COMMAND [OPTIONS]      (hub.pyz COMMAND --help tells more)", ""]
    lines += [
        f"  {name:<9} {text}"
        for name, (module, text) in COMMANDS.items()
        if importlib.util.find_spec(module)
    ]
    return "\n".join(lines) + "\n" + BELOW


def load(module: str) -> "types.ModuleType | None":
    """A command's module, or None where this file is built without it.

    Raises SystemExit with a sentence where Python's own library is not all there.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if module == missing or module.startswith(missing + "."):
            return None
        if missing.partition(".")[0] == __package__:
            raise
        sys.exit(
            f"hub.pyz: this Python lacks the module {missing!r}: install the rest of its "
            "standard library (on Debian and Ubuntu the package libpython3-stdlib)"
        )


def main(argv: list[str]) -> int:
    """Run one command; returns its exit code."""
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(usage(), file=sys.stdout if argv else sys.stderr)
        return 0 if argv else 2
    if argv[0] == "--version":
        argv = ["version"]
    isolated = sys.flags.isolated and sys.flags.no_site
    if argv[0] == "serve" and not isolated and sys.executable and "--help" not in argv:
        # The launcher lives for years: without site packages it is smaller, and nobody's
        # environment can change what it imports.
        program = os.path.abspath(sys.argv[0])
        if os.path.isfile(program) and not program.endswith(".py"):
            os.execv(sys.executable, [sys.executable, "-I", "-S", program, *argv])
    gc.disable()  # what is imported is no garbage: looking for some costs a tenth of a start
    module = load(COMMANDS[argv[0]][0]) if argv[0] in COMMANDS else None
    packed.forget()
    gc.freeze()
    gc.enable()
    if module is None:
        print(f"hub.pyz: unknown command {argv[0][:100]!r}; see: hub.pyz --help", file=sys.stderr)
        return 2
    return int(module.main(argv[1:]))


def run() -> None:
    """`main` for a process: a closed pipe or Ctrl-C is no traceback."""
    try:
        code = main(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = 1
    except KeyboardInterrupt:
        code = INTERRUPTED
    sys.exit(code)


if __name__ == "__main__":
    run()
