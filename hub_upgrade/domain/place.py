"""How a managed hub got onto the disk, and is an upgrade of it in place? Pure.

Paths are real ones and are compared by whole components: /parachute-old is not in /parachute.
"""

from __future__ import annotations

from hub_upgrade.domain.container import Container
from hub_upgrade.domain.install import Decision, Place, Storage
from hub_upgrade.domain.managed import Managed
from hub_upgrade.domain.operation import REDEPLOY_REQUIRED
from hub_upgrade.shapes import NamedTuple


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
    manager's own list of the package's files has what is executed.
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
    what `bun add -g` would rewrite. `storage` is what would be rewritten.
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


def decide_managed(facts: ManagedFacts) -> Decision:
    """In place only when nothing speaks against it; every doubt means redeploy."""
    return Decision("unknown", REDEPLOY_REQUIRED, facts.unseen, (), Place())
