"""From trees as managers lay them out to the decision: what is seen of a managed hub."""

from __future__ import annotations

import os
from unittest import main, mock

from hub_upgrade.domain.container import Container
from hub_upgrade.domain.install import Decision, Place
from hub_upgrade.domain.managed import Managed
from hub_upgrade.domain.place import ManagedFacts, decide_managed
from hub_upgrade.host import container, mounts, place_facts, unit_file
from hub_upgrade.host.executed import HubProcess
from hub_upgrade.host.files import Home
from tests.host.test_executed import Tree

HUB = "@openparachute/hub"
MODULES = "install/global/node_modules"
DISK = "27 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw\n"
TRACKS = '#!/bin/sh\nfor path; do :; done\ncase "$path" in {}) printf "%s\\0" "$path";; esac\n'


class Machine(Tree):
    """A machine with an ext4 disk, without git, and with nothing said of the hub."""

    def setUp(self) -> None:
        super().setUp()
        self.home = Home(self.at("me/.parachute"))
        self.environ = {"HOME": self.at("me"), "PATH": self.at("tools")}
        self.container = Container()
        self.persists: bool | None = None
        for target, name, value in (
            (unit_file, "SYSTEM", (self.at("etc"),)),
            (mounts, "MOUNTINFO", self.make("mountinfo", DISK)),
            (container, "look", lambda: self.container),
        ):
            patch = mock.patch.object(target, name, value)
            patch.start()
            self.addCleanup(patch.stop)

    def git(self, tracked: str, root: str = "hub") -> None:
        """A work tree, and a git that says which paths are tracked."""
        os.makedirs(self.at(f"{root}/.git"))
        self.make(f"{root}/.git/HEAD", "ref: refs/heads/main\n")
        path = self.make("tools/git", TRACKS.format(tracked))
        os.chmod(path, 0o755)

    def package(self, root: str, name: str = HUB) -> str:
        self.make(f"{root}/{name}/package.json", "{}")
        return self.make(f"{root}/{name}/src/cli.ts")

    def bun(self, prefix: str = "me/.bun") -> str:
        self.make(f"{prefix}/install/global/package.json", "{}")
        path = self.package(f"{prefix}/{MODULES}")
        self.link(f"{prefix}/bin/hub", f"../{MODULES}/{HUB}/src/cli.ts")
        return path

    def process(self, *argv: str, cwd: str = "", exe: str = "") -> HubProcess:
        return HubProcess(7, "1", argv, self.at(cwd), exe or f"/usr/bin/{argv[0]}")

    def seen(self, process: HubProcess | None, **told: object) -> ManagedFacts:
        managed = Managed()._replace(**told)  # type: ignore[arg-type]
        return place_facts.probe_managed(
            self.home, managed, process, self.environ, self.persists
        )

    def decided(self, *argv: str, **told: object) -> Decision:
        return decide_managed(self.seen(self.process(*argv) if argv else None, **told))

    def assert_place(self, decision: Decision, mode: str, **wanted: str) -> None:
        place = Place(**{"source": "package", **wanted})
        self.assertEqual((decision.mode, decision.place), (mode, place), decision)


