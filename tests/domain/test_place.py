"""Every way a hub gets onto a disk, and whether an upgrade of it is what the next start runs."""

from __future__ import annotations

import unittest
from typing import NamedTuple

from hub_upgrade.domain.container import Container
from hub_upgrade.domain.install import Decision, Mount, Place, Storage
from hub_upgrade.domain.managed import Managed
from hub_upgrade.domain.place import (
    Checkout,
    ManagedFacts,
    Root,
    decide_managed,
    inside,
    place_of,
    rewritten,
)

HUB = "@openparachute/hub"
MODULES = "install/global/node_modules"
DISK = Mount("/", "/", "ext4", "/dev/sda1", read_only=False)
IMAGE = Mount("/", "/", "overlay", "overlay", read_only=False, upper="/var/lib/x/diff")
VOLUME = Mount("/parachute", "/volumes/p/_data", "ext4", "/dev/sdb1", read_only=False)
MEMORY = Mount("/srv", "/", "tmpfs", "tmpfs", read_only=False)
LOCKED = Mount("/srv", "/", "ext4", "/dev/sdc1", read_only=True)
EMPTY = VOLUME._replace(root="/pods/1/volumes/kubernetes.io~empty-dir/x")
MACHINE = Container()
DOCKER = Container(("/.dockerenv exists",), "docker")
POD = Container(("KUBERNETES_SERVICE_HOST is set",), "kubernetes")


def bun(prefix: str, target: str = "") -> Root:
    directory = f"{prefix}/{MODULES}"
    return Root("bun", prefix, directory, target or f"{directory}/{HUB}")


def npm(prefix: str, target: str = "") -> Root:
    directory = f"{prefix}/lib/node_modules"
    return Root("npm", prefix, directory, target or f"{directory}/{HUB}")


def pip(prefix: str, package: str = "hub", owns: bool = True) -> Root:
    directory = f"{prefix}/lib/python3.11/site-packages"
    return Root("pip", prefix, directory, f"{directory}/{package}" if package else "", owns)


def git(root: str, *, itself: bool = False, tracked: bool | None = None) -> Checkout:
    why = "there is no git" if tracked is None and not itself else ""
    return Checkout(root, itself, tracked, why, (f"{root}/.git",))


def at_git(root: str, file: str = "src/cli.ts") -> ManagedFacts:
    return ran(f"{root}/{file}")._replace(checkout=git(root, itself=True))


def ran(path: str, *roots: Root, hub: Managed | None = None) -> ManagedFacts:
    """What runs, by its process's arguments."""
    return ManagedFacts(
        hub or Managed(), "/home/me/.parachute", path, "process 7's arguments", path, roots=roots
    )


def at(root: Root, file: str = f"{HUB}/src/cli.ts", hub: Managed | None = None) -> ManagedFacts:
    return ran(f"{root.directory}/{file}", root, hub=hub)


def of(**told: object) -> Managed:
    return Managed()._replace(**told)  # type: ignore[arg-type]


class Case(NamedTuple):
    """One hub; `word` is the source on the wire, `place` its source, manager and directory."""

    name: str
    facts: ManagedFacts
    container: Container
    mounts: tuple[Mount, ...]
    in_place: bool
    word: str
    place: tuple[str, str, str]
    words: str
    locked: str = ""


BUN_HOME = bun("/home/me/.bun")
AT_HOME = f"/home/me/.bun/{MODULES}/{HUB}"
ON_VOLUME = bun("/parachute/.bun")
AT_VOLUME = f"/parachute/.bun/{MODULES}/{HUB}"
IN_IMAGE = bun("/root/.bun")
LOCAL = npm("/usr/local")
VENV = pip("/srv/venv")
SCRIPT = ran("/srv/venv/bin/hub", VENV, hub=of(package="hub"))
SITE = "/srv/venv/lib/python3.11/site-packages"
NOTHING = ("unknown", "", "")

