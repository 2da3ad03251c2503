"""Environment, command line and `hub.json` -> one frozen Settings."""

from __future__ import annotations

import os
from collections.abc import Mapping

from hub_upgrade.domain import managed
from hub_upgrade.domain.managed import Managed
from hub_upgrade.errors import RefusedError, UsageError
from hub_upgrade.host import log
from hub_upgrade.host.files import Home, Unreadable, read_json, sha256
from hub_upgrade.shapes import Any, NamedTuple

DEFAULT_PORT = 1939
DEFAULT_HOST = "127.0.0.1"
TIMES = {
    "ready_timeout_s": 20.0,
    "probation_s": 10.0,
    "probation_max_s": 300.0,
    "drain_s": 5.0,
    "stop_s": 8.0,
    "watchdog_s": 60.0,
    "hook_timeout_s": 300.0,
}
HOOKS = ("before_upgrade", "after_rollback", "on_finish")
HELD = {"releases": "no release source is used", "before_upgrade": managed.REFUSED}
"""What holds in the place of a wrong value, where that is not the default."""
LONGEST_TIME_S = 24 * 3600.0
TWO_BEATS_S = 4.0
"""A hub that lives says so every two seconds: with less between them none would stay."""
LONGEST_HOOK_S = 3600.0
RELEASES = "PARACHUTE_HELPER_RELEASES"
"""The variable in which whoever starts a hub or a helper hands down where releases come from."""
DEFAULT_TRIES = 3
MOST_TRIES = 20
KNOWN_KEYS = frozenset(
    {*TIMES, *HOOKS, "tries", "releases", "allowed_hosts", "home_persists", "hub"}
)
ONLY_LOCAL = "until releases are signed, only a local directory owned by the same user is followed"
SERVE_VALUES = frozenset({"config-dir", "host", "port", "releases", "log-format"})
SERVE_SWITCHES = frozenset({"factory", "prove"})


class Settings(NamedTuple):
    """Everything that can be set, checked; times in seconds. `home_persists` is the operator's
    word on whether home survives a restart, None for none: the evidence decides. `hub` is the
    managed hub, None where `hub.pyz` looks after itself alone; the hooks are argument lists."""

    home: Home
    host: str
    port: int
    releases: str | None
    log_format: str
    ready_timeout_s: float
    probation_s: float
    probation_max_s: float
    drain_s: float
    stop_s: float
    watchdog_s: float
    tries: int
    allowed_hosts: tuple[str, ...]
    home_persists: bool | None
    hub: Managed | None
    before_upgrade: tuple[str, ...] | None
    after_rollback: tuple[str, ...] | None
    on_finish: tuple[str, ...] | None
    hook_timeout_s: float
    config_error: str | None


def home_of(flags: Mapping[str, str], environ: Mapping[str, str]) -> Home:
    """The directory that `--config-dir`, else `PARACHUTE_HOME`, else the default names."""
    root = flags.get("config-dir") or environ.get("PARACHUTE_HOME") or "~/.parachute"
    return Home(os.path.abspath(os.path.expanduser(root)))


def parse_serve_flags(argv: list[str]) -> dict[str, str]:
    """The flags of `serve`; raises UsageError. By hand: argparse would double the start's cost."""
    flags: dict[str, str] = {}
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        name, equals, value = word[2:].partition("=") if word.startswith("--") else ("", "", "")
        if name in SERVE_SWITCHES and not equals:
            flags[name] = "yes"
            continue
        if name not in SERVE_VALUES:
            raise UsageError(f"unknown argument {word[:100]!r}; see: hub.pyz serve --help")
        if not equals:
            value = rest.pop(0) if rest else ""
        if not value:
            raise UsageError(f"--{name} needs a value; see: hub.pyz serve --help")
        flags[name] = value
    return flags


def _port(text: str, origin: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and int(text) <= 65535):
        raise UsageError(f"{origin} must be a port from 0 to 65535, not {text[:100]!r}")
    return int(text)


def load(flags: Mapping[str, str], environ: Mapping[str, str]) -> Settings:
    """Settings from flags, then environment, then `hub.json`, then defaults.

    Raises UsageError for a bad flag or variable. A bad `hub.json` never stops a hub: what is
    wrong stands in `config_error`, and the defaults hold.
    """
    home = home_of(flags, environ)
    values, problems = read_config(home)
    port = flags.get("port")
    from_environment = environ.get("PORT", "")
    if port is not None:
        number = _port(port, "--port")
    else:
        number = _port(from_environment, "PORT") if from_environment else DEFAULT_PORT
    return Settings(
        home=home,
        host=flags.get("host") or environ.get("PARACHUTE_BIND_HOST") or DEFAULT_HOST,
        port=number,
        releases=_from_here(flags.get("releases")) or values["releases"],
        log_format=_log_format(flags, environ),
        ready_timeout_s=values["ready_timeout_s"],
        probation_s=values["probation_s"],
        probation_max_s=values["probation_max_s"],
        drain_s=values["drain_s"],
        stop_s=values["stop_s"],
        watchdog_s=values["watchdog_s"],
        tries=values["tries"],
        allowed_hosts=values["allowed_hosts"],
        home_persists=values["home_persists"],
        hub=values["hub"],
        before_upgrade=values["before_upgrade"],
        after_rollback=values["after_rollback"],
        on_finish=values["on_finish"],
        hook_timeout_s=values["hook_timeout_s"],
        config_error="; ".join(problems) or None,
    )


