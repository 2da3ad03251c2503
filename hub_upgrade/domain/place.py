"""How a managed hub got onto the disk, and is an upgrade of it in place? Pure.

Paths are real ones and are compared by whole components: /parachute-old is not in /parachute.
"""

from __future__ import annotations

from hub_upgrade.domain import install
from hub_upgrade.domain.container import Container, quoted
from hub_upgrade.domain.install import DOUBT, RIGHTS, UNKNOWN, WRITABLE, Decision, Place, Storage
from hub_upgrade.domain.managed import BUN, GIT, NPM, PACKAGE, PIP, Managed
from hub_upgrade.domain.operation import IN_PLACE, REDEPLOY_REQUIRED
from hub_upgrade.shapes import NamedTuple

SAYING = "saying"
"""The advice where hub.json is to be mended, beside those of `install`."""


class Checkout(NamedTuple):
    """The git work tree around what is executed: its root, or "" for none.

    `itself` says that the program's own directory is that root. `tracked` is git's answer, None
    where it gave none (`why`). `git_dirs` are the directories that git writes to.
    """

    root: str = ""
    itself: bool = False
    tracked: bool | None = None
    why: str = ""
    git_dirs: tuple[str, ...] = ()


class Root(NamedTuple):
    """Where a manager installs for all: a global node_modules, or a site-packages.

    `target` is where the managed hub's package leads there, "" for nowhere. `owns` says that the
    manager's own list of that package's files has what is executed.
    """

    manager: str
    prefix: str
    directory: str
    target: str = ""
    owns: bool = False


class ManagedFacts(NamedTuple):
    """What was seen of a managed hub.

    `executed` is the path as it was named, `known_by` says by whom, `real` is where it leads;
    `unseen` says why none of that is known. `ran` is what the running process executes, where
    hub.json said something else first. `given` is where `hub.install_dir` leads. `bun_install` is
    BUN_INSTALL, where that is set. `storage` is what would be rewritten.
    """

    managed: Managed = Managed()
    home: str = ""
    executed: str = ""
    known_by: str = ""
    real: str = ""
    unseen: str = ""
    ran: tuple[str, ...] = ()
    given: str = ""
    checkout: Checkout = Checkout()
    roots: tuple[Root, ...] = ()
    bun_install: str = ""
    storage: tuple[Storage, ...] = ()
    container: Container = Container()


class Against(NamedTuple):
    """What speaks against it, the kind of advice that mends it, and the directory it is about."""

    why: str
    advice: str
    storage: Storage = Storage("")


def inside(path: str, directory: str) -> bool:
    """Whether a real path is a directory, or lies in it."""
    return bool(directory) and (path + "/").startswith(directory.rstrip("/") + "/")


def place_of(facts: ManagedFacts) -> Place:
    """How what is executed got there; a checkout first, for one may be linked from a package's
    place."""
    checkout = facts.checkout
    if checkout.root and (checkout.itself or checkout.tracked):
        given = inside(facts.given, checkout.root)
        where = facts.given if given else checkout.root
        return Place(GIT, directory=where, linked_from=_link(facts))
    root = _root(facts)
    if root is None:
        return Place()
    name = _package(root, facts)
    where = f"{root.directory}/{name}" if name else root.directory
    if root.manager == PIP:  # a package's directory there has a name of its own
        where = root.target or root.directory
    return Place(PACKAGE, root.manager, name, where, root.prefix)


def rewritten(facts: ManagedFacts) -> tuple[str, ...]:
    """The directories that must take files, and keep them, for an upgrade to be of use."""
    place, root = place_of(facts), _root(facts)
    if place.source == GIT:
        paths = [facts.checkout.root, place.directory, *facts.checkout.git_dirs]
    elif root is None:
        paths = []
    else:
        paths = [f"{root.prefix}/install/global"] if root.manager == BUN else []
        paths.append(root.directory)
        if root.manager != PIP and place.package.startswith("@"):
            paths.append(place.directory.rpartition("/")[0])
        paths.append(place.directory)
    return tuple(dict.fromkeys(paths))


