"""`hub.pyz doctor`: every check in turn, told to people or to programs. Nothing is changed."""

from __future__ import annotations

from hub_upgrade.cli import checks, client, entry, live, locks, managed_check
from hub_upgrade.cli.arguments import JSON, Arguments, Command, Option
from hub_upgrade.cli.checks import PROBLEM, WARNING, Patient
from hub_upgrade.errors import HubError
from hub_upgrade.host import boot_store
from hub_upgrade.host.files import Home, Unreadable
from hub_upgrade.host.status_store import StatusStore
from hub_upgrade.shapes import NamedTuple

COMMAND = Command(
    "doctor",
    "Look at the hub, its home, settings, storage, interpreter, release source, clock, locks,\n"
    "leftovers and last operation, and say of each whether it is well, and else what to do.\n"
    "With --health alone: whether a hub answers within 3 s, in one line, for a container's health\n"
    "check. It asks where serve.json says, then where PARACHUTE_BIND_HOST and PORT say.",
    "hub.pyz doctor",
    "0 nothing is wrong (there may be warnings), 1 there is a problem, 2 wrong usage",
    "all of home and the release source, to be read",
    (
        Option("--health", "only whether a hub answers"),
        JSON._replace(does="what was found, as JSON"),
    ),
)
CHECKS = (
    ("hub", checks.hub),
    ("home", checks.home),
    ("config", checks.config),
    ("storage", checks.storage),
    ("managed hub", managed_check.managed_hub),
    ("interpreter", checks.interpreter),
    ("source", checks.source),
    ("clock", checks.clock),
    ("serve.lock", locks.serve),
    ("operation.lock", locks.operation),
    ("state.lock", locks.state),
    ("leftovers", checks.leftovers),
    ("last operation", checks.last),
)


class Finding(NamedTuple):
    """What was found about one thing; `advice` says what to do where something is to be done."""

    check: str
    state: str
    found: str
    advice: str


def main(argv: list[str]) -> int:
    """Look; returns the exit code."""
    return entry.run(COMMAND, argv, doctor)


def doctor(given: Arguments) -> int:
    """Look at all of it, and tell."""
    found = examine(entry.home_in(given))
    problems, warnings = (sum(one.state == state for one in found) for state in (PROBLEM, WARNING))
    if given.json:
        findings = [one._asdict() for one in found]
        entry.print_json({"ok": not problems, "checks": findings})
    else:
        for one in found:
            state = live.coloured(f"{one.state:<7}")
            print(f"{state}  {entry.one_line(f'{one.check}: {one.found}')}")
            if one.advice:
                print(f"         -> {entry.one_line(one.advice)}")
        print(f"problems: {problems}, warnings: {warnings}")
    return entry.EXIT_FAILED if problems else 0


def examine(home: Home) -> list[Finding]:
    """Everything that was found; what a check cannot read is a finding too."""
    patient = _patient(home)
    found = []
    for name, check in CHECKS:
        try:
            answers = check(patient)
        except (HubError, OSError) as error:
            answers = [(PROBLEM, str(error), "mend that, and look again")]
        found += [Finding(name, *answer) for answer in answers]
    return found


def _patient(home: Home) -> Patient:
    hub, trouble, boot = None, "", None
    try:
        hub = client.locate(home)
    except client.NoAnswerError as error:
        trouble = error.sentence
    try:
        boot = boot_store.read_boot(home)
    except Unreadable:
        pass  # the launcher's to mend: it writes it anew
    serving = boot_store.read_serve(home) or {}
    pid = serving.get("pid") if hub is not None or trouble else None
    launcher = pid if isinstance(pid, int) else 0
    return Patient(home, hub, trouble, launcher, StatusStore(home).read(), boot)
