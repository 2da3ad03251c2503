"""What the machine says about how a managed hub is installed: probe_managed() -> ManagedFacts.

For a helper, a one-shot child or the command line: it reads disks and runs git.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from hub_upgrade.domain.managed import BUN, NPM, PIP, Managed
from hub_upgrade.domain.place import Checkout, ManagedFacts, Root, inside, rewritten
from hub_upgrade.domain.restart import UNIT
from hub_upgrade.host import checkout, commands, container, environments, facts, unit_file
from hub_upgrade.host.executed import SCRIPTS, HubProcess, executed_from, trail
from hub_upgrade.host.files import Home

GIT_LIMIT_S = 5.0
MARKERS = ("package.json", "pyproject.toml", "setup.py", "deno.json")
"""What the directory of a program of its own has."""
PACKAGED = ("node_modules", *environments.PACKAGES)
GLOBALS = {BUN: "/install/global/node_modules", NPM: "/lib/node_modules"}
"""The managers of JavaScript packages, and what follows their prefix."""


def probe_managed(
    home: Home,
    managed: Managed,
    process: HubProcess | None,
    environ: Mapping[str, str],
    persists: bool | None,
) -> ManagedFacts:
    """Facts for the managed hub; `process` is the one that answers for it, or None. Never raises.

    `persists` is the operator's word on home, and weighs for what lies in home alone.
    """
    user = environ.get("HOME") or os.path.expanduser("~")
    if process is None:
        directories = (os.path.join(user, unit_file.USER), *unit_file.SYSTEM)
        name = managed.unit or UNIT
        unit = unit_file.started_by(name, directories, user)
        found = _executed(home, managed, unit, f"the unit {name}'s ExecStart")
    else:
        unit = process
        found = _executed(home, managed, process, f"process {process.pid}'s arguments")
    found = found._replace(
        given=os.path.realpath(managed.install_dir) if managed.install_dir else "",
        bun_install=(unit.bun_install if unit else "") or environ.get("BUN_INSTALL", ""),
        container=container.look(),
    )
    if found.unseen:
        return found
    return _with_storage(_placed(found, unit, environ, user), persists)


# --- what it is executed from -------------------------------------------------------------------


def _executed(
    home: Home, managed: Managed, process: HubProcess | None, known_by: str
) -> ManagedFacts:
    seen = ManagedFacts(managed, home=os.path.realpath(home.root))
    paths = [path for path in executed_from(process) if os.path.lexists(path)] if process else []
    if managed.running_from is not None:
        if not os.path.exists(managed.running_from):
            return seen._replace(unseen=f"hub.running_from, {managed.running_from}, is not there")
        ran = tuple(os.path.realpath(path) for path in paths if not _is_python(path))
        seen = seen._replace(ran=ran if process and process.pid else ())
        paths, known_by = [managed.running_from], "hub.json's running_from"
    if not paths:
        return seen._replace(unseen=_unseen(process, known_by, managed.unit or UNIT))
    real = os.path.realpath(paths[0])
    if os.path.basename(real) == "hub.pyz" or inside(real, os.path.realpath(home.releases)):
        return seen._replace(unseen=f"{known_by} name {real}: hub.pyz itself")
    return seen._replace(executed=paths[0], real=real, known_by=known_by)


def _unseen(process: HubProcess | None, known_by: str, unit: str) -> str:
    if process is None:
        return f"it does not run, and no unit {unit} starts it"
    if process.foreign:
        return f"process {process.pid} is another user's, or in a container of its own"
    return f"no file that is there is named by {known_by}"


# --- where that lies ----------------------------------------------------------------------------


def _placed(
    found: ManagedFacts, process: HubProcess | None, environ: Mapping[str, str], user: str
) -> ManagedFacts:
    steps = trail(found.executed)
    roots, source = _python_roots(found.managed.package, steps)
    prefixes = {
        BUN: [found.bun_install, f"{user}/.bun"],
        NPM: [environ.get("NPM_CONFIG_PREFIX", ""), _prefix_of_node(process)],
    }
    for manager, below in GLOBALS.items():
        known = [prefix for prefix in prefixes[manager] if prefix.startswith("/")]
        named = [step.partition(below + "/")[0] for step in steps if below + "/" in step]
        for prefix in (*known, *(prefix for prefix in named if _is_global(manager, prefix))):
            roots.append(_root(manager, prefix, prefix + below, found.managed.package))
    found = found._replace(roots=tuple(dict.fromkeys(roots)), real=source or found.real)
    return found._replace(checkout=_checkout(found, environ, user))


def _root(manager: str, prefix: str, directory: str, package: str) -> Root:
    directory = os.path.realpath(directory)
    target = os.path.join(directory, package)
    there = os.path.realpath(target) if os.path.lexists(target) else ""
    return Root(manager, os.path.realpath(prefix), directory, there)


def _is_global(manager: str, prefix: str) -> bool:
    """Whether that is no project's own directory that happens to have such a name."""
    if manager == BUN:
        return os.path.exists(f"{prefix}/install/global/package.json")
    return not os.path.exists(f"{prefix}/lib/package.json")


