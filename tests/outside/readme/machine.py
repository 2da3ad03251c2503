"""A throwaway Debian server: systemd as its process 1, a layer over a tree that stays as it is for
everything that it writes, a network of its own. What the README says is said to it word by word."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import tempfile
import unittest
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tests.e2e.harness import WAIT_S, children_of, wait_for

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
TREE = Path(os.environ.get("OUTSIDE", ".outside")).absolute() / "readme" / "server-bookworm-2"
CLONE = "/root/hub"
CLONED = ("build_pyz.py", "Makefile", "README.md", "LICENSE", "hub_upgrade", "examples", "docs")
"""What of this repository lies in the machine's clone: all that the README's commands name."""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CLONE_NEWNET = 0x40000000
NAMESPACES = ("--mount", "--pid", "--net", "--uts", "--ipc", "--cgroup")

libc = ctypes.CDLL(None, use_errno=True)


class Machine:
    """One boot of it; `directory` takes what it writes."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.groups: list[Path] = []
        self.unshare: subprocess.Popen[bytes] | None = None
        self.process = 0

    # --- its life ---

    def boot(self) -> None:
        """Start it, and wait until all of it runs."""
        for name in ("upper/root", "upper/etc", "disk/home", "disk/srv", "disk/containers"):
            os.makedirs(os.path.join(self.directory, name))
        clone = Path(self.directory, "upper" + CLONE)
        for name in CLONED:
            source, target = ROOT / name, clone / name
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                target.parent.mkdir(exist_ok=True)
                shutil.copyfile(source, target)
        Path(self.directory, "upper/etc/hosts").write_text("127.0.0.1 localhost hub.example\n")
        self._enter_groups()
        log = os.path.join(self.directory, "boot.log")
        with open(log, "wb") as output:
            self.unshare = subprocess.Popen(
                ["setpriv", "--pdeathsig=KILL", "sh", "-c", self._grouped(), "sh",
                 "unshare", "--fork", "--kill-child", *NAMESPACES,
                 "sh", str(HERE / "boot.sh"), str(TREE), self.directory],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            )  # fmt: skip
        unshare = self.unshare
        wait_for(lambda: children_of(unshare.pid) or unshare.poll() is not None, "a process 1")
        self.process = (children_of(unshare.pid) or [0])[0]
        wait_for(
            lambda: unshare.poll() is not None or self._is_up(),
            f"the machine: {Path(log).read_text()}",
        )
        if unshare.poll() is not None:
            raise AssertionError(f"no machine: {Path(log).read_text()}")

    def _is_up(self) -> bool:
        with contextlib.suppress(OSError):
            if Path(f"/proc/{self.process}/comm").read_text() == "systemd\n":
                state = self.run("systemctl is-system-running").stdout.strip()
                return state in ("running", "degraded")
        return False

    def _enter_groups(self) -> None:
        """A control group of its own in every hierarchy, or systemd would take ours."""
        mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
        places = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
        for _device, point, kind, options, *_rest in mounts:
            for _number, names, place in places:
                wanted = set(filter(None, names.split(",")))
                if kind == ("cgroup" if names else "cgroup2") and wanted <= set(options.split(",")):
                    self._make_group(Path(point + place.rstrip("/")))

    def _make_group(self, parent: Path) -> None:
        _remove_what_nobody_needs(parent)
        group = parent / f"machine-{os.getpid()}-{id(self):x}"
        if group in self.groups:
            return
        group.mkdir()
        self.groups.append(group)
        for file in ("cpuset.cpus", "cpuset.mems"):  # in version 1 empty: then nobody can enter
            if (group / file).exists() and (group / "tasks").exists():
                (group / file).write_text((parent / file).read_text())

    def _grouped(self) -> str:
        """A line for the shell that goes there and becomes its arguments."""
        return "".join(f"echo $$ >'{group}/cgroup.procs'; " for group in self.groups) + 'exec "$@"'

    def close(self) -> None:
        """With process 1 all the others end, and with them every mount."""
        if self.unshare is not None:
            self.unshare.kill()
            self.unshare.wait()
            if self.process:  # 0 for one whose process 1 was never seen, and to kill(2) our group
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.process, signal.SIGKILL)
                wait_for(lambda: not os.path.exists(f"/proc/{self.process}"), "the machine's end")
        for group in self.groups:
            wait_for(partial(_removed, group), f"the end of {group}")
        shutil.rmtree(self.directory)

    # --- what is said to it ---

    def run(
        self, script: str, user: str = "root", cwd: str = CLONE, limit_s: float = WAIT_S
    ) -> subprocess.CompletedProcess[str]:
        """Lines for a shell, as somebody who logged in types them; ends at the first that fails."""
        login = ["su", "--login", user, "--command", script]
        if user == "root":
            login = ["sh", "-e", "-c", f"cd {cwd}\n{script}"]
        home = "/root" if user == "root" else f"/home/{user}"
        return subprocess.run(
            [*self.inside(), "env", "-i", f"PATH={PATH}", f"HOME={home}", f"USER={user}",
             f"LOGNAME={user}", "SHELL=/bin/sh", "TERM=dumb", *login],
            capture_output=True, text=True, check=False, timeout=limit_s, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def sh(self, script: str, user: str = "root", limit_s: float = WAIT_S) -> str:
        """The same, which must succeed; what it printed, errors too."""
        done = self.run(script, user, limit_s=limit_s)
        if done.returncode:
            raise AssertionError(f"{script}\n-> {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def inside(self) -> list[str]:
        """The command before a command that is run in there."""
        return ["nsenter", f"--target={self.process}", *NAMESPACES, "--root", "--wd"]

    def journal(self, unit: str = "parachute-hub") -> str:
        """What a service printed."""
        return self.sh(f"journalctl --no-pager --output=cat --unit={unit}")


@contextlib.contextmanager
def network_of(process: int) -> Iterator[None]:
    """Sockets that this thread makes meanwhile are in the network of that process."""
    with open("/proc/thread-self/ns/net") as ours, open(f"/proc/{process}/ns/net") as its:
        _set_network(its.fileno())
        try:
            yield
        finally:
            _set_network(ours.fileno())


def _removed(group: Path) -> bool:
    """Whether a control group is gone, with those below it: none can go while somebody is in it."""
    for place, _below, _files in os.walk(group, topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(place)
    return not group.exists()


def _remove_what_nobody_needs(parent: Path) -> None:
    """What a test that was killed left behind."""
    for group in parent.glob("machine-*-*"):
        if not os.path.exists(f"/proc/{group.name.split('-')[1]}"):
            _removed(group)


def _set_network(descriptor: int) -> None:
    if libc.setns(descriptor, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


class MachineCase(unittest.TestCase):
    """A test with a machine of its own."""

    def setUp(self) -> None:
        self.machine = Machine(os.path.realpath(tempfile.mkdtemp(prefix="machine-")))
        self.addCleanup(self.machine.close)
        self.machine.boot()