def decide_managed(facts: ManagedFacts) -> Decision:
    """In place only when nothing speaks against it; every doubt means redeploy."""
    place = place_of(facts)
    against = _against(facts, place)
    if against is None:
        mode, stays = IN_PLACE, install.words_of_stay(facts.storage[-1], facts.container)
        reason = f"what runs is loaded from {place.directory}, which is writable, {stays}: what "
        reason += f"{place.manager or GIT} writes there is what the next start runs"
    else:
        mode = REDEPLOY_REQUIRED
        reason = f"{against.why}. {_there(facts, place, against)}"
    return Decision(_word(facts, place), mode, reason, tuple(_evidence(facts, place)), place)


def _root(facts: ManagedFacts) -> Root | None:
    holding = [root for root in facts.roots if root.owns or inside(facts.real, root.directory)]
    return max(holding, key=lambda root: (root.owns, len(root.directory)), default=None)


def _package(root: Root, facts: ManagedFacts) -> str:
    """The package that what is executed belongs to, "" where that cannot be told."""
    if root.owns or inside(facts.real, root.target):
        return facts.managed.package
    parts = facts.real[len(root.directory) :].strip("/").split("/")
    name = "/".join(parts[: 2 if parts[0].startswith("@") else 1])
    return "" if root.manager == PIP or name.startswith(".") else name


def _link(facts: ManagedFacts) -> str:
    """The link in a package's place that leads to the checkout."""
    for root in facts.roots:
        linked = root.target and not inside(root.target, root.directory)
        if linked and (inside(facts.real, root.target) or inside(root.target, facts.real)):
            return f"{root.directory}/{facts.managed.package}"
    return ""


def _word(facts: ManagedFacts, place: Place) -> str:
    if place.source == UNKNOWN:
        return UNKNOWN
    if facts.container.signs:
        return "container"
    return "bun-linked" if place.source == GIT else PIP if place.manager == PIP else NPM


# --- what speaks against it ---------------------------------------------------------------------


def _against(facts: ManagedFacts, place: Place) -> Against | None:
    if facts.unseen:
        return Against(f"what the hub is executed from cannot be told: {facts.unseen}", SAYING)
    if place.source == UNKNOWN:
        return Against(_why_unknown(facts), DOUBT)
    contradiction = _contradiction(facts, place)
    if contradiction:
        return Against(contradiction, SAYING)
    for storage in facts.storage:
        loss = install.loss_of(storage, facts.container)
        if loss is not None:
            why = f"{storage.path}, which an upgrade rewrites, is no place for an upgrade: "
            return Against(why + loss.why, loss.advice, storage)
    for storage in facts.storage:
        if storage.writable is not True:
            why = f"{storage.path}, which an upgrade rewrites, cannot be written"
            return Against(why, RIGHTS, storage)
    return None if facts.storage else Against("nothing was seen of the storage", DOUBT)


def _why_unknown(facts: ManagedFacts) -> str:
    checkout = facts.checkout
    what = f"what runs, {facts.real},"
    if checkout.root and checkout.tracked is None:
        return f"whether git tracks {what[:-1]}, cannot be told: {checkout.why}"
    git = f"the git work tree {checkout.root} that does not track it" if checkout.root else ""
    where = f"in {git}," if git else "in no git checkout"
    text = f"{what} lies {where} and in no global install of bun, npm or pip"
    if facts.bun_install and facts.managed.manager in (BUN, None):
        text += f": bun would rewrite {facts.bun_install}, and what runs would stay as it is"
    return text


def _contradiction(facts: ManagedFacts, place: Place) -> str:
    """What hub.json says that is not what is seen, or ""."""
    managed = facts.managed
    if facts.ran and not any(_of(path, place) for path in facts.ran):
        said = f"hub.json says that the hub runs from {facts.executed}"
        return f"{said}, and its process executes {facts.ran[0]}"
    what = f"what runs, {facts.real}, is of {_shown(place)}"
    if managed.source not in (None, place.source):
        return f'hub.json says that hub.source is "{managed.source}", and {what}'
    if place.source == PACKAGE and managed.manager not in (None, place.manager):
        return f'hub.json says that hub.manager is "{managed.manager}", and {what}'
    if place.source == PACKAGE and place.package != managed.package:
        return f'the package to be upgraded (hub.package) is "{managed.package}", and {what}'
    kept = (place.directory, facts.real)
    if managed.install_dir and not any(inside(path, facts.given) for path in kept):
        return f"hub.json says that hub.install_dir is {managed.install_dir}, and {what}"
    return ""