def _log_format(flags: Mapping[str, str], environ: Mapping[str, str]) -> str:
    for origin, text in (
        ("--log-format", flags.get("log-format")),
        (log.FORMAT_VARIABLE, environ.get(log.FORMAT_VARIABLE)),
    ):
        if text:
            if text not in log.FORMATS:
                raise UsageError(f"{origin} must be {' or '.join(log.FORMATS)}, not {text[:100]!r}")
            return text
    return log.FORMATS[0]


def public_origin(environ: Mapping[str, str], address: str) -> str:
    """The URL by which people reach the hub, without a slash at its end: what the environment
    says, else `address`, as far as this machine reaches it."""
    for name in ("PARACHUTE_HUB_ORIGIN", "RENDER_EXTERNAL_URL"):
        value = environ.get(name, "").strip().rstrip("/")
        if value:
            return value if "://" in value else f"https://{value}"
    app = environ.get("FLY_APP_NAME", "").strip()
    if app:
        return f"https://{app}.fly.dev"
    return address.replace("://0.0.0.0:", "://127.0.0.1:").replace("://[::]:", "://[::1]:")


def _from_here(releases: str | None) -> str | None:
    """The flag's directory as others find it: helper and hub work in another directory."""
    if not releases:
        return None
    if "://" in releases:
        raise UsageError(f"--releases {releases[:200]}: {ONLY_LOCAL}")
    return os.path.abspath(os.path.expanduser(releases))


def read_config(home: Home) -> tuple[dict[str, Any], list[str]]:
    """The checked content of `hub.json`, defaults filled in, and what is wrong with it."""
    values: dict[str, Any] = {**TIMES, "tries": DEFAULT_TRIES, "releases": None}
    values.update(allowed_hosts=(), home_persists=None, hub=None, **dict.fromkeys(HOOKS))
    problems: list[str] = []
    try:
        raw = read_json(home.hub_json) or {}
    except Unreadable as error:
        return values, [f"{error}; defaults are used, and no release source"]
    for key, value in raw.items():
        if key not in KNOWN_KEYS:
            problems.append(f"hub.json: unknown key {key[:100]!r}")
            continue
        if key == "hub":
            values["hub"], wrong = managed.parse(value)
            problems += [f"hub.json: {why}" for why in wrong]
            continue
        problem = _check(key, value)
        if problem:
            held = HELD.get(key, "the default is used")
            problems.append(f"hub.json: {key} {problem}; {held}")
        else:
            values[key] = tuple(value) if isinstance(value, list) else value
    both = "both defaults are used"
    for lesser, greater, margin in (
        ("drain_s", "stop_s", 2.0),
        ("probation_s", "probation_max_s", 0.0),
    ):
        if values[lesser] + margin > values[greater]:
            problems.append(
                f"hub.json: {lesser} must be at least {margin:g} s below {greater}; {both}"
                if margin
                else f"hub.json: {lesser} must not be above {greater}; {both}"
            )
            values[lesser], values[greater] = TIMES[lesser], TIMES[greater]
    return values, problems


def marks_of(hub: Managed | None) -> tuple[str, ...]:
    """What an operation that these settings accept bears of them (`Operation.accepted_by`): which
    program it is about, and not how that is upgraded or restarted."""
    if hub is None:
        return (sha256(b""),)
    which = (hub.source, hub.manager, hub.package, hub.install_dir, hub.running_from)
    digest = sha256(ascii((*which, hub.health_url, hub.version_field)).encode())
    return digest, hub.health_url, hub.version_field


def refuse_unsafe(home: Home) -> None:
    """Raise RefusedError where `hub.json` asks for a safety in words that mean nothing: an upgrade
    would go on without it."""
    unsafe = [why for why in read_config(home)[1] if why.endswith(managed.REFUSED)]
    if unsafe:
        raise RefusedError("invalid_config", f"{'; '.join(unsafe)}; nothing was changed")


def _check(key: str, value: Any) -> str | None:
    if key in TIMES:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        most = LONGEST_HOOK_S if key == "hook_timeout_s" else LONGEST_TIME_S
        least = TWO_BEATS_S if key == "watchdog_s" else 0
        if not number or not least < value <= most:
            return f"must be a number of seconds above {least:g} and up to {most:g}"
    elif key in HOOKS:
        problem = None if value is None else managed.arguments_problem(value)
        return f"must be {problem}" if problem else None
    elif key == "tries":
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MOST_TRIES:
            return f"must be a whole number from 1 to {MOST_TRIES}"
    elif key == "releases":
        if not value or not managed.passes(value):
            return "must be the directory of a release repository"
        if "://" in value:
            return f"is {value[:200]!r}: {ONLY_LOCAL}"
    elif key == "home_persists":
        if not isinstance(value, bool):
            return "must be true or false"
    elif not isinstance(value, list) or not all(managed.passes(item, 255) for item in value):
        return "must be a list of host names"
    return None
