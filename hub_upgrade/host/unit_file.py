"""What a systemd unit starts, read from its files: of one that does not run just now. Never raises.

A plain reading of `ExecStart`, `WorkingDirectory` and `Environment`, as most units have them.
"""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Mapping

from hub_upgrade.domain.managed import SERVICE
from hub_upgrade.host.executed import HubProcess
from hub_upgrade.host.reading import names_in, text_of

SYSTEM = ("/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")
USER = ".config/systemd/user"
PREFIXES = "@-:+!|"


def started_by(unit: str, directories: tuple[str, ...], home: str) -> HubProcess | None:
    """The process that a unit would start; None where there is no such unit, or where it starts
    hub.pyz itself."""
    name, at, instance = unit.removesuffix(SERVICE).partition("@")
    for file in (unit, f"{name}@{SERVICE}") if at else (unit,):
        for directory in directories:
            text = text_of(os.path.join(directory, file))
            if text:
                text = (text + _additions(file, directories)).replace("%i", instance)
                return _understood(text, home)
    return None


def _additions(unit: str, directories: tuple[str, ...]) -> str:
    """What `systemctl edit` put beside the unit."""
    found = {}
    for directory in reversed(directories):
        place = os.path.join(directory, unit + ".d")
        for name in names_in(place):
            found[name] = os.path.join(place, name)
    return "".join("\n" + text_of(found[name]) for name in sorted(found) if name.endswith(".conf"))


def _understood(text: str, home: str) -> HubProcess | None:
    settings: dict[str, str] = {}
    environment: dict[str, str] = {}
    section = ""
    for line in text.replace("\\\n", " ").splitlines():
        line = line.strip()  # noqa: PLW2901 - the line as it counts
        if line.startswith("["):
            section = line
        name, _, value = line.partition("=")
        if section != "[Service]" or line.startswith(("#", ";")):
            continue
        value = value.strip().replace("%h", home).replace("%%", "%")
        settings[name.strip()] = value
        if name.strip() == "Environment":
            environment.update(_settings(_words(value)))
    words = _words(settings.get("ExecStart", "").lstrip(PREFIXES))
    if words and os.path.basename(words[0]) == "env":
        words = words[1:]
        while words and "=" in words[0]:
            environment.update(_settings(words[:1]))
            words = words[1:]
    if not words or any(os.path.basename(word) == "hub.pyz" for word in words):
        return None
    cwd = settings.get("WorkingDirectory", "").lstrip("-") or "/"
    return _process(words, home if cwd == "~" else cwd, environment)


def _process(words: list[str], cwd: str, environment: Mapping[str, str]) -> HubProcess:
    program = shutil.which(words[0], path=environment.get("PATH", os.defpath)) or words[0]
    argv, exe = (program, *words[1:]), os.path.realpath(program)
    return HubProcess(0, "", argv, cwd, exe, environment.get("BUN_INSTALL", ""))


def _settings(words: list[str]) -> dict[str, str]:
    return dict(word.split("=", 1) for word in words if "=" in word)


def _words(value: str) -> list[str]:
    try:
        return shlex.split(value)
    except ValueError:
        return []
