"""A booted machine for somebody else's hub: with git, hub.pyz, a user who lingers, and two
directories for a PATH on which something is odd."""

from __future__ import annotations

import os
import shutil
import tempfile
import unittest
from pathlib import Path

from tests.e2e.harness import build
from tests.outside.readme.machine import PATH
from tests.outside.restarters.machines import Managers

GIT = Path(os.environ.get("OUTSIDE", ".outside")).absolute() / "restarters" / "git-bookworm"
PROGRAM = "/srv/hub.pyz"
OURS = "9.0.0"
FEW = "/srv/few"
"""A directory for a PATH: what a helper needs, without systemd-run."""
SLOW = "/srv/slow"
"""A directory for the front of a PATH: its systemctl notes its number in `asked` when it is to
restart something, and waits for `go`."""
WAITS = """\
#!/bin/sh
case " $* " in
*" restart "*) echo $$ >/srv/slow/asked; while [ ! -e /srv/slow/go ]; do sleep 0.02; done ;;
esac
exec /usr/bin/systemctl "$@"
"""
SLOWLY = f"{SLOW}:{PATH}"
TOOLS = ("git", "git-upload-pack", "systemctl", "journalctl", "python3", "sh")


def boot(case: type[unittest.TestCase]) -> Managers:
    """A machine that ends with the test case, with git, hub.pyz, and a lingering user; the
    manager's own lines are in its journal."""
    machine = Managers(os.path.realpath(tempfile.mkdtemp(prefix="machine-")))
    case.addClassCleanup(machine.close)
    shutil.copytree(GIT, os.path.join(machine.directory, "upper"), symlinks=True)
    machine.boot()
    machine.sh("systemctl log-target journal")
    machine.let_linger()
    shutil.copyfile(build(OURS), machine.on_disk(PROGRAM))
    few = machine.on_disk(FEW)
    few.mkdir()
    for tool in TOOLS:
        (few / tool).symlink_to(f"/usr/bin/{tool}")
    slow = machine.on_disk(SLOW)
    slow.mkdir()
    slow.chmod(0o777)
    (slow / "systemctl").write_text(WAITS)
    (slow / "systemctl").chmod(0o755)
    return machine
