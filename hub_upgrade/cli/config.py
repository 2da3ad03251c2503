"""`hub.pyz config`: every setting, where it is from, and what it means."""

from __future__ import annotations

import os

from hub_upgrade.cli import entry
from hub_upgrade.cli.arguments import JSON, Arguments, Command
from hub_upgrade.settings import load
from hub_upgrade.settings_table import Setting, describe
from hub_upgrade.shapes import Any

COMMAND = Command(
    "config",
    "Tell every setting: its value, where that is from, its default, and what it means; as\n"
    "hub.pyz serve, started now and here, would take it. A hub that runs keeps what it had.",
    "hub.pyz config --json",
    "0 done, also when hub.json has mistakes, which are told on stderr; 2 wrong usage",
    "hub.json in home, to be read",
    (JSON,),
)


def main(argv: list[str]) -> int:
    """Tell; returns the exit code."""
    return entry.run(COMMAND, argv, config)


def config(given: Arguments) -> int:
    """Read and print."""
    flags = {"config-dir": given.config_dir} if given.config_dir else {}
    wrong = load(flags, os.environ).config_error
    settings = describe(flags, os.environ)
    if given.json:
        told = [one._asdict() for one in settings]
        entry.print_json({"settings": told, "config_error": wrong})
    else:
        for one in settings:
            print(entry.one_line(_value(one)))
            print(f"    {one.meaning}")
    entry.warn(given, wrong)
    return 0


def _value(one: Setting) -> str:
    origin = "the default"
    if one.origin != "default":
        origin = f"{one.origin}; default {_text(one.default)}"
    return f"{one.key} = {_text(one.value)} ({origin})"


def _text(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, bool):
        return str(value).lower()
    return "none" if value in (None, "") else str(value)