CASES = (
    # a checkout
    Case("a checkout on a machine", at_git("/srv/hub"), MACHINE, (DISK,), True, "bun-linked",
         ("git", "", "/srv/hub"), "/srv/hub, which is writable, and on storage that survives"),
    Case("a directory that a checkout tracks", ran("/srv/mono/packages/hub/src/cli.ts")._replace(
         checkout=git("/srv/mono", tracked=True)), MACHINE, (DISK,), True, "bun-linked",
         ("git", "", "/srv/mono"), "what git writes there"),
    Case("a directory that it tracks, named", ran("/srv/mono/packages/hub/src/cli.ts")._replace(
         checkout=git("/srv/mono", tracked=True), given="/srv/mono/packages/hub",
         managed=of(install_dir="/srv/mono/packages/hub")), MACHINE, (DISK,), True, "bun-linked",
         ("git", "", "/srv/mono/packages/hub"), "what runs is loaded from /srv/mono/packages/hub"),
    Case("a checkout linked from bun's global node_modules",
         at_git("/srv/hub")._replace(roots=(bun("/home/me/.bun", "/srv/hub"),)), MACHINE, (DISK,),
         True, "bun-linked", ("git", "", "/srv/hub"), "/srv/hub"),
    Case("a checkout that is not to be written", at_git("/srv/hub"), MACHINE, (DISK,), False,
         "bun-linked", ("git", "", "/srv/hub"), "git -C /srv/hub pull --ff-only", "/srv/hub"),
    Case("a checkout whose .git is not to be written", at_git("/srv/hub"), MACHINE, (DISK,), False,
         "bun-linked", ("git", "", "/srv/hub"), "/srv/hub/.git, which", "/srv/hub/.git"),
    Case("a checkout in memory", at_git("/srv/hub"), MACHINE, (DISK, MEMORY), False, "bun-linked",
         ("git", "", "/srv/hub"), "lives in memory. Install it on a disk"),
    Case("a checkout mounted read-only", at_git("/srv/hub"), MACHINE, (DISK, LOCKED), False,
         "bun-linked", ("git", "", "/srv/hub"), "mount -o remount,rw /srv"),
    Case("a worktree whose common directory is in memory", at_git("/opt/hub")._replace(
         checkout=git("/opt/hub", itself=True)._replace(git_dirs=("/srv/hub/.git",))), MACHINE,
         (DISK, MEMORY), False, "bun-linked", ("git", "", "/opt/hub"), "/srv/hub/.git, which"),
    Case("a checkout copied into an image layer", at_git("/app"), DOCKER, (IMAGE,), False,
         "container", ("git", "", "/app"), "container's own files (overlay at /). Pull the newer"),
    Case("the same beside a volume", at_git("/app"), DOCKER, (IMAGE, VOLUME), False, "container",
         ("git", "", "/app"), "run the hub from a package or a checkout on a mount of its own"),
    Case("a checkout on a volume", at_git("/parachute/hub"), DOCKER, (IMAGE, VOLUME), True,
         "container", ("git", "", "/parachute/hub"), "and a mount of its own"),
    Case("a checkout beside the volume's name", at_git("/parachute-old/hub"), DOCKER,
         (IMAGE, VOLUME), False, "container", ("git", "", "/parachute-old/hub"), "own files"),
    Case("a home under version control, with bun's package", at(BUN_HOME)._replace(
         checkout=git("/home/me", tracked=False)), MACHINE, (DISK,), True, "npm",
         ("package", "bun", AT_HOME), "what bun writes there"),
    Case("a home under version control, and no git to ask", at(BUN_HOME)._replace(
         checkout=git("/home/me")), MACHINE, (DISK,), True, "npm",
         ("package", "bun", AT_HOME), "what bun writes there"),
    Case("a node_modules that its project's checkout does not track", ran(
         f"/srv/app/node_modules/{HUB}/cli.js")._replace(checkout=git("/srv/app", tracked=False)),
         MACHINE, (DISK,), False, "unknown", NOTHING, "/srv/app that does not track it"),
    Case("a checkout above it, and no git to ask", ran("/srv/app/packages/hub/cli.js")._replace(
         checkout=git("/srv/app")), MACHINE, (DISK,), False, "unknown", NOTHING,
         "whether git tracks what runs, /srv/app/packages/hub/cli.js, cannot be told: there is no"),
    # bun
    Case("bun on a machine", at(BUN_HOME), MACHINE, (DISK,), True, "npm",
         ("package", "bun", AT_HOME), "on storage that survives a restart"),
    Case("bun, not to be written", at(BUN_HOME), MACHINE, (DISK,), False, "npm",
         ("package", "bun", AT_HOME), "(BUN_INSTALL=/home/me/.bun bun add -g @openparachute/hub",
         AT_HOME),
    Case("bun, whose list of packages is not to be written", at(BUN_HOME), MACHINE, (DISK,), False,
         "npm", ("package", "bun", AT_HOME), "/home/me/.bun/install/global, which",
         "/home/me/.bun/install/global"),
    Case("bun on a volume", at(ON_VOLUME), DOCKER, (IMAGE, VOLUME), True, "container",
         ("package", "bun", AT_VOLUME), "and a mount of its own, which the next container has"),
    Case("bun in an image", at(IN_IMAGE), DOCKER, (IMAGE, VOLUME), False, "container",
         ("package", "bun", f"/root/.bun/{MODULES}/{HUB}"), "container's own files"),
    Case("code in an image, BUN_INSTALL on the volume", ran("/app/src/cli.ts", ON_VOLUME)._replace(
         bun_install="/parachute/.bun"), DOCKER, (IMAGE, VOLUME), False, "unknown", NOTHING,
         "bun would rewrite /parachute/.bun, and what runs would stay as it is"),
    Case("a checkout in an image, BUN_INSTALL on the volume", at_git("/app")._replace(
         bun_install="/parachute/.bun", roots=(ON_VOLUME,)), DOCKER, (IMAGE, VOLUME), False,
         "container", ("git", "", "/app"), "/app, which an upgrade rewrites, is no place"),
    Case("bun on a volume that goes with its pod", at(ON_VOLUME), POD, (IMAGE, EMPTY), False,
         "container", ("package", "bun", AT_VOLUME), "emptyDir"),
    Case("bun beside its own name", ran(f"/home/me/.bun/{MODULES}-old/{HUB}/cli.ts", BUN_HOME),
         MACHINE, (DISK,), False, "unknown", NOTHING, "no git checkout and in no global install"),
    Case("bun's own copy below a store", at(BUN_HOME._replace(
         target=f"{BUN_HOME.directory}/.bun/hub@1.0.0/node_modules/{HUB}"),
         f".bun/hub@1.0.0/node_modules/{HUB}/cli.ts"), MACHINE, (DISK,), True, "npm",
         ("package", "bun", AT_HOME), "what bun writes there"),
    Case("bun, a link to what is no checkout", ran("/srv/copy/src/cli.ts", bun("/home/me/.bun",
         "/srv/copy")), MACHINE, (DISK,), False, "unknown", NOTHING, "lies in no git checkout"),
    Case("bun, another package than the one to be upgraded", at(BUN_HOME, "other/cli.ts"), MACHINE,
         (DISK,), False, "npm", ("package", "bun", f"{BUN_HOME.directory}/other"),
         '(hub.package) is "@openparachute/hub"'),
    Case("bun, whose name begins as the package's", at(BUN_HOME, f"{HUB}-old/cli.ts"), MACHINE,
         (DISK,), False, "npm", ("package", "bun", AT_HOME + "-old"), "(hub.package)"),
    # npm
    Case("npm on a machine", at(LOCAL, f"{HUB}/dist/cli.js"), MACHINE, (DISK,), True, "npm",
         ("package", "npm", f"/usr/local/lib/node_modules/{HUB}"), "what npm writes there"),
    Case("npm, and /usr belongs to root", at(LOCAL), MACHINE, (DISK,), False, "npm",
         ("package", "npm", f"/usr/local/lib/node_modules/{HUB}"),
         "npm install -g --prefix /usr/local @openparachute/hub@latest",
         "/usr/local/lib/node_modules/@openparachute"),
    Case("npm in an image", at(LOCAL), DOCKER, (IMAGE, VOLUME), False, "container",
         ("package", "npm", f"/usr/local/lib/node_modules/{HUB}"), "docker compose pull"),
    Case("npm on a volume", at(npm("/parachute/npm")), DOCKER, (IMAGE, VOLUME), True, "container",
         ("package", "npm", f"/parachute/npm/lib/node_modules/{HUB}"), "a mount of its own"),
    # pip
    Case("a virtual environment's script", SCRIPT, MACHINE, (DISK,), True, "pip",
         ("package", "pip", f"{SITE}/hub"), "what pip writes there"),
    Case("a virtual environment's module", ran(f"{SITE}/hub/__main__.py", pip("/srv/venv", owns=
         False), hub=of(package="hub")), MACHINE, (DISK,), True, "pip",
         ("package", "pip", f"{SITE}/hub"), "what pip writes there"),
    Case("a virtual environment in a checkout", SCRIPT._replace(checkout=git("/srv",
         tracked=False)), MACHINE, (DISK,), True, "pip", ("package", "pip", f"{SITE}/hub"), "pip"),
    Case("another package of that environment", ran(f"{SITE}/uvicorn/__main__.py", pip("/srv/venv",
         owns=False), hub=of(package="hub")), MACHINE, (DISK,), False, "pip",
         ("package", "pip", f"{SITE}/hub"), "the pip package (not known) in /srv/venv"),
    Case("an environment's Python that runs something else", ran("/srv/venv/bin/python", pip(
         "/srv/venv", owns=False), hub=of(package="hub")), MACHINE, (DISK,), False, "unknown",
         NOTHING, "in no global install of bun, npm or pip"),
    Case("pip, not to be written", SCRIPT, MACHINE, (DISK,), False, "pip",
         ("package", "pip", f"{SITE}/hub"), "/srv/venv/bin/python -m pip install --upgrade hub",
         SITE),
    Case("pip in an image", SCRIPT, DOCKER, (IMAGE,), False, "container",
         ("package", "pip", f"{SITE}/hub"), "own files"),
    # nothing to be told
    Case("it does not run", ManagedFacts(home="/h", unseen="it does not run"), MACHINE, (DISK,),
         False, "unknown", NOTHING, "Start the hub, or set hub.running_from in /h/hub.json"),
    Case("it does not run in a container", ManagedFacts(home="/h", unseen="it does not run"),
         DOCKER, (IMAGE,), False, "unknown", NOTHING, "hub.json to the file that it runs, or pull"),
    Case("a file of nobody's", ran("/srv/hub/hub.js", BUN_HOME), MACHINE, (DISK,), False, "unknown",
         NOTHING, "/srv/hub/hub.js, lies in no git checkout"),
    # what the operator says
    Case("running_from, and no process", at(BUN_HOME), MACHINE, (DISK,), True, "npm",
         ("package", "bun", AT_HOME), "what bun writes"),
    Case("running_from, and the process says so too", at(BUN_HOME)._replace(
         ran=(f"{AT_HOME}/src/cli.ts",)), MACHINE, (DISK,), True, "npm",
         ("package", "bun", AT_HOME), "what bun writes"),
    Case("running_from on the volume, and the process runs the image's", at(ON_VOLUME)._replace(
         ran=("/app/src/cli.ts",)), DOCKER, (IMAGE, VOLUME), False, "container",
         ("package", "bun", AT_VOLUME), "its process executes /app/src/cli.ts. Set that right in"),
    Case("source, and it is another", at(BUN_HOME, hub=of(source="git")), MACHINE, (DISK,), False,
         "npm", ("package", "bun", AT_HOME), 'hub.source is "git", and what runs'),
    Case("manager, and it is another", at(LOCAL, hub=of(manager="bun")), MACHINE, (DISK,), False,
         "npm", ("package", "npm", f"/usr/local/lib/node_modules/{HUB}"), 'hub.manager is "bun"'),
    Case("install_dir, and it runs elsewhere", at_git("/app")._replace(given="/parachute/hub",
         managed=of(install_dir="/parachute/hub")), MACHINE, (DISK,), False, "bun-linked",
         ("git", "", "/app"), "hub.install_dir is /parachute/hub, and what runs, /app/src/cli.ts"),
    Case("all of it, and it is so", at(BUN_HOME, hub=of(source="package", manager="bun",
         install_dir=AT_HOME))._replace(given=AT_HOME), MACHINE, (DISK,), True, "npm",
         ("package", "bun", AT_HOME), "what bun writes there"),
)  # fmt: skip


