"""Python environments: where they keep packages, and whose a file is. Never raises."""

from __future__ import annotations

import json
import os
from urllib.parse import unquote

from hub_upgrade.host.reading import names_in, text_of
from hub_upgrade.shapes import NamedTuple

PACKAGES = ("site-packages", "dist-packages")


class Distribution(NamedTuple):
    """An installed package: the directory of its code, the paths of its files relative to its
    site-packages, and, where that is only linked from there (`pip install -e`), its source."""

    directory: str
    names: frozenset[str]
    source: str


def sites(prefix: str) -> list[str]:
    """The directories of packages in the environment with this prefix."""
    lib = os.path.join(prefix, "lib")
    found = []
    for name in names_in(lib):
        if name.startswith("python"):
            found += [os.path.join(lib, name, packages) for packages in PACKAGES]
    return [path for path in found if os.path.isdir(path)]


def prefix_of(path: str) -> str:
    """The prefix of the environment that a script, an interpreter or a module lies in, or ""."""
    for packages in PACKAGES:
        lib = path.partition(f"/{packages}/")[0]
        if lib != path and os.path.basename(os.path.dirname(lib)) == "lib":
            return os.path.dirname(os.path.dirname(lib))
    directory = os.path.dirname(path)
    return os.path.dirname(directory) if os.path.basename(directory) == "bin" else ""


def has_interpreter(prefix: str) -> bool:
    """Whether it has one of its own, whose pip installs into it."""
    return any(os.access(f"{prefix}/bin/{name}", os.X_OK) for name in ("python", "python3"))


def distribution(site: str, package: str) -> Distribution | None:
    """The package with that name, as its installer recorded it there."""
    for name in names_in(site):
        stem, dot, kind = name.rpartition(".")
        if dot and kind == "dist-info" and _normal(stem.partition("-")[0]) == _normal(package):
            return _recorded(site, os.path.join(site, name))
    return None


def _recorded(site: str, info: str) -> Distribution:
    lines = text_of(os.path.join(info, "RECORD")).splitlines()
    names = frozenset(line.rsplit(",", 2)[0].strip('"') for line in lines)
    tops = {name.partition("/")[0] for name in names if name.endswith("/__init__.py")}
    top = min(tops, key=lambda one: (one not in os.path.basename(info), one), default="")
    return Distribution(os.path.join(site, top) if top else site, names, _source(info))


def _source(info: str) -> str:
    try:
        told = json.loads(text_of(os.path.join(info, "direct_url.json")) or "{}")
        editable, url = told.get("dir_info", {}).get("editable"), told.get("url", "")
    except (ValueError, AttributeError):
        return ""
    here = editable is True and isinstance(url, str) and url.startswith("file:///")
    return os.path.realpath(unquote(url[len("file://") :])) if here else ""


def _normal(name: str) -> str:
    """As PEP 503 compares names."""
    words = name.lower().replace("_", "-").replace(".", "-").split("-")
    return "-".join(word for word in words if word)
