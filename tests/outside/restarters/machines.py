"""Machines whose services are kept by systemd, by the system's manager or by a user's own."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
import unittest
from pathlib import Path

from tests.e2e.harness import WAIT_S, wait_for
from tests.outside.readme.machine import Machine

USER = "you"
SESSION = "/etc/systemd/system/user@.service.d/session.conf"
"""What pam_systemd sets for a user's manager; the machine has no more of PAM than it needs."""
BOTH = ("system", "user")
"""The scopes of systemd's managers."""


class Managers(Machine):
    """A machine with a manager for the system and, once `let_linger` was called, one for a user
    who is not logged in.

    `scope` is "system" (commands are root's) or "user" (commands are USER's) everywhere.
    """

    def boot(self) -> None:
        """Start it; what its managers say is in the journal, as elsewhere."""
        super().boot()
        self.sh("systemctl log-target journal")

    def let_linger(self) -> None:
        """USER, and a manager of that user's own that runs without a session."""
        self.sh(
            f"useradd --create-home --shell /bin/sh {USER}; mkdir -p {os.path.dirname(SESSION)}\n"
            f"printf '[Service]\\nEnvironment=XDG_RUNTIME_DIR=/run/user/%%i\\n' >{SESSION}\n"
            f"systemctl daemon-reload; loginctl enable-linger {USER}"
        )
        wait_for(
            lambda: self.systemctl("is-system-running", scope="user").stdout == "running\n",
            "the user's manager",
        )

    def on_disk(self, path: str) -> Path:
        """Where a path of the machine's lies, seen from here."""
        if path.startswith(("/home/", "/srv/")):
            return Path(self.directory, "disk", path[1:])
        return Path(f"/proc/{self.process}/root{path}")

    def asked(
        self, script: str, scope: str = "system", limit_s: float = WAIT_S
    ) -> subprocess.CompletedProcess[str]:
        """Lines for a shell, of root or of USER, as nobody who logged in: with no session's
        variables."""
        return self.run(script, "root" if scope == "system" else USER, limit_s=limit_s)

    def systemctl(
        self, *words: str, scope: str = "system", limit_s: float = WAIT_S
    ) -> subprocess.CompletedProcess[str]:
        """One command of systemctl."""
        return self.asked(self.systemctl_of(scope, *words), scope, limit_s)

    def systemctl_of(self, scope: str, *words: str) -> str:
        """The same as a line for a shell of whoever it is."""
        line = f"systemctl --no-pager --no-ask-password {shlex.join(words)}"
        if scope == "system":
            return line
        return line.replace("systemctl", 'XDG_RUNTIME_DIR="/run/user/$(id -u)" systemctl --user', 1)

    def show(self, unit: str, *names: str, scope: str = "system") -> dict[str, str]:
        """Properties of a unit."""
        told = self.systemctl("show", f"--property={','.join(names)}", unit, scope=scope)
        if told.returncode:
            raise AssertionError(f"systemctl show {unit}: {told.stderr}")
        return dict(line.split("=", 1) for line in told.stdout.splitlines() if "=" in line)

    def told_by(self, unit: str, scope: str = "system") -> str:
        """What a unit printed, and what its manager said about it."""
        match = f"--unit={unit}"
        if scope == "user":  # --user-unit asks of root's own manager
            match = f"_SYSTEMD_USER_UNIT={unit} + USER_UNIT={unit}"
        return self.sh(f"journalctl --sync; journalctl --no-pager --output=cat {match}")

    def outside(self, pid: int) -> int:
        """The number that a process of the machine's has here; 0 for none."""
        for entry in Path("/proc").glob("[0-9]*/status"):
            try:
                lines = entry.read_text().splitlines()
                namespace = os.readlink(entry.with_name("ns") / "pid")
            except OSError:
                continue
            numbers = next((line.split()[1:] for line in lines if line.startswith("NSpid:")), [])
            if numbers[-1:] == [str(pid)] and namespace == self._namespace():
                return int(entry.parent.name)
        return 0

    def _namespace(self) -> str:
        return os.readlink(f"/proc/{self.process}/ns/pid")


class ManagersCase(unittest.TestCase):
    """A test with a machine of its own."""

    def setUp(self) -> None:
        self.machine = Managers(os.path.realpath(tempfile.mkdtemp(prefix="machine-")))
        self.addCleanup(self.machine.close)
        self.machine.boot()