def facts_of(case: Case) -> ManagedFacts:
    """With the storage that the case's mounts make."""
    facts = case.facts._replace(container=case.container)
    found = []
    for path in rewritten(facts):
        holding = [mount for mount in case.mounts if inside(path, mount.point)]
        mount = max(holding, key=lambda one: len(one.point))
        found.append(Storage(path, path != case.locked, mount))
    return facts._replace(storage=tuple(found))


class Cases(unittest.TestCase):
    def test_every_case_is_decided_rightly_and_says_why(self) -> None:
        for case in CASES:
            decision = decide_managed(facts_of(case))
            wanted = "in-place" if case.in_place else "redeploy-required"
            self.assertEqual(decision.mode, wanted, (case.name, decision.reason))
            self.assertEqual(decision.source, case.word, case.name)
            assert decision.place is not None
            place = decision.place
            self.assertEqual((place.source, place.manager, place.directory), case.place, case.name)
            self.assertIn(case.words, decision.reason, case.name)

    def test_the_names_of_the_cases_are_their_own_and_what_is_locked_is_looked_at(self) -> None:
        self.assertEqual(len({case.name for case in CASES}), len(CASES))
        for case in CASES:
            self.assertIn(case.locked, ("", *rewritten(case.facts)), case.name)

    def test_in_place_never_without_a_place_and_a_look_at_its_storage(self) -> None:
        for case in CASES:
            bare = facts_of(case)._replace(storage=())
            self.assertEqual(decide_managed(bare).mode, "redeploy-required", case.name)
            for seen in (None, False):
                storage = tuple(one._replace(writable=seen) for one in facts_of(case).storage)
                decision = decide_managed(facts_of(case)._replace(storage=storage))
                self.assertEqual(decision.mode, "redeploy-required", case.name)


