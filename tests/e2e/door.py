"""Ways into a hub, and where a secret could have been left."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.e2e.harness import Hub, cli, descendants, wait_for

LINK = re.compile(r"https?://[^\s\"]+/#code=([A-Za-z0-9_-]+)")
SAID = "sign in, once and within 15 minutes: "
TOKEN = re.compile(rb"hub_[A-Za-z0-9_-]{43}")
"""What every token looks like that this program makes."""
SESSION = "/api/session"


def links(hub: Hub) -> list[str]:
    """The lines of the log that have a sign-in link in them."""
    return [line for line in hub.output().splitlines() if LINK.search(line)]


def printed_code(hub: Hub, number: int = 1) -> str:
    """The code of the so-many-th link that `serve` has printed, waited for."""
    wait_for(lambda: len(links(hub)) >= number, f"link {number} in {hub.output()}")
    found = LINK.search(links(hub)[number - 1])
    assert found is not None
    return found[1]


def made_code(hub: Hub, *argv: str) -> str:
    """The code of a link that the command line makes."""
    done = cli(hub.program, "token", "link", "--config-dir", hub.home, *argv)
    found = LINK.fullmatch(done.stdout.strip())
    if found is None:
        raise AssertionError(f"{done.returncode} {done.stdout} {done.stderr}")
    return found[1]


def sign_in(hub: Hub, code: str) -> dict[str, Any]:
    """The session that a code is exchanged for."""
    status, session = hub.request("POST", SESSION, {"code": code})
    if status != 200:
        raise AssertionError(f"{status} {session}")
    return dict(session)


def listed(hub: Hub) -> list[dict[str, Any]]:
    """`token list --json`."""
    done = cli(hub.program, "token", "list", "--json", "--config-dir", hub.home)
    if done.returncode:
        raise AssertionError(done.stderr)
    return list(json.loads(done.stdout)["tokens"])


def of_processes(pids: Iterable[int]) -> dict[str, bytes]:
    """What everybody on the machine may see of these processes, and their environment."""
    seen = {}
    for pid in pids:
        for name in ("cmdline", "comm", "environ"):
            try:
                seen[f"/proc/{pid}/{name}"] = Path("/proc", str(pid), name).read_bytes()
            except OSError:
                continue  # it has ended meanwhile
    return seen


def of_hub(hub: Hub) -> dict[str, bytes]:
    """The same of the launcher and of all that it has started."""
    return of_processes([hub.launcher_pid, *descendants(hub.launcher_pid)])


def of_home(hub: Hub) -> dict[str, bytes]:
    """Every file in home but the releases' own code, and what was printed."""
    found = {hub.log: Path(hub.log).read_bytes()}
    for directory, _, names in os.walk(hub.home):
        for name in names:
            path = Path(directory, name)
            if path.is_file() and path.suffix != ".pyz":
                with contextlib.suppress(FileNotFoundError):  # it was being written
                    found[str(path)] = path.read_bytes()
    return found


def leaks(places: dict[str, bytes], secrets: Iterable[str]) -> list[str]:
    """Where one of the secrets stands, or anything that looks like a token."""
    wanted = [secret.encode() for secret in secrets]
    return sorted(
        place
        for place, content in places.items()
        if TOKEN.search(content) or any(secret in content for secret in wanted)
    )