def _prefix_of_node(process: HubProcess | None) -> str:
    """npm's prefix, where nothing else is said: the one that node itself is installed in."""
    exe = process.exe if process else ""
    is_node = os.path.basename(exe) in SCRIPTS and os.path.basename(os.path.dirname(exe)) == "bin"
    return os.path.dirname(os.path.dirname(exe)) if is_node else ""


def _python_roots(package: str, steps: list[str]) -> tuple[list[Root], str]:
    """The environments that a path goes through; and the source of the package where it is only
    linked from one."""
    roots = []
    for prefix in dict.fromkeys(environments.prefix_of(step) for step in steps):
        if not prefix or not environments.has_interpreter(prefix):
            continue
        for site in environments.sites(prefix):
            where = os.path.realpath(site)
            found = environments.distribution(where, package)
            names = {os.path.relpath(step, base) for step in steps for base in (site, where)}
            owns = found is not None and not names.isdisjoint(found.names)
            if found and found.source and (owns or _is_python(steps[0])):
                return [], found.source
            target = os.path.realpath(found.directory) if found else ""
            roots.append(Root(PIP, os.path.realpath(prefix), where, target, owns))
    return roots, ""


def _is_python(path: str) -> bool:
    return os.path.basename(path).startswith("python")


# --- git ----------------------------------------------------------------------------------------


def _checkout(found: ManagedFacts, environ: Mapping[str, str], user: str) -> Checkout:
    own = found.real if os.path.isdir(found.real) else os.path.dirname(found.real)
    root = checkout.root_of(own)
    if not root:
        return Checkout()
    if inside(found.real, found.given) and inside(found.given, root):
        program, mark = found.given, found.given
    else:
        program, mark = _program(own, root)
    git_dir = checkout.git_dir(root)
    seen = Checkout(root, git_dirs=(git_dir, checkout.common_dir(git_dir)))
    if program == root and root != os.path.realpath(user):  # many keep their settings with git
        return seen._replace(itself=True)
    tracked, why = _tracked(root, [mark or found.real, found.real], environ)
    return seen._replace(tracked=tracked, why=why)


def _program(own: str, root: str) -> tuple[str, str]:
    """The directory of the program that a directory is of, and what marks it as one or "".

    What lies in a node_modules or in an environment there is another program's.
    """
    path = own
    while True:
        for marker in MARKERS:
            mark = os.path.join(path, marker)
            if os.path.lexists(mark):
                return path, mark
        if path == root or os.path.basename(path) in PACKAGED or _is_environment(path):
            return own, ""
        path = os.path.dirname(path)


def _is_environment(path: str) -> bool:
    return os.path.lexists(os.path.join(path, "pyvenv.cfg"))


def _tracked(
    root: str, paths: list[str], environ: Mapping[str, str]
) -> tuple[bool | None, str]:
    """Whether git tracks one of them, None where it does not say, and why not."""
    env = {name: value for name, value in environ.items() if not name.startswith("GIT_")}
    env.update(GIT_OPTIONAL_LOCKS="0", GIT_LITERAL_PATHSPECS="1", GIT_TERMINAL_PROMPT="0")
    argv = ["git", "-C", root, "-c", "core.fsmonitor=false", "ls-files", "-z", "--", *paths]
    done = commands.run(argv, GIT_LIMIT_S, env={**env, "LC_ALL": "C"})
    if done.status == 0:
        return bool(done.stdout), ""
    if done.status is None:
        return None, f"git did not answer within {GIT_LIMIT_S:g} s"
    return None, done.last_line() or f"git ended with status {done.status}"


# --- what would be rewritten --------------------------------------------------------------------


def _with_storage(found: ManagedFacts, persists: bool | None) -> ManagedFacts:
    storage = []
    for path in rewritten(found):
        real = os.path.realpath(path)
        storage.append(facts.look_at(real, persists if inside(real, found.home) else None))
    return found._replace(storage=tuple(storage))