class Modules(Machine):
    def bun_place(self, prefix: str = "me/.bun") -> dict[str, str]:
        return {"manager": "bun", "package": HUB, "prefix": self.at(prefix),
                "directory": self.at(f"{prefix}/{MODULES}/{HUB}")}  # fmt: skip

    def test_buns_package_is_told_by_its_file_and_by_its_command(self) -> None:
        path = self.bun()
        for named in (path, self.at("me/.bun/bin/hub")):
            self.assert_place(self.decided("bun", named), "in-place", **self.bun_place())

    def test_bun_elsewhere_is_told_by_bun_install_or_by_its_list_of_packages(self) -> None:
        path = self.bun("srv/bun")
        self.assert_place(self.decided("bun", path), "in-place", **self.bun_place("srv/bun"))
        os.unlink(self.at("srv/bun/install/global/package.json"))
        self.assertEqual(self.decided("bun", path).source, "unknown")
        self.environ["BUN_INSTALL"] = self.at("srv/bun")
        self.assert_place(self.decided("bun", path), "in-place", **self.bun_place("srv/bun"))
        del self.environ["BUN_INSTALL"]
        process = self.process("bun", path)._replace(bun_install=self.at("srv/bun"))
        decision = decide_managed(self.seen(process))
        self.assert_place(decision, "in-place", **self.bun_place("srv/bun"))
        self.assertIn(f"BUN_INSTALL: {self.at('srv/bun')}", decision.evidence)

    def test_bun_behind_links_is_where_they_lead(self) -> None:
        self.bun("srv/bun")
        self.link("me/.bun", self.at("srv/bun"))
        named = self.at(f"me/.bun/{MODULES}/{HUB}/src/cli.ts")
        self.assert_place(self.decided("bun", named), "in-place", **self.bun_place("srv/bun"))

    def test_a_global_node_modules_that_is_a_link_itself(self) -> None:
        os.makedirs(self.at("me/.bun/install/global"))
        path = self.package("store")
        self.link(f"me/.bun/{MODULES}", self.at("store"))
        self.assert_place(
            self.decided("bun", path), "in-place", manager="bun", package=HUB,
            prefix=self.at("me/.bun"), directory=self.at(f"store/{HUB}"),
        )  # fmt: skip

    def test_npms_package_is_told_and_a_projects_lib_is_not_npms(self) -> None:
        path = self.package("usr/lib/node_modules")
        self.link("usr/bin/hub", f"../lib/node_modules/{HUB}/src/cli.ts")
        wanted = {"manager": "npm", "package": HUB, "prefix": self.at("usr"),
                  "directory": self.at(f"usr/lib/node_modules/{HUB}")}  # fmt: skip
        for named in (path, self.at("usr/bin/hub")):
            self.assert_place(self.decided("node", named), "in-place", **wanted)
        self.make("usr/lib/package.json", "{}")
        self.assertEqual(self.decided("node", path).source, "unknown")

    def test_a_checkout_linked_from_bun_and_from_npm(self) -> None:
        self.git("nothing")
        path = self.package("hub", "")
        for link, exe in ((f"me/.bun/{MODULES}/{HUB}", "/usr/bin/bun"),
                          (f"usr/lib/node_modules/{HUB}", self.at("usr/bin/node"))):  # fmt: skip
            made = self.link(link, self.at("hub"))
            for named in (path, f"{made}/src/cli.ts"):
                process = self.process("node", named, exe=exe)
                decision = decide_managed(self.seen(process))
                self.assert_place(
                    decision, "in-place", source="git", directory=self.at("hub"), linked_from=made
                )
            os.unlink(made)

    def test_what_runs_in_an_image_is_not_what_bun_would_rewrite(self) -> None:
        self.container = Container(("/.dockerenv exists",), "docker")
        self.make("mountinfo", DISK + f"28 27 8:1 / {self.at('parachute')} rw - ext4 /dev/b rw\n")
        self.environ["BUN_INSTALL"] = self.at("parachute")
        inside = self.bun("parachute")
        beside = self.bun("parachute-old")
        app = self.make("app/src/cli.ts")
        self.assert_place(self.decided("bun", inside), "in-place", **self.bun_place("parachute"))
        self.assertEqual(self.decided("bun", beside).mode, "redeploy-required")
        decision = self.decided("bun", app)
        self.assertEqual((decision.mode, decision.source), ("redeploy-required", "unknown"))
        self.assertIn(f"bun would rewrite {self.at('parachute')}", decision.reason)
        lie = self.decided("bun", app, running_from=inside)
        self.assertEqual(lie.mode, "redeploy-required")
        self.assertIn(f"and its process executes {app}", lie.reason)


