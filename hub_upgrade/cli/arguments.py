"""A command's flags and words as data: parsed, and told by `--help`, with the same sentences on
every Python."""

from __future__ import annotations

from types import SimpleNamespace

from hub_upgrade.errors import UsageError
from hub_upgrade.shapes import Any, NamedTuple

ECHO = 100
"""Characters of a wrong argument that are repeated."""


class Arguments(SimpleNamespace):
    """What was given, each thing by its name; `prog` is the command as it is typed."""


class Option(NamedTuple):
    """One flag (`--name`, a switch unless `value` names what follows it), or, without dashes, one
    word at its place. Without `does` it is not told of; `many` are gathered in a list."""

    name: str
    does: str = ""
    value: str = ""
    choices: tuple[str, ...] = ()
    needed: bool = False
    many: bool = False


class Command(NamedTuple):
    """What can be given to a command, and all that its `--help` says; `words` come in order."""

    name: str
    does: str
    example: str
    exits: str
    files: str
    options: tuple[Option, ...] = ()
    words: tuple[Option, ...] = ()

    @property
    def prog(self) -> str:
        """Its name as it is typed."""
        return f"hub.pyz {self.name}"


HOME = Option("--config-dir", "home (PARACHUTE_HOME; ~/.parachute)", "DIR")
JSON = Option("--json", "the answer as JSON")


def parse(command: Command, argv: list[str]) -> Arguments:
    """Everything that can be given, by its name: None, or False for a switch, where it is not.

    Raises UsageError.
    """
    flags = {option.name: option for option in (*command.options, HOME)}
    places = list(command.words)
    values: dict[str, Any] = {word.name: None for word in places}
    values.update({_key(name): None if one.value else False for name, one in flags.items()})
    rest = list(argv)
    while rest:
        given = rest.pop(0)
        if given[:1] != "-":
            option, equals, value = places.pop(0) if places else None, "=", given
        else:
            name, equals, value = given.partition("=")
            option = flags.get(name)
        if option is None:
            raise UsageError(f"unknown argument {given[:ECHO]!r}")
        if option.name in flags and not option.value:
            if equals:
                raise UsageError(f"{option.name} takes no value")
            values[_key(option.name)] = True
            continue
        if not equals and rest and not rest[0].startswith("--"):
            value = rest.pop(0)
        if not value:
            raise UsageError(f"{_said(option)} needs a value")
        key, chosen = _key(option.name), _chosen(option, value)
        values[key] = [*(values[key] or ()), chosen] if option.many else chosen
    for option in (*command.words, *command.options):
        if option.needed and values[_key(option.name)] is None:
            raise UsageError(f"{_said(option)} is missing{_allowed(option)}")
    return Arguments(prog=command.prog, **values)


def _key(name: str) -> str:
    return name.lstrip("-").replace("-", "_")


def _said(option: Option) -> str:
    return option.name if option.name.startswith("-") else option.name.upper()


def _chosen(option: Option, value: str) -> str:
    if option.choices and value not in option.choices:
        must = f"{_said(option)}{_allowed(option, ' must be ')}"
        raise UsageError(f"{must}, not {value[:ECHO]!r}")
    return value


def _allowed(option: Option, begins: str = ": ") -> str:
    if not option.choices:
        return ""
    *others, last = option.choices
    return f"{begins}{', '.join(others)} or {last}" if others else f"{begins}{last}"


def text(command: Command) -> str:
    """What `--help` prints."""
    forms = ["|".join(one.choices) or _said(one) for one in command.words]
    words = [form if one.needed else f"[{form}]" for form, one in zip(forms, command.words)]
    told = [one for one in (*command.words, *command.options, HOME) if one.does]
    lines = [(_form(one), one.does) for one in told]
    width = max(len(form) for form, _does in lines)
    return "\n".join(
        (
            " ".join(("usage:", command.prog, *words, "[OPTIONS]")),
            "",
            command.does,
            "",
            *(f"  {form:<{width}}  {does}" for form, does in lines),
            "",
            f"example: {command.example}",
            f"exit codes: {command.exits}",
            f"files: {command.files}",
        )
    )


def _form(option: Option) -> str:
    value = "|".join(option.choices) or option.value
    return f"{option.name} {value}" if option.value else _said(option)
