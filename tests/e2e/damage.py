"""The files under `home`, and every state that they must not be in."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from typing import Any, NamedTuple

FUTURE: dict[str, Any] = {"format": 2, "schema": 2, "a_field_of_tomorrow": {"deep": [1, None]}}
KINDS = ("nothing", "empty", "half", "random", "directory", "mode 000", "dangling", "future")
HANDED_OVER = {
    "format": 1, "operation_id": "11111111-2222-4333-8444-555555555555", "kind": "upgrade",
    "release": "9.9.9-0123456789abcdef", "digest": "0123456789abcdef" * 4, "named": False,
}  # fmt: skip


class Target(NamedTuple):
    """A file of home. `told` are the kinds that must be said on stderr."""

    name: str
    path: str
    told: tuple[str, ...] = ()


UNREADABLE = ("empty", "half", "random", "directory", "mode 000", "dangling", "future")
CURRENT, LEFT, NEWEST = "{1.1.0}", "{1.2.0}", "{1.3.0}"
TARGETS = (
    Target("serve.lock", "serve.lock", ("directory", "mode 000", "dangling")),
    Target("serve.json", "serve.json"),
    Target("operation.lock", "operation.lock"),
    Target("state.lock", "state.lock"),
    Target("status", "hub-upgrade-status.json", tuple(k for k in UNREADABLE if k != "future")),
    Target("history", "history.jsonl", ("directory", "mode 000", "dangling")),
    Target("tokens", "tokens.json", UNREADABLE),
    Target("hub.json", "hub.json", UNREADABLE),
    Target("services.json", "services.json"),
    Target("next.json", "releases/next.json", tuple(k for k in UNREADABLE if k != "half")),
    Target("boot.json", "releases/boot.json", ("nothing", *UNREADABLE)),
    Target("hub.pyz", f"releases/{CURRENT}/hub.pyz", ("nothing", *UNREADABLE)),
    Target("good", f"releases/{CURRENT}/good"),
    Target("bad", f"releases/{LEFT}.bad"),
    Target("upgrade log", "logs/{log}"),
    Target("release", f"releases/{CURRENT}", ("nothing", *UNREADABLE)),
    Target("releases", "releases", ("empty", "random", "mode 000", "dangling", "future")),
    Target("logs", "logs", ("empty", "random", "dangling", "future")),
)
BY_NAME = {target.name: target for target in TARGETS}

MARKS = {
    "mark of what is gone back to": f"releases/{CURRENT}/good",
    "mark of what is left": f"releases/{NEWEST}.bad",
}
GONE = ("nothing", "empty", "random", "directory", "mode 000", "dangling", "future")
"""Of a directory; `half` of one is every second entry gone."""
NOT_IN_PLACE = {
    "releases": ("empty", "random", "mode 000", "dangling", "future"),
    "serve.lock": ("directory", "mode 000", "dangling"),
}
"""Where nothing can be written or locked any more: `redeploy-required`, with the reason."""
SLOW = frozenset({"hub.json"})
"""Without hub.json the probation takes ten seconds: no upgrade is made there, but under a running
hub, which goes by what it read."""
LIVE = ("boot.json", "next.json", "status", "tokens", "history", "hub.json", "good", "bad")
"""What is damaged under a running hub too."""


def expected_version(name: str, kind: str) -> str:
    """The best release that was ever proven, and is still there; the factory when none is."""
    lost = name in ("hub.pyz", "release") or (name == "releases" and kind in GONE)
    return "1.0.0" if lost else "1.1.0"


# --- the damage ---------------------------------------------------------------------------------


def strike(path: str, kind: str) -> None:
    """Replace what is there."""
    if kind == "half" and os.path.isdir(path):
        names = sorted(os.listdir(path))
        for name in ["hub.pyz"] if "hub.pyz" in names else names[::2]:
            remove(os.path.join(path, name))
        return
    if kind == "mode 000":
        os.chmod(path, 0)
        return
    content = _content(path, kind)
    remove(path)
    if kind == "directory":
        os.mkdir(path, 0o700)
        with open(os.path.join(path, "something"), "w", encoding="utf-8") as file:
            file.write("that nobody put there")
    elif kind == "dangling":
        os.symlink(path + ".elsewhere", path)
    elif kind != "nothing":
        with open(path, "wb") as new:
            new.write(content)


def _content(path: str, kind: str) -> bytes:
    old = b""
    if os.path.isfile(path):
        with open(path, "rb") as file:
            old = file.read()
    if kind == "half":
        return old[: len(old) // 2]
    if kind == "random":
        return os.urandom(max(len(old), 64))
    if kind == "future":
        with contextlib.suppress(ValueError):
            value = json.loads(old)
            if isinstance(value, dict):
                return json.dumps({**value, **FUTURE}).encode()
        return json.dumps(FUTURE).encode()
    return b""


def remove(path: str) -> None:
    """Whatever it is, it goes."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
