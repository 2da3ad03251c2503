"""Is this a container, by which signs, and on whose platform? Pure."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping

from hub_upgrade.shapes import NamedTuple

RENDER = "render"
FLY = "fly"
KUBERNETES = "kubernetes"
PODMAN = "podman"
DOCKER = "docker"
OTHER = "container"

INITS = frozenset(
    {"dinit", "finit", "init", "launchd", "linuxrc", "openrc-init", "procd", "runit",
     "runit-init", "s6-linux-init", "s6-svscan", "shepherd", "systemd", "upstart"}
)  # fmt: skip
"""What is process 1 on a machine. tini, catatonit and dumb-init are that only in containers."""
SERVICES = {
    "KUBERNETES_SERVICE_HOST": KUBERNETES, "RENDER": RENDER, "FLY_APP_NAME": FLY
}  # fmt: skip
RUNTIMES = {
    "kubepods": KUBERNETES, "libpod": PODMAN, "docker": DOCKER, "containerd": OTHER,
    "cri-containerd": OTHER, "crio": OTHER, "nerdctl": OTHER, "buildkit": OTHER,
}  # fmt: skip
"""Container runtimes by the words that they put into the names of control groups. Not lxc and not
systemd-nspawn: booted with an init they are machines, and without one process 1 tells."""
HOME = "/parachute"
MOST_SHOWN = 100


class Seen(NamedTuple):
    """What was looked at. `init` is the name of process 1, "" where that cannot be told, None
    where there is no such thing to ask; `cgroup` is /proc/self/cgroup."""

    init: str | None
    cgroup: str
    dockerenv: bool
    containerenv: bool
    environ: Mapping[str, str]


class Container(NamedTuple):
    """Every sign of one, none on a machine, and whose it seems to be ("" on a machine)."""

    signs: tuple[str, ...] = ()
    platform: str = ""


def recognise(seen: Seen) -> Container:
    """Any one sign makes it a container: to err that way is safe."""
    signs = []
    platforms = []
    for name, platform in SERVICES.items():
        if seen.environ.get(name):
            signs.append(f"{name} is set")
            platforms.append(platform)
    if _is_usual_home(seen.environ.get("PARACHUTE_HOME", "")):
        signs.append(f"PARACHUTE_HOME is {HOME}")
    group, runtime = _runtime(seen.cgroup)
    if group:
        signs.append(f"the control group is {shown(group)}")
        platforms.append(runtime)
    if seen.containerenv:
        signs.append("/run/.containerenv exists")
        platforms.append(PODMAN)
    if seen.dockerenv:
        signs.append("/.dockerenv exists")
        platforms.append(DOCKER)
    if seen.init == "":
        signs.append("process 1 cannot be seen")
    elif seen.init is not None and not _is_init(seen.init):
        signs.append(f"process 1 is {shown(seen.init)}, which is no machine's init")
    if not signs:
        return Container()
    order = (RENDER, FLY, KUBERNETES, PODMAN, DOCKER)
    return Container(tuple(signs), next((one for one in order if one in platforms), OTHER))


def _is_init(name: str) -> bool:
    return name in INITS or name.startswith("init(")  # WSL adds the distribution's name


def _is_usual_home(value: str) -> bool:
    value = value.strip()
    return value.startswith("/") and "/" + posixpath.normpath(value).lstrip("/") == HOME


def _runtime(cgroup: str) -> tuple[str, str]:
    """The first group that a container runtime named, and which one; "" for none."""
    for line in cgroup.splitlines():
        path = line.split(":", 2)[-1]
        for part in path.replace(":", "/").split("/"):
            if part.endswith(".service"):  # the engine's own on a machine: docker.service
                continue
            for word, runtime in RUNTIMES.items():
                if part == word or (part.startswith(word) and part[len(word)] in "-._"):
                    return path, runtime
    return "", ""


def shown(text: str, most: int = MOST_SHOWN) -> str:
    """Fit for one line of a terminal, whatever a mount or a process is named."""
    return "".join(char if char.isprintable() else "?" for char in text[:most])


def quoted(text: str) -> str:
    """As a shell reads it."""
    if text and all(char.isalnum() or char in "/._-+@:," for char in text):
        return text
    return "'" + text.replace("'", "'\\''") + "'"
