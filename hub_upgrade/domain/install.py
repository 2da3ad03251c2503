"""Will the file that the next start executes be the one that this upgrade writes, and will it
still be there? Pure."""

from __future__ import annotations

from hub_upgrade.domain.container import (
    DOCKER,
    FLY,
    KUBERNETES,
    PODMAN,
    RENDER,
    Container,
    quoted,
    shown,
)
from hub_upgrade.domain.operation import IN_PLACE, REDEPLOY_REQUIRED
from hub_upgrade.shapes import NamedTuple

PYZ = "pyz"
UNKNOWN = "unknown"

MEMORY = frozenset({"tmpfs", "ramfs", "devtmpfs", "rootfs"})
EMPTY_DIR = "kubernetes.io~empty-dir"
VOLUMES = "/volumes/"
NAMELESS = 64
"""Hexadecimal digits are the name that docker, podman and containerd give to a volume that was
given none, such as an image's VOLUME: it goes with its container."""
OF_ONE_CONTAINER = "/overlay-containers/"
"""What podman and CRI-O keep for one container alone."""


class Mount(NamedTuple):
    """One mount: where, what of the file system (`root`), its kind, its device or server, and for
    an overlay the directory that takes what is written."""

    point: str
    root: str
    kind: str
    source: str
    read_only: bool
    upper: str = ""


class Facts(NamedTuple):
    """What was seen on the machine.

    `trouble` says why home is of no use; `releases_writable` is the answer of a write probe (None
    where none was made). `mount` is the one that releases lie on, `upper` the one that its upper
    layer lies on where it is an overlay; `no_mount` says why there is none, and is "" where the
    system has no such list to read. `persists` is the operator's word, None for none.
    """

    source: str = UNKNOWN
    home: str = ""
    releases: str = ""
    trouble: str = ""
    releases_writable: bool | None = None
    mount: Mount | None = None
    upper: Mount | None = None
    no_mount: str = ""
    container: Container = Container()
    persists: bool | None = None


class Place(NamedTuple):
    """How a managed hub got onto the disk, and where it is rewritten.

    `source` is "git", "package" or "unknown". `directory` is a real path: the root of a checkout's
    work tree (or what `hub.install_dir` names in it), or the package's own directory. `prefix` is
    BUN_INSTALL, npm's prefix or the Python environment's, "" for git. `linked_from` is the path in
    a global node_modules that links to the checkout, or "".
    """

    source: str = UNKNOWN
    manager: str = ""
    package: str = ""
    directory: str = ""
    prefix: str = ""
    linked_from: str = ""


class Decision(NamedTuple):
    """The mode of an upgrade, why, and from what that was told.

    `source` is the word for it on the wire. `place` is None for `pyz`.
    """

    source: str
    mode: str
    reason: str
    evidence: tuple[str, ...]
    place: Place | None = None


class Storage(NamedTuple):
    """A directory that an upgrade writes to, and what it lies on, as in `Facts`."""

    path: str
    writable: bool | None = None
    mount: Mount | None = None
    upper: Mount | None = None
    no_mount: str = ""
    persists: bool | None = None


class Loss(NamedTuple):
    """Why storage is no place for a release, and the kind of advice that mends it."""

    why: str
    advice: str


ELSEWHERE, WRITABLE, DOUBT, RIGHTS = "elsewhere", "writable", "doubt", "rights"


def decide(facts: Facts) -> Decision:
    """In place only when nothing speaks against it; every doubt means redeploy."""
    evidence = tuple(_evidence(facts))
    loss = loss_of(_storage(facts), facts.container)
    against = _against(facts, loss)
    if against:
        there = _there(facts, loss.advice if loss else RIGHTS)
        return Decision(facts.source, REDEPLOY_REQUIRED, f"{against}. {there}", evidence)
    stays = words_of_stay(_storage(facts), facts.container)
    reason = f"{facts.releases} is writable, {stays}: a release put there is what the "
    return Decision(facts.source, IN_PLACE, reason + "next start runs", evidence)