class Git(Machine):
    def test_a_checkout_is_told_by_its_root_without_git(self) -> None:
        path = self.make("hub/src/cli.ts")
        self.make("hub/package.json")
        self.git("nothing")
        os.unlink(self.at("tools/git"))
        decision = self.decided("bun", path)
        self.assert_place(decision, "in-place", source="git", directory=self.at("hub"))
        self.assertEqual(decision.source, "bun-linked")
        written = [one.path for one in self.seen(self.process("bun", path)).storage]
        self.assertEqual(written, [self.at("hub"), self.at("hub/.git")])

    def test_a_directory_inside_needs_git_to_say_that_it_is_tracked(self) -> None:
        path = self.package("hub/packages", "cli")
        self.git(f"{self.at('hub')}/packages/cli/*")
        decision = self.decided("bun", path)
        self.assert_place(decision, "in-place", source="git", directory=self.at("hub"))
        given = self.decided("bun", path, install_dir=self.at("hub/packages/cli"))
        wanted = self.at("hub/packages/cli")
        self.assert_place(given, "in-place", source="git", directory=wanted)
        self.make("tools/git", TRACKS.format("nothing"))
        decision = self.decided("bun", path)
        self.assertEqual(decision.source, "unknown")
        self.assertIn("that does not track it", decision.reason)
        os.unlink(self.at("tools/git"))
        decision = self.decided("bun", path)
        self.assertIn("cannot be told: git cannot be run", decision.reason)

    def test_a_git_that_refuses_is_quoted(self) -> None:
        path = self.package("hub/packages", "cli")
        self.git("")
        self.make("tools/git", "#!/bin/sh\necho 'fatal: dubious ownership' >&2\nexit 128\n")
        self.assertIn("cannot be told: fatal: dubious ownership", self.decided("bun", path).reason)

    def test_git_is_asked_so_that_it_writes_nothing_and_asks_nobody(self) -> None:
        path = self.package("hub/packages", "c*")
        self.git("")
        self.make("tools/git", f'#!/bin/sh\nprintf "%s\\n" "$GIT_OPTIONAL_LOCKS" "$GIT_DIR" '
                  f'"$GIT_LITERAL_PATHSPECS" "$GIT_TERMINAL_PROMPT" "$@" >{self.at("asked")}\n')
        self.environ["GIT_DIR"] = "/elsewhere"
        self.decided("bun", path)
        with open(self.at("asked"), encoding="utf-8") as file:
            asked = file.read().splitlines()
        self.assertEqual(asked[:4], ["0", "", "1", "0"])
        self.assertEqual(asked[4:6], ["-C", self.at("hub")])
        self.assertEqual(asked[-3:], ["--", self.at("hub/packages/c*/package.json"), path])

    def test_a_home_under_version_control_makes_no_package_a_checkout(self) -> None:
        self.git("nothing", root="me")
        self.make("me/package.json", "{}")
        path = self.package(f"me/.bun/{MODULES}")
        self.assertEqual(self.decided("bun", path).source, "npm")
        self.assertEqual(self.decided("bun", self.make("me/bin/x.ts")).source, "unknown")
        self.assertEqual(self.decided("bun", self.package("me/src", "hub")).source, "unknown")
        self.git("*/me/src/hub/*", root="unused")
        decision = self.decided("bun", self.at("me/src/hub/src/cli.ts"))
        self.assert_place(decision, "in-place", source="git", directory=self.at("me"))

    def test_what_a_checkout_keeps_of_others_is_not_it(self) -> None:
        self.git("nothing")
        self.make("hub/package.json", "{}")
        self.make("hub/venv/pyvenv.cfg")
        for path in (self.package("hub/node_modules"), self.make("hub/node_modules/x.js"),
                     self.make("hub/venv/bin/serve"),
                     self.make("hub/lib/python3/site-packages/x/__main__.py")):  # fmt: skip
            self.assertEqual(self.decided("bun", path).source, "unknown", path)
        for path in (self.make("hub/dist/cli.js"), self.make("hub/hub.js")):
            self.assertEqual(self.decided("bun", path).source, "bun-linked", path)

    def test_a_worktree_names_both_of_gits_directories(self) -> None:
        self.git("nothing")
        self.make("tree/.git", f"gitdir: {self.at('hub/.git/worktrees/tree')}\n")
        self.make("hub/.git/worktrees/tree/HEAD", "ref: refs/heads/next\n")
        self.make("hub/.git/worktrees/tree/commondir", "../..\n")
        seen = self.seen(self.process("bun", self.make("tree/cli.ts")))
        self.assertEqual(
            [one.path for one in seen.storage],
            [self.at("tree"), self.at("hub/.git/worktrees/tree"), self.at("hub/.git")],
        )

    def test_what_hub_json_says_of_home_holds_in_home_alone(self) -> None:
        self.container, self.persists = Container(("/.dockerenv exists",), "docker"), True
        self.git("nothing", root="me/.parachute/hub")
        path = self.make("me/.parachute/hub/cli.ts")
        self.assertEqual(self.decided("bun", path).mode, "in-place")
        self.git("nothing", root="other")
        self.assertEqual(self.decided("bun", self.make("other/cli.ts")).mode, "redeploy-required")