class Details(unittest.TestCase):
    def decided(self, name: str) -> Decision:
        return decide_managed(facts_of(next(case for case in CASES if case.name == name)))

    def test_paths_are_compared_by_whole_components(self) -> None:
        for path, directory, wanted in (
            ("/parachute", "/parachute", True), ("/parachute/x", "/parachute", True),
            ("/parachute/x", "/parachute/", True), ("/x", "/", True), ("/", "/", True),
            ("/parachute-old/x", "/parachute", False), ("/parachute", "/parachute/x", False),
            ("/x", "", False),
        ):  # fmt: skip
            self.assertIs(inside(path, directory), wanted, (path, directory))

    def test_a_linked_checkout_names_its_link(self) -> None:
        place = self.decided("a checkout linked from bun's global node_modules").place
        link = f"/home/me/.bun/{MODULES}/{HUB}"
        self.assertEqual(place, Place("git", "", "", "/srv/hub", "", link))
        beside = at_git("/srv/hub-old")._replace(roots=(bun("/home/me/.bun", "/srv/hub"),))
        self.assertEqual(place_of(beside).linked_from, "")
        cloned = at(BUN_HOME)._replace(checkout=git(AT_HOME, itself=True))
        self.assertEqual(place_of(cloned), Place("git", directory=AT_HOME))

    def test_a_package_names_itself_and_its_prefix(self) -> None:
        self.assertEqual(
            place_of(at(BUN_HOME)), Place("package", "bun", HUB, AT_HOME, "/home/me/.bun")
        )
        self.assertEqual(
            place_of(SCRIPT), Place("package", "pip", "hub", f"{SITE}/hub", "/srv/venv")
        )

    def test_what_the_operator_says_of_home_weighs_for_what_lies_in_it_alone(self) -> None:
        hub = at_git("/home/me/.parachute/hub")._replace(container=DOCKER)
        said = Storage("/home/me/.parachute/hub", True, IMAGE, persists=True)
        decision = decide_managed(hub._replace(storage=(said,)))
        self.assertEqual(decision.mode, "in-place")
        self.assertIn("hub.json says that home survives", decision.reason)
        doubt = decide_managed(hub._replace(storage=(said._replace(persists=None),)))
        self.assertIn('"home_persists": true in /home/me/.parachute/hub.json', doubt.reason)
        outside = decide_managed(facts_of(next(one for one in CASES if one.locked == "")._replace(
            facts=at_git("/app"), container=DOCKER, mounts=(IMAGE,))))  # fmt: skip
        self.assertNotIn("home_persists", outside.reason)

    def test_the_evidence_is_told(self) -> None:
        evidence = self.decided("code in an image, BUN_INSTALL on the volume").evidence
        self.assertEqual(
            evidence,
            ("executed: /app/src/cli.ts (process 7's arguments)", "installed as: unknown",
             "BUN_INSTALL: /parachute/.bun", "container: /.dockerenv exists"),
        )  # fmt: skip
        told = self.decided("a home under version control, with bun's package").evidence
        self.assertIn("git: the work tree /home/me does not track it", told)
        self.assertIn(f"installed as: the bun package {HUB} in /home/me/.bun", told)
        self.assertIn("/home/me/.bun/install/global: writable", told)
        self.assertNotIn(f"{AT_HOME}: writable", told)  # it lies in there, and says no more
        linked = at_git("/srv/hub")._replace(executed="/home/me/.bun/bin/hub")
        told = decide_managed(linked).evidence
        self.assertIn(
            "executed: /home/me/.bun/bin/hub, which is /srv/hub/src/cli.ts (process 7's arguments)",
            told,
        )

    def test_every_reason_is_a_sentence_or_two_and_what_to_do(self) -> None:
        for case in CASES:
            reason = decide_managed(facts_of(case)).reason
            self.assertNotRegex(reason, r"  |None|''|\{|\}|, \.|\.\.", case.name)
            if not case.in_place:
                self.assertRegex(reason, r"\. [A-Z].*, or .*\.$|\. [A-Z].*restart it\.$", case.name)


if __name__ == "__main__":
    unittest.main()