def _against(facts: Facts, loss: Loss | None) -> str:
    if facts.source != PYZ:
        return "how this hub was installed cannot be told"
    if facts.trouble:
        return f"this hub keeps no releases: {facts.trouble}"
    if loss is not None:
        return f"{facts.releases} is no place for a release: {loss.why}"
    if facts.releases_writable is not True:
        return f"{facts.releases} cannot be written"
    return ""


def _storage(facts: Facts) -> Storage:
    return Storage(
        facts.releases, facts.releases_writable, facts.mount, facts.upper, facts.no_mount,
        facts.persists,
    )  # fmt: skip


def loss_of(storage: Storage, container: Container) -> Loss | None:
    """Why what is written there is gone after a restart; None where it is not."""
    mount = storage.mount
    if mount is not None and mount.read_only:
        image = mount.point == "/" and container.signs
        why = f"{shown(mount.point)} is mounted read-only"
        return Loss(why, ELSEWHERE if image else WRITABLE)
    if storage.persists is not None:
        said = "hub.json says that home does not survive a restart"
        return None if storage.persists else Loss(said, ELSEWHERE)
    if mount is None:
        return _unseen(storage.no_mount, container)
    point = shown(mount.point)
    if mount.kind in MEMORY:
        return Loss(f"{point} is a {mount.kind}, which lives in memory", ELSEWHERE)
    if EMPTY_DIR in mount.root:
        return Loss(f"{point} is a Kubernetes emptyDir, which goes with its pod", ELSEWHERE)
    if container.signs:
        return _loss_in_container(mount, point)
    if mount.kind == "overlay" and mount.root == "/":
        return _loss_of_overlay(mount, storage.upper, point)
    return None


def _unseen(no_mount: str, container: Container) -> Loss | None:
    if not no_mount and not container.signs:
        return None
    why = no_mount or "this system does not tell"
    return Loss(f"whether it survives a restart cannot be told ({why})", DOUBT)


def _loss_in_container(mount: Mount, point: str) -> Loss | None:
    """Only a mount of its own survives, and of those not the ones made for this container alone."""
    if mount.point == "/":
        return Loss(f"it lies in the container's own files ({shown(mount.kind)} at /)", DOUBT)
    if _is_nameless(mount.root) or OF_ONE_CONTAINER in mount.root:
        return Loss(f"{point} is a volume without a name, which goes with its container", ELSEWHERE)
    if mount.kind == "overlay" and mount.root == "/":  # a volume mounted with `:O`, for example
        return Loss(f"{point} is an overlay, whose changes go with its container", DOUBT)
    return None


def _is_nameless(root: str) -> bool:
    name = root.rpartition(VOLUMES)[2].partition("/")[0] if VOLUMES in root else ""
    return len(name) == NAMELESS and not name.strip("0123456789abcdef")


def _loss_of_overlay(mount: Mount, upper: Mount | None, point: str) -> Loss | None:
    """On a machine, such as one started from a live medium: what is written goes to the upper
    layer. Where that lies below the very overlay, it was hidden when the machine started."""
    if upper is None or upper.point == mount.point:
        return Loss(f"{point} is an overlay, and where its changes go cannot be told", DOUBT)
    if upper.kind in MEMORY:
        return Loss(f"the changes to {point}, an overlay, live in memory", ELSEWHERE)
    return None


def words_of_stay(storage: Storage, container: Container) -> str:
    """Why what is written there stays."""
    if storage.persists:
        return "and hub.json says that home survives a restart"
    if container.signs:
        return "and a mount of its own, which the next container has too"
    return "and on storage that survives a restart"


# --- what to do there ---------------------------------------------------------------------------

