"""The hub that is looked after, where that is another program: what `hub.json` says of it. Pure.

Everything absent is detected; everything present is checked, and named when it is wrong.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

from hub_upgrade.shapes import Any, NamedTuple

GIT = "git"
PACKAGE = "package"
SOURCES = (GIT, PACKAGE)
BUN, NPM, PIP = "bun", "npm", "pip"
MANAGERS = (BUN, NPM, PIP)
DEFAULT_PACKAGE = "@openparachute/hub"
DEFAULT_HEALTH_URL = "http://127.0.0.1:1939/health"
DEFAULT_VERSION_FIELD = "version"
SERVICE = ".service"
RESTARTS = ("auto", "systemd", "launchd", "container", "exit", "none")
HERE = ("127.0.0.1", "localhost", "::1")
REFUSED = "upgrades are refused until it is"
"""What follows where a safety is asked for in words that mean nothing."""
MOST_TEXT = 1000
MOST_PATH = 4095  # PATH_MAX on Linux, less its NUL
MOST_WORDS = 64 * 1024
LONGEST_NAME = 255
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.~")
_IN_UNITS = _PLAIN.union("@:\\") - {"~"}


class Managed(NamedTuple):
    """The managed hub. None stands for what is to be found out; paths are absolute."""

    source: str | None = None
    manager: str | None = None
    package: str = DEFAULT_PACKAGE
    install_dir: str | None = None
    running_from: str | None = None
    install_command: tuple[str, ...] | None = None
    health_url: str = DEFAULT_HEALTH_URL
    version_field: str = DEFAULT_VERSION_FIELD
    verify_signature: bool = False
    unit: str | None = None
    label: str | None = None
    restart: str = RESTARTS[0]

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of `health_url`."""
        host, port, _path = _split(self.health_url) or ("127.0.0.1", 80, "/")
        return ("127.0.0.1" if host == "localhost" else host), port

    @property
    def health_path(self) -> str:
        """What is asked for there."""
        parts = _split(self.health_url)
        return parts[2] if parts else "/"


def parse(raw: object) -> tuple[Managed | None, list[str]]:
    """The managed hub that the value of `hub` describes, and what is wrong with it.

    What is wrong is named and defaulted; a value that is no object describes none.
    """
    if raw is None:
        return None, []
    if not isinstance(raw, Mapping):
        return None, ["hub must be an object, such as {}; hub.pyz looks after itself alone"]
    found: dict[str, Any] = {}
    problems = []
    for key, value in raw.items():
        if key not in _CHECKS:
            problems.append(f"hub: unknown key {str(key)[:100]!r}")
        elif value is not None:
            why = _CHECKS[key](value)
            if why:
                held = REFUSED if key == "verify_signature" else "the default is used"
                problems.append(f"hub.{key} must be {why}; {held}")
            else:
                found[key] = tuple(value) if isinstance(value, list) else value
    if "unit" in found:
        found["unit"] = found["unit"].removesuffix(SERVICE) + SERVICE
    return Managed(**found), problems


def arguments_problem(value: object) -> str | None:
    """Why a value is no list of arguments to be run, or None."""
    words = value if isinstance(value, list) else []
    texts = words and all(isinstance(word, str) and word for word in words)
    if texts and passes("".join(words), MOST_WORDS):
        return None
    return 'a list of arguments such as ["bun", "install"], the program first'


def passes(text: object, most: int = MOST_PATH) -> bool:
    """Whether it is a text, of so many bytes, that a program can be given: exec(2) takes no NUL,
    and not everything that JSON can write."""
    if not isinstance(text, str) or "\0" in text:
        return False
    try:
        return len(text.encode(sys.getfilesystemencoding(), "surrogateescape")) <= most
    except UnicodeError:
        return False


def package_problem(name: object) -> str | None:
    """Why a value is no package's name, or None: npm's names and Python's (PEP 508)."""
    if isinstance(name, str) and 0 < len(name) <= 214:
        scope, slash, rest = name.partition("/") if name.startswith("@") else ("", "", name)
        parts = (scope[1:], rest) if slash else (rest,)
        if all(part and part[0] not in ".-_~" and _PLAIN.issuperset(part) for part in parts):
            return None
    return "the name of a package, such as @openparachute/hub"


def _named(kind: str, example: str) -> Any:
    """A unit's or a label's name: never a path, nor what a tool would take for an option."""

    def problem(value: object) -> str | None:
        name = value if isinstance(value, str) else ""
        short = 0 < len(name) <= LONGEST_NAME - len(SERVICE)
        if short and _IN_UNITS.issuperset(name) and name[0] not in "-.":
            return None
        return f"the name of a {kind}, such as {example}"

    return problem


def _one_of(*allowed: str) -> Any:
    shown = " or ".join(allowed)
    return lambda value: None if value in allowed else f"{shown}, or null"


def _path(value: object) -> str | None:
    if isinstance(value, str) and value.startswith("/") and passes(value):
        return None
    return "an absolute path, or null"


def _text(value: object) -> str | None:
    return None if value and passes(value, MOST_TEXT) else "a text"


def _flag(value: object) -> str | None:
    return None if isinstance(value, bool) else "true or false"


def _split(url: str) -> tuple[str, int, str] | None:
    """Host, port and path of an address on this machine, or None for any other."""
    if not url.startswith("http://") or len(url) > MOST_TEXT or not url.isprintable():
        return None
    place, slash, path = url[len("http://") :].partition("/")
    host, colon, port = place.rpartition(":") if not place.endswith("]") else (place, "", "")
    if not colon:
        host, port = place, "80"
    host = host.strip("[]")
    if host not in HERE or not (port.isascii() and port.isdigit() and len(port) < 6):
        return None
    if " " in path or not 0 < int(port) < 65536:
        return None
    return host, int(port), slash + path or "/"


def _url(value: object) -> str | None:
    if isinstance(value, str) and _split(value):
        return None
    return f"a URL on this machine, such as {DEFAULT_HEALTH_URL}"


_CHECKS: dict[str, Any] = {
    "source": _one_of(*SOURCES),
    "manager": _one_of(*MANAGERS),
    "package": package_problem,
    "install_dir": _path,
    "running_from": _path,
    "install_command": arguments_problem,
    "health_url": _url,
    "version_field": _text,
    "verify_signature": _flag,
    "unit": _named("systemd service", "parachute-hub.service"),
    "label": _named("launchd job", "computer.parachute.hub"),
    "restart": _one_of(*RESTARTS),
}
