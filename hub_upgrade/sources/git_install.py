"""The dependencies of a checkout: when its lock file changes, they are installed anew.

`parachute-install`, in the directory that git keeps for this work tree, says what became of the
last installation. Begun and not done means that what is installed fits no commit.
"""

from __future__ import annotations

import os

from hub_upgrade.domain.managed import Managed
from hub_upgrade.errors import HostError, RefusedError
from hub_upgrade.host import commands, files
from hub_upgrade.host.commands import Sink
from hub_upgrade.sources.git_command import Change, Git, Place, named

INSTALL_S = 900.0
BUN_LOCKS = frozenset({"bun.lock", "bun.lockb"})
LOCKS = BUN_LOCKS | {
    "package-lock.json",
    "npm-shrinkwrap.json",
    "pnpm-lock.yaml",
    "yarn.lock",
    "poetry.lock",
    "uv.lock",
    "requirements.txt",
}
BUN_INSTALL = ("bun", "install", "--frozen-lockfile")
BEGUN, DONE = b"begun\n", b"done\n"


class Dependencies:
    """Those of the directory that a git is in; its lock files lie there, or above it."""

    def __init__(self, git: Git, place: Place, managed: Managed) -> None:
        self._git = git
        self._place = place
        self._command = managed.install_command
        self._state = os.path.join(place.own, "parachute-install")
        path = os.path.relpath(os.path.realpath(git.directory), os.path.realpath(place.root))
        parts = [] if path == os.curdir else path.split(os.sep)
        self._above = {"/".join(parts[:count]) for count in range(len(parts) + 1)}

    def changed(self, changes: list[Change]) -> list[Change]:
        """The changes of a lock file; raises RefusedError when nobody knows what to run then."""
        found = []
        for change in changes:
            above, name = os.path.split(change.path)
            if name in LOCKS and above in self._above:
                found.append(change)
        if found and self._command is None and not self._both_by_bun(found):
            raise RefusedError(
                "no_install_command",
                f"{named([change.path for change in found])} changes, and how dependencies are "
                'installed is not known: set "install_command" of "hub" in hub.json, such as '
                '["npm", "ci"]; nothing was changed',
            )
        return found

    def _both_by_bun(self, changed: list[Change]) -> bool:
        """Whether bun knows what to do, on the way forward and on the way back, or has nothing to
        do there."""
        here, there = self._bun_locks(), self._bun_locks()
        for change in changed:
            if change.status == "D":
                there.discard(change.path)
            elif os.path.basename(change.path) in BUN_LOCKS:
                there.add(change.path)
        statuses = {change.status for change in changed}
        return bool(here or statuses == {"A"}) and bool(there or statuses == {"D"})

    def _bun_locks(self) -> set[str]:
        paths = {os.path.join(above, name) for above in self._above for name in BUN_LOCKS}
        return {path for path in paths if os.path.lexists(os.path.join(self._place.root, path))}

    def touched(self) -> bool:
        """Whether an installation was begun since the last `forget`."""
        return bool(self._said())

    def owed(self) -> bool:
        """Whether one was begun, and never done."""
        return self._said() == BEGUN

    def _said(self) -> bytes:
        return files.read_regular(self._state) if os.path.lexists(self._state) else b""

    def install(self, sink: Sink) -> None:
        """Run the install command; without one there is no lock file, and nothing to do.

        Raises HostError with its last words; then it is owed.
        """
        argv = self._command or (BUN_INSTALL if self._bun_locks() else ())
        if not argv:
            return
        if not self.owed():
            files.write_durably(self._state, BEGUN)
        env = self._git.environment(remote=True)
        result = commands.run(list(argv), INSTALL_S, env, self._git.directory, sink)
        if result.status == commands.MISSING:
            raise commands.missing(result.last_line())
        if result.status != 0:
            how = f"took longer than {INSTALL_S:g} s" if result.status is None else "failed"
            raise HostError(f"{' '.join(argv)} {how}: {result.killed() or result.last_line()}")
        files.write_durably(self._state, DONE)

    def forget(self) -> None:
        """What is installed fits what is checked out; one that is owed stays so."""
        if not self.owed():
            files.remove_durably(self._state)
