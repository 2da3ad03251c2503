"""Semantic versions (semver.org, 2.0.0): their order, their channel, and which one is chosen.

A leading `v` is passed over everywhere, and build metadata has no part in any comparison.
"""

from __future__ import annotations

import re

LONGEST_VERSION = 100
CHANNELS = ("latest", "rc")

_NUMBER = r"(?:0|[1-9][0-9]*)"
_PRE = rf"(?:{_NUMBER}|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
PATTERN = (
    rf"v?({_NUMBER})\.({_NUMBER})\.({_NUMBER})"
    rf"(?:-({_PRE}(?:\.{_PRE})*))?"
    r"(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?"
)
"""All of a version, without an anchor; it means the same in JavaScript's words."""
_VERSION = re.compile(PATTERN)
_PYTHONS = re.compile(r"v?([0-9]+)(?:\.([0-9]+))?(?:\.([0-9]+))?(?:(a|b|rc)([0-9]+))?")
_STAGES = {"a": "alpha", "b": "beta", "rc": "rc"}
_CANDIDATE = re.compile(r"-rc(?:\.[0-9]+)?")

Identifier = tuple[int, int, str]
SortKey = tuple[int, int, int, int, int, tuple[Identifier, ...]]


def is_version(text: str) -> bool:
    """Whether `text` is a semantic version of at most 100 characters, a leading `v` allowed."""
    return len(text) <= LONGEST_VERSION and _VERSION.fullmatch(text) is not None


def normal(text: str) -> str:
    """The version without its leading `v`."""
    return text.removeprefix("v")


def semantic(text: str) -> str | None:
    """A version as Python's packages write them (PEP 440), as a semantic one: `1.2.0rc1` is
    `1.2.0-rc.1`, `a1` and `b1` are `-alpha.1` and `-beta.1`, `1.2` is `1.2.0`. None for what
    cannot be said in it."""
    found = _PYTHONS.fullmatch(text)
    if found is None:
        return None
    numbers = ".".join(str(int(part or 0)) for part in found.groups()[:3])
    return numbers + (f"-{_STAGES[found[4]]}.{int(found[5])}" if found[4] else "")


def told(value: object) -> str:
    """The version that a program, or what lies on the disk, tells of itself, as everything here
    writes it, without build metadata; "" for none, and for what cannot be printed."""
    text = value.strip()[:LONGEST_VERSION] if isinstance(value, str) else ""
    if is_version(text):
        return normal(text).partition("+")[0]
    return semantic(text) or (text if text.isprintable() else "")


def sort_key(text: str) -> SortKey:
    """A key that orders any texts by semver precedence; what is no version comes lowest."""
    match = _VERSION.fullmatch(text) if len(text) <= LONGEST_VERSION else None
    if match is None:
        return (0, 0, 0, 0, 0, ((1, 0, text),))
    major, minor, patch, pre = match.groups()
    identifiers = tuple(_identifier(part) for part in pre.split(".")) if pre else ()
    return (1, int(major), int(minor), int(patch), 0 if pre else 1, identifiers)


def _identifier(part: str) -> Identifier:
    """Numbers compare as numbers and come before words (semver, section 11.4)."""
    return (0, int(part), "") if part.isdigit() else (1, 0, part)


def channel_of(version: str) -> str:
    """`rc` for a version that ends in `-rc` or `-rc.N`, build metadata aside; else `latest`."""
    without_build = version.partition("+")[0]
    found = _CANDIDATE.search(without_build, max(without_build.rfind("-"), 0))
    return "rc" if found and found.end() == len(without_build) else "latest"


def choose(channel: str, latest: str | None, rc: str | None) -> tuple[str | None, str]:
    """What a channel resolves to, given what both point to; and a note for the log, or "".

    `rc` resolves to the higher of both, so that nobody is stranded when stable overtakes the
    candidates. None when there is nothing to choose from.
    """
    if channel != "rc":
        return latest, ""
    if latest is None or (rc is not None and sort_key(rc) >= sort_key(latest)):
        return rc, ""
    than = f"the candidate {rc}" if rc is not None else "any candidate"
    return latest, f"the stable {latest} is newer than {than}; the channel stays rc"


def is_downgrade(current: str, target: str) -> bool:
    """Whether `target` comes before `current`."""
    return sort_key(target) < sort_key(current)


def naming(version: str, tagged: bool, itself: bool = False) -> str:
    """The command that names a version; `tagged`: of a checkout, whose branch moves on."""
    tag = f"(once its branch bears another, by the tag v{version}) " if tagged else ""
    return f"{tag}hub.pyz upgrade{' --self' if itself else ''} --version {version}"
