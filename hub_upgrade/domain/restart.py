"""Who restarts a managed hub, from what was seen: choose(). Pure."""

from __future__ import annotations

from hub_upgrade.domain.managed import RESTARTS, SERVICE, Managed
from hub_upgrade.shapes import NamedTuple

AUTO, SYSTEMD, LAUNCHD, CONTAINER, EXIT, NONE = RESTARTS
SYSTEM, USER = "system", "user"
UNIT = "parachute-hub" + SERVICE
NOT_STARTED = "NOT started"
"""How it is told that the hub does not run, and that what was to be started was never begun: no
fault of that version's."""
STOPPED = "the hub was stopped"
"""How it is told that somebody's order to its manager ended it, and nobody's to start it again."""
RESTARTED = "restarted"
"""The word for an order that ended it and started it again."""
LABEL = "computer.parachute.hub"
BOOTED = "/run/systemd/system"
"""Is there where systemd runs the machine: sd_booted(3)."""


class RestartFacts(NamedTuple):
    """What was seen of the hub's process, `pid` (0 for none), and of whoever may keep it alive.

    `service` is the systemd service whose control group it is in, `scope` whose manager's that is,
    and `main` whether it is the main process there, or a child of a mere wrapper. `units` are the
    units of the name that hub.json says, or of the usual name, that are installed and do not start
    hub.pyz itself: scope and name (another than was asked for, where that is an alias). `booted`:
    systemd runs this machine. `domain` is the launchd domain (gui/501) that has loaded the label,
    "" for none. `ours`: the operation was accepted by hub.pyz, whose end nobody would notice.
    `alone`: process 1 waits for that process and for no other, and ends with it.
    """

    pid: int = 0
    service: str = ""
    scope: str = ""
    main: bool = False
    units: tuple[tuple[str, str], ...] = ()
    booted: bool = False
    darwin: bool = False
    domain: str = ""
    uid: int = 0
    ours: bool = True
    alone: bool = False


class Choice(NamedTuple):
    """Who restarts it: `kind` is SYSTEMD, LAUNCHD, EXIT or NONE; of the first two, the unit's or
    the label's `name` and the manager's `scope` (SYSTEM or USER, or a launchd domain). `why` is for
    the evidence. `refused` says why nobody can, or is ""."""

    kind: str
    why: str
    name: str = ""
    scope: str = ""
    refused: str = ""


def choose(managed: Managed, facts: RestartFacts) -> Choice:
    """By what is seen, unless hub.json says it."""
    said = f'hub.restart is "{managed.restart}"'
    if managed.restart == NONE:
        return Choice(NONE, said)
    if managed.restart in (EXIT, CONTAINER):
        return Choice(EXIT, said)
    if managed.restart == LAUNCHD or (managed.restart == AUTO and facts.darwin):
        found = _launchd(managed, facts)
    else:
        found = _systemd(managed, facts)
    return found or _exit(facts)


def word_of(choice: Choice) -> str:
    """For the record: who restarts it once something is rewritten is not decided again."""
    return f"{choice.kind} {choice.scope} {choice.name}".rstrip()


def from_word(word: str) -> Choice:
    """As `word_of` made it; anything else is a process to be asked to stop."""
    kind, _, rest = word.partition(" ")
    scope, _, name = rest.partition(" ")
    if kind == NONE or (kind in (SYSTEMD, LAUNCHD) and scope and name):
        return Choice(kind, "as it was decided", name, scope)
    return Choice(EXIT, "as it was decided")


def evidence_of(choice: Choice) -> str:
    """One line on who restarts it, and from what that is known."""
    if choice.refused:
        return f"restarted by: nobody ({choice.refused})"
    who = {EXIT: "a SIGTERM", NONE: "whoever runs it"}.get(choice.kind)
    who = who or f"{choice.kind}, {choice.name} ({choice.scope})"
    return f"restarted by: {who}: {choice.why}"


def _launchd(managed: Managed, facts: RestartFacts) -> Choice | None:
    label = managed.label or LABEL
    if facts.domain:
        return Choice(LAUNCHD, f"launchd has loaded {label}", label, facts.domain)
    if managed.restart == AUTO and managed.label is None:
        return None
    domain = f"gui/{facts.uid}" if facts.uid else "system"
    return Choice(LAUNCHD, f"hub.json says that launchd keeps {label}", label, domain)


def _systemd(managed: Managed, facts: RestartFacts) -> Choice | None:
    unit, auto = managed.unit or UNIT, managed.restart == AUTO
    names = {unit, *(name for scope, name in facts.units if scope == facts.scope)}
    what = f"process {facts.pid}"
    if auto and not facts.booted and managed.unit is None:
        return None
    if facts.service in names:
        return Choice(SYSTEMD, f"{what} is in its control group", facts.service, facts.scope)
    if facts.main and managed.unit is None:
        return Choice(SYSTEMD, f"{what} is its main process", facts.service, facts.scope)
    usual = SYSTEM if facts.uid == 0 else USER
    there = dict(sorted(facts.units, key=lambda found: found[0] == usual))
    scope = usual if usual in there or not there else next(iter(there))
    found = Choice(SYSTEMD, "hub.json says so", there.get(scope, unit), scope)
    if facts.pid and there:
        return found._replace(refused=_stranger(found, facts))
    if there:
        return found._replace(why="the unit is installed")
    return None if auto and managed.unit is None else found


def _stranger(found: Choice, facts: RestartFacts) -> str:
    """The unit is there, and the hub runs outside of it: restarted, there would be two."""
    where = f"in {facts.service}" if facts.service else "in no service"
    start = f"systemctl {'--user ' if found.scope == USER else ''}start {found.name}"
    return (
        f"the unit {found.name} is installed, and the hub, process {facts.pid}, is not in it but "
        f"{where}: stop that one and run {start}, or set hub.unit to the unit that starts the hub, "
        f'or hub.restart to "{EXIT}" where something else starts it again'
    )


def _exit(facts: RestartFacts) -> Choice:
    found = Choice(EXIT, "no manager has it: it is asked to stop, and what runs it starts it again")
    if facts.ours and (facts.pid == 1 or facts.alone):
        what = "process 1 here" if facts.pid == 1 else "all that process 1 waits for"
        return found._replace(refused=(
            f"the hub is {what}: its end is ours too, and nothing of hub.pyz is started again that "
            "would prove the upgrade. Have the container run hub.pyz serve, and beside it what "
            f'starts the hub again, or set hub.restart to "{EXIT}" where hub.pyz is started again '
            "with it"
        ))  # fmt: skip
    return found