NEW_IMAGE = {
    RENDER: "deploy the newer image or build",
    FLY: "deploy the newer image with: fly deploy",
    KUBERNETES: "change the image's tag in the pod's template",
    PODMAN: "pull the newer image and make the container anew from it "
    "(podman-compose pull && podman-compose up -d)",
    DOCKER: "pull the newer image and make the container anew from it "
    "(docker compose pull && docker compose up -d)",
}
KEEP_HOME = {
    RENDER: "give the service a persistent disk with the mount path {home}",
    FLY: "keep home on a volume: fly volumes create parachute, and in fly.toml "
    '[mounts] source = "parachute", destination = "{home}"',
    KUBERNETES: "mount a PersistentVolumeClaim at {home}, not an emptyDir",
    PODMAN: "keep home on a named volume: podman run -v parachute:{home}",
    DOCKER: "keep home on a named volume: docker run -v parachute:{home}",
}
MAKE_WRITABLE = {
    KUBERNETES: "mount the volume at {home} without readOnly: true",
    PODMAN: "mount the volume without :ro (podman run -v parachute:{home})",
    DOCKER: "mount the volume without :ro (docker run -v parachute:{home})",
}
MEND_RIGHTS = {
    KUBERNETES: "mend that (securityContext.fsGroup gives a volume to the pod's group)",
    PODMAN: "mend that as root (podman exec --user 0 CONTAINER)",
    DOCKER: "mend that as root (docker exec --user 0 CONTAINER)",
}


def _there(facts: Facts, advice: str) -> str:
    """What mends it on this platform, or else brings the newer version."""
    if facts.container.signs:
        first, second = mended_in_container(facts.container.platform, advice)
    else:
        first, second = _on_a_machine(facts, advice)
    text = f"{first}, or {second}".format(home=quoted(facts.home)) + "."
    if advice == DOUBT:
        text += say_so(facts.home)
    return text[0].upper() + text[1:]


def say_so(home: str) -> str:
    """How an operator who knows better says it."""
    return (
        ' If home does survive a restart, say so with "home_persists": true in '
        f"{home}/hub.json and restart the hub."
    )


def mended_in_container(platform: str, advice: str) -> tuple[str, str]:
    """Two ways out, with a {home} in them for the directory."""
    newer = NEW_IMAGE.get(platform, "start the container anew from a newer image")
    if advice == RIGHTS:
        return MEND_RIGHTS.get(platform, "mend that as root in the container"), newer
    if advice == WRITABLE:
        return MAKE_WRITABLE.get(platform, "mount writable storage at {home}"), newer
    return newer, KEEP_HOME.get(platform, "mount storage that outlives it at {home}")


def _on_a_machine(facts: Facts, advice: str) -> tuple[str, str]:
    newer = "replace the installed hub.pyz by a newer one and restart it"
    if advice == RIGHTS:
        return "mend that", newer
    if advice == WRITABLE and facts.mount is not None:
        return remounted(facts.mount).replace("{", "{{").replace("}", "}}"), newer
    return "keep home on a disk (serve --config-dir DIR)", newer


def remounted(mount: Mount) -> str:
    """What makes a read-only mount of a machine writable."""
    return (
        f"make it writable with: mount -o remount,rw {quoted(mount.point)} (where it is so in the "
        "hub's unit alone, with: hub.pyz unit install --writable DIR)"
    )


# --- from what it was told ----------------------------------------------------------------------


def _evidence(facts: Facts) -> list[str]:
    lines = [f"installed as: {facts.source}", *signs(facts.container)]
    lines += seen(_storage(facts), facts.container)
    if facts.trouble:
        lines.append(f"home: {facts.trouble}")
    return lines


def signs(container: Container) -> list[str]:
    """The signs of a container, in words."""
    found = [f"container: {sign}" for sign in container.signs]
    return found or ["machine: no sign of a container"]


def seen(storage: Storage, container: Container) -> list[str]:
    """What was seen of a directory that is to be written."""
    lines = []
    if storage.mount is not None:
        own = "" if storage.mount.point == "/" else ", a mount of its own"
        lines.append(f"storage: {storage.path} lies on {_told(storage.mount)}{own}")
    elif storage.no_mount:
        lines.append(f"storage: {storage.no_mount}")
    if storage.upper is not None and not container.signs:  # there its name is the engine's
        lines.append(f"storage: its upper layer lies on {_told(storage.upper)}")
    if storage.writable is not None:
        lines.append(f"{storage.path}: {'writable' if storage.writable else 'not writable'}")
    if storage.persists is not None:
        word = "survives" if storage.persists else "does not survive"
        lines.append(f"hub.json: home {word} a restart (home_persists)")
    return lines


def _told(mount: Mount) -> str:
    word = ", read-only" if mount.read_only else ""
    return f"{shown(mount.point)} ({shown(mount.kind)}, {shown(mount.source)}{word})"