def _of(path: str, place: Place) -> bool:
    return inside(path, place.prefix if place.manager == PIP else place.directory)


# --- what to do there ---------------------------------------------------------------------------


def _there(facts: ManagedFacts, place: Place, against: Against) -> str:
    """What mends it on this platform, or else brings the newer version."""
    advice, storage = against.advice, against.storage
    if facts.container.signs:
        ways = _in_container(facts.container.platform, advice, storage)
    else:
        ways = [*_on_a_machine(storage, advice), _newer(place)]
    if advice == SAYING:
        ways = [_say(facts), ways[-1]]
    text = ", or ".join(ways) + "."
    if advice == DOUBT and inside(storage.path, facts.home):
        text += install.say_so(facts.home)
    return text[0].upper() + text[1:]


def _in_container(platform: str, advice: str, storage: Storage) -> list[str]:
    first, second = install.mended_in_container(platform, advice)
    if advice == SAYING:
        return [first]
    if advice not in (RIGHTS, WRITABLE):
        return [first, "run the hub from a package or a checkout on a mount of its own"]
    point = storage.mount.point if storage.mount else storage.path
    return [first.format(home=quoted(point)), second]


def _on_a_machine(storage: Storage, advice: str) -> list[str]:
    if advice == RIGHTS:
        return ["give this user the right to write there"]
    if advice == WRITABLE and storage.mount:
        return [install.remounted(storage.mount)]
    return ["install it on a disk"] if storage.path else []


def _say(facts: ManagedFacts) -> str:
    where = f"in {facts.home}/hub.json"
    if facts.unseen:
        return f"start the hub, or set hub.running_from {where} to the file that it runs"
    return f"set that right {where}"


def _newer(place: Place) -> str:
    name, prefix = quoted(place.package), quoted(place.prefix)
    by_hand = {
        GIT: f"pull there by hand (git -C {quoted(place.directory)} pull --ff-only)",
        BUN: f"reinstall it by hand (BUN_INSTALL={prefix} bun add -g {name}@latest)",
        NPM: f"reinstall it by hand (npm install -g --prefix {prefix} {name}@latest)",
        PIP: f"reinstall it by hand ({prefix}/bin/python -m pip install --upgrade {name})",
    }
    way = by_hand.get(place.manager or place.source) if place.package or not place.manager else ""
    return f"{way or 'install the newer version the way this one was installed'} and restart it"


# --- from what it was told ----------------------------------------------------------------------


def _evidence(facts: ManagedFacts, place: Place) -> list[str]:
    lines = []
    if facts.executed:
        real = f", which is {facts.real}" if facts.real != facts.executed else ""
        lines.append(f"executed: {facts.executed}{real} ({facts.known_by})")
    lines += [f"executed: {path} (the process's arguments)" for path in facts.ran]
    if facts.unseen:
        lines.append(f"executed: {facts.unseen}")
    lines.append(f"installed as: {_shown(place)}")
    if facts.checkout.root:
        tracked = {True: "tracks it", False: "does not track it", None: facts.checkout.why}
        itself = "is its directory" if facts.checkout.itself else tracked[facts.checkout.tracked]
        lines.append(f"git: the work tree {facts.checkout.root} {itself}")
    if facts.bun_install:
        lines.append(f"BUN_INSTALL: {facts.bun_install}")
    lines += install.signs(facts.container)
    for number, storage in enumerate(facts.storage):
        if not any(_says_no_more(storage, other) for other in facts.storage[:number]):
            lines += [line for line in install.seen(storage, facts.container) if line not in lines]
    return lines


def _says_no_more(storage: Storage, other: Storage) -> bool:
    """Whether a directory lies in another of which the same was told."""
    return inside(storage.path, other.path) and storage._replace(path=other.path) == other


def _shown(place: Place) -> str:
    if place.source == GIT:
        linked = f", linked from {place.linked_from}" if place.linked_from else ""
        return f"the git checkout {place.directory}{linked}"
    if place.source == PACKAGE:
        return f"the {place.manager} package {place.package or '(not known)'} in {place.prefix}"
    return UNKNOWN
