"""Every setting with its value, origin, default and meaning: for people, never for the hub itself.

The README's table is made from this (`as_markdown`), and a test compares them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from hub_upgrade.host import log
from hub_upgrade.host.files import Unreadable, read_json
from hub_upgrade.settings import (
    DEFAULT_HOST,
    DEFAULT_PORT,
    DEFAULT_TRIES,
    TIMES,
    load,
    public_origin,
)
from hub_upgrade.shapes import Any, NamedTuple


class Setting(NamedTuple):
    """One setting; `origin` says who set it: a flag, a variable, `hub.json`, or the default."""

    key: str
    value: Any
    origin: str
    default: Any
    meaning: str


IN_FILE: dict[str, tuple[Any, str]] = {
    "releases": (None, "the release repository to follow; also `serve --releases DIR`"),
    "allowed_hosts": ((), "names by which the hub may be reached, beside loopback and addresses"),
    "home_persists": (None, "your word on whether home survives a restart: true or false"),
    "ready_timeout_s": (TIMES["ready_timeout_s"], "how long a release may take to serve"),
    "probation_s": (TIMES["probation_s"], "how long a new release must stay healthy to be trusted"),
    "probation_max_s": (TIMES["probation_max_s"], "after so long without a proof it is taken back"),
    "drain_s": (TIMES["drain_s"], "how long a handoff or a stop waits for answers in work"),
    "stop_s": (TIMES["stop_s"], "how long a stop may take altogether"),
    "watchdog_s": (TIMES["watchdog_s"], "a trusted hub silent for so long is started anew"),
    "tries": (DEFAULT_TRIES, "starts of a new release whose end nobody saw, before it is given up"),
    "hub": (None, "another program to look after in the place of `hub.pyz`"),
    "before_upgrade": (None, "a command to run before anything is rewritten, as a list"),
    "after_rollback": (None, "a command to run once an older version is back, as a list"),
    "on_finish": (None, "a command that gets each operation's record when it has ended, as a list"),
    "hook_timeout_s": (TIMES["hook_timeout_s"], "how long each of these three may take"),
}  # fmt: skip
"""The keys of `hub.json`: their defaults and meanings; times are in seconds."""

BESIDE: tuple[tuple[str, str, str, Any, str], ...] = (
    ("home", "config-dir", "PARACHUTE_HOME", "~/.parachute", "where everything is kept"),
    ("host", "host", "PARACHUTE_BIND_HOST", DEFAULT_HOST, "the address to listen on"),
    ("port", "port", "PORT", DEFAULT_PORT, "the port; 0 picks one"),
    ("log_format", "log-format", log.FORMAT_VARIABLE, log.FORMATS[0],
     "how the log on stderr is written: text or json"),
    ("origin", "", "PARACHUTE_HUB_ORIGIN", None,
     "the URL by which people reach the hub: allowed as a Host, and used in sign-in links"),
    ("admin_token_file", "", "PARACHUTE_ADMIN_TOKEN_FILE", None,
     "a file with a token for everything, 16 to 200 characters, read at each start"),
    ("container_build_time", "", "PARACHUTE_BUILD_TIME", None,
     "when the image was built; shown with the hub"),
)  # fmt: skip
"""What is set by flags of `serve` and by variables: key, flag, variable, default, meaning."""


def describe(flags: Mapping[str, str], environ: Mapping[str, str]) -> list[Setting]:
    """Every setting as `serve` would take it, started with these; raises UsageError."""
    return [*_beside(flags, environ), *_in_file(flags, environ)]


def _beside(flags: Mapping[str, str], environ: Mapping[str, str]) -> Iterator[Setting]:
    loaded = load(flags, environ)
    values = {
        "home": loaded.home.root,
        "host": loaded.host,
        "port": loaded.port,
        "log_format": loaded.log_format,
        "origin": public_origin(environ, "") or None,
    }
    for key, flag, variable, default, meaning in BESIDE:
        origin = "default"
        if flags.get(flag):
            origin = f"flag --{flag}"
        elif environ.get(variable):
            origin = f"environment {variable}"
        elif key == "origin" and values[key]:
            origin = "environment of the platform"
        value = values[key] if key in values else environ.get(variable)
        yield Setting(key, value, origin, default, meaning)


def _in_file(flags: Mapping[str, str], environ: Mapping[str, str]) -> Iterator[Setting]:
    loaded = load(flags, environ)
    try:
        raw = read_json(loaded.home.hub_json) or {}
    except Unreadable:
        raw = {}
    for key, (default, meaning) in IN_FILE.items():
        value = getattr(loaded, key)
        given = raw.get(key)
        if key == "hub" and value is not None:
            value = given
        taken = key in raw and value == (tuple(given) if isinstance(given, list) else given)
        origin = "hub.json" if taken else "default"
        if key == "releases" and flags.get(key):
            origin = "flag --releases"
        yield Setting(key, value, origin, default, meaning)


def as_markdown() -> str:
    """The README's table of settings."""
    lines = ["| setting | set by | default | meaning |", "|---|---|---|---|"]
    for key, flag, variable, default, meaning in BESIDE:
        by = f"`--{flag}`, `{variable}`" if flag else f"`{variable}`"
        lines.append(f"| `{key}` | {by} | {_shown(default)} | {meaning} |")
    for key, (default, meaning) in IN_FILE.items():
        lines.append(f"| `{key}` | `hub.json` | {_shown(default)} | {meaning} |")
    return "\n".join(lines)


def _shown(default: Any) -> str:
    if default in (None, ()):
        return "none"
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"