class Python(Machine):
    SITE = "venv/lib/python3.11/site-packages"

    def setUp(self) -> None:
        super().setUp()
        self.system = self.make("usr/bin/python3.11")
        os.chmod(self.system, 0o755)
        self.python = self.link("venv/bin/python", self.system)
        self.script = self.make("venv/bin/hub")
        self.make(f"{self.SITE}/hub_core/__init__.py")
        self.module = self.make(f"{self.SITE}/hub_core/__main__.py")
        self.record = self.make(
            f"{self.SITE}/hub_core-1.0.dist-info/RECORD",
            "../../../bin/hub,,\nhub_core/__init__.py,,\nhub_core/__main__.py,,\n",
        )
        self.place = {"manager": "pip", "package": "hub-core", "prefix": self.at("venv"),
                      "directory": self.at(f"{self.SITE}/hub_core")}  # fmt: skip

    def run_as(self, *words: str, package: str = "hub-core", **told: object) -> Decision:
        process = self.process(self.python, *words, exe=self.system)
        return decide_managed(self.seen(process, package=package, **told))

    def test_a_script_and_a_module_of_the_package_are_the_package(self) -> None:
        for words in ((self.script,), ("-m", "hub_core"), (self.module,)):
            decision = self.run_as(*words)
            self.assert_place(decision, "in-place", **self.place)
            self.assertEqual(decision.source, "pip")
        self.link("bin/hub", self.script)
        self.assert_place(self.run_as(self.at("bin/hub")), "in-place", **self.place)

    def test_another_script_of_that_environment_is_not(self) -> None:
        other = self.make("venv/bin/uvicorn")
        self.assertEqual(self.run_as(other).mode, "redeploy-required")
        self.assertEqual(self.run_as("-m", "missing").source, "unknown")
        self.assertEqual(self.run_as(self.script, package=HUB).mode, "redeploy-required")

    def test_an_environment_without_a_python_is_no_pips(self) -> None:
        os.unlink(self.python)
        self.assertEqual(self.decided("node", self.script, package="hub-core").source, "unknown")

    def test_what_is_only_linked_from_there_is_a_checkout(self) -> None:
        self.git("nothing")
        self.make(f"{self.SITE}/hub_core-1.0.dist-info/direct_url.json",
                  f'{{"url": "file://{self.at("hub")}", "dir_info": {{"editable": true}}}}')
        for words in ((self.script,), ("-m", "elsewhere")):
            decision = self.run_as(*words)
            self.assert_place(decision, "in-place", source="git", directory=self.at("hub"))
        said = self.run_as("-m", "elsewhere", running_from=self.at("hub"))
        self.assertEqual(said.mode, "in-place")


class Executed(Machine):
    def test_with_nothing_to_see_it_says_what_to_do(self) -> None:
        decision = self.decided()
        self.assertEqual(decision.mode, "redeploy-required")
        self.assertIn("it does not run, and no unit parachute-hub.service starts", decision.reason)
        self.assertIn("set hub.running_from in", decision.reason)
        self.assertIn("no unit hub@x.service starts", self.decided(unit="hub@x.service").reason)

    def test_of_a_hub_that_does_not_run_its_unit_tells(self) -> None:
        path = self.bun()
        self.make("etc/parachute-hub.service", f"[Service]\nExecStart=/opt/bun {path} serve\n")
        decision = self.decided()
        self.assertEqual(decision.mode, "in-place")
        told = f"executed: {path} (the unit parachute-hub.service's ExecStart)"
        self.assertIn(told, decision.evidence)
        self.make("me/.config/systemd/user/parachute-hub.service",
                  "[Service]\nExecStart=/opt/bun /missing.ts\n")
        self.assertIn("no file that is there is named by the unit", self.decided().reason)

    def test_running_from_comes_first_and_must_be_there(self) -> None:
        path = self.bun()
        decision = self.decided(running_from=path)
        self.assertEqual(decision.mode, "in-place")
        self.assertIn(f"executed: {path} (hub.json's running_from)", decision.evidence)
        for argv in (("bun", path), ("parachute-hub",)):
            self.assertEqual(self.decided(*argv, running_from=path).mode, "in-place", argv)
        self.assertIn("/missing, is not there", self.decided(running_from="/missing").reason)
        directory = os.path.dirname(os.path.dirname(path))
        self.assertEqual(self.decided("bun", path, running_from=directory).mode, "in-place")

    def test_a_unit_is_no_witness_against_running_from(self) -> None:
        path = self.bun()
        other = self.make("old/cli.ts")
        self.make("etc/parachute-hub.service", f"[Service]\nExecStart=/opt/bun {other}\n")
        self.assertEqual(self.decided(running_from=path).mode, "in-place")

    def test_arguments_that_tell_nothing_are_said_to(self) -> None:
        self.assertIn("named by process 7's arguments", self.decided("parachute-hub").reason)
        foreign = self.process("bun", self.bun())._replace(foreign=True)
        self.assertIn("process 7 is another user's", decide_managed(self.seen(foreign)).reason)

    def test_hub_pyz_itself_is_no_managed_hub(self) -> None:
        for path in (self.make("opt/hub.pyz"), self.make("me/.parachute/releases/1-2/x.pyz")):
            decision = self.decided("python3", path)
            self.assertEqual(decision.mode, "redeploy-required")
            self.assertIn("hub.pyz itself", decision.reason)


if __name__ == "__main__":
    main()
